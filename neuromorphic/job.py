"""What a simulation hands to its child process: files in a private folder, arrays as `.npy` and `.npz`, the rest JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neuromorphic.graph import Graph, Node, Operation
from neuromorphic.layers import constants
from neuromorphic.metadata import GraphMetadata
from neuromorphic.trace import SpikeTrain, Trace

Models = Literal["fused", "stock"]

_KINDS = {kind.__name__: kind for kind in get_args(Operation)}


@dataclass(frozen=True)
class Job:
    """A graph to run on frames.

    Attributes:
        graph: a validated graph; its metadata stays behind.
        frames: float32 `[N, T, *input shape]`, or `[N, 1, *input shape]` where an image presents one frame T times.
        time_steps: T.
        batch: images at a time; 1 with stock models.
        models: what computes the layers: ours, or Lava's own processes.
        exact: whether every node is proven to be exact in float32.
    """

    graph: Graph
    frames: NDArray[np.float32]
    time_steps: int
    batch: int
    models: Models
    exact: bool

    def write(self, folder: Path) -> None:
        """Write the job, and result files for the recorder to fill; what biases alone bring stands in the outputs."""
        arrays: dict[str, NDArray[np.float32]] = {}
        nodes = []
        for i, node in enumerate(self.graph.nodes.values()):
            fields = {key: getattr(node.operation, key) for key in node.operation.__dataclass_fields__}
            arrays.update({f"{i}.{key}": value for key, value in fields.items() if isinstance(value, np.ndarray)})
            rest = {key: value for key, value in fields.items() if not isinstance(value, np.ndarray)}
            kind = type(node.operation).__name__
            nodes.append([node.name, kind, rest, node.sources, node.input_shape, node.shape])
        np.savez(folder / "arrays.npz", **arrays)
        np.save(folder / "frames.npy", self.frames)
        settings = {"time_steps": self.time_steps, "batch": self.batch, "models": self.models, "exact": self.exact}
        document = {"nodes": nodes, "input": self.graph.input, "output": self.graph.output, "settings": settings}
        (folder / "job.json").write_text(json.dumps(document))
        images = len(self.frames)
        for path, node in zip(spike_files(folder, self.graph), self.graph.populations, strict=True):
            size = -(-int(np.prod(node.shape)) // 8)
            np.lib.format.open_memmap(path, "w+", np.uint8, (images, self.time_steps, size))
        shape = (images, self.time_steps, *self.graph.nodes[self.graph.output].shape)
        outputs = np.lib.format.open_memmap(output_file(folder), "w+", np.float32, shape)
        outputs[...] = constants(self.graph)[self.graph.output]

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """The job that was written to `folder`; frames stay in their file."""
        document = json.loads((folder / "job.json").read_text())
        arrays = np.load(folder / "arrays.npz")
        nodes = {}
        for i, (name, kind, rest, sources, input_shape, shape) in enumerate(document["nodes"]):
            fields = {key: tuple(value) if isinstance(value, list) else value for key, value in rest.items()}
            fields |= {key: arrays[f"{i}.{key}"] for key in _KINDS[kind].__dataclass_fields__ if key not in rest}
            nodes[name] = Node(name, _KINDS[kind](**fields), tuple(sources), tuple(input_shape), tuple(shape))
        graph = Graph(nodes, document["input"], document["output"], GraphMetadata(), str(folder))
        return cls(graph, np.load(folder / "frames.npy", mmap_mode="r"), **document["settings"])

    def trace(self, folder: Path) -> Trace:
        """What the recorder left in `folder`."""
        files = zip(self.graph.populations, spike_files(folder, self.graph), strict=True)
        spikes = {node.name: SpikeTrain(np.load(path), node.shape) for node, path in files}
        return Trace("lava", "float", spikes, np.load(output_file(folder)))


def spike_files(folder: Path, graph: Graph) -> list[Path]:
    """`.npy` per population, uint8 `[N, T, ceil(n / 8)]`."""
    return [folder / f"spikes_{i}.npy" for i in range(len(graph.populations))]


def output_file(folder: Path) -> Path:
    """`.npy`, float32 `[N, T, *output shape]`."""
    return folder / "outputs.npy"
