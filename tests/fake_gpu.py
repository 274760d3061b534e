"""A second GPU that is not there: tensors without values, whose shapes, dtypes and devices torch keeps account of.

torch refuses an operation whose tensors lie on different devices, as it would on a GPU. A number that is read off the
device is 1, or true, and is counted: on a GPU the host waits there for all that was launched before.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode

from bp_torch.insight.observe import bounds

DEVICE = torch.device("cuda:1")
READS = {torch.ops.aten.item.default, torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default}


class Waits(TorchDispatchMode):
    """Counts the numbers that are read."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in READS:
            return func(*args, **(kwargs or {}))
        self.count += args[0].device.type == "cuda"
        dtype = args[0].dtype
        return True if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Two GPUs of compute capability 9.0, of which the first is the current one."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    try:
        with FakeTensorMode(shape_env=ShapeEnv()), Waits() as waits:
            yield waits
    finally:
        bounds.cache_clear()  # of the numbers that were read here


class Graphs:
    """What stands for torch's CUDA graphs: it notes the calls, and a replay does nothing.

    captures: the stream, the error mode and the current device of each capture. warmed: the streams that were current
    before. error: what a capture raises at its end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.captures: list[tuple[object, str, list[torch.device]]] = []
        self.streams: list[object] = ["the default stream"]
        self.devices: list[torch.device] = []
        self.error = error
        for name in ("device", "stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        stream = type("Stream", (), {"wait_stream": lambda self, other: None})
        monkeypatch.setattr(torch.cuda, "Stream", stream)
        monkeypatch.setattr(torch.cuda, "current_stream", stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", type("CUDAGraph", (), {"replay": lambda self: None}))

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.devices.append(device)
        yield
        self.devices.pop()

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        before = list(self.streams)
        self.streams.append(stream)
        try:
            yield
        finally:
            self.streams[:] = before

    @contextmanager
    def graph(self, recording: object, stream: object = None, capture_error_mode: str = "global") -> Iterator[None]:
        self.captures.append((stream, capture_error_mode, list(self.devices)))
        assert stream is self.streams[-1], "the capture is on another stream than the warm-up"
        self.streams.append(stream)  # a capture that fails leaves it, as torch's does
        with nullcontext():
            yield
        if self.error is not None:
            raise self.error
        self.streams.pop()
