"""Training run to its end, with a display: a bar on a terminal, one line an epoch elsewhere."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, Unpack

from tqdm import tqdm

from bp_torch import checks
from bp_torch.given import Given
from bp_torch.labels import labels_of
from bp_torch.network import Network
from bp_torch.recipe import Recipe, Settings, recipe_of, rule_of, takes_settings
from bp_torch.state import Position
from bp_torch.training.examples import tensors_of
from bp_torch.training.loop import Record, train
from bp_torch.training.stopping import MONITORS, early_stopping


@takes_settings
def fit(
    net: Network,
    data: tuple[Given, Given],
    *,
    validation: tuple[Given, Given] | float | None = None,
    sample_weight: Any = None,
    every: int | None = None,
    start: Position | None = None,
    patience: int | None = None,
    monitor: str = "validation_cost",
    restore_best: bool | None = None,
    progress: bool = True,
    recipe: Recipe | None = None,
    **settings: Unpack[Settings],
) -> list[Record]:
    """`train` run to its end, or to its best, with a progress display; takes its arguments, returns its records.

    patience: stops after so many epochs in a row whose figure is no better than the best before: an equal one is not,
        nor is one that is not finite. Left out, all epochs are run.
    monitor: the figure: "validation_cost", "validation_accuracy" (more is better) or "cost".
    restore_best: gives the network the weights of the best epoch at the end, though it ran through, and though an error
        or Ctrl-C ended it. Left out, True where patience is given.

    progress: whether it is displayed: by a bar on a terminal and in a notebook, elsewhere by a line an epoch.

    The best epoch is `best = min(records, key=lambda record: record.validation_cost)`, or `max` of the accuracy (with
    `every`, of the records that are whole). With restore_best a run goes on from there by `start=best.position`; it
    then counts and compares anew.

    Raises ValueError, before any work, where there is nothing to monitor, and as `train` does.
    """
    recipe = recipe_of(recipe, settings)
    if patience is not None:
        patience = checks.whole("patience", patience, 1)
    if restore_best is None:
        restore_best = patience is not None
    watched = restore_best or patience is not None
    checks.one_of("monitor", monitor, MONITORS)
    if watched and monitor != "cost" and validation is None:
        raise ValueError(f"monitor={monitor!r} needs validation data: give validation=(x, y), or monitor='cost'")
    if not watched and monitor != "validation_cost":
        raise ValueError(f"monitor={monitor!r} says what patience and restore_best go by: give one of them, too")
    progress = checks.flag("progress", progress)
    data = tensors_of("data", data, net)
    if not isinstance(validation, (Real, type(None))):
        validation = tensors_of("validation", validation, net)
    records = train(
        net, data, validation=validation, sample_weight=sample_weight, every=every, start=start, recipe=recipe
    )
    pairs = (data, data if isinstance(validation, (Real, type(None))) else validation)
    if monitor == "validation_accuracy" and any(labels_of(y) is None for _, y in pairs):
        raise ValueError("monitor='validation_accuracy' needs classes as targets, not values: take 'validation_cost'")
    done = 0 if start is None else start.epoch - 1
    displayed = with_progress(records, recipe.epochs, done, rate=callable(recipe.lr)) if progress else records
    return list(
        early_stopping(displayed, net, rule_of(recipe), monitor, patience, restore_best) if watched else displayed
    )


def with_progress(
    records: Iterable[Record], epochs: int, done: int = 0, validation: str = "validation", rate: bool = False
) -> Iterator[Record]:
    """Passes the records through, each displayed: on a bar on a terminal or in a notebook (stderr), else on a line of
    its own (stdout).

    done: epochs of a run that goes on. validation: what the validation data is called. rate: displays η, too. A record
    in the midst of an epoch is not displayed.
    """
    if (notebook := _in_a_notebook()) or _on_a_terminal():
        with (_of_a_notebook() if notebook else tqdm)(total=epochs, initial=done, unit="epoch") as bar:
            for record in records:
                if record.whole:
                    bar.set_postfix_str(_figures(record, validation, rate), refresh=False)
                    bar.update()
                yield record
    else:
        for record in records:
            if record.whole:
                of_all = f"{record.epoch:{len(str(epochs))}}/{epochs}"
                print(f"epoch {of_all}  {_figures(record, validation, rate)}", flush=True)
            yield record


def _in_a_notebook() -> bool:
    """Whether IPython runs this process as a notebook's kernel; without IPython there is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def _of_a_notebook() -> type[tqdm]:
    """tqdm's bar of widgets, where the notebook has widgets; else the plain one, without tqdm's warning of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.autonotebook import tqdm as bar
    return bar


def _on_a_terminal() -> bool:
    """Whether stderr is one; in a notebook, a service or a test it may be any object, or none."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # ValueError: it is closed
        return False


def _figures(record: Record, validation: str, rate: bool) -> str:
    parts = [f"cost {record.cost:.5f}"]
    if record.validation_cost is not None:
        parts.append(f"{validation} cost {record.validation_cost:.5f}")
    if record.validation_accuracy is not None:
        parts.append(f"{validation} accuracy {record.validation_accuracy:.2%}")
    if rate:
        parts.append(f"η {record.lr:.3g}")
    parts.append(f"{record.seconds:.2f} s of training")
    parts.append(f"{record.examples_per_second:,.0f} examples/s")
    return "  ".join(parts)
