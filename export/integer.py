"""The torch model in the integers of Loihi 2: the encoder's own code with the weights and neurons of an integer graph.

The wiring comes from the checkpoint's own modules, every number from the integer graph.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

from export.convert import Prepared
from export.frames import check_frames
from export.integer_layers import IntegerAttention, IntegerConv, IntegerGate, IntegerLif
from export.recording import Recording, recorder
from neuromorphic.cluster.ranges import batches
from neuromorphic.ir.trace import SpikeTrain
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput
from spikeclip.neurons import And, SpikingSelfAttention, TokenSum

Parameters = Mapping[str, Mapping[str, Any]]

FRAME_LIMITS = (-128, 127)
"""The integers that frames may hold."""

SUM_LIMIT = 2**30
"""All currents together stay below it, so that int32 holds any sum of them and one bit is left for wrapping it."""


class IntegerSpikeClip(nn.Module):
    """`y_t = R Σ_tokens x_t + r`: an encoder in integers, with the readout of the host.

    The readout adds integers in float64 and rounds once.

    Shapes: frames, integers in float32 `[B, C, H, W]`, to float32 `[T, B, classes]`.

    Attributes:
        encoder: the encoder, whose layers compute in integers; its `tokens` is `[T, B, C, H, W]` to what is read out.
        populations: its neurons, by name.
        frame_shape: channels, height and width of a frame.
        time_steps: T.
    """

    def __init__(
        self,
        encoder: Encoder,
        populations: Mapping[str, IntegerLif],
        readout: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
        frame_shape: tuple[int, int, int],
        time_steps: int,
    ) -> None:
        super().__init__()
        self.encoder, self.populations = encoder, populations
        self.frame_shape, self.time_steps = frame_shape, time_steps
        self.window: Tensor
        self.weight: Tensor
        self.bias: Tensor
        for name, values in zip(("window", "weight", "bias"), readout, strict=True):
            self.register_buffer(name, torch.tensor(np.asarray(values, np.float64)))

    def forward(self, frames: Tensor) -> Tensor:
        return self.read(self.encoder.tokens(self.present(frames)))

    def present(self, frames: Tensor) -> Tensor:
        """Every frame T times: `[B, C, H, W]` to `[T, B, C, H, W]`."""
        return frames.unsqueeze(0).expand(self.time_steps, *frames.shape)

    def read(self, tokens: Tensor) -> Tensor:
        """The readout of what the encoder returns: `[T, B, C, H, W]` to `[T, B, classes]`."""
        sums = (tokens.double() * self.window).sum((-2, -1))
        return F.linear(sums, self.weight, self.bias).float()


@dataclass(frozen=True)
class IntegerRecording(Recording):
    """A run of the torch model in integers.

    Attributes:
        membranes: v of every population after the last time step of each image, int32 `[N, C, H, W]`.
    """

    membranes: dict[str, NDArray[np.int32]]


def integer_model(prepared: Prepared, integers: Parameters) -> IntegerSpikeClip:
    """The prepared encoder in the numbers of the integer graph that its NIR graph was quantised to.

    Args:
        prepared: as `convert.prepare` returns it.
        integers: of each node of the integer graph, under its name, the fields of its operation and the names of its
            `sources`: `{n.name: {**vars(n.operation), "sources": n.sources} for n in graph.nodes.values()}`.

    Raises:
        RefusedInput: a node of the integer graph has no counterpart among the modules or the other way round, weights
            are no integers, or a sum could need more than 32 bits.
    """
    return _Builder(prepared, integers).build()


@torch.no_grad()
def record_batches(
    model: IntegerSpikeClip, frames: NDArray[np.float32], batch: int
) -> Iterator[tuple[slice, IntegerRecording]]:
    """Run the integer model and yield, batch after batch, which images they are and all that it did.

    Args:
        model: as `integer_model` returns it.
        frames: integers of -128 to 127, float32 `[N, C, H, W]`.
        batch: images per forward pass; it changes no result.

    Raises:
        RefusedInput: no frames, of another shape than the encoder reads, or other values.
    """
    check_frames(frames, model.frame_shape)
    low, high = FRAME_LIMITS
    for images in batches(len(frames), batch):
        x = frames[images]
        if not (np.array_equal(x, np.round(x)) and low <= x.min() and x.max() <= high):
            raise RefusedInput(f"frames {images.start} to {images.stop - 1}: expected integers of {low} to {high}")
        # The Winograd convolutions of NNPACK round.
        with recorder(model.encoder, model.populations) as kept, torch.backends.nnpack.flags(enabled=False):
            last = model.encoder.tokens(model.present(torch.from_numpy(x)))
        membranes = {name: lif.membranes.numpy() for name, lif in model.populations.items()}
        yield images, IntegerRecording(kept, model.read(last).transpose(0, 1).numpy(), membranes)


def record_integer(model: IntegerSpikeClip, frames: NDArray[np.float32], batch: int = 16) -> IntegerRecording:
    """`record_batches` in one piece: a hundred images of a small encoder take some 160 MB."""
    parts = [part for _, part in record_batches(model, frames, batch)]
    spikes = {
        name: SpikeTrain(np.concatenate([part.spikes[name].bits for part in parts]), train.shape)
        for name, train in parts[0].spikes.items()
    }
    membranes = {name: np.concatenate([part.membranes[name] for part in parts]) for name in parts[0].membranes}
    return IntegerRecording(spikes, np.concatenate([part.outputs for part in parts]), membranes)


class _Builder:
    """Replaces the encoder's modules one by one, and remembers the nodes that their numbers come from."""

    def __init__(self, prepared: Prepared, integers: Parameters) -> None:
        self.prepared, self.integers = prepared, integers
        self.encoder = copy.deepcopy(prepared.model.encoder)
        self.used = {"input", "output", "readout.flatten"}
        self.populations: dict[str, IntegerLif] = {}
        self.bound = 0.0

    def build(self) -> IntegerSpikeClip:
        layers = [(path, module) for path, module in self.encoder.named_modules() if path]
        # Neurons come first, since what reads them asks for their shapes.
        for path, module in sorted(layers, key=lambda layer_: not isinstance(layer_[1], neuron.LIFNode)):
            replacement = self._replacement(path, module)
            if replacement is not module:
                self.encoder.set_submodule(path, replacement)
        window, readout = self._node("readout.sum"), self._node("readout")
        whole = window["weight"][:, 0] if "weight" in window else np.ones((1, 1, 1))
        for name in self.integers:
            if name not in self.used:
                raise RefusedInput(f"node {name!r} of the integer graph stands for no module of the encoder")
        if self.bound >= SUM_LIMIT:
            raise RefusedInput(
                f"the encoder's currents reach {self.bound:.0f} together; expected less than {SUM_LIMIT}"
            )
        return IntegerSpikeClip(
            self.encoder,
            self.populations,
            (whole, readout["weight"], readout["bias"]),
            self.prepared.frame_shape,
            self.prepared.checkpoint.config.time_steps,
        )

    def _replacement(self, path: str, module: nn.Module) -> nn.Module:
        match module:
            case layer.Conv2d():
                frames = self._node(path)["sources"] == ("input",)
                return self._conv(path, max(map(abs, FRAME_LIMITS)) if frames else 1)
            case neuron.LIFNode():
                return self._lif(path)
            case TokenSum():
                return self._conv(path)
            case SpikingSelfAttention():
                return self._attention(path, module)
            case And():
                return self._gate(path, self.prepared.operands[path])
            case layer.MaxPool2d() if "threshold" in self._node(path):
                return self._gate(path, self._pooled(path))
            case _:
                return module  # maxima of currents, identities and modules of several layers have no numbers

    def _pooled(self, path: str) -> tuple[str]:
        """The population whose spikes a gate pools."""
        (count,) = self.integers[path]["sources"]
        (source,) = self.integers[count]["sources"]
        return (source,)

    def _node(self, name: str) -> Mapping[str, Any]:
        if name not in self.integers:
            raise RefusedInput(f"module {name!r} has no node in the integer graph")
        self.used.add(name)
        return self.integers[name]

    def _conv(self, name: str, largest: int = 1) -> IntegerConv:
        """The convolution of a node; where it sums over windows, that of ones."""
        node = self._node(name)
        if "weight" not in node:
            channels = self._channels(name)
            node = {**_ones(channels, node["kernel"]), "stride": node["stride"], "padding": node["padding"]}
        conv = IntegerConv(name, node, largest)
        self.bound += conv.bound
        return conv

    def _channels(self, name: str) -> int:
        """Channels of the one population that a node reads."""
        (source,) = self.integers[name]["sources"]
        return self.populations[source].shape[0]

    def _lif(self, path: str) -> IntegerLif:
        lif = self.populations[path] = IntegerLif(self._node(path))
        return lif

    def _gate(self, path: str, operands: tuple[str, ...]) -> IntegerGate:
        """The neurons `path`, with the synapses that lead there from each of the populations `operands`."""
        lif = self._lif(path)
        return IntegerGate([self._synapse(path, source, lif) for source in operands], lif)

    def _synapse(self, reader: str, source: str, lif: IntegerLif) -> IntegerConv:
        for name in self.integers[reader]["sources"]:
            if name == source:
                return IntegerConv(reader, _ones(lif.shape[0], (1, 1)))
            if tuple(self.integers[name]["sources"]) == (source,):
                return self._conv(name)
        raise RefusedInput(f"node {reader!r} of the integer graph doesn't read {source!r}; expected that it does")

    def _attention(self, path: str, module: SpikingSelfAttention) -> IntegerAttention:
        scale = float(self._node(path)["scale"])
        if not scale.is_integer():
            raise RefusedInput(f"node {path!r} scales by {scale}; expected an integer")
        channels, height, width = self.populations[self.integers[path]["sources"][0]].shape
        self.bound += scale * channels // 3 // module.heads * height * width
        return IntegerAttention(module.heads, int(scale))


def _ones(channels: int, kernel: tuple[int, int]) -> dict[str, Any]:
    """A convolution of ones, each channel by itself."""
    ones = np.ones((channels, 1, *kernel), np.float32)
    still: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    return {"weight": ones, "bias": np.zeros(channels), "groups": channels, **still}
