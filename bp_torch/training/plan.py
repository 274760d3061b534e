"""Plan: what a step does besides the four equations, and the numbers that it does it with.

A plan's values come to the step as tensors, computed for all steps of an epoch beforehand: a compiled, captured or
printed step takes another learning rate, penalty or probability as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple, cast

import torch
from torch import Tensor

from bp_torch import sparse
from bp_torch.dropout import KEYS, mask, mask_at
from bp_torch.factors import factor
from bp_torch.optimisers import SGD
from bp_torch.recipe import Recipe, dropout_of, rule_of
from bp_torch.updates import Optimiser

Numbers = tuple[Tensor, ...]
"""The scalars of one step, each 0-D, of the parameters' dtype and on their device: a row of `numbers_table`."""


class Rule(NamedTuple):
    """How some of the parameters change: by this optimiser, at the rate times a factor."""

    optimiser: Optimiser = SGD()
    factor: float = 1.0


class Given(NamedTuple):
    """A step's numbers by what they are; None for what the plan does without.

    factor: of δᴸ: −η/m in plain gradient descent, else 1/m; with weights of the examples, their sum stands for m.
    kept: 1 / (1 − p) for each layer that drops. of_rules: the numbers of each of the plan's rules.
    """

    factor: Tensor
    kept: Numbers
    l2: Tensor | None
    l1: Tensor | None
    max_norm: Tensor | None
    clip_norm: Tensor | None
    clip_value: Tensor | None
    of_rules: tuple[Numbers, ...]


SINGLE = ("l2", "l1", "max_norm", "clip_norm", "clip_value")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a step does with the errors.

    rules: those of the parameters. which: for each layer, the index of its w's rule and of its b's; empty: all have the
    first. dropout: p of what enters each layer; empty: nothing is dropped. l2, l1: λ/n of the penalties. max_norm: of
    the weights that enter a neuron. clip_norm, clip_value: of the gradients. weighted: whether the examples have
    weights. rows: how many examples of a batch are passed through the network at once; None: all.
    """

    rules: tuple[Rule, ...] = (Rule(),)
    which: tuple[tuple[int, int], ...] = ()
    dropout: tuple[float, ...] = ()
    l2: float = 0.0
    l1: float = 0.0
    max_norm: float | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    weighted: bool = False
    rows: int | None = None

    @cached_property
    def is_plain(self) -> bool:
        """Whether the step is w ← w − η ∂C/∂w, which BP3 and BP4 do in place."""
        rule, *others = self.rules
        beside = others or rule.factor != 1 or self.rows or any(getattr(self, name) for name in SINGLE)
        return rule.optimiser.is_plain and not beside

    @property
    def keys(self) -> int:
        """How many numbers of `dropout.keys_table` a step takes."""
        return KEYS * sum(rate > 0 for rate in self.dropout)

    def rule(self, layer: int, kind: int) -> int:
        """Which rule is that of layer's w (kind 0) or b (1)."""
        return self.which[layer][kind] if self.which else 0


PLAIN = Plan()


def plan_of(recipe: Recipe, layers: int, m: int, weighted: bool) -> Plan:
    """The plan of a recipe, for so many layers and m training examples.

    Raises ValueError where the recipe does not fit the network.
    """
    own = rule_of(recipe)
    rates, decays = (cast(Mapping[str, float], each or {}) for each in (recipe.rate_factors, recipe.decay_factors))
    if decays and not own.weight_decay:
        raise ValueError(f"decay_factors are of the optimizer's weight_decay, and {own} has none: give it one")
    rules: list[Rule] = []
    which: list[tuple[int, int]] = []
    for layer in range(layers):
        of_layer: list[int] = []
        for kind in (0, 1):
            changed = own.with_decay(factor(decays, layer, kind, layers)) if decays else own
            rule = Rule(changed, factor(rates, layer, kind, layers))
            if rule not in rules:
                rules.append(rule)
            of_layer.append(rules.index(rule))
        which.append((of_layer[0], of_layer[1]))
    return Plan(
        rules=tuple(rules),
        which=tuple(which) if len(rules) > 1 else (),
        dropout=dropout_of(recipe, layers),
        l2=recipe.l2 / m,
        l1=recipe.l1 / m,
        max_norm=recipe.max_norm,
        clip_norm=recipe.clip_norm,
        clip_value=recipe.clip_value,
        weighted=weighted,
        rows=min(recipe.batch_size, m) if recipe.accumulate > 1 else None,
    )


def numbers_table(rates: Tensor | float, totals: Tensor, plan: Plan = PLAIN, done: int = 0) -> Tensor:
    """The numbers of each step as a row, (steps, S), in float64 on the CPU.

    rates: η of each step (steps,), or one for all. totals: the number of examples in each step's batch (steps,), or the
    sum of their weights. done: the steps of the run before these.
    """
    totals = totals.to("cpu", torch.float64)
    rates = torch.as_tensor(rates, dtype=torch.float64, device="cpu").expand_as(totals)
    t = torch.arange(done + 1, done + 1 + len(totals), dtype=torch.float64, device="cpu")
    columns: list[Tensor | float] = [(-rates if plan.is_plain else 1) / totals]
    columns += [1 / (1 - rate) for rate in plan.dropout if rate]
    columns += [value for name in SINGLE if (value := getattr(plan, name))]
    if not plan.is_plain:
        for rule, factor in plan.rules:
            columns += rule.numbers(factor * rates, t)
    return torch.stack([torch.as_tensor(each, dtype=t.dtype, device="cpu").expand_as(t) for each in columns], 1)


def given(plan: Plan, numbers: Sequence[Tensor]) -> Given:
    """A row of `numbers_table` by what its numbers are."""
    rest = iter(numbers)
    factor = next(rest)
    kept = tuple(islice(rest, plan.keys // KEYS))
    single = {name: next(rest) if getattr(plan, name) else None for name in SINGLE}
    of_rules = tuple(rest)
    each = len(of_rules) // len(plan.rules)
    by_rule = tuple(of_rules[k : k + each] for k in range(0, len(of_rules), each or 1))
    return Given(factor=factor, kept=kept, of_rules=by_rule, **single)


def masks(
    plan: Plan, x: Tensor, sizes: Sequence[int], keys: Numbers, kept: Sequence[Tensor], first: int
) -> tuple[Tensor | None, ...]:
    """The masks of what enters each layer, for the examples x of a batch, which come after its `first` ones.

    That of a sparse x is of its stored values alone (nnz,).
    """
    scales, dropped = iter(kept), iter(range(0, len(keys), KEYS))

    def of_layer(l: int, n: int) -> Tensor:
        own, scale = keys[(k := next(dropped)) : k + KEYS], next(scales).to(x.dtype)
        if l or x.layout == torch.strided:
            return mask(x.shape[-2], n, own, scale, first)
        return mask_at(sparse.places(x, first).to(torch.int32), own, scale)  # cut off to 32 bits, as those of `mask`

    layers = enumerate(zip(plan.dropout, sizes, strict=False))
    return tuple(of_layer(l, n) if rate else None for l, (rate, n) in layers)
