"""The errors that are this package's own. Everything else a user can get wrong is a ValueError."""

import torch


class DataError(RuntimeError):
    """A data set could not be had; the message says what was tried and what to do."""


class CheckpointError(RuntimeError):
    """A file does not hold a network that can be loaded, or can't be written; the message names the file."""


class EngineError(RuntimeError):
    """An engine could not be built, or its device ran out of memory; the message says what to do."""


class DivergenceError(ArithmeticError):
    """Training met a value that is not finite.

    epoch and batch count from 1, as the records do; layer is an index into `net.layers`; what is said of it, and lr is
    the rate of that step. The network holds the weights from the start of that epoch, or, where the run went on from
    the midst of it, from there: after `start` batches.
    """

    def __init__(self, epoch: int, batch: int, layer: int, what: str, lr: float, start: int = 0) -> None:
        whence = f"after batch {start} of" if start else "the start of"
        super().__init__(
            f"Training stopped in epoch {epoch}, batch {batch}: the first layer that is not finite is "
            f"net.layers[{layer}] ({what}); try a smaller lr than {lr:g}, or look for NaN and Inf in the data. "
            f"The network holds the weights from {whence} epoch {epoch}."
        )
        self.epoch, self.batch, self.layer, self.what, self.lr = epoch, batch, layer, what, lr
        self._arguments = epoch, batch, layer, what, lr, start

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """From its arguments: an exception is else made anew from its message alone, as in a worker's answer."""
        return type(self), self._arguments


NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "calculation overflowed")
"""What torch says where memory doesn't hold a tensor: on Linux's CPUs and on others', on a GPU, and of absurd sizes."""


def is_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory does not hold what was asked for."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    own = isinstance(error, EngineError)  # it may quote torch's words
    return isinstance(error, RuntimeError) and not own and any(sign in str(error) for sign in NO_MEMORY)


def reason(error: BaseException) -> str:
    """What an exception says, in a line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
