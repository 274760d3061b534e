"""Config: what a run was asked for, as one frozen value; config.json holds it, one level deep.

A run depends on it whole: the data set, the network, and the `Recipe` by which it is trained.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any, Self

import torch

from bp_torch import checks
from bp_torch.activations import ACTIVATIONS
from bp_torch.borrowed import Borrowed
from bp_torch.costs import COSTS
from bp_torch.data.named import DATASETS, Choice, check_choice, is_table, joined
from bp_torch.data.sources import of_sheet
from bp_torch.initialisers import INITIALISERS
from bp_torch.network import Network
from bp_torch.recipe import Recipe, as_text, option
from bp_torch.saving import durable
from bp_torch.schedules import Schedule
from bp_torch.training import engines

FILE = "config.json"
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
ABOUT = {
    "sizes": list,
    "classes": list,
    "image": list,
    "paper": float,
    "versions": dict,
    "table": dict,
}  # what else the file holds, for its reader
KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "names with values",
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a run was asked for.

    dataset: a name of `DATASETS`, or a table's path. data_dir: where its files are or go. target: a table's column.
    task: "classification" or "regression", where the column's cells are not to decide it; a run's own says what it is.
    drop: columns of a table to leave out, "a,b" or ["a", "b"]. test_share, test_file: the share of its rows that are
        tested on, a fifth if left out, or a file of such rows.
    device: "auto" is CUDA where there is one.
    hidden: the widths of the hidden layers, "100,50" or [100, 50]. activation, cost, init, dtype: as `Network.create`
        takes them, by name.
    checkpoint_every: in epochs; below 1, a share of one.
    patience: a tenth of the training examples is held out to validate on, chosen by the recipe's seed. The run ends
        after so many epochs in a row without a lower cost on them, and has the weights of its best epoch then.
    recipe: how it is trained; its lr is a number or a schedule.
    sha256: what the data is recognised by; None where its files are verified anyway.
    about: for who reads the file: sizes of the layers, names of the classes, height and width of the images and the
        shade around them, versions, and a table's scaling.

    Raises ValueError for a name or a number that can't be used, before anything is loaded.
    """

    dataset: str = option(
        "mnist",
        f"{', '.join(DATASETS)}, or a table: FILE.csv, FILE.tsv, either also with .gz after it, or FILE.parquet",
    )
    data_dir: str | None = option(
        None, "where downloads are or go (default: data), or the four files of idx", str, "DIR"
    )
    target: str | None = option(None, "the column of FILE.csv to predict; the others are features", str, "COLUMN")
    task: str | None = option(
        None,
        {
            "classification": "the column holds classes, whatever its cells look like",
            "regression": "the column holds values, whole numbers such as counts too",
        },
        str,
    )
    drop: str | Sequence[str] = option("", "columns of FILE.csv to leave out, as in id,name", metavar="A,B")
    test_share: float | None = option(
        None, "the share of the table's rows to test on, with about the same of every class (default: 0.2)", float, "X"
    )
    test_file: str | None = option(None, "a table of the rows to test on, in place of a share", str, "FILE.csv")
    device: str = option("auto", "auto (cuda where there is one), cpu, cuda, cuda:N")
    hidden: str | int | Sequence[int] = option("30", "neurons of the hidden layers, as in 100,50", metavar="N,N")
    activation: str = option("sigmoid", ", ".join(ACTIVATIONS))
    cost: str = option("quadratic", f"{', '.join(COSTS)}; softmax_cross_entropy for classes by relu, tanh and the like")
    init: str | None = option(
        None,
        f"{', '.join(INITIALISERS)} (default: normal, as in the book, for MNIST by sigmoid with quadratic cost; else "
        "what fits the activation)",
        str,
    )
    dtype: str = option("float32", ", ".join(DTYPES))
    checkpoint_every: float = option(1.0, "save every N epochs; 0.1: ten times an epoch")
    patience: int | None = option(
        None,
        "stop after N epochs without a lower cost on a tenth of the training examples, which is held out, and keep the "
        "best epoch's weights",
        int,
    )
    recipe: Recipe = field(default_factory=Recipe)
    sha256: str | None = field(default=None, metadata={"kind": str})
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, str):
            widths = self.hidden if isinstance(self.hidden, (list, tuple)) else [self.hidden]
            object.__setattr__(self, "hidden", ",".join(map(str, widths)))
        if isinstance(self.drop, (list, tuple)):
            object.__setattr__(self, "drop", joined(self.drop))
        for each in _own_fields():
            _check_kind(each.name, getattr(self, each.name), each.metadata["kind"])
        if not isinstance(self.recipe, Recipe):
            raise ValueError(f"recipe must be a bp.Recipe, not {type(self.recipe).__name__}")
        if callable(self.recipe.lr) and not isinstance(self.recipe.lr, Schedule):
            raise ValueError("lr must be a number or a schedule in a run, since its config is kept as text")
        if callable(self.recipe.shuffle):
            raise ValueError("shuffle must be True or False in a run, since its config is kept as text")
        if isinstance(self.recipe.optimizer, Borrowed):
            raise ValueError(
                "optimizer must be an entry of bp.OPTIMISERS in a run, since its config is kept as text, not "
                f"{self.recipe.optimizer} of torch.optim"
            )
        if told := of_sheet(self.dataset):
            raise ValueError(told)
        if self.dataset not in DATASETS and not is_table(self.dataset):
            raise ValueError(f"unknown dataset {self.dataset!r}: choose one of {', '.join(DATASETS)}, or a FILE.csv")
        if is_table(self.dataset) != (self.target is not None):
            raise ValueError("target must name the column to predict where the dataset is a FILE.csv, and only there")
        check_choice(self.dataset, self.choice)
        if self.dataset == "idx" and self.data_dir is None:
            raise ValueError("data_dir must be the folder of the four IDX files, for dataset idx")
        checks.one_of("activation", self.activation, ACTIVATIONS)
        checks.one_of("cost", self.cost, COSTS)
        checks.one_of("dtype", self.dtype, DTYPES)
        if self.init is not None:
            checks.one_of("init", self.init, INITIALISERS)
        engines.check_names(self.recipe)
        for width in self.widths:
            checks.whole("every layer size", width, 1)
        object.__setattr__(self, "checkpoint_every", checks.positive("checkpoint_every", self.checkpoint_every))
        if self.patience is not None:
            checks.whole("patience", self.patience, 1)
        if self.checkpoint_every >= 1 and self.checkpoint_every % 1:
            raise ValueError(f"checkpoint_every must be a whole number or below 1, not {self.checkpoint_every:g}")

    @property
    def widths(self) -> list[int]:
        """Neurons of each hidden layer."""
        try:
            return [int(width) for width in str(self.hidden).split(",")]
        except ValueError:
            raise ValueError(f"hidden must list whole numbers, as in 100,50, not {self.hidden!r}") from None

    @property
    def choice(self) -> Choice:
        """What is asked of a table besides its target."""
        return Choice(self.task, str(self.drop), self.test_share, self.test_file)

    @property
    def validation(self) -> str:
        """What the validation figures of the run's records are of: the test examples, or others that were held out."""
        return "test" if self.patience is None else "validation"

    def network(self, inputs: int, outputs: int, output: str | None = None) -> Network:
        """The network before training, between data of so many inputs and outputs."""
        return Network.create(
            [inputs, *self.widths, outputs],
            hidden=self.activation,
            cost=self.cost,
            output=output,
            init=self.init,
            seed=self.recipe.seed,
            device=self.device,
            dtype=DTYPES[self.dtype],
        )

    def image(self, inputs: int) -> tuple[int, int] | None:
        """Height and width of the images that so many inputs are; None where they are none.

        Runs of older versions don't say so: their images are square, if they can be.
        """
        height, width = self.about.get("image") or (math.isqrt(inputs),) * 2
        return None if is_table(self.dataset) or height * width != inputs else (height, width)

    def is_same_run(self, other: "Config") -> bool:
        """Whether both describe one run; the data may lie elsewhere."""
        place = {"data_dir", "dataset", "test_file"} if self.sha256 else {"data_dir"}
        mine, theirs = self.settings(), other.settings()
        return all(mine[name] == theirs[name] for name in mine.keys() - place)

    def settings(self) -> dict[str, Any]:
        """All but `about`, in one level: what a checkpoint holds."""
        values = {each.name: getattr(self, each.name) for each in _own_fields()}
        recipe = {each.name: as_text(each.name, getattr(self.recipe, each.name)) for each in fields(Recipe)}
        return {**values, **recipe}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration of these settings, as `settings` gives them; what is left out is the default.

        What is no field of it goes into `about`. Raises ValueError for a value of another type than its field's.
        """
        for each in (*_own_fields(), *fields(Recipe)):
            _check_kind(each.name, settings.get(each.name), each.metadata["kind"])
        for name, kind in ABOUT.items():
            _check_kind(name, settings.get(name), kind)
        if not all(isinstance(name, str) for name in settings.get("classes") or ()):
            raise ValueError("classes holds what is no name")
        image = settings.get("image")
        if image is not None and ([type(side) for side in image] != [int, int] or min(image) < 1):
            raise ValueError("image holds other than height and width")
        own, recipe = ({each.name for each in some} for some in (_own_fields(), fields(Recipe)))
        present = {name: value for name, value in settings.items() if value is not None}
        return cls(
            **{name: value for name, value in present.items() if name in own},
            recipe=Recipe(**{name: value for name, value in present.items() if name in recipe}),
            about={name: value for name, value in settings.items() if name not in own | recipe},
        )


def _own_fields() -> Iterator[Field[Any]]:
    return (each for each in fields(Config) if "kind" in each.metadata)


def _check_kind(name: str, value: object, kind: type) -> None:
    wanted = (Real, str) if name == "lr" else Real if kind is float else kind  # a schedule is text
    if value is not None and (isinstance(value, bool) is not (kind is bool) or not isinstance(value, wanted)):
        raise ValueError(f"{name} is {value!r}, not {KINDS[kind]}")


def write(folder: Path, config: Config) -> None:
    """Writes config.json, whole or not at all."""
    text = json.dumps({**config.settings(), **config.about}, indent=2)
    durable.write(folder / FILE, (text + "\n").encode())


def read(folder: Path) -> Config:
    """The configuration of the run in this folder; raises ValueError where its file is not what `write` wrote."""
    path = folder / FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_finite)
        if not isinstance(settings, dict) or not isinstance(settings.get("dataset"), str):
            raise ValueError("it names no data set")
        return Config.of(settings)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _finite(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"it holds {digits}")
    return value
