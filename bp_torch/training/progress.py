"""Training run to its end, with a display: a bar on a terminal, one line an epoch elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from typing import Unpack

from torch import Tensor
from tqdm import tqdm

from bp_torch.network import Network
from bp_torch.recipe import Recipe, Settings, recipe_of, takes_settings
from bp_torch.state import Position
from bp_torch.training.loop import Record, train


@takes_settings
def fit(
    net: Network,
    data: tuple[Tensor, Tensor],
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    every: int | None = None,
    start: Position | None = None,
    recipe: Recipe | None = None,
    **settings: Unpack[Settings],
) -> list[Record]:
    """`train` run to its end with a progress display; takes its arguments, returns its records."""
    recipe = recipe_of(recipe, settings)
    records = train(net, data, validation=validation, every=every, start=start, recipe=recipe)
    return list(with_progress(records, recipe.epochs, 0 if start is None else start.epoch - 1))


def with_progress(
    records: Iterable[Record], epochs: int, done: int = 0, validation: str = "validation"
) -> Iterator[Record]:
    """Passes the records through, each displayed on a bar on a terminal (stderr), else on a line of its own (stdout).

    done: epochs of a run that goes on. validation: what the validation data is called. A record in the midst of an
    epoch is not displayed.
    """
    if _on_a_terminal():
        with tqdm(total=epochs, initial=done, unit="epoch") as bar:
            for record in records:
                if record.whole:
                    bar.set_postfix_str(_figures(record, validation), refresh=False)
                    bar.update()
                yield record
    else:
        for record in records:
            if record.whole:
                print(f"epoch {record.epoch:{len(str(epochs))}}/{epochs}  {_figures(record, validation)}", flush=True)
            yield record


def _on_a_terminal() -> bool:
    """Whether stderr is one; in a notebook, a service or a test it may be any object, or none."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # ValueError: it is closed
        return False


def _figures(record: Record, validation: str) -> str:
    parts = [f"cost {record.cost:.5f}"]
    if record.validation_cost is not None:
        parts.append(f"{validation} cost {record.validation_cost:.5f}")
    if record.validation_accuracy is not None:
        parts.append(f"{validation} accuracy {record.validation_accuracy:.2%}")
    parts.append(f"{record.seconds:.2f} s of training")
    parts.append(f"{record.examples_per_second:,.0f} examples/s")
    return "  ".join(parts)
