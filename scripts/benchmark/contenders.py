"""The contenders of the benchmark: bp_torch itself, NumPy and scikit-learn; `torch_peers` and `jax_peer` have more.

A contender is a function of a `Job`. It returns an epoch, which trains on the examples in an order (whole batches), and
a function that reads its weights. It starts from the weights of the job's network, works on a copy, and takes the steps
of the job's rule: plain gradient descent or Adam, written or chosen in the form that is fastest for it.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bp_torch.network import Network
from bp_torch.optimisers import Adam
from bp_torch.recipe import rule_of
from bp_torch.training import engines
from bp_torch.training.job import Job, Steps
from bp_torch.training.plan import numbers_table


class Contender(NamedTuple):
    """epoch: trains on the examples in this order. weights: reads them, None where they can't be compared."""

    epoch: Callable[[Tensor], object]
    weights: Callable[[], list[Tensor]] | None


Peer = Callable[[Job], Contender]


def of_engine(engine: str) -> Peer:
    """bp_torch itself."""

    def start(job: Job) -> Contender:
        state, m, done = job.state.twin(), job.recipe.batch_size, 0
        run = engines.ENGINES[engine].build(job._replace(state=state))

        def epoch(order: Tensor) -> None:
            nonlocal done
            totals = torch.full((len(order) // m,), m)
            run(Steps(order, numbers_table(rate(job), totals, job.plan, done), job.keys(1)[: len(totals)]))
            done += len(totals)

        return Contender(epoch, lambda: [layer.w for layer in state.net.layers])

    return start


def native_on_dense(job: Job) -> Contender:
    """bp's native engine on as many inputs of which none is 0: what skipping zeros saves. Its weights are others."""
    x, y = job.data
    dense = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).add_(0.1)
    return of_engine("native")(job._replace(data=(dense, y)))._replace(weights=None)


def rate(job: Job) -> float:
    """The job's η, which is a number here."""
    lr = job.recipe.lr
    assert isinstance(lr, float)  # noqa: S101 (a job of the benchmark's own)
    return lr


def adam_of(job: Job) -> Adam | None:
    """The job's rule where it is Adam; None where it is plain gradient descent. Peers know no other."""
    rule = rule_of(job.recipe)
    assert job.plan.is_plain or type(rule) is Adam  # noqa: S101 (a job of the benchmark's own)
    return rule if isinstance(rule, Adam) else None


def numpy_loop(job: Job) -> Contender:
    """Vectorised over the batch; all parameters lie in one vector, which is changed in place."""
    net, m = job.state.net, job.recipe.batch_size
    x, y = (t.numpy() for t in job.data)
    p = np.concatenate([t.numpy().ravel() for layer in net.layers for t in layer])
    g = np.empty_like(p)
    layers, gradients = _layers_in(p, net), _layers_in(g, net)
    functions = [NUMPY[f.name] for f in net.activations]
    adam = adam_of(job)
    update = (lambda: np.subtract(p, g, out=p)) if adam is None else _numpy_adam(adam, rate(job), p, g)
    share = np.float32((rate(job) if adam is None else 1) / m)

    def epoch(order: Tensor) -> None:
        for batch in np.split(order.numpy(), len(order) // m):
            a = [x[batch]]
            for (w, b), (f, _) in zip(layers, functions, strict=True):
                z = a[-1] @ w.T
                z += b
                a.append(f(z))
            delta = _output_delta(net, a[-1], y[batch])
            delta *= share
            for l in range(len(layers) - 1, -1, -1):
                of_w, of_b = gradients[l]
                np.matmul(delta.T, a[l], out=of_w)
                np.sum(delta, 0, out=of_b)
                if l:
                    delta = delta @ layers[l][0]
                    delta *= functions[l - 1][1](a[l])
            update()

    return Contender(epoch, lambda: [torch.from_numpy(w) for w, _ in layers])


def numpy_by_example(job: Job) -> Contender:
    """The book's own way: one example at a time, the gradients of a batch added up, then the step."""
    net = job.state.net
    layers = [(w.numpy().copy(), b.numpy().copy()) for w, b in net.layers]
    x, y = (t.numpy() for t in job.data)
    functions = [NUMPY[f.name] for f in net.activations]

    def epoch(order: Tensor) -> None:
        for batch in np.split(order.numpy(), len(order) // job.recipe.batch_size):
            sums = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
            for example in batch:
                a = [x[example]]
                for (w, b), (f, _) in zip(layers, functions, strict=True):
                    a.append(f(w @ a[-1] + b))
                delta = _output_delta(net, a[-1], y[example])
                for l in range(len(layers) - 1, -1, -1):
                    sums[l] = (sums[l][0] + np.outer(delta, a[l]), sums[l][1] + delta)
                    if l:
                        delta = (layers[l][0].T @ delta) * functions[l - 1][1](a[l])
            for (w, b), (w_sum, b_sum) in zip(layers, sums, strict=True):
                w -= rate(job) / job.recipe.batch_size * w_sum
                b -= rate(job) / job.recipe.batch_size * b_sum

    return Contender(epoch, lambda: [torch.from_numpy(w) for w, _ in layers])


def sklearn_mlp(job: Job) -> Contender:
    """scikit-learn's own network of this shape.

    Its cost can't be chosen: of classes it is the cross-entropy of softmax, or of one sigmoid output for two classes,
    of values the quadratic one. Where it is the job's, it starts from the same weights and sees the same batches.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    net, adam, m = job.state.net, adam_of(job), job.recipe.batch_size
    hidden, output = net.activations[0].name, net.activations[-1].name
    settings: dict[str, Any] = dict(activation=SKLEARN.get(hidden, hidden), alpha=0.0, random_state=0, shuffle=False)
    settings |= dict(batch_size=m, learning_rate_init=rate(job))
    if adam is None:
        settings |= dict(solver="sgd", momentum=0.0)
    else:  # its ε is added to √v as it is, before the bias is corrected: the first step's correction is put into ε
        b1, b2 = adam.betas
        settings |= dict(solver="adam", beta_1=b1, beta_2=b2, epsilon=adam.eps * (1 - b2) ** 0.5)
    values = output == "identity"
    x, y = job.data[0].numpy(), job.data[1].numpy() if values else job.data[1].argmax(1).numpy()
    of_fit = {} if values else {"classes": np.arange(net.sizes[-1])}
    model = (MLPRegressor if values else MLPClassifier)(hidden_layer_sizes=net.sizes[1:-1], **settings)
    same = values or (output == "softmax" and net.sizes[-1] > 2)

    def epoch(order: Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for part in np.split(order.numpy(), range(len(x), len(order), len(x))):
                model.partial_fit(x[part], y[part], **of_fit)

    epoch(torch.arange(m))  # its weights exist only now
    if same:
        for l, (w, b) in enumerate(net.layers):
            model.coefs_[l][:], model.intercepts_[l][:] = w.numpy().T, b.numpy()
        del model._optimizer  # with its moments and its count; the next epoch makes another
    return Contender(epoch, (lambda: [torch.from_numpy(w.T.copy()) for w in model.coefs_]) if same else None)


def _numpy_adam(adam: Adam, rate: float, p: np.ndarray, g: np.ndarray) -> Callable[[], None]:
    """Adam's change of p by the gradient that lies in g."""
    (b1, b2), t = adam.betas, 0
    m, v, change = np.zeros_like(p), np.zeros_like(p), np.empty_like(p)

    def update() -> None:
        nonlocal t
        t += 1
        np.multiply(m, b1, out=m)
        np.multiply(g, 1 - b1, out=change)
        np.add(m, change, out=m)
        np.multiply(v, b2, out=v)
        np.multiply(change, g, out=change)
        np.multiply(change, (1 - b2) / (1 - b1), out=change)
        np.add(v, change, out=v)
        np.sqrt(v, out=change)
        np.multiply(change, (1 - b2**t) ** -0.5, out=change)
        np.add(change, adam.eps, out=change)
        np.divide(m, change, out=change)
        np.multiply(change, rate / (1 - b1**t), out=change)
        np.subtract(p, change, out=p)

    return update


def _layers_in(vector: np.ndarray, net: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """Views of a vector as w and b of each layer."""
    shapes = [t.shape for layer in net.layers for t in layer]
    parts = np.split(vector, np.cumsum([shape.numel() for shape in shapes])[:-1])
    views = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return list(zip(views[::2], views[1::2], strict=True))


def _output_delta(net: Network, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    """δᴸ of the cost, for targets that sum to 1 where it is softmax's."""
    output = net.activations[-1].name
    return a - y if output == "softmax" else (a - y) * NUMPY[output][1](a)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _softmax(z: np.ndarray) -> np.ndarray:
    z -= z.max(-1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(-1, keepdims=True)
    return z


NUMPY: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], Any]]] = {
    "identity": (lambda z: z, lambda a: np.float32(1)),
    "sigmoid": (_sigmoid, lambda a: a * (1 - a)),
    "tanh": (lambda z: np.tanh(z, out=z), lambda a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0, out=z), lambda a: a > 0),
    "softmax": (_softmax, lambda a: np.float32(1)),
}
"""Each f, which may change z, and σ′ by a. Softmax's is not used: its error is a − y."""

SKLEARN = {"sigmoid": "logistic"}
"""scikit-learn's own names of activations."""
