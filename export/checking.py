"""Checking: runs the PyTorch model that a file was exported from on the frames that the graph ran on."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from export.convert import Prepared, prepare
from export.integer import IntegerSpikeClip, integer_model, record_integer
from export.recording import record
from neuromorphic.analysis.fingerprint import differences
from neuromorphic.errors import all_of
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ir.parity import NumberParity
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import encode
from spikeclip.checkpoint import fingerprint, load
from spikeclip.class_names import same_list
from spikeclip.errors import RefusedInput
from spikeclip.labels import load_labels
from spikeclip.preprocess import Preprocessing


@dataclass(frozen=True)
class TorchRunner:
    """A checkpoint's folded and snapped PyTorch model, or the same in integers, which runs what a graph runs.

    Attributes:
        prepared: the checkpoint, converted.
        floats: the graph that was exported from it.
        graph: that runs: the same, or its integers.
        integers: the model in the integers of `graph`; None where floats run.
    """

    prepared: Prepared
    floats: Graph
    graph: Graph
    integers: IntegerSpikeClip | None

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing that the checkpoint states for its images."""
        return self.prepared.checkpoint.preprocessing

    @property
    def fingerprint(self) -> str:
        """The sha256 of everything that its results depend on, except the numbers of the graph."""
        config, bits = self.prepared.checkpoint.config, self.prepared.input_bits
        return fingerprint(self.prepared.model, config, self.preprocessing, bits)

    def compare_parameters(self) -> tuple[str, ...] | None:
        """The nodes of the file whose parameters are not the checkpoint's, a sentence each; None where integers run.

        Spikes may agree all the same on the images of a run, where a neuron is far from its threshold.
        """
        return self._differences() if self.integers is None else None

    def check_parameters(self) -> None:
        """Refuse floats of other parameters than the checkpoint's: a model in integers has those of the graph.

        Raises:
            RefusedInput: some differ.
        """
        if found := self._differences():
            raise RefusedInput(
                f"{self.floats.source}: its parameters are not the checkpoint's, whose integers are asked for: "
                f"{all_of(found, self.floats.source)}"
            )

    def _differences(self) -> tuple[str, ...]:
        return differences(self.floats, from_nir(self.prepared.graph, self.floats.source))

    def compare_frames(self, frames: NDArray[np.float32], images: NDArray[np.uint8]) -> NumberParity:
        """The frames that the file makes of some images against those that the checkpoint makes of them.

        Args:
            frames: of the images, as `graph` reads them.
            images: uint8 `[N, S, S, C]`, made with the checkpoint's preprocessing.
        """
        found = frames if self.graph is self.floats else encode(self.floats, images)
        return NumberParity.of(found, self.prepared.encode(images))

    def run(self, frames: NDArray[np.float32], images: NDArray[np.uint8] | None = None) -> Trace:
        """Run the model; a model of floats runs on the checkpoint's own frames of `images`, where there are images.

        Args:
            frames: as `graph` reads them: float32 `[N, *input shape]`.
            images: as of `compare_frames`.
        """
        if self.integers is not None:
            recorded = record_integer(self.integers, frames)
            spikes = {node.name: recorded.spikes[node.name] for node in self.graph.populations}
            readout = self.graph.metadata.readout
            return Trace("torch", "loihi2", spikes, recorded.outputs, readout, recorded.membranes)
        ran = record(self.prepared, frames if images is None else self.prepared.encode(images))
        # Populations inside of attention that was expanded into standard nodes have no layer in PyTorch.
        names = (node.name for node in self.floats.populations if node.name in ran.spikes)
        readout = GraphMetadata.of(self.prepared.graph.metadata, self.floats.source).readout
        return Trace("torch", "float", {name: ran.spikes[name] for name in names}, ran.outputs, readout)


def torch_runner(
    checkpoint: str,
    floats: Graph,
    graph: Graph,
    *,
    heads: int | None = None,
    image_size: int | None = None,
    labels: str | None = None,
) -> TorchRunner:
    """A runner of a checkpoint's PyTorch model beside a graph.

    Args:
        checkpoint: path or shipped name.
        floats: the graph that was exported from it.
        graph: what runs: the same, or its integers.
        heads: of a published checkpoint.
        image_size: of a published checkpoint.
        labels: label embeddings that a published checkpoint was exported with.

    Raises:
        RefusedInput: the checkpoint is refused, or the graph was not exported from it: it has other nodes or names of
            classes.
    """
    label_set = None if labels is None else load_labels(labels)
    loaded = load(checkpoint, heads=heads, image_size=image_size, labels=label_set)
    # A graph that was expanded is allowed as many neurons as it has.
    expanded = bool(floats.metadata.document.get("expanded"))
    prepared = prepare(loaded, expanded, sum(prod(node.shape) for node in floats.populations))
    odd = sorted({node.name for node in floats.populations} ^ prepared.populations)
    if odd:
        raise RefusedInput(
            f"{floats.source}: not exported from checkpoint {checkpoint!r}: only one has node {odd[0]!r}"
        )
    expected, found = floats.nodes[floats.input].shape, prepared.frame_shape
    if found != expected:
        raise RefusedInput(
            f"{floats.source}: reads frames of {list(expected)}; checkpoint {checkpoint!r} makes such of {list(found)}"
        )
    steps, own_steps = floats.metadata.time_steps, loaded.config.time_steps
    if steps != own_steps:
        raise RefusedInput(f"{floats.source}: T is {steps}; checkpoint {checkpoint!r} takes {own_steps} time steps")
    names, others = floats.metadata.label_names, loaded.label_names
    if names and others and not same_list(names, others):
        odd_name = next((pair for pair in zip(names, others, strict=False) if pair[0] != pair[1]), (names, others))
        raise RefusedInput(
            f"{floats.source}: names its classes otherwise than checkpoint {checkpoint!r}: {odd_name[0]!r} where that "
            f"has {odd_name[1]!r}"
        )
    integers = None
    if graph is not floats:
        numbers = {node.name: {**vars(node.operation), "sources": node.sources} for node in graph.nodes.values()}
        integers = integer_model(prepared, numbers)
    return TorchRunner(prepared, floats, graph, integers)
