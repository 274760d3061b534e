"""What an estimator's parameters stand for: activations, costs, update rules, and a `Recipe` of it all."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions
from torch import Tensor

from bp_torch.activations import ACTIVATIONS, Activation
from bp_torch.adam import Adam
from bp_torch.costs import COSTS, Cost
from bp_torch.optimisers import OPTIMISERS, SGD, optimiser
from bp_torch.schedules import Schedule
from bp_torch.updates import Numbers, Optimiser

THEIR_NAMES = {"sigmoid": "logistic"}
"""Activations that scikit-learn calls otherwise."""

NAMES = {theirs: ours for ours, theirs in THEIR_NAMES.items()}

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({*NAMES, *ACTIVATIONS}), Activation, "array-like"],
    "solver": [StrOptions({"lbfgs", *OPTIMISERS}), Optimiser],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither"), Schedule],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "cost": [StrOptions(set(COSTS)), Cost, None],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "l1": [Interval(Real, 0, None, closed="left")],
    "max_norm": [Interval(Real, 0, None, closed="neither"), None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "restore_best": ["boolean", None],
    "transform_layer": [Integral],
    "device": [str],
    "engine": [str],
    "precision": [str],
    "threads": [Interval(Integral, 1, None, closed="left"), None],
}
"""What each parameter may be, as scikit-learn's own checks take it; the first 23 are its own."""


def hidden_sizes(hidden_layer_sizes: Any) -> list[int]:
    """The neurons of each hidden layer. Raises ValueError where one is not positive, TypeError for no whole number."""
    sizes = list(hidden_layer_sizes) if hasattr(hidden_layer_sizes, "__iter__") else [hidden_layer_sizes]
    if np.any(np.array(sizes) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(f"hidden_layer_sizes must be whole numbers, got {size!r} in {sizes}.")
    return [int(size) for size in sizes]


def hidden_activations(activation: Any, layers: int) -> list[Activation]:
    """The activation of each of so many hidden layers. Raises ValueError for a name or a number that does not fit."""
    if isinstance(activation, (str, Activation)):
        return [_activation(activation)] * layers
    each = [_activation(one) for one in cast(Sequence[Any], activation)]
    if len(each) != layers:
        raise ValueError(f"activation names {len(each)} activations, and hidden_layer_sizes {layers} layers.")
    return each


def _activation(choice: Any) -> Activation:
    if isinstance(choice, Activation):
        return choice
    name = NAMES.get(choice, choice)
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {choice!r}: choose one of {', '.join([*NAMES, *ACTIVATIONS])}.")
    return ACTIVATIONS[name]


def cost_of(cost: str | Cost | None, fitting: str) -> Cost:
    """The cost that is asked for, or the one that fits."""
    return cost if isinstance(cost, Cost) else COSTS[fitting if cost is None else cost]


def output_of(cost: Cost, otherwise: str) -> Activation:
    """The output activation of this cost; where it takes any, the one of that name."""
    return cost.output or ACTIVATIONS[otherwise]


CALLED = {
    r"\ba smaller lr\b": "a smaller learning_rate_init",
    r"\boptimizer=": "solver=",
    r"\bl2\b": "alpha",
    r", or make the network with cost='quadratic' and output='identity'": "",
}
"""What messages of training call otherwise than an estimator's parameters."""


def as_parameters(message: str) -> str:
    """A message of training in the words of an estimator's parameters."""
    for ours, theirs in CALLED.items():
        message = re.sub(ours, theirs, message)
    return message


@dataclass(frozen=True, kw_only=True)
class TheirAdam(Adam):
    """Adam as scikit-learn has it: ε stands beside √v, which is not yet unbiased.

    Source: D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization" (2015), the end of section 2.
    """

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        *before, eps, decay = super().numbers(rate, t)
        return *before, eps * (1 - self.betas[1] ** t) ** -0.5, decay


def rule_of(
    solver: Any, momentum: float, nesterovs_momentum: bool, betas: tuple[float, float], epsilon: float
) -> Optimiser:
    """The update rule of a solver; the options of scikit-learn's two are parameters, all others bring their own."""
    if solver == "sgd":
        below_1 = min(float(momentum), float(np.nextafter(1, 0)))  # 1 itself is allowed there
        return SGD(momentum=below_1, nesterov=bool(nesterovs_momentum and momentum))
    if solver == "adam":
        return TheirAdam(betas=betas, eps=epsilon)
    return optimiser(solver)


def order_by(random_state: np.random.RandomState) -> Callable[[int, int], Any]:
    """The orders of the epochs by the very draws of scikit-learn's MLP: each shuffles the order before it."""
    orders: list[Any] = []

    def order(epoch: int, m: int) -> Any:
        shuffled = np.arange(m)
        random_state.shuffle(shuffled)
        orders[:] = [orders[0][shuffled] if orders else shuffled]
        return orders[0]

    return order
