"""A feed-forward network of raw tensors: forward, and the backward sweep that all of training is built on.

Legend: sizes = [n_0, …, n_L]; layer l (l = 0 … L−1) has w (n_l+1, n_l) and b (n_l+1,), as torch's Linear and the book's
w_jk. x is (m, n_0), y class indices (m,) or a matrix (m, n_L). Leading dimensions broadcast: see `stack`. Tensors
are of the network's dtype and on its device; arrays of NumPy, frames and lists become such, where that loses nothing.
A sparse x, torch's or SciPy's, is taken as it is: see `sparse`.

The public methods check their arguments. The plain functions below them don't: they are what the training step runs.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from bp_torch import checks, given
from bp_torch.activations import ACTIVATIONS, Activation
from bp_torch.costs import COSTS, Cost
from bp_torch.encoding import Encoder, frame_of, is_column, is_frame
from bp_torch.equations import bias_gradient, weight_gradient
from bp_torch.evaluation import outputs
from bp_torch.given import Given
from bp_torch.initialisers import INITIALISERS
from bp_torch.labels import labels_of, predicted_class, right
from bp_torch.own import try_own_functions
from bp_torch.parameters import check_parameters
from bp_torch.passes import errors, feed_forward, mean_cost, multiplications, output_delta
from bp_torch.threads import by_size, own_dtype
from bp_torch.trace import BackpropTrace, Layer, Trace


@dataclass(frozen=True, repr=False)
class Network:
    """A feed-forward network. Training changes the tensors of `layers` in place.

    layers: the parameters, first layer first. activations: one a layer, the output layer's last.
    cost_function: the entry of `COSTS`, or your own. preprocessing: how the rows of a table become its inputs, as
        `bp.data.table` has fitted it; None where the inputs are numbers as they stand.
    """

    layers: tuple[Layer, ...]
    activations: tuple[Activation, ...]
    cost_function: Cost
    preprocessing: Encoder | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if torch.compiler.is_compiling():
            return  # a copy of a network that was checked
        checks.entries("activations", self.activations, Activation, "bp.ACTIVATIONS")
        checks.entries("the cost function", [self.cost_function], Cost, "bp.COSTS")
        if not self.layers or len(self.layers) != len(self.activations):
            raise ValueError(f"{len(self.layers)} layers need as many activations, not {len(self.activations)}")
        check_parameters(self.layers)
        output = self.cost_function.output
        if output is not None and output.name != self.activations[-1].name:
            raise ValueError(
                f"{self.cost_function.name} is the cost of {output.name} outputs, not of {self.activations[-1].name}: "
                f"leave output out, or use cost='quadratic'"
            )
        inputs = None if self.preprocessing is None else len(self.preprocessing.columns)
        if inputs not in (None, self.sizes[0]):
            raise ValueError(f"the preprocessing makes {inputs} inputs, and the network has {self.sizes[0]}")
        if self.preprocessing is not None:
            classes, outputs = self.preprocessing.classes, self.sizes[-1]
            fitting = 1 if classes is None else len(classes)
            if outputs != fitting and (outputs, fitting) != (1, 2):  # one output tells two classes apart
                what = "a value" if classes is None else f"{fitting} classes"
                raise ValueError(
                    f"the preprocessing is of {what}, and the network has {outputs} outputs: give {fitting}"
                )

    def __repr__(self) -> str:
        w, names = self.layers[0].w, ", ".join(f.name for f in self.activations)
        stack = f"{'×'.join(map(str, w.shape[:-2]))} networks " if w.ndim > 2 else ""
        return f"<Network: {stack}{self.sizes}, {names}; {self.cost_function.name}; {w.dtype} on {w.device}>"

    @classmethod
    def create(
        cls,
        sizes: Sequence[int],
        *,
        hidden: str | Activation | Sequence[str | Activation] = "sigmoid",
        cost: str | Cost = "quadratic",
        output: str | Activation | None = None,
        init: str | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        preprocessing: Encoder | None = None,
    ) -> Self:
        """A network with random weights.

        sizes: neurons of each layer, the inputs first, e.g. [784, 30, 10].
        hidden: the hidden layers' activation, by name (a key of `ACTIVATIONS`) or as an `Activation`; one for all, or
            one a hidden layer.
        cost: a key of `COSTS`, or a `Cost`. quadratic, ½‖y − a‖², takes any `output` activation
            ("sigmoid" if left out); binary_cross_entropy goes with sigmoid outputs, softmax_cross_entropy with softmax,
            and poisson, for counts, with exp.
        init: a key of `INITIALISERS`; left out, each layer gets the one that fits its activation (`Activation.init`).
        seed: 0 to 2³² − 1; the same seed gives the same network on every device, and up to rounding in every dtype.
        preprocessing: that of a `bp.data.table`, kept with the network and saved with it.

        Raises ValueError for a name, size, seed, device or dtype that can't be had.
        """
        if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ValueError(f"sizes must list the neurons of at least two layers, as in [784, 30, 10], not {sizes!r}")
        sizes = [checks.whole("every layer size", n, 1) for n in sizes]
        cost = cost if isinstance(cost, Cost) else COSTS[checks.one_of("cost", cost, COSTS)]
        if isinstance(hidden, Sequence) and not isinstance(hidden, str):
            if len(hidden) != len(sizes) - 2:
                raise ValueError(f"sizes {sizes} have {len(sizes) - 2} hidden layers, and hidden names {len(hidden)}")
            activations = [_activation(f) for f in hidden]
        else:
            activations = [_activation(hidden)] * (len(sizes) - 2)
        if cost.output is not None and output in (None, cost.output.name):
            activations.append(cost.output)
        else:
            activations.append(_activation("sigmoid" if output is None else output))
        if init is not None:
            checks.one_of("init", init, INITIALISERS)
        checks.dtype_of("dtype", dtype)
        device = checks.available_device(device)
        rng = torch.Generator().manual_seed(checks.seed(seed))
        layers = []
        for n_in, n_out, activation in zip(sizes[:-1], sizes[1:], activations, strict=True):
            w, b = INITIALISERS[init or activation.init](n_in, n_out, rng)
            layers.append(Layer(w.to(device, dtype), b.to(device, dtype)))
        return cls(tuple(layers), tuple(activations), cost, preprocessing)

    @property
    def sizes(self) -> list[int]:
        """Neurons of each layer, the inputs first."""
        return [self.layers[0].w.shape[-1], *(layer.b.shape[-1] for layer in self.layers)]

    def parameters(self) -> list[Tensor]:
        """The tensors of `layers` themselves, w and b of each layer in turn: what an optimiser of torch.optim takes."""
        return [t for layer in self.layers for t in layer]

    def to(self, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> Self:
        """A copy of the network, of this dtype and on this device; what is left out stays as it is.

        Raises ValueError for a dtype or device that can't be had.
        """
        if dtype is not None:
            checks.dtype_of("dtype", dtype)
        target = None if device is None else checks.available_device(device)
        layers = tuple(Layer(*(t.to(target, dtype, copy=True) for t in layer)) for layer in self.layers)
        return replace(self, layers=layers)

    @by_size(multiplications)
    def forward(self, x: Given) -> Trace:
        """Every weighted input and activation for the examples x (m, n_0)."""
        return feed_forward(self, self._examples(x))

    def backward(self, trace: Trace | BackpropTrace, y: Given) -> Iterator[tuple[int, Tensor]]:
        """The backward sweep: (l, δ of layer l), from the last layer to the first. See `errors`."""
        matrix = self._targets(y, trace.a[0])
        return _in_own_dtype(errors(self, trace, output_delta(self, trace, matrix)), matrix.device.type)

    @by_size(multiplications)
    def gradients(self, x: Given, y: Given) -> tuple[Layer, ...]:
        """∂C/∂w and ∂C/∂b of every layer, by BP3 and BP4, in the shape of `layers`."""
        trace = self.forward(x)
        gradients = [
            Layer(weight_gradient(delta, trace.a[l]), bias_gradient(delta)) for l, delta in self.backward(trace, y)
        ]
        return tuple(reversed(gradients))

    @by_size(multiplications)
    def cost(self, x: Given, y: Given) -> Tensor:
        """C, the mean over the examples of C_x; 0-D (one a network for a stack)."""
        rows = self._examples(x)
        matrix = self._targets(y, rows)
        return self.cost_function.value(*outputs(self, rows), matrix).mean(-1)

    @by_size(multiplications)
    def predict(self, x: Given) -> Tensor:
        """What the outputs for the examples x (m, n_0) stand for: classes or values.

        Where the output activation is bounded (sigmoid, tanh, softmax), the class of each example (m,), int64: the
        largest output's index; of one output, whether it exceeds ½. Where it isn't (identity, relu), the outputs
        themselves, (m, n_L). Of several labels at once, each is `net.predict_proba(x) > 0.5`.

        Raises ValueError where an output is not finite, which stands for nothing.
        """
        a = self._sound_outputs(x)
        return predicted_class(a) if all(map(math.isfinite, self.activations[-1].reach)) else a

    @by_size(multiplications)
    def predict_proba(self, x: Given) -> Tensor:
        """The probabilities of the classes for the examples x (m, n_0): (m, K), of the network's dtype.

        Of softmax outputs: they themselves; a row sums to 1. Of one output from 0 to 1, as sigmoid's: (1 − a, a), of
        the classes 0 and 1. Of several such: they themselves, each of a label that may hold beside the others; a
        row need not sum to 1. Where one class shuts out the others, softmax is made for it.

        Raises ValueError where outputs are no probabilities, since they may be below 0 or above 1, and where one is not
        finite.
        """
        output = self.activations[-1]
        if output.reach != (0, 1):
            raise ValueError(
                f"{output.name} outputs are no probabilities: make the network with cost='softmax_cross_entropy' or "
                "'binary_cross_entropy' for classes, or take net.predict(x)"
            )
        a = self._sound_outputs(x)
        return a if a.shape[-1] > 1 else torch.cat([1 - a, a], -1)

    @by_size(multiplications)
    def accuracy(self, x: Given, y: Given) -> float:
        """The share, from 0 to 1, of what is right (over all networks of a stack).

        y: class indices, or a matrix of zeros and ones. Where each of its rows has a single one, that is the example's
        class, and an example is right if its class is predicted. Else each output is a label of its own, right if it
        is on the right side of ½. Raises ValueError for real-valued targets, which have no class.
        """
        try_own_functions(self)
        rows, targets = pair_of_tensors(self, x, y)
        labels = labels_of(targets)
        if labels is None:
            raise ValueError("accuracy needs classes: y must be class indices or a matrix of zeros and ones")
        return right(outputs(self, rows)[1], labels).double().mean().item()

    def _sound_outputs(self, x: Given) -> Tensor:
        """The outputs; raises ValueError where one is not finite."""
        a = outputs(self, self._examples(x))[1]
        sound = a.isfinite().all(-1)
        if not bool(sound.all()):
            row = int((~sound).nonzero()[0, -1])
            raise ValueError(
                f"the outputs for row {row} of x are not finite: look for NaN and Inf in x and the weights"
            )
        return a

    def _examples(self, x: object) -> Tensor:
        try_own_functions(self)
        return examples_of(self, x)

    def _targets(self, y: object, x: Tensor) -> Tensor:
        return checks.targets(targets_of(self, y), x, self.sizes[-1], self.layers[0].w)


def examples_of(net: Network, x: object) -> Tensor:
    """`x`, as a caller gave it, as a tensor of the network's: what is done to examples before all else is done here.

    A data frame goes through the network's preprocessing, where it has one.
    """
    if net.preprocessing is not None and (way := frame_of(x)):
        raise ValueError(f"x must be a data frame with the table's columns, not {type(x).__name__}: give {way}")
    if net.preprocessing is not None and is_frame(x):
        x = net.preprocessing.encode(x).to(net.layers[0].w)
    return checks.examples(x, net.sizes[0], net.layers[0].w)


def targets_of(net: Network, y: object) -> object:
    """`y` as it was given; a column of a data frame, and names, go through the preprocessing, if there is one."""
    if net.preprocessing is None or not (is_column(y) or given.holds_names(y)):
        return y
    like, target = net.layers[0].w, net.preprocessing.encode_target(y)
    return target.to(like) if target.is_floating_point() else target.to(like.device)


def pair_of_tensors(net: Network, x: object, y: object) -> tuple[Tensor, Tensor]:
    """The same of both; y stays class indices where it is."""
    rows = examples_of(net, x)
    return rows, checks.indices_or_matrix(targets_of(net, y), rows, net.sizes[-1], net.layers[0].w)


@by_size(multiplications)
def backprop(net: Network, x: Given, y: Given, masks: Sequence[Tensor | None] = ()) -> BackpropTrace:
    """One forward and one backward pass, with everything they computed.

    x (m, n_0), y class indices (m,) or a matrix (m, n_L). masks: of dropout, for what enters each layer (m, n_l), or
    None; `batch_of` gives those of a training. Raises ValueError for a wrong shape, dtype, device or label.
    """
    rows = net._examples(x)
    matrix = net._targets(y, rows)
    masks, shapes = tuple(masks), [(*rows.shape[:-1], n) for n in net.sizes[:-1]]
    of = [shape if mask is None else tuple(mask.shape) for mask, shape in zip(masks, shapes, strict=False)]
    if masks and (len(masks) != len(shapes) or of != shapes):
        raise ValueError(f"masks must be of what enters each layer, of the shapes {shapes}, or None: see bp.batch_of")
    trace = feed_forward(net, rows, masks=masks)
    delta = tuple(delta for _, delta in errors(net, trace, output_delta(net, trace, matrix)))[::-1]
    return BackpropTrace(trace.a, trace.z, delta, mean_cost(net, trace, matrix), trace.masks, trace.entered)


def stack(networks: Iterable[Network]) -> Network:
    """K networks of one shape as one, with w (K, n_out, n_in) and b (K, n_out) copied from theirs.

    It runs through the same equations: results get a leading dimension K. x may be shared, (m, n_0), or (K, m, n_0).
    """
    networks = list(networks) if isinstance(networks, Iterable) else []
    if not networks or not all(isinstance(net, Network) for net in networks):
        raise ValueError("stack needs a list of at least one network: bp.stack([net, other])")
    first = networks[0]
    if any(net.activations != first.activations or net.cost_function != first.cost_function for net in networks):
        raise ValueError("only networks with the same activations and cost can be stacked")
    w = first.layers[0].w
    if any((net.sizes, net.layers[0].w.ndim) != (first.sizes, w.ndim) for net in networks):
        raise ValueError("only networks of the same sizes can be stacked")
    if any((net.layers[0].w.dtype, net.layers[0].w.device) != (w.dtype, w.device) for net in networks):
        raise ValueError("only networks of one dtype and on one device can be stacked: give net.to(dtype, device)")
    layers = tuple(
        Layer(torch.stack([net.layers[l].w for net in networks]), torch.stack([net.layers[l].b for net in networks]))
        for l in range(len(first.layers))
    )
    alike = all(net.preprocessing == first.preprocessing for net in networks)
    return Network(layers, first.activations, first.cost_function, first.preprocessing if alike else None)


def _in_own_dtype(sweep: Iterator[tuple[int, Tensor]], device: str) -> Iterator[tuple[int, Tensor]]:
    """The sweep without an autocast that the caller is in, which would have products of another dtype."""
    while True:
        with own_dtype(device):
            step = next(sweep, None)
        if step is None:
            return
        yield step


def _activation(choice: str | Activation) -> Activation:
    return choice if isinstance(choice, Activation) else ACTIVATIONS[checks.one_of("activation", choice, ACTIVATIONS)]
