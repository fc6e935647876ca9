"""Conversion: a checkpoint to a snapped torch model, the NIR graph that equals it, and the proof that it does."""

from dataclasses import dataclass, replace
from pathlib import Path

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export import frames, metadata
from export.classifier import Classifier
from export.frontend.axes import Axes
from export.frontend.grouping import groups_of
from export.frontend.interpreter import interpret
from export.frontend.lowering import Lowering, lower
from export.frontend.output import add_output, readout
from export.frontend.tracing import trace
from export.frontend.writing_back import write_back
from export.populations import DT
from export.snap import Grid, snap, write_weights
from export.standard_nodes import CHIP_NEURONS, Cost, cost, expand, grouped
from neuromorphic.analysis.rounding import Certificate, certify
from neuromorphic.files import in_memory
from neuromorphic.reading.build import from_nir
from spikeclip.checkpoint import Checkpoint
from spikeclip.errors import RefusedInput
from spikeclip.layers import ConvNorm
from spikeclip.neurons import TokenSum


@dataclass(frozen=True)
class Prepared:
    """A checkpoint, converted.

    Attributes:
        model: the folded and snapped torch model.
        graph: the NIR graph, with metadata; its nodes' weights are the model's.
        certificate: which of its nodes are proven exact.
        grids: of every layer with weights.
        input_bits: frames are multiples of 2^-input_bits.
        checkpoint: what it was made of.
        operands: the two nodes that each gate reads, in the order of its arguments, by the path of the gate.
        expansion: what attention in standard nodes takes; None where it is a node of its own.
    """

    model: Classifier
    graph: nir.NIRGraph
    certificate: Certificate
    grids: dict[str, Grid]
    input_bits: int
    checkpoint: Checkpoint
    operands: dict[str, tuple[str, str]]
    expansion: Cost | None = None

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        return self.checkpoint.config.image_shape

    @property
    def populations(self) -> frozenset[str]:
        """Names of the spiking nodes."""
        return frozenset(name for name, node in self.graph.nodes.items() if isinstance(node, nir.LIF))

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Frames of images: uint8 `[N, H, W, C]` to float32 `[N, C, H, W]`."""
        return frames.encode(self.checkpoint.preprocessing, self.input_bits, images)


def prepare(checkpoint: Checkpoint, standard_nodes: bool = False, neuron_limit: int = CHIP_NEURONS) -> Prepared:
    """Trace, lower, snap and certify a checkpoint; the checkpoint's own model stays as it is.

    Args:
        checkpoint: what to convert.
        standard_nodes: whether self-attention becomes neurons of standard NIR (`standard_nodes.expand`).
        neuron_limit: most neurons that the graph may then have.

    Raises:
        RefusedInput: a module that has no lowering, by name, or too many neurons.
    """
    config, preprocessing = checkpoint.config, checkpoint.preprocessing
    bits = frames.input_bits(preprocessing)
    pixels = frames.frame_range(preprocessing, bits)
    model = Classifier(checkpoint.model).eval().requires_grad_(False)
    traced = trace(model, torch.zeros(2, *config.image_shape))
    context, result = interpret(traced, Axes("BCHW"), config.time_steps, "encoder.")
    lowering = lower(context, result)
    add_output(lowering, result)
    _fold_token_scales(model, lowering)
    graph = nir.NIRGraph(lowering.nodes, lowering.edges)
    expansion = cost(graph) if standard_nodes else None
    if expansion is not None:
        graph = expand(graph, neuron_limit)
    attention = () if expansion is None else expansion.attention
    expanded = tuple(node.name for node in attention)
    groups = groups_of(lowering, model) | {name: count for node in attention for name, count in grouped(node).items()}

    snapped, grids = snap(from_nir(graph, "the encoder", DT), pixels, config.time_steps)
    write_weights(snapped, graph)
    certificate = certify(snapped, pixels, config.time_steps, obstacles=lowering.obstacles)
    host = readout(result)
    if host is None:
        raise RefusedInput("the encoder returns every time step; expected scores, a sum over time")
    graph.metadata = metadata.of(
        checkpoint, bits, grids, certificate, model.tokens_read, host, metadata.extensions(graph), expanded, groups
    )
    write_back(model, replace(lowering, nodes=graph.nodes))
    _join_biases(model)
    return Prepared(model, graph, certificate, grids, bits, checkpoint, _operands(lowering), expansion)


def _operands(lowering: Lowering) -> dict[str, tuple[str, str]]:
    """The two nodes that each gate of the module reads, in the order of its arguments, by the path of the gate."""
    return {
        path: (lowering.names[first], lowering.names[second])
        for path, (first, second) in lowering.context.operands.items()
        if first in lowering.names and second in lowering.names
    }


def _fold_token_scales(model: nn.Module, lowering: Lowering) -> None:
    """Move the factors of token sums into the thresholds behind them, in the module as in the graph.

    With u = v / s, `v += (s x) a - v / tau, v >= h` is `u += x a - u / tau, u >= h / s`: the same spikes, and
    nothing is multiplied that could round.
    """
    scaled = [module for module in model.modules() if isinstance(module, TokenSum)]
    for module in scaled:
        module.scale = 1.0
    for name, (unit, factor) in lowering.units.items() if scaled else ():
        if factor != 1:
            lowering.units[name] = (unit / factor, 1.0)
            lowering.obstacles.pop(name, None)


@torch.no_grad()
def _join_biases(model: nn.Module) -> None:
    """Join every normalisation, which only adds a bias now, with the convolution before it."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.conv.bias = nn.Parameter(module.bn.bias.clone(), requires_grad=False)
            module.bn = nn.Identity()


def write(graph: nir.NIRGraph, path: Path) -> None:
    """Write `graph` to `path` as NIR's HDF5, whole or not at all."""
    with in_memory(path) as buffer:
        nir.write(buffer, graph)
