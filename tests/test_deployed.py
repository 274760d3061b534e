"""A network outside of torch: by ONNX, and by torch.export, on batches of any size."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

import bp_torch as bp

X = torch.randn(57, 20, generator=torch.Generator().manual_seed(0))


def of_every_activation() -> bp.Network:
    """A hidden layer of each, and softmax."""
    sizes = [20, *[16] * len(bp.ACTIVATIONS), 5]
    return bp.Network.create(sizes, hidden=list(bp.ACTIVATIONS), cost="softmax_cross_entropy", seed=1)


def test_onnxruntime_gives_the_same_outputs(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    net, path = of_every_activation(), tmp_path / "net.onnx"
    options = dict[str, Any](input_names=["x"], output_names=["outputs"], dynamic_shapes=({0: "batch"},))
    torch.onnx.export(bp.to_sequential(net).eval(), (X[:2],), path, dynamo=True, verbose=False, **options)
    session = onnxruntime.InferenceSession(path)
    assert session.get_inputs()[0].shape == ["batch", 20]
    for rows in (1, 2, 57):
        (outputs,) = session.run(["outputs"], {"x": X[:rows].numpy()})
        wanted = net.forward(X[:rows]).a[-1]
        torch.testing.assert_close(torch.from_numpy(outputs), wanted, rtol=0, atol=1e-6)


def test_an_exported_program_gives_the_same_outputs() -> None:
    net, file = of_every_activation(), io.BytesIO()
    module = bp.to_sequential(net).eval()
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(module, (X[:2],), dynamic_shapes=({0: batch},)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for rows in (1, 2, 57):
        torch.testing.assert_close(loaded(X[:rows]), net.forward(X[:rows]).a[-1], rtol=0, atol=1e-6)
