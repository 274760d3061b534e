"""How the rows of a table become a network's inputs: fitted once, kept with the network as plain JSON.

scikit-learn's transformers do it. They are made anew from the JSON, each fitted to a few rows that give it the values
which are kept, so that another version of scikit-learn does the same.
"""

import difflib
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from bp_torch.data import answers, faults, kinds
from bp_torch.data.columns import Cells, Column, of_columns, of_frame
from bp_torch.data.faults import short
from bp_torch.data.kinds import CATEGORY, KINDS
from bp_torch.errors import DataError

PART = 1 << 16  # rows that are made inputs at a time
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Feature:
    """A column of the table, and what it becomes.

    kind: of `KINDS`. What is no category becomes one input, (cell − mean) / scale, 0 where the scale is 0; fill stands
    in for a missing cell, and where cells were missing in the rows to train on, missing is True and a further input
    says 1 for a missing cell and 0 else. A category becomes one input of 0 and 1 for each of its categories, of which
    "" are missing cells. A text that is none of them is 0 in all.
    """

    name: str
    kind: str
    fill: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    missing: bool = False
    categories: tuple[str, ...] = ()


class Target(NamedTuple):
    """The column to predict: the names of its classes, or what y is of a value, (value − mean) / scale."""

    name: str
    classes: tuple[str, ...] | None
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Preprocessing:
    """The columns of a table in their order, as a network takes them, and what its outputs stand for.

    left_out: columns that the table had besides, of which rows to predict may have any.
    """

    features: tuple[Feature, ...]
    target: Target
    left_out: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The name of each class index; None for a real-valued target."""
        return self.target.classes

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the inputs: of columns of numbers, of those that say what was missing, of categories."""
        numbers, categories = self._parts
        return (
            *(each.name for each in numbers),
            *(f"{each.name} missing" for each in numbers if each.missing),
            *(
                f"{each.name}={text}" if text else f"{each.name} missing"
                for each in categories
                for text in each.categories
            ),
        )

    @property
    def scaling(self) -> tuple[Tensor, Tensor]:
        """Mean and scale (n,) float64 of the inputs; 0 and 1 for those that are 0 or 1."""
        numbers, _ = self._parts
        rest = len(self.columns) - len(numbers)
        means, scales = [each.mean for each in numbers], [each.scale for each in numbers]
        both = torch.tensor([means + [0.0] * rest, scales + [1.0] * rest], dtype=torch.float64, device="cpu")
        return both[0], both[1]

    def encode(self, rows: Any) -> Tensor:
        """The inputs (m, n) float32 for the rows of a data frame, which has the table's columns in any order.

        Raises DataError for a column that is missing, with the nearest name, and for cells that are not of the kind
        that the column was. Warns of categories that are not known, and of columns that are passed over.
        """
        return self.encode_cells(of_frame(rows))

    def encode_cells(self, cells: Cells, *, warn: bool = True) -> Tensor:
        """As `encode`, for the cells of a table; warn: of what the network has no input for."""
        return torch.cat(list(self.parts(cells, warn=warn)))

    def parts(self, cells: Cells, *, warn: bool = True) -> Iterator[Tensor]:
        """As `encode_cells`, for some rows after the other: all at once may be many times what the table takes."""
        self._check(cells)
        if warn and (told := self._passed_over(cells)):
            warnings.warn(f"{cells.source}: {'; '.join(told)}", RuntimeWarning, stacklevel=4)
        for start in range(0, cells.rows, PART):
            x = torch.as_tensor(self._encoded(cells, slice(start, start + PART)), dtype=torch.float64, device="cpu").to(
                torch.float32
            )
            wild = (~x.isfinite()).nonzero()
            if len(wild):
                row, column = wild[0].tolist()
                raise DataError(
                    f"{cells.source}, column {short(self.columns[column])}: the number in {cells.place(start + row)} "
                    "is too far from those of the rows to train on to compute with: correct it"
                )
            yield x

    def encode_target(self, column: Any) -> Tensor:
        """y for a column of a data frame that is like the table's target: class indices (m,), or scaled values (m, 1).

        Raises DataError for a class that is not known, or a value that is none.
        """
        name = self.target.name
        return self.target_of(of_columns({name: column}, "y", exact=name))

    def target_of(self, cells: Cells, *, strict: bool = True) -> Tensor:
        """As `encode_target`, for the cells of a table. Raises DataError where it lacks the column.

        strict: where not, what is no class or no value is −1 or NaN.
        """
        name, classes = self.target.name, self.target.classes
        if name not in cells.columns:
            raise DataError(f"{cells.source} lacks the column {short(name)}, which is to be predicted")
        if classes is None:
            values = np.require(answers.values(cells, name, strict), requirements="W")  # else torch warns
            return self.scaled(torch.as_tensor(values, dtype=torch.float64, device="cpu"))
        return torch.as_tensor(answers.indices(cells, name, classes, strict), dtype=torch.int64, device="cpu")

    def scaled(self, values: Tensor) -> Tensor:
        """Values (m,) of the target as y (m, 1), float32."""
        return ((values - self.target.mean) / self.target.scale).to(torch.float32).unsqueeze(1)

    def decode(self, given: Tensor) -> list[str] | Tensor:
        """What a network's `predict` gives, in the table's own words: classes by name, or values in the target's unit.

        given: class indices (m,), or values (m, 1). Returns the m names, or the values as float64.
        """
        if self.target.classes is not None:
            return [self.target.classes[k] for k in given.tolist()]
        return given.double() * self.target.scale + self.target.mean

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        features = [
            {"name": f.name, "kind": f.kind, "categories": list(f.categories)}
            if f.kind == CATEGORY
            else {
                "name": f.name,
                "kind": f.kind,
                "fill": f.fill,
                "mean": f.mean,
                "scale": f.scale,
                "missing": f.missing,
            }
            for f in self.features
        ]
        target = self.target._asdict()
        return {"features": features, "target": target, "left_out": list(self.left_out)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `as_json` gave. Raises ValueError for what it can't have given."""
        try:
            features = tuple(
                Feature(**{**each, "categories": tuple(each.get("categories", ()))}) for each in values["features"]
            )
            classes = values["target"]["classes"]
            target = Target(**{**values["target"], "classes": None if classes is None else tuple(classes)})
            made = cls(features, target, tuple(values["left_out"]))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"its preprocessing is not one of bp_torch's: {error}") from error
        texts = [target.name, *(classes or ()), *made.left_out, *(f.name for f in features)]
        texts += [text for f in features for text in f.categories]
        numbers = [target.mean, target.scale, *(n for f in features for n in (f.fill, f.mean, f.scale))]
        sound = all(isinstance(text, str) for text in texts) and all(f.kind in KINDS for f in features)
        if not sound or not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
            raise ValueError("its preprocessing holds what is no name or no finite number")
        return made

    @classmethod
    def of_scaling(cls, scaling: Mapping[str, Any], target: str, classes: Sequence[str] | None) -> Self:
        """That of a run of before tables had categories: columns of numbers, with means and scales."""
        each = zip(scaling["columns"], scaling["mean"], scaling["scale"], strict=True)
        features = tuple(Feature(name, kinds.NUMBER, mean, mean, scale) for name, mean, scale in each)
        names = None if classes is None else tuple(classes)
        return cls(features, Target(target, names, scaling["target_mean"], scaling["target_scale"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Preprocessing.from_json, (self.as_json(),)

    @property
    def _parts(self) -> tuple[list[Feature], list[Feature]]:
        """The features that are numbers, and those that are categories: the inputs come in this order."""
        return [f for f in self.features if f.kind != CATEGORY], [f for f in self.features if f.kind == CATEGORY]

    def _check(self, cells: Cells) -> None:
        """Raises DataError where the columns or cells are not those of the table."""
        if not cells.rows:
            raise DataError(f"{cells.source} holds no rows")
        absent = [f.name for f in self.features if f.name not in cells.columns]
        if absent:
            known = list(cells.columns)
            near = difflib.get_close_matches(absent[0], known, 1) or [
                name for name in known if name.strip().casefold() == absent[0].casefold()
            ]
            like = f" (is {short(near[0])} meant?)" if near else ""
            raise DataError(
                f"{cells.source} lacks {_listed(absent)}, which the network was trained on{like}; its columns are "
                f"{_listed(known, 20)}"
            )
        bad: faults.Bad = {}
        for f in self.features:
            column = cells.columns[f.name]
            _check_codes(f, column, cells)
            if column.texts is not None:
                faults.note(bad, f.name, column.texts, column.values, kinds.wrong(column, f.kind))
            elif f.kind not in (kinds.NUMBER, CATEGORY):
                numbers = kinds.numbers_of(column, f.kind) if f.kind == kinds.TRUTH else np.full(cells.rows, np.nan)
                strange = np.isnan(numbers) & ~column.missing()
                if strange.any():
                    row = int(strange.argmax())
                    raise DataError(
                        f"{cells.source}, column {short(f.name)} holds numbers ({column.values[row]:g} in "
                        f"{cells.place(row)}), and it held {_IN_WORDS[f.kind]} when the network was trained: write such"
                    )
        if bad:
            what = ", ".join(f"column {short(name)} held {_IN_WORDS[kind]}" for name, kind in self._told(bad))
            raise faults.error(
                cells.source,
                bad,
                cells.rows,
                None,
                cells.delimiter,
                cells.place,
                f"when the network was trained, {what}",
            )

    def _passed_over(self, cells: Cells) -> list[str]:
        """What the network has no input for, in words: columns, missing cells, categories."""
        known = {f.name for f in self.features} | {self.target.name, *self.left_out}
        more = [name for name in cells.columns if name not in known and name not in cells.unnamed[:1]]
        were = "were" if len(more) > 1 else "was"
        told = [f"{_listed(more)} {were} not in the training, and passed over"] if more else []
        return told + [words for f in self.features if (words := self._unknown(f, cells))]

    def _told(self, bad: faults.Bad) -> list[tuple[str, str]]:
        columns = dict.fromkeys(column for _, column in bad)
        kind = {f.name: f.kind for f in self.features}
        return [(name, kind[name]) for name in list(columns)[:SHOWN]]

    def _unknown(self, f: Feature, cells: Cells) -> str | None:
        """What a column holds that no row to train on held, in words."""
        column = cells.columns[f.name]
        if f.kind != CATEGORY:
            count = 0 if f.missing else int(np.isnan(kinds.numbers_of(column, f.kind)).sum())
            lacks = f"lacks {count:,} cell{'s' * (count != 1)}"
            told = f"column {short(f.name)} {lacks}, and lacked none when the network was trained"
            return told if count else None
        texts = kinds.texts_of(column)
        strange = [text not in f.categories for text in texts.distinct]
        count = int(np.array(strange, bool)[texts.values].sum())
        new = [text for text, is_new in zip(texts.distinct, strange, strict=True) if is_new]
        named = [*([_listed(filter(None, new))] if any(new) else []), *(["missing cells"] if "" in new else [])]
        rows = f"{count:,} row{'s' * (count != 1)}"
        told = f"column {short(f.name)} holds {' and '.join(named)} ({rows}), for which the network has no input"
        return told if count else None

    def _encoded(self, cells: Cells, part: slice) -> np.ndarray:
        numbers, categories = self._parts
        fill, encode = self._transformers
        columns = [(f, cells.columns[f.name]) for f in self.features]
        made = []
        if numbers:
            each = [kinds.numbers_of(_rows(c, part), f.kind) for f, c in columns if f.kind != CATEGORY]
            made.append(fill.transform(np.column_stack(each)))
        if categories:
            each = [kinds.texts_of(_rows(c, part)) for f, c in columns if f.kind == CATEGORY]
            cells_of = [np.array(c.texts, object)[c.values] for c in each]
            made.append(encode.transform(np.column_stack(cells_of)))
        return np.hstack(made)

    @cached_property
    def _transformers(self) -> tuple[Any, Any]:
        """scikit-learn's: of the numbers (m, n), and of the categories (m, k)."""
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers, categories = self._parts
        fill = encode = None
        if numbers:
            full = np.array([f.fill for f in numbers])
            holes = np.where([f.missing for f in numbers], np.nan, full)
            imputer = SimpleImputer(strategy="most_frequent", add_indicator=True).fit(np.stack([full, holes]))
            indicators = sum(f.missing for f in numbers)
            scaler = StandardScaler().fit(np.zeros((2, len(numbers) + indicators)))
            scaler.mean_ = np.array([f.mean for f in numbers] + [0.0] * indicators)
            scaler.scale_ = np.array([f.scale or math.inf for f in numbers] + [1.0] * indicators)
            fill = make_pipeline(imputer, scaler)
        if categories:
            known: Any = [np.array(f.categories, object) for f in categories]
            encode = OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)
            encode.fit(np.array([[texts[0] for texts in known]], object))
        return fill, encode


_IN_WORDS = {
    kinds.NUMBER: "numbers",
    kinds.TRUTH: "truth values",
    kinds.DATE: "dates such as 2024-01-31",
    CATEGORY: "categories",
}


def _check_codes(f: Feature, column: Column, cells: Cells) -> None:
    """Raises DataError where numbers stand for codes such as 01067 whose zeros were lost on the way."""
    code = next(filter(faults.PADDED.fullmatch, f.categories), None) if f.kind == CATEGORY else None
    if code is None or column.texts is not None:
        return
    texts, widths = kinds.texts_of(column), {len(text) for text in f.categories}
    new = [text for text in texts.distinct if text and text not in f.categories]
    if any(text.zfill(width) in f.categories for text in new for width in widths) or len(new) == len(texts.distinct):
        raise DataError(
            f"{cells.source}, column {short(f.name)} holds numbers such as {new[0]}, and it held texts such as "
            f"{short(code)} when the network was trained: read it as text, with pandas "
            f'pandas.read_csv(FILE, dtype={{"{f.name}": str}})'
        )


def _rows(column: Column, part: slice) -> Column:
    return column._replace(values=column.values[part])


def _listed(names: Iterable[str], most: int = SHOWN) -> str:
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(short, names[:most])) + more
