"""torch's own ways to train: autograd with a fused optimiser, the step by torch.compile, and in a CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from contenders import Contender, adam_of, rate
from torch import Tensor
from torch.nn.utils import skip_init

from bp_torch.network import Network
from bp_torch.training import engines
from bp_torch.training.job import Job
from bp_torch.training.precision import products_in


def autograd(job: Job) -> Contender:
    """nn.Sequential, autograd and the fused optimiser."""
    model, cost = module_of(job), cost_of(job.state.net)
    optimiser = optimiser_of(job, model)
    x, y = job.data[0], targets_of(job)

    def epoch(order: Tensor) -> None:
        for batch in order.to(x.device).split(job.recipe.batch_size):
            optimiser.zero_grad()
            with _products(job):
                cost(model(x[batch]), y[batch]).backward()
            optimiser.step()

    return Contender(epoch, lambda: [p.detach() for p in list(model.parameters())[::2]])


def autograd_compiled(job: Job) -> Contender:
    """The whole step by torch.compile: forward, backward by torch.func.grad, update in place."""
    net, eta, adam = job.state.net, rate(job), adam_of(job)
    x, y, mean_cost = job.data[0], targets_of(job), cost_of(net)
    functions = [FUNCTIONS[f.name]() for f in net.activations]
    parameters = [t.clone() for layer in net.layers for t in layer]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    t = torch.zeros((), dtype=torch.float64, device=x.device)

    def cost(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        a = x
        for w, b, f in zip(parameters[::2], parameters[1::2], functions, strict=True):
            a = f(torch.nn.functional.linear(a, w, b))
        return mean_cost(a, y)

    @torch.compile(fullgraph=True, dynamic=False)
    def step(parameters: list[Tensor], moments: list[tuple[Tensor, Tensor]], t: Tensor, batch: Tensor) -> None:
        gradients = torch.func.grad(cost)(parameters, x[batch], y[batch])
        if adam is None:
            for p, g in zip(parameters, gradients, strict=True):
                p.sub_(g, alpha=eta)
            return
        b1, b2 = adam.betas
        t.add_(1)
        size, unbias = (eta / (1 - b1**t)).float(), (1 - b2**t).rsqrt().float()
        for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            p.sub_(size * m / (unbias * v.sqrt() + adam.eps))

    @torch.no_grad()
    def epoch(order: Tensor) -> None:
        with _products(job):
            for batch in order.to(x.device).split(job.recipe.batch_size):
                step(parameters, moments, t, batch)

    return Contender(epoch, lambda: parameters[::2])


def autograd_graph(job: Job) -> Contender:
    """CUDA: steps of autograd and the fused SGD as one CUDA graph, as many as bp's own graph has."""
    model, cost = module_of(job), cost_of(job.state.net)
    optimiser = optimiser_of(job, model)
    x, y = job.data[0], targets_of(job)
    m, count = job.recipe.batch_size, engines.ENGINES["graph"].block(job)
    index = torch.zeros(count, m, dtype=torch.int64, device=x.device)

    def steps(rows: Tensor) -> None:
        for batch in rows.unbind():
            optimiser.zero_grad()
            with _products(job):
                cost(model(x.index_select(0, batch)), y.index_select(0, batch)).backward()
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


@contextmanager
def _products(job: Job) -> Iterator[None]:
    """torch's products in the job's class: bf16 by autocast, tf32 by torch's own setting."""
    bf16 = job.recipe.precision == "bf16"
    with products_in(job.recipe.precision), torch.autocast(job.data[0].device.type, torch.bfloat16, enabled=bf16):
        yield


FUNCTIONS: dict[str, Callable[[], torch.nn.Module]] = {
    "identity": torch.nn.Identity,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "softmax": torch.nn.Identity,  # in the cost
}


def module_of(job: Job) -> torch.nn.Sequential:
    """The job's network as a module."""
    modules: list[torch.nn.Module] = []
    for (w, b), f in zip(job.state.net.layers, job.state.net.activations, strict=True):
        linear = skip_init(torch.nn.Linear, w.shape[1], w.shape[0], device=w.device, dtype=w.dtype)
        linear.load_state_dict({"weight": w, "bias": b})
        modules += [linear, FUNCTIONS[f.name]()]
    return torch.nn.Sequential(*modules)


def optimiser_of(job: Job, model: torch.nn.Module) -> torch.optim.Optimizer:
    """torch's own, fused, for the job's rule."""
    adam = adam_of(job)
    if adam is None:
        return torch.optim.SGD(model.parameters(), lr=rate(job), fused=True)
    return torch.optim.Adam(model.parameters(), lr=rate(job), betas=adam.betas, eps=adam.eps, fused=True)


def cost_of(net: Network) -> Callable[[Tensor, Tensor], Tensor]:
    """The network's cost as a mean over the batch, of what the module puts out and `targets_of`."""
    return mean_cross_entropy if net.activations[-1].name == "softmax" else mean_quadratic


def targets_of(job: Job) -> Tensor:
    """y, or the classes it stands for where the cost takes these."""
    return job.data[1].argmax(1) if job.state.net.activations[-1].name == "softmax" else job.data[1]


def mean_quadratic(a: Tensor, y: Tensor) -> Tensor:
    """The quadratic cost."""
    return 0.5 * (a.float() - y).square().sum(1).mean()


def mean_cross_entropy(z: Tensor, classes: Tensor) -> Tensor:
    """The cross-entropy of softmax."""
    return torch.nn.functional.cross_entropy(z.float(), classes)
