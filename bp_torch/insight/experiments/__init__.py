"""The chapter's statements as experiments, each with its numbers and its picture."""

from collections.abc import Callable

from bp_torch.insight.experiments import images, neurons
from bp_torch.insight.experiments.figures import Result
from bp_torch.insight.experiments.images import Data

ALONE: dict[str, Callable[[int], Result]] = {
    "speed-of-backprop": neurons.speed_of_backprop,
    "big-picture": neurons.big_picture,
    "saturation": neurons.saturation,
}
"""Those that need no data: seed -> result."""

ON_DATA: dict[str, Callable[[int, Data], Result]] = {
    "slow-learning": images.slow_learning,
    "vanishing": images.vanishing,
    "feedback": images.feedback,
    "mislabelled": images.mislabelled,
}
"""Those that train on digits: (seed, data) -> result."""
