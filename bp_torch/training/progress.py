"""Training run to its end, shown: a bar on a terminal, one line an epoch elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from tqdm import tqdm

from bp_torch.network import Network
from bp_torch.training.loop import Record, train


def fit(net: Network, data: tuple[Tensor, Tensor], *, epochs: int = 30, **settings: Any) -> list[Record]:
    """`train` run to its end with a progress display; takes its arguments, returns its records."""
    return list(shown(train(net, data, epochs=epochs, **settings), epochs))


def shown(records: Iterable[Record], epochs: int, done: int = 0) -> Iterator[Record]:
    """Passes the records through; shows each on a bar on a terminal (stderr), else on a line of its own (stdout).

    done: epochs of a run that goes on. A record in the midst of an epoch is not shown.
    """
    if sys.stderr.isatty():
        with tqdm(total=epochs, initial=done, unit="epoch") as bar:
            for record in records:
                if record.whole:
                    bar.set_postfix_str(_figures(record), refresh=False)
                    bar.update()
                yield record
    else:
        for record in records:
            if record.whole:
                print(f"epoch {record.epoch:{len(str(epochs))}}/{epochs}  {_figures(record)}", flush=True)
            yield record


def _figures(record: Record) -> str:
    parts = [f"cost {record.cost:.5f}"]
    if record.validation_cost is not None:
        parts.append(f"validation cost {record.validation_cost:.5f}")
    if record.validation_accuracy is not None:
        parts.append(f"accuracy {record.validation_accuracy:.2%}")
    parts.append(f"{record.seconds:.2f} s")
    parts.append(f"{record.examples_per_second:,.0f} examples/s")
    return "  ".join(parts)
