"""Writing back: the graph's folded and snapped numbers go into the user's own module, which then computes with them.

Weights and biases are the rows of the graph's nodes.  A normalisation that was folded only adds the bias, the last of
several; one that stands alone has its gain and its offset.  Neurons fire above the graph's threshold, a float32.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.frontend.lowering import Lowering, inside_square
from export.frontend.neurons.equations import Neurons, Reset
from export.frontend.neurons.libraries import set_threshold
from export.frontend.neurons.snntorch import is_of_snntorch
from export.frontend.neurons.standing import PlainNeurons
from export.frontend.neurons.stepping import Stepping
from export.frontend.nodes import Piece, Population, Weighted
from export.frontend.tracing import replace_module
from export.populations import thresholds
from neuromorphic.ops.dyadic import is_power_of_two
from spikeclip.errors import RefusedInput


@torch.no_grad()
def write_back(module: nn.Module, lowering: Lowering, stepping: bool = False) -> None:
    """Write the numbers of the graph into `module`, in place, in the module's own dtype.

    Args:
        module: the user's own.
        lowering: the graph.
        stepping: whether every neuron is replaced by a `Stepping`, whatever its own code computes.

    Raises:
        RefusedInput: a parameter that the graph has in two versions, or a bias that the module has no place for.
    """
    _Writer(module).write(lowering)
    for index in lowering.used:
        operation = lowering.context.nodes[index].operation
        if isinstance(operation, Population):
            for key in operation.key:
                _write_neurons(module, key, operation, lowering, lowering.names[index], stepping)


@dataclass
class _Writer:
    """Writes rows into parameters, and remembers which rows of each parameter are written."""

    module: nn.Module
    written: dict[str, Tensor] = field(default_factory=dict)

    def write(self, lowering: Lowering) -> None:
        for index in lowering.used:
            operation = lowering.context.nodes[index].operation
            if not isinstance(operation, Weighted) or not operation.pieces:
                continue
            node = lowering.nodes[lowering.names[index]]
            weight = node.weight
            if weight.ndim == 4:
                weight = weight[:, :, *inside_square((operation.weight.shape[2], operation.weight.shape[3]))]
            weight, bias = (torch.from_numpy(np.asarray(x, np.float64)) for x in (weight, node.bias))
            at = 0
            for piece in operation.pieces:
                rows = slice(at, at + len(piece.rows))
                at += len(piece.rows)
                if piece.weight:
                    self._weight(piece, weight[rows], bias[rows])
                else:
                    self._normalisation(piece, weight[rows], bias[rows])

    def _weight(self, piece: Piece, weight: Tensor, bias: Tensor) -> None:
        parameter = self.module.get_parameter(piece.weight)
        self._put(piece.weight, parameter, piece.rows, _rows_of(piece, weight, parameter))
        if piece.norms:
            for path in piece.norms:
                _pass_through(self.module.get_submodule(path))
            self._offset(piece.norms[-1], piece.rows, bias)
            if piece.bias is not None:
                held = self.module.get_parameter(piece.bias)
                self._put(piece.bias, held, piece.rows, torch.zeros_like(bias))
        elif piece.bias is not None:
            self._put(piece.bias, self.module.get_parameter(piece.bias), piece.rows, bias)
        elif bool(bias.any()):
            raise RefusedInput(f"parameter {piece.weight!r} gets a bias that its module has no place for")

    def _normalisation(self, piece: Piece, weight: Tensor, bias: Tensor) -> None:
        for path in piece.norms:
            _pass_through(self.module.get_submodule(path))
        norm: Any = self.module.get_submodule(piece.norms[0])
        gains = weight.reshape(len(weight), -1).gather(1, piece.columns[piece.rows][:, None])[:, 0]
        gains = gains / (piece.factor if piece.factor.ndim == 0 else piece.factor[piece.rows])
        if norm.weight is None:
            norm.weight = nn.Parameter(torch.ones_like(norm.running_var), False)
        self._put(f"{piece.norms[0]}.weight", norm.weight, piece.rows, gains)
        self._offset(piece.norms[-1], piece.rows, bias)

    def _offset(self, path: str, rows: Tensor, bias: Tensor) -> None:
        norm: Any = self.module.get_submodule(path)
        if norm.bias is not None:
            self._put(f"{path}.bias", norm.bias, rows, bias)
        else:
            self._put(f"{path}.running_mean", norm.running_mean, rows, -bias)

    def _put(self, path: str, parameter: Tensor, rows: Tensor, values: Tensor) -> None:
        """Write rows of a parameter; rows that are already written have to get the same values."""
        known = self.written.setdefault(path, torch.zeros(len(parameter), dtype=torch.bool))
        seen = known[rows]
        values = values.reshape(len(rows), *parameter.shape[1:]).to(parameter.dtype)
        if bool(seen.any()) and not torch.equal(parameter[rows][seen], values[seen]):
            raise RefusedInput(
                f"parameter {path!r} is used twice, by layers that fold and snap to different numbers; expected one "
                "use, or the same normalisation and readers of both"
            )
        parameter[rows] = values
        known[rows] = True


def _rows_of(piece: Piece, weight: Tensor, parameter: Tensor) -> Tensor:
    """Rows of the parameter `[rows, in / groups, ...]` from the node's `[rows, in, ...]`."""
    seen = (piece.columns >= 0).nonzero()[:, 0]
    factor = piece.factor if piece.factor.ndim == 0 else piece.factor[seen].view(1, -1, *([1] * (weight.ndim - 2)))
    full = torch.zeros(len(weight), len(piece.columns), *weight.shape[2:], dtype=torch.float64)
    full[:, seen] = weight[:, piece.columns[seen]] / factor
    inner = parameter.shape[1]
    groups = full.shape[1] // inner
    if groups > 1:
        first = piece.rows // (len(parameter) // groups) * inner
        columns = first[:, None] + torch.arange(inner)
        full = full[torch.arange(len(full))[:, None], columns]
    return full


def _pass_through(norm: Any) -> None:
    """Make a normalisation add its offset and nothing else: y = x + bias."""
    if norm.eps == 0.0:
        return  # already
    norm.eps = 0.0
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    if norm.weight is not None:
        norm.weight.fill_(1)
    if norm.bias is not None:
        norm.bias.zero_()


def _write_neurons(
    module: nn.Module, key: str, operation: Population, lowering: Lowering, name: str, stepping: bool
) -> None:
    neurons, part = operation.neurons, module.get_submodule(key)
    scale, factor = lowering.units[name]
    if stepping or needs_stepping(neurons, part):
        replace_module(module, key, Stepping.of(neurons, factor, lowering.nodes, name, part))
        return
    threshold = float(thresholds(lowering.nodes[name]).flat[0]) * scale
    if neurons.at_threshold:
        single = next(p.dtype for p in module.parameters()) == torch.float32
        kind = np.float32 if single else np.float64
        threshold = float(np.nextafter(kind(threshold), kind(np.inf)))
    set_threshold(part, threshold)


def needs_stepping(neurons: Neurons, module: nn.Module) -> bool:
    """Whether a neuron's own code divides by no power of two, subtracts what it compares with, or may do either."""
    dyadic = neurons.decay in (0.0, 1.0) or is_power_of_two(neurons.decay)
    multiplies = is_of_snntorch(module)
    memories = neurons.synapse is not None or neurons.recurrence is not None
    return (
        isinstance(module, PlainNeurons)
        or not dyadic
        or memories
        or (neurons.reset is not Reset.HARD and not multiplies)
    )
