"""The job that a simulation hands to its child process: files in a private folder, arrays as `.npy`, the rest JSON."""

import errno
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.fingerprint import lineage
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops import AnyOperation

Models = Literal["fused", "stock"]

READ = 16
"""Images whose results are read at a time."""

_KINDS = {kind.__name__: kind for kind in get_args(AnyOperation)}


@dataclass(frozen=True)
class Job:
    """A graph to run on frames.

    Attributes:
        graph: a validated graph; its metadata stays behind.
        frames: float32 `[N, T, *frame shape]`, or `[N, 1, *frame shape]` where an image presents one frame T times.
        time_steps: T.
        batch: images at a time; 1 with stock models.
        models: `fused`, our models of whole layers, or `stock`, Lava's own processes.
        doubles: names of the nodes that compute in float64; all others compute in float32, which is exact.
        compiled: whether nodes that read spikes use compiled kernels.
    """

    graph: Graph
    frames: NDArray[np.float32]
    time_steps: int
    batch: int
    models: Models
    doubles: frozenset[str]
    compiled: bool = False

    def write(self, folder: Path) -> None:
        """Write the job, and files for the recorder to fill; those of outputs start with the sum of the biases."""
        nodes = []
        for i, node in enumerate(self.graph.nodes.values()):
            arrays, rest = node.operation.parameters()
            for key, array in arrays.items():
                _save(folder / f"node_{i}.{key}.npy", array)
            kind = type(node.operation).__name__
            if kind not in _KINDS:
                raise TypeError(f"node {node.name!r}: operation {kind} is none that a child knows")
            nodes.append([node.name, kind, list(arrays), rest, node.sources, node.input_shape, node.shape])
        _save(folder / "frames.npy", self.frames)
        settings = {
            "time_steps": self.time_steps,
            "batch": self.batch,
            "models": self.models,
            "doubles": sorted(self.doubles),
            "compiled": self.compiled,
        }
        ends = {"input": self.graph.input, "output": self.graph.output}
        document = {"nodes": nodes, **ends, "recurrent": sorted(self.graph.recurrent), "settings": settings}
        (folder / "job.json").write_text(json.dumps(document))
        images = len(self.frames)
        for path, node in zip(spike_files(folder, self.graph), self.graph.populations, strict=True):
            size = -(-math.prod(node.shape) // 8)
            _create(path, np.uint8, (images, self.time_steps, size))
        for name, path in membrane_files(folder, self.graph).items():
            _create(path, np.int32, (images, *self.graph.nodes[name].shape))
        for name, path in output_files(folder, self.graph).items():
            constant = biases(self.graph)[name]
            _create(path, np.float64, (images, self.time_steps, *constant.shape))[...] = constant

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """The job that was written to `folder`; frames stay in their file."""
        document = json.loads((folder / "job.json").read_text())
        nodes = {}
        for i, (name, kind, arrays, rest, sources, input_shape, shape) in enumerate(document["nodes"]):
            fields = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
            fields |= {key: np.load(folder / f"node_{i}.{key}.npy") for key in arrays}
            nodes[name] = Node(name, _KINDS[kind](**fields), tuple(sources), tuple(input_shape), tuple(shape))
        recurrent = frozenset((neuron, reader) for neuron, reader in document["recurrent"])
        graph = Graph(nodes, document["input"], document["output"], GraphMetadata(), str(folder), recurrent)
        settings = document["settings"] | {"doubles": frozenset(document["settings"]["doubles"])}
        return cls(graph, np.load(folder / "frames.npy", mmap_mode="r"), **settings)

    def traces(self, folder: Path) -> Iterator[Trace]:
        """The traces that the recorder left in `folder`, some images at a time."""
        graph = self.graph
        trains = {node.name: path for node, path in zip(graph.populations, spike_files(folder, graph), strict=True)}
        states = membrane_files(folder, graph)
        for start in range(0, len(self.frames), READ):

            def some(path: Path, images: slice = slice(start, start + READ)) -> NDArray[Any]:
                return np.array(np.load(path, mmap_mode="r")[images])

            spikes = {name: SpikeTrain(some(path), graph.nodes[name].shape) for name, path in trains.items()}
            membranes = {name: some(path) for name, path in states.items()} if graph.precision == "loihi2" else None
            outputs = {name: some(path).astype(np.float32) for name, path in output_files(folder, graph).items()}
            first, readout = outputs.pop(graph.output), graph.metadata.readout
            yield Trace("lava", graph.precision, spikes, first, readout, membranes, lineage(graph), outputs)


def _save(path: Path, array: NDArray[Any]) -> None:
    """Write a `.npy`, and check its size: numpy doesn't notice when the system writes only a part of it.

    Raises:
        OSError: only a part was written.
    """
    np.save(path, array)
    with path.open("rb") as file:
        np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
        np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
        if path.stat().st_size != file.tell() + array.nbytes:
            raise OSError(errno.EFBIG, "the disk is full, or files may not be as large", str(path))


def _create(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """A new `.npy` of zeros, mapped: zeros take no time to write."""
    array: NDArray[Any] = np.lib.format.open_memmap(path, "w+", dtype, shape)  # type: ignore[no-untyped-call]
    return array


def spike_files(folder: Path, graph: Graph) -> list[Path]:
    """A `.npy` for each population, uint8 `[N, T, ceil(n / 8)]`."""
    return [folder / f"spikes_{i}.npy" for i in range(len(graph.populations))]


def membrane_files(folder: Path, graph: Graph) -> dict[str, Path]:
    """A `.npy` for each population, by name, int32 `[N, *shape]`; none for graphs of floats."""
    if graph.precision != "loihi2":
        return {}
    return {node.name: folder / f"membranes_{i}.npy" for i, node in enumerate(graph.populations)}


def output_files(folder: Path, graph: Graph) -> dict[str, Path]:
    """A `.npy` for each output, by name, float64 `[N, T, *output shape]`; a trace rounds them to float32."""
    return {name: folder / f"outputs_{i}.npy" for i, name in enumerate(graph.outputs)}
