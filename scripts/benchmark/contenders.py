"""The contenders of the benchmark: an epoch of plain SGD, sigmoid neurons and quadratic cost, each in its best form.

A contender is a function of a `Job`. It returns an epoch, which trains on the examples in an order (whole batches), and
a function that reads its weights. It starts from the weights of the job's network, and works on a copy.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import skip_init

from bp_torch.state import State
from bp_torch.training import engines
from bp_torch.training.job import Job, Steps
from bp_torch.training.plan import numbers_table
from bp_torch.training.precision import products_in


class Contender(NamedTuple):
    """epoch: trains on the examples in this order. weights: reads them, None where they can't be compared."""

    epoch: Callable[[Tensor], object]
    weights: Callable[[], list[Tensor]] | None


Peer = Callable[[Job], Contender]


def of_engine(engine: str) -> Peer:
    """bp_torch itself."""

    def start(job: Job) -> Contender:
        net = job.state.net.to()
        run = engines.ENGINES[engine].build(job._replace(state=State(net)))

        def epoch(order: Tensor) -> None:
            count = len(order) // job.recipe.batch_size
            run(Steps(order, numbers_table(rate(job), job.batch_sizes[:count], job.plan), job.keys(1)[:count]))

        return Contender(epoch, lambda: [layer.w for layer in net.layers])

    return start


def rate(job: Job) -> float:
    """The job's η, which is a number here."""
    lr = job.recipe.lr
    assert isinstance(lr, float)  # noqa: S101 (a job of the benchmark's own)
    return lr


def numpy_loop(job: Job) -> Contender:
    """Vectorised over the batch, parameters updated in place."""
    layers, x, y = _as_numpy(job)

    def epoch(order: Tensor) -> None:
        for batch in np.split(order.numpy(), len(order) // job.recipe.batch_size):
            share = np.float32(rate(job) / job.recipe.batch_size)
            a = [x[batch]]
            for w, b in layers:
                z = a[-1] @ w.T
                z += b
                a.append(_sigmoid(z))
            delta = (a[-1] - y[batch]) * a[-1] * (1 - a[-1])
            for l in range(len(layers) - 1, -1, -1):
                w, b = layers[l]
                below = (delta @ w) * a[l] * (1 - a[l]) if l else delta
                delta *= share
                w -= delta.T @ a[l]
                b -= delta.sum(0)
                delta = below

    return Contender(epoch, lambda: [torch.from_numpy(w) for w, _ in layers])


def numpy_by_example(job: Job) -> Contender:
    """The book's own way: one example at a time, the gradients of a batch added up, then the step."""
    layers, x, y = _as_numpy(job)

    def epoch(order: Tensor) -> None:
        for batch in np.split(order.numpy(), len(order) // job.recipe.batch_size):
            sums = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
            for example in batch:
                a = [x[example]]
                for w, b in layers:
                    a.append(_sigmoid(w @ a[-1] + b))
                delta = (a[-1] - y[example]) * a[-1] * (1 - a[-1])
                for l in range(len(layers) - 1, -1, -1):
                    sums[l] = (sums[l][0] + np.outer(delta, a[l]), sums[l][1] + delta)
                    delta = (layers[l][0].T @ delta) * a[l] * (1 - a[l])
            for (w, b), (w_sum, b_sum) in zip(layers, sums, strict=True):
                w -= rate(job) / job.recipe.batch_size * w_sum
                b -= rate(job) / job.recipe.batch_size * b_sum

    return Contender(epoch, lambda: [torch.from_numpy(w) for w, _ in layers])


def autograd(job: Job) -> Contender:
    """nn.Sequential, autograd and the fused SGD."""
    model, optimiser = module_of(job)
    x, y = job.data

    def epoch(order: Tensor) -> None:
        for batch in order.to(x.device).split(job.recipe.batch_size):
            optimiser.zero_grad()
            with _products(job):
                cost = mean_cost(model(x[batch]), y[batch])
                cost.backward()
            optimiser.step()

    return Contender(epoch, lambda: [p.detach() for p in list(model.parameters())[::2]])


def autograd_compiled(job: Job) -> Contender:
    """The whole step by torch.compile: forward, backward by torch.func.grad, update in place."""
    (x, y), eta = job.data, rate(job)
    parameters = [t.clone() for layer in job.state.net.layers for t in layer]

    def cost(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        a = x
        for w, b in zip(parameters[::2], parameters[1::2], strict=True):
            a = torch.nn.functional.linear(a, w, b).sigmoid()
        return mean_cost(a, y)

    @torch.compile(fullgraph=True, dynamic=False)
    def step(parameters: list[Tensor], batch: Tensor) -> None:
        gradients = torch.func.grad(cost)(parameters, x[batch], y[batch])
        for p, g in zip(parameters, gradients, strict=True):
            p.sub_(g, alpha=eta)

    @torch.no_grad()
    def epoch(order: Tensor) -> None:
        with _products(job):
            for batch in order.to(x.device).split(job.recipe.batch_size):
                step(parameters, batch)

    return Contender(epoch, lambda: parameters[::2])


def autograd_graph(job: Job) -> Contender:
    """CUDA: steps of autograd and the fused SGD as one CUDA graph, as many as bp's own graph has."""
    model, optimiser = module_of(job)
    (x, y), m, count = job.data, job.recipe.batch_size, engines.ENGINES["graph"].block(job)
    index = torch.zeros(count, m, dtype=torch.int64, device=x.device)

    def steps(rows: Tensor) -> None:
        for batch in rows.unbind():
            optimiser.zero_grad()
            with _products(job):
                mean_cost(model(x.index_select(0, batch)), y.index_select(0, batch)).backward()
            optimiser.step()

    before = [p.detach().clone() for p in model.parameters()]
    with torch.cuda.device(x.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            steps(index[:3])
        torch.cuda.current_stream().wait_stream(stream)
        optimiser.zero_grad()
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording, stream=stream):
            steps(index)
    with torch.no_grad():
        for p, value in zip(model.parameters(), before, strict=True):
            p.copy_(value)

    def epoch(order: Tensor) -> None:
        whole = len(order) // (count * m) * count * m
        on_device = order.to(x.device)
        for rows in on_device[:whole].view(-1, count, m):
            index.copy_(rows)
            recording.replay()
        steps(on_device[whole:].view(-1, m))

    return Contender(epoch, lambda: [p.detach() for p in list(model.parameters())[::2]])


def jax_scan(job: Job) -> Contender:
    """One jit of a scan over the batches, parameters donated, data resident; w as (n_out, n_in), which is faster."""
    import jax  # pyright: ignore[reportMissingImports] (an extra)
    import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

    device = jax_device(job.data[0].device)
    x, y = (jax.device_put(t.cpu().numpy(), device) for t in job.data)
    parameters = [
        tuple(jax.device_put(jnp.array(t.cpu().numpy()), device) for t in layer) for layer in job.state.net.layers
    ]

    def product(a: Any, b: Any) -> Any:
        if job.recipe.precision == "bf16":
            return jnp.dot(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)).astype(jnp.float32)
        return jnp.dot(a, b, precision="highest" if job.recipe.precision == "dtype" else "tensorfloat32")

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        a = x
        for w, b in parameters:
            a = jax.nn.sigmoid(product(a, w.T) + b)
        return 0.5 * jnp.sum((a - y) ** 2) / len(y)

    def step(parameters: Any, batch: Any) -> Any:
        value, gradients = jax.value_and_grad(cost)(parameters, x[batch], y[batch])
        return jax.tree.map(lambda p, g: p - rate(job) * g, parameters, gradients), value

    scan = jax.jit(lambda parameters, order: jax.lax.scan(step, parameters, order), donate_argnums=0)

    def epoch(order: Tensor) -> None:
        nonlocal parameters
        parameters, costs = scan(parameters, jax.device_put(order.view(-1, job.recipe.batch_size).numpy(), device))
        costs.block_until_ready()
        jax.block_until_ready(parameters)

    return Contender(epoch, lambda: [torch.from_numpy(np.array(w)) for w, _ in parameters])


def jax_device(device: torch.device) -> Any:
    """JAX's own name for the device. Raises RuntimeError where JAX does not see it: it would run on the CPU instead."""
    import jax  # pyright: ignore[reportMissingImports]

    platform = "gpu" if device.type == "cuda" else "cpu"
    try:
        found = jax.devices(platform)
    except RuntimeError:  # there is no such backend
        found = []
    index = device.index or 0
    if index >= len(found) or found[index].platform != platform:
        raise RuntimeError(f"JAX runs on {jax.default_backend()} here, not on {device}: install jax[cuda13]")
    return found[index]


def sklearn_mlp(job: Job) -> Contender:
    """scikit-learn's own network of this shape; its weights, order and cost (cross-entropy) can't be chosen."""
    from sklearn.neural_network import MLPClassifier

    x, y = job.data[0].numpy(), job.data[1].argmax(1).numpy()
    settings: dict[str, Any] = dict(activation="logistic", solver="sgd", momentum=0.0, alpha=0.0, random_state=0)
    settings.update(batch_size=job.recipe.batch_size, learning_rate_init=rate(job))
    model = MLPClassifier(job.state.net.sizes[1:-1], **settings)
    classes = np.arange(job.state.net.sizes[-1])

    def epoch(order: Tensor) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(x[: len(order)], y[: len(order)], classes=classes)  # one epoch, shuffled by itself

    return Contender(epoch, None)


@contextmanager
def _products(job: Job) -> Iterator[None]:
    """torch's products in the job's class: bf16 by autocast, tf32 by torch's own setting."""
    bf16 = job.recipe.precision == "bf16"
    with products_in(job.recipe.precision), torch.autocast(job.data[0].device.type, torch.bfloat16, enabled=bf16):
        yield


def _as_numpy(job: Job) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    layers = [(w.numpy().copy(), b.numpy().copy()) for w, b in job.state.net.layers]
    return layers, job.data[0].numpy(), job.data[1].numpy()


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def module_of(job: Job) -> tuple[torch.nn.Sequential, torch.optim.SGD]:
    """The job's network as a module, and its optimiser."""
    modules: list[torch.nn.Module] = []
    for w, b in job.state.net.layers:
        linear = skip_init(torch.nn.Linear, w.shape[1], w.shape[0], device=w.device, dtype=w.dtype)
        linear.load_state_dict({"weight": w, "bias": b})
        modules += [linear, torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*modules)
    return model, torch.optim.SGD(model.parameters(), lr=rate(job), fused=True)


def mean_cost(a: Tensor, y: Tensor) -> Tensor:
    """The quadratic cost."""
    return 0.5 * (a.float() - y).square().sum(1).mean()
