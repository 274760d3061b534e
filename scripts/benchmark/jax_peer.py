"""JAX: one jit of a scan over the batches."""

from typing import Any

import numpy as np
import torch
from contenders import Contender, adam_of, rate
from torch import Tensor

from bp_torch.training.job import Job


def jax_scan(job: Job) -> Contender:
    """One jit of a scan over the batches, all that changes donated, data resident; w as (n_out, n_in), the faster way.

    One vector of all parameters, steps unrolled and classes in the place of y were tried for Adam: none was faster.
    """
    import jax  # pyright: ignore[reportMissingImports] (an extra)
    import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

    net, eta, adam = job.state.net, rate(job), adam_of(job)
    device = jax_device(job.data[0].device)
    x, y = (jax.device_put(t.cpu().numpy(), device) for t in job.data)
    parameters = [tuple(jax.device_put(jnp.array(t.cpu().numpy()), device) for t in layer) for layer in net.layers]
    functions = {"identity": lambda z: z, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}
    cross_entropy = net.activations[-1].name == "softmax"

    def product(a: Any, b: Any) -> Any:
        if job.recipe.precision == "bf16":
            return jnp.dot(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)).astype(jnp.float32)
        return jnp.dot(a, b, precision="highest" if job.recipe.precision == "dtype" else "tensorfloat32")

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        a = x
        for (w, b), f in zip(parameters, net.activations, strict=True):
            z = product(a, w.T) + b
            a = jax.nn.log_softmax(z) if f.name == "softmax" else functions[f.name](z)
        return (-jnp.sum(y * a) if cross_entropy else 0.5 * jnp.sum((a - y) ** 2)) / len(y)

    def descend(state: Any, batch: Any) -> Any:
        (parameters,) = state
        value, gradients = jax.value_and_grad(cost)(parameters, x[batch], y[batch])
        return (jax.tree.map(lambda p, g: p - eta * g, parameters, gradients),), value

    def by_adam(state: Any, batch: Any) -> Any:
        assert adam is not None  # noqa: S101 (see below)
        (b1, b2), eps, (parameters, m, v, t) = adam.betas, adam.eps, state
        t = t + 1
        size, unbias = eta / -jnp.expm1(t * np.log(b1)), jax.lax.rsqrt(-jnp.expm1(t * np.log(b2)))
        value, gradients = jax.value_and_grad(cost)(parameters, x[batch], y[batch])
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, gradients)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, gradients)
        change = jax.tree.map(lambda m, v: size * m / (unbias * jnp.sqrt(v) + eps), m, v)
        return (jax.tree.map(jnp.subtract, parameters, change), m, v, t), value

    state: Any = (parameters,)
    if adam is not None:
        zeros = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        state = (parameters, *zeros, jax.device_put(jnp.float32(0), device))
    step = descend if adam is None else by_adam
    scan = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)

    def epoch(order: Tensor) -> None:
        nonlocal state
        state, costs = scan(state, jax.device_put(order.view(-1, job.recipe.batch_size).numpy(), device))
        costs.block_until_ready()
        jax.block_until_ready(state)

    return Contender(epoch, lambda: [torch.from_numpy(np.array(w)) for w, _ in state[0]])


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
