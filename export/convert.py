"""Conversion: a checkpoint to a snapped torch model, the NIR graph that equals it, and the proof that it does."""

import copy
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import layer
from torch import nn

from export import frames, metadata
from export.capture import capture, shapes
from export.certificate import Certificate, certify
from export.fold import fold_batch_norm, fold_token_scale
from export.lower import LOWERINGS, lower
from export.populations import DT
from export.readout import add_readout
from export.snap import Grid, snap
from export.snapped import SnappedSpikeClip
from export.standard_nodes import CHIP_NEURONS, Cost, cost, expand, grouped
from spikeclip.checkpoint import Checkpoint
from spikeclip.errors import RefusedInput

KNOWN = frozenset(LOWERINGS) | {layer.BatchNorm2d}
"""Types of modules that an encoder may consist of."""


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
        expansion: what attention in standard nodes takes; None where it is a node of its own.
    """

    model: SnappedSpikeClip
    graph: nir.NIRGraph
    certificate: Certificate
    grids: dict[str, Grid]
    input_bits: int
    checkpoint: Checkpoint
    expansion: Cost | None = None

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a frame."""
        config = self.checkpoint.config
        return (config.image_channels, config.image_size, config.image_size)

    @property
    def populations(self) -> frozenset[str]:
        """Names of the spiking nodes."""
        return frozenset(name for name, node in self.graph.nodes.items() if isinstance(node, nir.LIF))

    def encode(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Frames of images: uint8 `[N, H, W, C]` to float32 `[N, C, H, W]`."""
        return frames.encode(self.checkpoint.preprocessing, self.input_bits, images)


def to_nir(checkpoint: Checkpoint) -> nir.NIRGraph:
    """The NIR graph of a checkpoint, exact where its certificate says so.

    Its nodes are standard NIR, but for the two extension nodes of `neuromorphic.ops.extensions` in a `paper` encoder.

    Raises:
        RefusedInput: a module that has no lowering, by name.
    """
    return prepare(checkpoint).graph


def prepare(checkpoint: Checkpoint, standard_nodes: bool = False, neuron_limit: int = CHIP_NEURONS) -> Prepared:
    """Fold, lower, snap and certify a checkpoint; the checkpoint's own model stays as it is.

    Args:
        checkpoint: what to convert.
        standard_nodes: whether self-attention becomes neurons of standard NIR (`standard_nodes.expand`).
        neuron_limit: most neurons that the graph may then have.

    Raises:
        RefusedInput: a module that has no lowering, by name, or too many neurons.
    """
    config, preprocessing = checkpoint.config, checkpoint.preprocessing
    frame = (config.image_channels, config.image_size, config.image_size)
    if (len(preprocessing.mean), preprocessing.image_size) != frame[:2]:
        raise RefusedInput(
            f"preprocessing makes {len(preprocessing.mean)} channels of {preprocessing.image_size} pixels; "
            f"the encoder reads {frame[0]} of {frame[1]}"
        )
    bits = frames.input_bits(preprocessing)
    pixels = frames.frame_range(preprocessing, bits)

    traced = capture(checkpoint.model.encoder, "tokens", KNOWN)
    fold_batch_norm(traced)
    fold_token_scale(traced)
    lowering, last = lower(traced, shapes(traced, frame), config.time_steps)
    readout = add_readout(lowering, last, checkpoint.model)
    graph = nir.NIRGraph(lowering.nodes, lowering.edges)
    expansion = cost(graph) if standard_nodes else None
    if expansion is not None:
        graph = expand(graph, neuron_limit)
    attention = () if expansion is None else expansion.attention
    expanded = tuple(node.name for node in attention)
    groups = lowering.groups | {name: count for node in attention for name, count in grouped(node).items()}

    grids = snap(graph, pixels, config.time_steps, DT)
    certificate = certify(graph, pixels, config.time_steps, DT)
    graph.metadata = metadata.of(
        checkpoint, bits, grids, certificate, readout, metadata.extensions(graph), expanded, groups
    )
    model = SnappedSpikeClip(traced, copy.deepcopy(checkpoint.model.readout), readout)
    _load_weights(model, graph)
    return Prepared(model.eval().requires_grad_(False), graph, certificate, grids, bits, checkpoint, expansion)


def write(graph: nir.NIRGraph, path: Path) -> None:
    """Write `graph` to `path` as NIR's HDF5, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        nir.write(partial, graph)
        partial.replace(path)
    except OSError as error:
        raise RefusedInput(f"{path}: can't be written ({error})") from error
    finally:
        partial.unlink(missing_ok=True)


@torch.no_grad()
def _load_weights(model: SnappedSpikeClip, graph: nir.NIRGraph) -> None:
    """Give the torch model the snapped weights of the graph's nodes, which are named after its modules."""
    modules = dict(model.encoder.named_modules())
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Affine):
            model.readout.weight.copy_(torch.from_numpy(node.weight))
            model.readout.bias.copy_(torch.from_numpy(node.bias))
            continue
        module = modules.get(name)
        if isinstance(module, layer.Conv2d):
            out, inner = module.weight.shape[:2]
            rows = np.arange(out)[:, None]
            seen = (rows // (out // module.groups)) * inner + np.arange(inner)
            module.weight.copy_(torch.from_numpy(node.weight[rows, seen]))
            module.bias = nn.Parameter(torch.from_numpy(node.bias.copy()), requires_grad=False)
