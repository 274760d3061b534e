"""Training epoch by epoch: `bp_torch.train` takes the steps, and each epoch is judged as scikit-learn's MLP does."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from bp_torch.errors import DivergenceError
from bp_torch.estimators.choices import as_parameters, order_by
from bp_torch.estimators.examples import HeldOut, Task, passed
from bp_torch.estimators.weights import NOTHING, Arrays, arrays_of, layers_of
from bp_torch.network import Network
from bp_torch.optimisers import SGD
from bp_torch.penalties import penalty
from bp_torch.recipe import Recipe
from bp_torch.schedules import Schedule
from bp_torch.state import Position, Slots
from bp_torch.training.loop import Record, train
from bp_torch.training.step import batch_cost
from bp_torch.updates import Optimiser

if TYPE_CHECKING:
    from bp_torch.estimators.base import MLP

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


@dataclass
class Kept:
    """What a solver keeps from one call of `partial_fit` to the next, in NumPy's arrays.

    learning_rate: η by now. taken: the steps so far. slots: for each of the rule's, arrays like coefs_ and intercepts_.
    """

    rule: Optimiser
    learning_rate: float
    taken: int = 0
    slots: list[tuple[Arrays, Arrays]] = field(default_factory=list)

    def as_slots(self, net: Network) -> Slots:
        """The slots as tensors beside the network's."""
        w = net.layers[0].w
        return tuple(layers_of(*slot, w.dtype, w.device) for slot in self.slots)


def epochs(model: "MLP", net: Network, task: Task, incremental: bool) -> Iterator[Record]:
    """Trains the network of a model that is being fitted; at each record its fitted attributes are those of then.

    incremental: one epoch, as `partial_fit` takes it. Warns, and raises ValueError, as scikit-learn does.
    """
    m, kept = len(task.x), model._optimizer
    batches = -(-m // task.batch_size)
    mean = 1.0 if task.weights is None else float(np.mean(task.weights))
    recipe = recipe_of(model, task, mean, incremental)
    whole = batches * task.batch_size / m  # the share of a penalty that an epoch of batches, the last one short, adds
    before = penalty((w for w, _ in net.layers), recipe.l2 / m, recipe.l1 / m)
    best = arrays_of(net.to().layers) if model._restores else None
    start = Position(slots=kept.as_slots(net), taken=kept.taken)
    slots: Slots = start.slots
    ended = False
    try:
        records = train(net, (task.x, task.y), sample_weight=task.weights, start=start, recipe=recipe)
        for record in records:
            if record.position.slots is not slots:
                slots = record.position.slots
                kept.slots = [arrays_of(slot) for slot in slots]
            kept.taken += batches
            of_weights = before + (record.penalty - before) * (batches - 1) / (2 * batches)
            before = record.penalty
            model.n_iter_ += 1
            model.t_ += m
            model.loss_ = model._as_loss(record.data_cost) - task.least + whole * of_weights
            model.loss_curve_.append(model.loss_)
            if model.verbose:
                print(f"Iteration {model.n_iter_}, loss = {model.loss_:.8f}")
            cost, score = _held_out(model, net, task.held_out)
            if _judge(model, cost, score) and best is not None:
                best = arrays_of(net.to().layers)
            if model.learning_rate == "invscaling" and isinstance(kept.rule, SGD):
                _change_rate(kept, slots, float(model.learning_rate_init) / (model.t_ + 1) ** model.power_t)
            ended = model._no_improvement_count > model.n_iter_no_change and _stops(model, kept, slots)
            if net.layers[0].w.is_cuda:
                model.coefs_, model.intercepts_ = arrays_of(net.layers)
            yield record if cost is None else replace(record, validation_cost=cost, validation_accuracy=score)
            if ended or incremental:
                ended = True
                break
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=3)
        ended = True
    except DivergenceError as error:
        if not model._restores:
            raise ValueError(f"{NON_FINITE} ({as_parameters(str(error))})") from error
        model.n_iter_ += 1
        model.loss_ = float("nan")
        model.loss_curve_.append(model.loss_)
        if model.validation_scores_ is not None:
            model.validation_scores_.append(float("nan"))
        told = as_parameters(str(error))
        warnings.warn(f"{told} The best weights before it are kept.", ConvergenceWarning, stacklevel=3)
        ended = True
    except ValueError as error:
        raise ValueError(as_parameters(str(error))) from error
    finally:
        kept.slots = [arrays_of(slot) for slot in slots]
        model.coefs_, model.intercepts_ = arrays_of(net.layers)
        if best is not None:
            model.coefs_, model.intercepts_ = best
    if not ended:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached and the optimization hasn't converged"
            " yet.",
            ConvergenceWarning,
            stacklevel=3,
        )


def recipe_of(model: "MLP", task: Task, mean_weight: float, incremental: bool) -> Recipe:
    """The recipe of a model's training. mean_weight: of the examples."""
    kept, random_state = model._optimizer, model._random_state
    of_rate = {"invscaling", "adaptive"} if isinstance(kept.rule, SGD) else set[str]()
    changes = model.learning_rate in of_rate
    rate: Any = model.learning_rate_init
    if not isinstance(rate, Schedule):
        rate = (lambda epoch: kept.learning_rate) if changes or incremental else float(rate)
    dropout = tuple(float(rate) for rate in np.atleast_1d(model.dropout))
    return Recipe(
        epochs=1 if incremental else model.max_iter,
        batch_size=task.batch_size,
        lr=rate,
        optimizer=kept.rule,
        l2=model.alpha * len(task.x) / (task.batch_size * mean_weight),
        l1=model.l1,
        max_norm=model.max_norm,
        clip_norm=model.clip_norm,
        dropout=dropout,
        label_smoothing=model.label_smoothing,
        shuffle=_order(model, task),
        seed=int(random_state.randint(2**31)) if np.any(dropout) else 0,
        engine=model.engine,
        precision=model.precision,
        threads=model.threads,
    )


def _order(model: "MLP", task: Task) -> Callable[[int, int], Any] | bool:
    """The orders of the epochs. Raises ValueError, in its epoch, for a batch in which all examples have weight 0."""
    order = order_by(model._random_state) if model.shuffle else (lambda epoch, m: np.arange(m))
    if task.weights is None or (counted := task.weights > NOTHING * task.weights.max()).all():
        return order if model.shuffle else False

    def checked(epoch: int, m: int) -> Any:
        rows = order(epoch, m)
        if not np.logical_or.reduceat(counted[rows], np.arange(0, m, task.batch_size)).all():
            raise ValueError(
                "all examples of a batch have weight 0: give a larger batch_size, or leave such examples out."
            )
        return rows

    return checked


def _held_out(model: "MLP", net: Network, held_out: HeldOut | None) -> tuple[float | None, float | None]:
    """The loss and the score of the examples held out; both None without, the score also where nothing goes by it."""
    if held_out is None:
        return None, None
    x, y, labels, weights, least = held_out
    total, outputs = 0.0, []
    each = None if weights is None else torch.as_tensor(weights, dtype=y.dtype, device=y.device)
    for rows, trace in passed(net, x):
        total += batch_cost(net, trace, y[rows], None if each is None else each[rows]).item()
        outputs.append(trace.a[-1])
    loss = model._as_loss(total / (len(x) if weights is None else float(weights.sum()))) - least
    model.validation_loss_curve_.append(loss)
    if not model.early_stopping:
        return loss, None
    return loss, model._score_outputs(torch.cat(outputs).cpu().numpy(), labels, weights)


def _judge(model: "MLP", cost: float | None, score: float | None) -> bool:
    """Counts the epochs without an improvement; whether the weights are the best by now."""
    better = False
    if score is not None:
        model.validation_scores_.append(score)
        if model.verbose:
            print(f"Validation score: {score:f}")
        worse = score < model.best_validation_score_ + model.tol
        if score > model.best_validation_score_:
            model.best_validation_score_, better = score, True
    else:
        worse = model.loss_ > model.best_loss_ - model.tol
        if model.loss_ < model.best_loss_:
            model.best_loss_, better = model.loss_, True
        if cost is not None:
            better = cost == min(model.validation_loss_curve_)
    model._no_improvement_count = model._no_improvement_count + 1 if worse else 0
    return better


def _stops(model: "MLP", kept: Kept, slots: Slots) -> bool:
    """Whether training ends for want of an improvement; an adaptive rate becomes a fifth first, until it is tiny."""
    what = "Validation score" if model.early_stopping else "Training loss"
    told = f"{what} did not improve more than tol={model.tol:f} for {model.n_iter_no_change} consecutive epochs."
    adaptive = model.learning_rate == "adaptive" and isinstance(kept.rule, SGD)
    ends = not adaptive or kept.learning_rate <= 1e-6
    if ends:
        told += " Learning rate too small. Stopping." if adaptive else " Stopping."
    else:
        _change_rate(kept, slots, kept.learning_rate / 5)
        told += f" Setting learning rate to {kept.learning_rate:f}"
        model._no_improvement_count = 0
    if model.verbose:
        print(told)
    return ends


def _change_rate(kept: Kept, slots: Slots, rate: float) -> None:
    """Another η. scikit-learn's velocity is −η times ours, and stays as it is."""
    for slot in slots:
        for layer in slot:
            for velocity in layer:
                velocity.mul_(kept.learning_rate / rate)
    kept.learning_rate = rate
