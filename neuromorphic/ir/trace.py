"""A trace of a run: every spike of every population, bit-packed, and the real-valued output; stored in HDF5."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.files import atomic, reserve
from neuromorphic.ir import plots
from neuromorphic.ir.hdf5 import survey
from neuromorphic.ir.metadata import Readout
from neuromorphic.ir.shown import Shown
from neuromorphic.ir.trace_shards import GROUP, parts_of
from neuromorphic.ops import Overflows

FORMAT_VERSION = 1

TOGETHER = 16
"""Images in one compressed chunk of a file."""

UNPACKED = 2**24
"""Spikes that are unpacked at a time, at a byte each."""

ROOM = 2**22
"""Bytes of a file that are reserved for HDF5's own records beside the data."""


@dataclass(frozen=True)
class SpikeTrain:
    """The spikes of one population.

    Attributes:
        bits: uint8 `[images, T, ceil(neurons / 8)]`; neuron i of the flattened population is bit `7 - i % 8` of byte
            `i // 8` (numpy's packbits); the bits behind the last neuron are 0.
        shape: of the population, as in `[C, H, W]`.
    """

    bits: NDArray[np.uint8]
    shape: tuple[int, ...]

    @property
    def neurons(self) -> int:
        """Neurons of the population."""
        return int(np.prod(self.shape))

    @classmethod
    def pack(cls, spikes: NDArray[np.bool_]) -> "SpikeTrain":
        """From booleans `[images, T, *shape]`."""
        images, steps, *shape = spikes.shape
        return cls(np.packbits(spikes.reshape(images, steps, -1), axis=-1), tuple(shape))

    def unpack(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Booleans `[images, T, *shape]` of the images from `start` to before `stop`."""
        bits = self.bits[start:stop]
        flat = np.unpackbits(bits, axis=-1, count=self.neurons)
        return flat.reshape(*bits.shape[:2], *self.shape).view(np.bool_)

    def count(self) -> int:
        """Spikes in all."""
        return int(np.bitwise_count(self.bits).sum(dtype=np.int64))

    def per_step(self) -> NDArray[np.int64]:
        """Spikes in each step, over all images: int64 `[T]`."""
        return np.asarray(np.bitwise_count(self.bits).sum((0, 2), dtype=np.int64))

    def per_neuron(self) -> NDArray[np.int64]:
        """Spikes of each neuron, over all images and steps: int64 `[neurons]`."""
        total = np.zeros(self.neurons, np.int64)
        some = max(1, UNPACKED // max(1, self.bits.shape[1] * self.neurons))
        for start in range(0, len(self.bits), some):
            total += self.unpack(start, start + some).reshape(-1, self.neurons).sum(0, dtype=np.int64)
        return total


@dataclass(frozen=True, repr=False, eq=False)
class Trace(Shown):
    """The record of a run of a graph, aligned to images: step t of every population answers frame t.

    Attributes:
        producer: the target: `reference`, `fast`, `lava` or `torch`; it doesn't count in comparisons.
        precision: `float` or `loihi2`.
        spikes: by node name, in topological order.
        outputs: float32 `[images, T, *output shape]`, of the output node in every step.
        readout: how outputs become scores; None for the mean over time.
        membranes: v after the last step of every image, int32 `[images, *shape]` by node name; None for floats.
        further: outputs of a graph beyond the first one, likewise, by node name.
        overflows: by population of integers, how often a value left its width; None where it was not counted.  Files
            don't hold it.
        frames: sha256 of each image's frames (`analysis.fingerprint.of_frames`), uint8 `[images, 32]`; None where they
            are not known.
        graphs: fingerprints of the graph that ran, and of those that it was made from (`analysis.fingerprint`); empty
            where they are not known.
    """

    producer: str = field(compare=False)
    precision: str
    spikes: Mapping[str, SpikeTrain]
    outputs: NDArray[np.float32]
    readout: Readout | None = None
    membranes: Mapping[str, NDArray[np.int32]] | None = None
    graphs: tuple[str, ...] = field(default=(), compare=False)
    further: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    overflows: Mapping[str, Overflows] | None = field(default=None, compare=False)
    frames: NDArray[np.uint8] | None = field(default=None, compare=False)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.outputs)

    @property
    def time_steps(self) -> int:
        """Steps per image, T."""
        return int(self.outputs.shape[1])

    @property
    def scores(self) -> NDArray[np.float64]:
        """`Σ_t w_t output[t, c] + b_c` per image: float64 `[images, classes]`."""
        if self.readout is not None:
            return self.readout.scores(self.outputs)
        return np.asarray(self.outputs.astype(np.float64).mean(1).reshape(self.images, -1))

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The class of the highest score per image: int64 `[images]`."""
        return np.asarray(self.scores.argmax(1), dtype=np.int64)

    def rate(self, name: str) -> float:
        """Spikes per neuron and time step of the population of that name."""
        train = self.spikes[name]
        return train.count() / max(1, train.neurons * self.images * self.time_steps)

    def title(self) -> str:
        """The run in one line."""
        spikes = sum(train.count() for train in self.spikes.values())
        of = f"trace of {self.producer}, {self.precision}"
        return f"{of}: {self.images} images, T = {self.time_steps}, {spikes:,} spikes"

    def rows(self) -> list[dict[str, Any]]:
        """A row for each population."""
        return [
            {
                "population": name,
                "shape": str(list(train.shape)),
                "neurons": train.neurons,
                "spikes": train.count(),
                "rate": self.rate(name),
            }
            for name, train in self.spikes.items()
        ]

    def raster(self, image: int = 0, nodes: Sequence[str] | None = None, axes: Any = None) -> Any:
        """Every spike of one image (`plots.raster`)."""
        return plots.raster(self, image, nodes, axes)

    def rates(self, against: "Trace | None" = None, axes: Any = None) -> Any:
        """Rates of all populations, beside those of another run, for example in integers (`plots.rates`)."""
        runs = [self] if against is None else [self, against]
        return plots.rates(runs, [f"{run.producer}, {run.precision}" for run in runs], axes)

    @classmethod
    def joined(cls, parts: Sequence["Trace"]) -> "Trace":
        """The trace of all images of `parts`, which have the same graph and T, in their order."""
        first = parts[0]
        spikes = {
            name: SpikeTrain(np.concatenate([part.spikes[name].bits for part in parts]), train.shape)
            for name, train in first.spikes.items()
        }
        membranes = None
        if first.membranes is not None:
            of_parts = [part.membranes for part in parts if part.membranes is not None]
            membranes = {name: np.concatenate([v[name] for v in of_parts]) for name in first.membranes}
        outputs = np.concatenate([part.outputs for part in parts])
        further = {name: np.concatenate([part.further[name] for part in parts]) for name in first.further}
        frames = [part.frames for part in parts if part.frames is not None]
        return replace(
            first,
            spikes=spikes,
            outputs=outputs,
            membranes=membranes,
            further=further,
            overflows=_added([part.overflows for part in parts]),
            frames=np.concatenate(frames) if len(frames) == len(parts) else None,
        )

    def part(self, images: slice) -> "Trace":
        """The trace of some of the images, without overflows, which are counted for all images only."""
        spikes = {name: SpikeTrain(train.bits[images], train.shape) for name, train in self.spikes.items()}
        membranes = None if self.membranes is None else {name: v[images] for name, v in self.membranes.items()}
        further = {name: values[images] for name, values in self.further.items()}
        frames, outputs = None if self.frames is None else self.frames[images], self.outputs[images]
        return replace(
            self, spikes=spikes, outputs=outputs, membranes=membranes, further=further, overflows=None, frames=frames
        )

    def write(self, path: str | Path) -> None:
        """Write the trace as HDF5, whole or not at all.

        Raises:
            RefusedInput: the system refuses, as of `files.atomic`.
        """
        with growing(Path(path)) as add:
            add(self)

    @classmethod
    def read(cls, path: str | Path, images: slice = slice(None)) -> "Trace":
        """The trace in `path`, or the part with these images; of an index, the trace in its shards.

        Raises:
            RefusedInput: the file is not such a trace, reaches outside itself, or its arrays don't fit each other.
        """
        try:
            with h5py.File(path := Path(path), "r") as file:
                survey(file, path)
                version = file.attrs.get("format_version")
                if version != FORMAT_VERSION:
                    kind = "is no trace" if version is None else f"trace format {version}"
                    raise RefusedInput(f"{path}: {kind}; expected format {FORMAT_VERSION}, as of spikeclip-simulate -o")
                if GROUP in file:
                    return cls._of_shards(path, parts_of(file, path, images))
                outputs = np.asarray(file["outputs"][images], np.float32)
                if outputs.ndim < 2:
                    raise RefusedInput(f"{path}: outputs are {list(outputs.shape)}; expected [images, T, ...]")
                spikes = {
                    name: _train(data, images, outputs.shape[:2], f"{path}: node {name!r}")
                    for name, data in file["spikes"].items()
                }
                readout = _readout(file["readout"], outputs, path) if "readout" in file else None
                membranes = _membranes(file["membranes"], images, spikes, path) if "membranes" in file else None
                producer, precision = str(file.attrs["producer"]), str(file.attrs["precision"])
                graphs = _graphs(file.attrs.get("graphs", ()), path)
                others = file.get("further", {}).items()
                further = {name: _further(data, images, outputs, path) for name, data in others}
                frames = _frames(file["frames"], images, outputs, path) if "frames" in file else None
                return cls(producer, precision, spikes, outputs, readout, membranes, graphs, further, frames=frames)
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, RefusedInput):
                raise
            raise RefusedInput(f"{path}: not a readable trace ({error})") from error

    @classmethod
    def _of_shards(cls, index: Path, parts: Sequence[tuple[Path, slice]]) -> "Trace":
        traces = [cls.read(path, images) for path, images in parts]
        kinds = {(each.producer, each.precision, each.graphs, each.outputs.shape[1:]) for each in traces}
        if len(kinds) > 1:
            raise RefusedInput(f"{index}: its shards are of different runs; expected one graph, producer and T")
        return cls.joined(traces)


def _added(parts: Sequence[Mapping[str, Overflows] | None]) -> dict[str, Overflows] | None:
    """Overflows of all parts together; None where they were not counted in each."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return {name: sum((part[name] for part in known), start=Overflows()) for name in known[0]}


@contextmanager
def growing(path: Path) -> Iterator[Callable[[Trace], None]]:
    """A file to which traces of some images each are added while they are made; it is written whole or not at all.

    The traces have one graph and T.  The file holds the trace of all their images, in that order, and doesn't depend on
    how these were divided into traces.

    Raises:
        RefusedInput: the system refuses, as of `files.atomic`.
    """
    with atomic(path) as partial, partial.open("w+b") as stored:
        with h5py.File(stored, "w", track_order=True) as file:
            waiting: list[Trace] = []

            def add(trace: Trace) -> None:
                waiting.append(trace)
                if sum(part.images for part in waiting) < TOGETHER:
                    return
                joined = Trace.joined(waiting)
                full = joined.images // TOGETHER * TOGETHER
                for start in range(0, full, TOGETHER):
                    _append(file, stored, joined.part(slice(start, start + TOGETHER)))
                waiting[:] = [joined.part(slice(full, None))]

            yield add
            if any(part.images for part in waiting):
                _append(file, stored, Trace.joined(waiting))
        stored.flush()
        os.fsync(stored.fileno())


def _append(file: h5py.File, stored: IO[bytes], trace: Trace) -> None:
    """Add images to a file.  Space is reserved before, since HDF5's library crashes where a disk fills up."""
    arrays: dict[str, NDArray[Any]] = {"outputs": trace.outputs}
    arrays.update({f"spikes/{name}": train.bits for name, train in trace.spikes.items()})
    arrays.update({f"membranes/{name}": v for name, v in (trace.membranes or {}).items()})
    arrays.update({f"further/{name}": values for name, values in trace.further.items()})
    if trace.frames is not None:
        arrays["frames"] = trace.frames
    taken = sum(file[name].id.get_storage_size() for name in arrays if name in file)
    added = sum(array.nbytes for array in arrays.values())  # gzip adds little where it saves nothing
    reserve(stored, ROOM + int(1.05 * (taken + added)))
    if "outputs" not in file:
        _describe(file, trace)
    for name, array in arrays.items():
        if name not in file:
            data = file.create_dataset(
                name,
                shape=(0, *array.shape[1:]),
                maxshape=(None, *array.shape[1:]),
                chunks=(min(TOGETHER, len(array)), *(max(n, 1) for n in array.shape[1:])),
                dtype=array.dtype,
                compression="gzip",
                compression_opts=1,
            )
            if name.startswith("spikes/"):
                data.attrs["shape"] = trace.spikes[name.removeprefix("spikes/")].shape
        images = len(file[name])
        file[name].resize(images + len(array), 0)
        file[name][images:] = array
    file.flush()


def _describe(file: h5py.File, trace: Trace) -> None:
    """Write what a file states once for all images."""
    file.attrs.update(format_version=FORMAT_VERSION, producer=trace.producer, precision=trace.precision)
    if trace.graphs:
        file.attrs["graphs"] = list(trace.graphs)
    if trace.readout is not None:
        for key, numbers in vars(trace.readout).items():
            file[f"readout/{key}"] = numbers
    file.create_group("spikes", track_order=True)
    if trace.membranes is not None:
        file.create_group("membranes", track_order=True)


def _further(data: h5py.Dataset, images: slice, outputs: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    values = np.asarray(data[images], np.float32)
    if values.ndim < 2 or values.shape[:2] != outputs.shape[:2]:
        expected = f"[{len(outputs)}, {outputs.shape[1]}, ...]"
        raise RefusedInput(f"{path}: further outputs {data.name} are {list(values.shape)}; expected {expected}")
    return values


def _frames(data: h5py.Dataset, images: slice, outputs: NDArray[np.float32], path: Path) -> NDArray[np.uint8]:
    frames: NDArray[np.uint8] = np.asarray(data[images])
    found, expected = f"{frames.dtype} {list(frames.shape)}", f"uint8 [{len(outputs)}, 32]"
    if found != expected:
        raise RefusedInput(f"{path}: hashes of frames are {found}; expected {expected}")
    return frames


def _graphs(found: Any, path: Path) -> tuple[str, ...]:
    graphs = tuple(str(each) for each in found)
    if not all(re.fullmatch("[0-9a-f]{64}", each) for each in graphs):
        raise RefusedInput(f"{path}: its graphs are {shown(graphs)}; expected a sha256 of each")
    return graphs


def _train(data: h5py.Dataset, images: slice, frames: tuple[int, ...], where: str) -> SpikeTrain:
    train = SpikeTrain(data[images], tuple(int(n) for n in data.attrs["shape"]))
    expected = (*frames, -(-train.neurons // 8))
    if train.bits.dtype != np.uint8 or train.bits.shape != expected:
        raise RefusedInput(f"{where} has {train.bits.dtype} {list(train.bits.shape)}; expected uint8 {list(expected)}")
    if (train.bits[..., -1:] & (0xFF >> (train.neurons % 8 or 8))).any():  # they would be counted as spikes
        raise RefusedInput(f"{where} has bits behind its last neuron; expected zeros there")
    return train


def _membranes(
    group: h5py.Group, images: slice, spikes: Mapping[str, SpikeTrain], path: Path
) -> dict[str, NDArray[np.int32]]:
    if set(group) != set(spikes):
        odd = sorted(set(group) ^ set(spikes))
        raise RefusedInput(f"{path}: it holds either spikes or membranes of {', '.join(odd[:4])}; expected both")
    membranes = {name: group[name][images] for name in spikes}
    for name, v in membranes.items():
        expected = (len(spikes[name].bits), *spikes[name].shape)
        if v.dtype != np.int32 or v.shape != expected:
            raise RefusedInput(
                f"{path}: node {name!r} has membranes {v.dtype} {list(v.shape)}; expected int32 {list(expected)}"
            )
    return membranes


def _readout(group: h5py.Group, outputs: NDArray[np.float32], path: Path) -> Readout:
    readout = Readout(*(np.asarray(group[key][...], np.float64) for key in ("time_weights", "bias")))
    weights, bias = readout.time_weights, readout.bias
    if weights.shape != outputs.shape[1:2] or bias.shape not in ((0,), (math.prod(outputs.shape[2:]),)):
        raise RefusedInput(
            f"{path}: a readout of {weights.size} time weights and a bias of {bias.size} numbers; "
            f"expected such as fit outputs {list(outputs.shape)}"
        )
    return readout
