"""The embedded digits."""

import pytest
import torch

import bp_torch as bp


def test_shapes_range_and_split() -> None:
    (x, y), (x_test, y_test) = bp.data.digits("train"), bp.data.digits("test")
    assert (x.shape, x_test.shape) == ((1437, 64), (360, 64))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.min() == 0
    assert x.max() == 1
    assert y_test.bincount().tolist() == pytest.approx([36] * 10, abs=1)
    known = {row.numpy().tobytes() for row in x}
    assert not any(row.numpy().tobytes() in known for row in x_test)
    assert torch.equal(bp.data.digits("test")[0], x_test)


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="unknown split 'valid': choose one of train, test"):
        bp.data.digits("valid")
