"""What a run depends on, as one frozen value: `Recipe`.

A field belongs in it if it changes the bits of the weights. The loop, the engines, the run's folder and the command
line take it whole. To add an option: one field with its check, its line in `Settings`, and the place that uses it.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict, TypeVar, cast

from torch.optim import Optimizer

from bp_torch import checks, factors
from bp_torch.borrowed import Borrowed
from bp_torch.network import Network
from bp_torch.optimisers import OPTIMISERS, SGD, optimiser
from bp_torch.schedules import Schedule, schedule
from bp_torch.updates import Optimiser

Rate = float | str | Schedule | Callable[[int], float]
"""η; a schedule of it, by the progress of the run, or its text; or a function of the epoch (from 1) that gives it."""

Order = Callable[[int, int], Any]
"""(epoch, from 1; m) -> the order of an epoch: m indices from 0 to m − 1."""

RENAMED = {"ieee": "dtype"}
"""Names of precisions as earlier versions wrote them."""

MOST_THREADS = 1024  # where a system can't start so many, OpenMP ends the process


class Settings(TypedDict, total=False):
    """The fields of `Recipe` as keywords, for functions that take them so."""

    epochs: int
    batch_size: int
    lr: Rate | None
    optimizer: str | Optimiser | Optimizer
    rate_factors: Mapping[str, float] | str | None
    decay_factors: Mapping[str, float] | str | None
    l2: float
    l1: float
    max_norm: float | None
    dropout: float | Sequence[float] | str
    clip_norm: float | None
    clip_value: float | None
    label_smoothing: float
    class_weight: str | Mapping[int, float] | Mapping[str, float] | None
    accumulate: int
    shuffle: bool | Order
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
    lr: η, the step along −∂C/∂w; a number; an entry of `SCHEDULES`, as in bp.schedules.cosine(0.1, warmup=0.05), whose
        rate is taken anew at each step; or a function that is asked for it at the start of each epoch, with the epoch's
        number. Left out, here or in a schedule, torch's default for the optimizer; of "sgd" 0.1, or the book's 3 for
        sigmoid neurons with quadratic cost, times 1 − momentum.
    optimizer: the rule by which a gradient changes the parameters: a key of `OPTIMISERS`, alone or with its options, as
        in "adam(weight_decay=0.01)", or an entry, bp.Adam(weight_decay=0.01). "sgd" is plain gradient descent. Or an
        optimiser of torch.optim that holds tensors of net.parameters(), all or some; the others then stay as they are.
        It runs on the engine "eager". Its rates are its own: a scheduler of torch steps them between two records. What
        it keeps is saved by its state_dict, beside the network and the position.
    rate_factors, decay_factors: of η, and of the optimiser's weight_decay, for some of the parameters: {"biases": 0}.
        The parts are "weights", "biases", "first" (layer) and "last". A factor 0 of η leaves them as they are.
    l2, l1: λ of the penalties (λ/2n) Σ w² and (λ/n) Σ |w| that the cost is given, for n training examples (those that
        count for more than 0); of weights alone, as in the book. An optimiser's own weight_decay is torch's: λ itself,
        biases included, and no part of a reported cost.
    max_norm: the most that the norm of the weights into a neuron can be after a step. Left out, any.
    dropout: with which probability an activation is left out of a step before it enters a layer. One number is of each
        hidden layer; two are of the inputs and of each hidden layer; else one for what enters each layer.
    clip_norm: the most that the norm of a step's gradient can be, all parameters together, penalties included: it is
        scaled down to that, as by torch's clip_grad_norm_. clip_value: the same of each of its values, after that.
    label_smoothing: ε. Targets that are one class of K become (1 − ε) y + ε/K, as in torch's CrossEntropyLoss; labels
        that are each true or false (1 − ε) y + ε/2. A weight of the class stands before the whole smoothed cost; torch
        weighs the share of each class by itself.
    class_weight: what examples of a class count for, {class: weight}; 1 where a class is not named. "balanced" gives
        all classes the same sum of weights, those of sample_weight counted, as in scikit-learn. A run of `bp.runs`
        takes names, too.
    accumulate: how many batches of batch_size make one step, whose gradient is the mean over all their examples. It is
        a larger batch in the memory of a smaller one. The engine "native" can't.
    shuffle: whether the examples come in a new order in each epoch, rather than as they stand. Or a function that gives
        the order: of the epoch's number (from 1) and of m, how many examples count, it returns m indices from 0 to
        m − 1. One may come twice and another not at all.
    seed: the order of the examples in an epoch, and what dropout leaves out, depend on seed and epoch alone.
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
        None,
        "learning rate η (default: the optimizer's; of sgd 3, the book's, for sigmoid with quadratic, else 0.1)",
        float,
    )
    optimizer: str | Optimiser | Optimizer = option(
        "sgd", f"{', '.join(OPTIMISERS)}; with options: 'adam(weight_decay=0.01)'", metavar="RULE"
    )
    rate_factors: Mapping[str, float] | str | None = option(
        None, f"of η for some parameters, as in biases:0.5; parts: {', '.join(factors.PARTS)}", str, "PART:X"
    )
    decay_factors: Mapping[str, float] | str | None = option(
        None, "the same of the optimizer's weight_decay, as in biases:0", str, "PART:X"
    )
    l2: float = option(0.0, "λ of the penalty (λ/2n) Σ w², as in the book; biases have none", metavar="LAMBDA")
    l1: float = option(0.0, "λ of the penalty (λ/n) Σ |w|", metavar="LAMBDA")
    max_norm: float | None = option(None, "most that the norm of the weights into a neuron can be", float)
    dropout: float | Sequence[float] | str = option(
        (), "shares left out: of hidden layers, 0.5; of inputs and hidden layers, 0.2,0.5", str, "P,P"
    )
    clip_norm: float | None = option(None, "most that the norm of a step's gradient can be", float)
    clip_value: float | None = option(None, "most that a value of the gradient can be", float)
    label_smoothing: float = option(0.0, "ε: share of a target that is spread over all classes")
    class_weight: str | Mapping[int, float] | Mapping[str, float] | None = option(
        None, "what examples of a class count for: balanced, or setosa:2,virginica:0.5", str, "CLASS:X"
    )
    accumulate: int = option(1, "batches that make one step")
    shuffle: bool | Order = option(True, "the examples in a new order in each epoch", bool)
    seed: int = option(0, "of the weights, the batches and dropout")
    engine: str = option("auto", "what runs the steps: auto, eager, native, compiled, graph or persistent")
    precision: str = option("dtype", "of the products: dtype (the network's own), tf32 or bf16")
    threads: int | None = option(None, "of the CPU (default: 1 for small steps, else torch's own number)", int)

    def __post_init__(self) -> None:
        put = object.__setattr__  # a frozen value is set once, here
        put(self, "epochs", checks.whole("epochs", self.epochs, 1))
        put(self, "batch_size", checks.whole("batch_size", self.batch_size, 1))
        if isinstance(self.lr, type):
            raise ValueError(f"lr is the class {self.lr.__name__}: give one of it, as in bp.schedules.cosine(0.1)")
        if isinstance(self.lr, str):
            put(self, "lr", _schedule(self.lr))
        if self.lr is not None and not callable(self.lr):
            put(self, "lr", checks.positive("lr", self.lr))
        put(self, "optimizer", optimiser(self.optimizer))
        if isinstance(self.optimizer, Borrowed):
            for name in ("lr", "rate_factors", "decay_factors"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} can't stand beside an optimiser of torch.optim, whose groups of parameters have their "
                        f"own lr and weight_decay: give it to {self.optimizer} itself"
                    )
        for name in ("rate_factors", "decay_factors"):
            if getattr(self, name) is not None:
                put(self, name, factors.checked(name, getattr(self, name)))
        for name in ("l2", "l1"):
            put(self, name, checks.within(name, getattr(self, name), 0))
        for name in ("max_norm", "clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                put(self, name, checks.positive(name, getattr(self, name)))
        put(self, "dropout", _probabilities(self.dropout))
        put(self, "label_smoothing", checks.within("label_smoothing", self.label_smoothing, 0, 1))
        put(self, "class_weight", _class_weight(self.class_weight))
        put(self, "accumulate", checks.whole("accumulate", self.accumulate, 1))
        if not callable(self.shuffle):
            put(self, "shuffle", checks.flag("shuffle", self.shuffle))
        put(self, "seed", checks.seed(self.seed))
        if self.threads is not None:
            put(self, "threads", checks.whole("threads", self.threads, 1))
            if self.threads > MOST_THREADS:
                raise ValueError(f"threads must be at most {MOST_THREADS}, not {self.threads}")
        for name in ("engine", "precision"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a name, not {getattr(self, name)!r}")
        put(self, "precision", RENAMED.get(self.precision, self.precision))

    def __hash__(self) -> int:
        """Of all fields; a mapping's order does not count, as it does not where two are compared."""
        values = (getattr(self, each.name) for each in fields(self))
        return hash(tuple(frozenset(value.items()) if isinstance(value, Mapping) else value for value in values))


def _schedule(text: str) -> Schedule:
    try:
        return schedule(text)
    except ValueError as error:
        raise ValueError(f"lr must be a number or a schedule, and {text!r} is none: {error}") from error


def _probabilities(dropout: object) -> tuple[float, ...]:
    """The probabilities that `dropout` names."""
    if isinstance(dropout, str):
        try:
            dropout = [float(part) for part in dropout.split(",")]
        except ValueError:
            raise ValueError(f"dropout must be numbers from 0 to below 1, as in 0.2,0.5, not {dropout!r}") from None
    several = dropout if isinstance(dropout, Sequence) else [dropout]
    rates = tuple(checks.within("dropout", rate, 0, 1) for rate in several)
    return rates if any(rates) else ()


def _class_weight(value: object) -> str | dict[int | str, float] | None:
    """What `class_weight` names."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    if not isinstance(value, (str, Mapping)):
        raise ValueError(f'class_weight must be "balanced" or {{class: weight}}, not {value!r}')
    weights: dict[int | str, float] = {}
    for name, weight in checks.pairs("class_weight", value, "balanced or 0:1,3:5"):
        if isinstance(name, str):
            if "," in name or name != name.strip():
                raise ValueError(f"class_weight must give the class {name!r} by its number: commas part the classes")
            name = int(name) if name.isdecimal() and str(int(name)) == name else name  # 007 is a name
        else:
            name = checks.whole("a class of class_weight", name, 0)
        if name in weights:
            raise ValueError(f"class_weight must name each class once, and {name!r} is named twice")
        weights[name] = checks.within(f"class_weight of class {name}", weight, 0)
    return weights


def dropout_of(recipe: Recipe, layers: int) -> tuple[float, ...]:
    """The probability for what enters each of so many layers; empty where nothing is dropped.

    Raises ValueError where the recipe's are not as many.
    """
    rates = cast(tuple[float, ...], recipe.dropout)
    if not rates or (len(rates) == layers and layers != 1):
        return rates
    if len(rates) == 2 or (len(rates) == 1 and layers > 1):
        inputs, hidden = (0.0, *rates)[-2:]
        return (inputs, *[hidden] * (layers - 1))
    if layers == 1:
        raise ValueError("dropout=p is of the hidden layers, and this network has none: leave it away")
    raise ValueError(
        f"dropout has {len(rates)} probabilities, and {layers} layers are entered: give one for each, or two, of the "
        "inputs and of each hidden layer"
    )


def as_text(name: str, value: Any) -> Any:
    """A field's value as the text that `Recipe` reads, where it is no number or text itself; None where it is empty."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{number!r}" for key, number in value.items()) or None
    if name == "dropout":
        return ",".join(map(repr, value)) or None
    return str(value) if isinstance(value, (Optimiser, Schedule)) else value


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
    return round((3.0 if book else 0.1) * (1 - momentum), 12)


def with_rate(recipe: Recipe, net: Network) -> Recipe:
    """The recipe with the `fitting_rate` where it, or its schedule, names none. A borrowed optimiser has its own."""
    if isinstance(recipe.optimizer, Borrowed):
        return recipe
    fitting = fitting_rate(net, rule_of(recipe))
    if recipe.lr is None:
        return replace(recipe, lr=fitting)
    if isinstance(recipe.lr, Schedule) and recipe.lr.rate is None:
        return replace(recipe, lr=replace(recipe.lr, rate=fitting))
    return recipe


FIELDS = tuple(each.name for each in fields(Recipe))
F = TypeVar("F", bound=Callable[..., Any])


def recipe_of(recipe: Recipe | None, settings: Mapping[str, Any]) -> Recipe:
    """The recipe (the default one if None) with these settings in the place of its own.

    Raises TypeError for a setting that does not exist, ValueError for one that can't be used.
    """
    for name in settings:
        if name not in FIELDS:
            raise TypeError(_unknown(name))
    if recipe is not None and not isinstance(recipe, Recipe):
        raise ValueError(f"recipe must be a bp.Recipe, not {type(recipe).__name__}: name settings as keywords")
    return replace(recipe or Recipe(), **settings)


ELSEWHERE = {
    **dict.fromkeys(("momentum", "weight_decay", "betas", "eps", "nesterov"), 'optimizer="sgd(momentum=0.9)", say'),
    **dict.fromkeys(("patience", "monitor", "restore_best"), "bp.fit, which has it"),
    **dict.fromkeys(("learning_rate", "eta"), "lr"),
    **dict.fromkeys(("validation_data", "eval_set"), "validation=(x, y)"),
    **dict.fromkeys(("validation_split", "validation_fraction"), "validation=0.1"),
    "verbose": "bp.fit(…, progress=False)",
}
"""Where to find what people look for among the settings."""


def _unknown(name: str) -> str:
    hint = f"; for this take {ELSEWHERE[name]}" if name in ELSEWHERE else ""
    return f"there is no setting {name!r}: there are {', '.join(FIELDS)}{hint}"


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
