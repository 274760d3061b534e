"""What a run depends on, as one frozen value: `Recipe`.

A field belongs in it if it changes the bits of the weights. The loop, the engines, the run's folder and the command
line take it whole. To add an option: one field with its check, its line in `Settings`, and the place that uses it.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict, TypeVar, cast

from bp_torch import checks
from bp_torch.network import Network
from bp_torch.optimisers import OPTIMISERS, SGD, Optimiser, optimiser

Rate = float | Callable[[int], float]
"""η, or a function of the epoch (from 1) that gives it."""

RENAMED = {"ieee": "dtype"}
"""Names of precisions as earlier versions wrote them."""

MOST_THREADS = 1024  # where a system can't start so many, OpenMP ends the process


class Settings(TypedDict, total=False):
    """The fields of `Recipe` as keywords, for functions that take them so."""

    epochs: int
    batch_size: int
    lr: Rate | None
    optimizer: str | Optimiser
    seed: int
    engine: str
    precision: str
    threads: int | None


def option(default: Any, about: str | Mapping[str, str], kind: type | None = None, metavar: str | None = None) -> Any:
    """A field with what a command line and a JSON file need of it.

    about: a line of help; or one for each value there is, which a command line then takes as a flag, --VALUE. kind: the
    type of its value; left out, the default's. metavar: what stands for the value in the help.
    """
    kind = kind or type(default)
    metavar = metavar or {int: "N", float: "X"}.get(kind, "NAME")
    return field(default=default, metadata={"help": about, "kind": kind, "metavar": metavar})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run depends on besides its network and its data.

    epochs: passes over the examples.
    batch_size: examples a step. The last batch of an epoch holds what is left over, and its gradient is its own mean.
    lr: η, the step along −∂C/∂w; a number, or a function that is asked for it at the start of each epoch, with the
        epoch's number. Left out, `fitting_rate` of the network and the optimiser.
    optimizer: the rule by which a gradient changes the parameters: a key of `OPTIMISERS`, alone or with its options, as
        in "adam(weight_decay=0.01)", or an entry, bp.Adam(weight_decay=0.01). "sgd" is plain gradient descent.
    seed: the order of the examples in an epoch depends on seed and epoch alone.
    engine: how the steps are run; the trajectory is the same up to rounding. "eager" runs them as written. "native"
        (CPU) prints them as C++ and compiles that in about a second; "compiled" compiles them by torch.compile in about
        twenty; "graph" (CUDA) captures them as a CUDA graph; "persistent" (CUDA) runs an epoch of a tiny
        network as one Triton kernel. "auto" chooses by device, size and length of the run.
    precision: "dtype" computes in the network's own dtype. For networks of float32: "tf32" (CUDA) multiplies in tf32;
        "bf16" (CUDA, and CPUs that have its instructions) multiplies in bfloat16 and keeps and updates the weights in
        float32.
    threads: of the CPU, for the steps and the validation. Left out, one where both are small, whatever the engine, and
        else torch's own number, `torch.get_num_threads()`.

    Raises ValueError for a number that can't be used. Whether a device has an engine or a precision, `train` says.
    """

    epochs: int = option(30, "passes over the training examples")
    batch_size: int = option(10, "examples a step")
    lr: Rate | None = option(
        None, "learning rate η (default: 3, the book's, for sigmoid with quadratic; else 0.1)", float
    )
    optimizer: str | Optimiser = option(
        "sgd", f"{', '.join(OPTIMISERS)}; with options: 'adam(weight_decay=0.01)'", metavar="RULE"
    )
    seed: int = option(0, "of the weights and the batches")
    engine: str = option("auto", "what runs the steps: auto, eager, native, compiled, graph or persistent")
    precision: str = option("dtype", "of the products: dtype (the network's own), tf32 or bf16")
    threads: int | None = option(None, "of the CPU (default: 1 for small steps, else torch's own number)", int)

    def __post_init__(self) -> None:
        put = object.__setattr__  # a frozen value is set once, here
        put(self, "epochs", checks.whole("epochs", self.epochs, 1))
        put(self, "batch_size", checks.whole("batch_size", self.batch_size, 1))
        if self.lr is not None and not callable(self.lr):
            put(self, "lr", checks.positive("lr", self.lr))
        put(self, "optimizer", optimiser(self.optimizer))
        put(self, "seed", checks.seed(self.seed))
        if self.threads is not None:
            put(self, "threads", checks.whole("threads", self.threads, 1))
            if self.threads > MOST_THREADS:
                raise ValueError(f"threads must be at most {MOST_THREADS}, not {self.threads}")
        for name in ("engine", "precision"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a name, not {getattr(self, name)!r}")
        put(self, "precision", RENAMED.get(self.precision, self.precision))


def rule_of(recipe: Recipe) -> Optimiser:
    """The recipe's optimizer as an entry of `OPTIMISERS`, which a name became when the recipe was made."""
    return optimiser(recipe.optimizer)


def fitting_rate(net: Network, rule: Optimiser) -> float:
    """The η of a recipe that names none.

    Of gradient descent it is the book's 3 for sigmoid neurons with quadratic cost, else 0.1. With momentum μ it is
    1 − μ times that, since the sum grows to 1 / (1 − μ) gradients. Of the others it is torch.optim's.
    """
    if rule.rate is not None:
        return rule.rate
    book = net.cost_function.name == "quadratic" and all(f.name == "sigmoid" for f in net.activations)
    momentum = rule.momentum if isinstance(rule, SGD) else 0.0
    return (3.0 if book else 0.1) * (1 - momentum)


FIELDS = tuple(each.name for each in fields(Recipe))
F = TypeVar("F", bound=Callable[..., Any])


def recipe_of(recipe: Recipe | None, settings: Mapping[str, Any]) -> Recipe:
    """The recipe (the default one if None) with these settings in the place of its own.

    Raises TypeError for a setting that does not exist, ValueError for one that can't be used.
    """
    for name in settings:
        if name not in FIELDS:
            raise TypeError(f"there is no setting {name!r}: there are {', '.join(FIELDS)}")
    if recipe is not None and not isinstance(recipe, Recipe):
        raise ValueError(f"recipe must be a bp.Recipe, not {type(recipe).__name__}: name settings as keywords")
    return replace(recipe or Recipe(), **settings)


def takes_settings(function: F) -> F:
    """Shows the fields of `Recipe` in the place of a function's **settings, for `help` and for completion.

    The function takes a network and data, and all else by name: x and y apart are told to be one pair.
    """
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    options = inspect.signature(Recipe).parameters.values()

    @functools.wraps(function)
    def with_a_pair(*given: Any, **named: Any) -> Any:
        if len(given) > 2:
            name = function.__name__
            raise TypeError(
                f"give the data as one pair, bp.{name}(net, (x, y)), and all else by name, validation=(x, y)"
            )
        return function(*given, **named)

    with_a_pair.__signature__ = signature.replace(parameters=[*own, *options])  # pyright: ignore[reportAttributeAccessIssue]
    return cast(F, with_a_pair)
