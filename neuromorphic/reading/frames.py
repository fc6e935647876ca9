"""Frames for the input of a graph: made from images, or read from a file."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.arrays import class_labels, mapped_npy, opened_npz, texts
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import check_inputs, side_by_side
from neuromorphic.ir.metadata import InputKind, normalisation
from neuromorphic.ops.dyadic import on_grid
from neuromorphic.reading.events import (
    LIMIT,
    Bin,
    bin_events,
    files_by_class,
    find_recordings,
    holds_events,
    other_arrays,
)
from neuromorphic.reading.formats import check_format
from neuromorphic.reading.nir_data import is_nir_data, read_nir_data


def image_size(graph: Graph) -> int:
    """Height and width in pixels of the images that `graph` reads.

    Raises:
        RefusedInput: its input isn't a square map.
    """
    shape = graph.nodes[graph.input].shape
    if len(graph.inputs) > 1:
        names = ", ".join(graph.inputs)
        raise RefusedInput(f"{graph.source}: has the inputs {names}; expected one, of images (--frames NAME=FILE)")
    if len(shape) != 3 or shape[1] != shape[2]:
        raise RefusedInput(f"{graph.source}: its input has the shape {list(shape)}; expected square images [C, S, S]")
    return shape[1]


def encode(graph: Graph, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`x = round(2^b (pixel - mean) / std) / 2^b`: normalised as in the file's metadata, on its grid of b bits.

    Args:
        graph: with preprocessing in its metadata.
        images: uint8 `[N, H, W, C]` of the graph's input size.

    Returns:
        float32 `[N, C, H, W]`; every time step of an image has the same frame.

    Raises:
        RefusedInput: the file has no preprocessing, or the images don't fit the graph's input.
    """
    settings = graph.metadata.preprocessing
    if settings is None:
        raise RefusedInput(
            f"{graph.source}: its metadata has no preprocessing (mean, std and image size); expected what its input "
            "reads instead of images (--frames FILE.npy)"
        )
    mean, std = (each.astype(np.float32) for each in normalisation(graph.metadata, graph.source))
    expected = graph.nodes[graph.input].shape
    found = (images.shape[3], *images.shape[1:3])
    if found != expected or mean.shape != expected[:1]:
        raise RefusedInput(f"images have the shape {list(found)}; {graph.source} reads {list(expected)}")
    x = np.ascontiguousarray(((images - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)
    return x if graph.metadata.input_bits is None else on_grid(x, graph.metadata.input_bits)


@dataclass(frozen=True)
class FrameOptions:
    """Settings that a file of frames leaves open.

    Attributes:
        bin: the length of a time step, for events.
        time_first: whether arrays are `[T, N, ...]`.
        time_steps: T for events, where the graph doesn't say it.
    """

    bin: Bin | None = None
    time_first: bool = False
    time_steps: int | None = None


@dataclass(frozen=True)
class Frames:
    """The frames of an input node, and what is known of them.

    Attributes:
        values: `[N, T, *input shape]` or `[N, *input shape]`, in the type in which they are stored.
        names: one per sample.
        source: the file, named in messages.
        labels: int64 `[N]`, or None.
        label_names: names of the classes; the labels are indices into them.  May be empty.
        kind: the kind of values, where the file says it: events are spikes, or counts of spikes.
        assumed: assumptions, in sentences.
    """

    values: NDArray[Any]
    names: tuple[str, ...]
    source: str
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    kind: InputKind | None = None
    assumed: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the values and the labels, whatever file they were read from."""
        digest = hashlib.sha256(np.ascontiguousarray(self.values).tobytes())
        if self.labels is not None:
            digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def floats(self, samples: slice = slice(None)) -> NDArray[np.float32]:
        """The values of some samples in float32.

        Raises:
            RefusedInput: some are not finite there.
        """
        with np.errstate(over="ignore"):
            frames = np.asarray(self.values[samples], np.float32)
        if not np.isfinite(frames).all():
            raise RefusedInput(f"{self.source}: frames hold values that are not finite")
        return frames


def named_files(given: Sequence[str]) -> dict[str, Path]:
    """The files in texts `NAME=FILE`, by the name of the input; the name is empty for a `FILE` alone.

    Raises:
        RefusedInput: two are for the same input.
    """
    files: dict[str, Path] = {}
    for each in given:
        name, named, path = each.partition("=")
        if not named or Path(each).exists():
            name, path = "", each
        if name in files:
            of = f"for the input {name!r}" if name else "without a name"
            raise RefusedInput(f"{each}: a second file {of}; expected NAME=FILE, one for each input")
        files[name] = Path(path)
    return files


def find_frames(
    graph: Graph,
    given: Path | Mapping[str, Path],
    options: FrameOptions = FrameOptions(),
    limit: int | None = None,
) -> Frames:
    """The frames, or the events, in a file, or in the files of several inputs (`ir.inputs`).

    Args:
        graph: that reads them.
        given: `.npy` or `.npz`: numbers `[N, *input shape]`, or `[N, T, *input shape]` for one frame per step; NIR's
            data format (`nir.write_data`), which may hold the data of all inputs; a folder with the frames of a sample
            in each file; or events (`reading.events`).  For several inputs, such files by the name of the input
            (`named_files`).
        options: settings that the files leave open.
        limit: take the first N samples only.

    Raises:
        RefusedInput: there are no frames, an option is missing or of no use, shapes don't fit, or an input has no file.
    """
    files = {"": given} if isinstance(given, Path) else given
    if [*files] == [""] and (len(graph.inputs) == 1 or is_nir_data(files[""])):
        files = dict.fromkeys(graph.inputs, files[""])
    elif "" in files:
        names = " ".join(f"--frames {name}=FILE" for name in graph.inputs)
        raise RefusedInput(f"{files['']}: {graph.source} has the inputs {', '.join(graph.inputs)}; expected {names}")
    check_inputs(graph, files)
    found = {name: _from_file(replace(graph, input=name), files[name], options, limit) for name in graph.inputs}
    return _joined(graph, found)


def _joined(graph: Graph, found: Mapping[str, Frames]) -> Frames:
    """The frames of all inputs as one array; labels, names and kinds of all files have to agree."""
    first, *others = (found[name] for name in graph.inputs)
    if not others:
        return first
    values = side_by_side(graph, {name: frames.values for name, frames in found.items()})
    labelled = [frames for frames in found.values() if frames.labels is not None]
    if any(not np.array_equal(each.labels, labelled[0].labels) for each in labelled[1:]):  # type: ignore[arg-type]
        raise RefusedInput(f"{', '.join(each.source for each in labelled)}: hold other labels; expected those of one")
    kinds = {frames.kind for frames in found.values()}
    kind: InputKind | None = "counts" if kinds == {"spikes", "counts"} else first.kind if len(kinds) == 1 else None
    mixed = ", ".join(f"{name} {frames.kind or 'of no kind'}" for name, frames in found.items())
    assumed = [f"{name}: {said}" for name, frames in found.items() for said in frames.assumed]
    assumed += [f"the inputs are taken for real numbers, since not all say that they are events: {mixed}"] * (
        len(kinds) > 1 and kind is None
    )
    source = ", ".join(dict.fromkeys(frames.source for frames in found.values()))
    labels, names = (labelled[0].labels, labelled[0].label_names) if labelled else (None, ())
    return Frames(values, first.names, source, labels, names, kind, tuple(assumed))


def _from_file(graph: Graph, path: Path, options: FrameOptions, limit: int | None) -> Frames:
    """The frames in one file, for the graph's first input."""
    check_format(path)
    stored = read_nir_data(graph, path) if is_nir_data(path) else None
    if holds_events(path):
        return _from_events(graph, path, options, limit)
    if options.bin is not None:
        raise RefusedInput(f"{path}: --bin is for events, arrays x, y, t and p or fields of one; expected no --bin")
    if stored is not None:
        values, kind = stored
        return _with_names(Frames(values, (), str(path), kind=kind), limit)
    if path.is_dir():
        return _from_folder(graph, path, options.time_first, limit)
    return _with_names(_stored(graph, path, options.time_first), limit)


def _from_folder(graph: Graph, root: Path, time_first: bool, limit: int | None) -> Frames:
    """The frames in a folder, a sample `[T, *input shape]` per file, as in SpikingJelly; its folders are classes."""
    if time_first:
        raise RefusedInput(f"{root}: holds a sample in each file, [T, ...]; expected no --time-first")
    found, classes = files_by_class(root, LIMIT if limit is None else limit)
    samples: list[NDArray[Any]] = []
    unread: tuple[str, ...] = ()
    for _, file in found:
        arrays = _arrays(file)
        sample, unread = arrays.get("frames"), unread or _unread(file, arrays)
        if sample is None or sample.dtype.kind not in "biuf" or sample.shape[1:] != graph.nodes[graph.input].shape:
            held = "no frames" if sample is None else f"frames of the shape {list(sample.shape)} ({sample.dtype})"
            expected = f"[T, ...] of the input {list(graph.nodes[graph.input].shape)} of {graph.source}"
            raise RefusedInput(f"{file}: holds {held}; expected {expected}, one sample in each file of a folder")
        if samples and sample.shape != samples[0].shape:
            raise RefusedInput(f"{file}: {len(sample)} time steps; expected {len(samples[0])}, as in {found[0][1]}")
        samples.append(sample)
    labels = np.asarray([number for number, _ in found], np.int64) if classes else None
    names = tuple(file.relative_to(root).as_posix() for _, file in found)
    values = np.stack(samples)
    return Frames(values, names, str(root), labels, classes, _kind(values), (*_rounded(values), *unread))


def _from_events(graph: Graph, path: Path, options: FrameOptions, limit: int | None) -> Frames:
    if options.bin is None:
        raise RefusedInput(f"{path}: holds events; expected the time that a step takes, as --bin 1ms, or --bin STEPS")
    if options.time_first:
        raise RefusedInput(f"{path}: holds events; expected no --time-first")
    source = find_recordings(path, limit)
    shape, steps = graph.nodes[graph.input].shape, graph.metadata.time_steps or options.time_steps
    once = graph.metadata.input_kind == "spikes"
    grid = bin_events(source, options.bin, shape, steps, path, once=once)
    names = tuple(recording.name for recording in source.recordings)
    kind: InputKind = "spikes" if grid.frames.dtype == np.bool_ else "counts"
    assumed = (*grid.assumed, *_unread(path, other_arrays(path)))
    return Frames(grid.frames, names, str(path), source.labels, source.label_names, kind, assumed)


def _stored(graph: Graph, path: Path, time_first: bool) -> Frames:
    """The array in a `.npy`; or `frames` in an `.npz`, with its `labels` and `label_names`."""
    arrays = _arrays(path)
    if "frames" not in arrays:
        raise RefusedInput(f"{path}: has {', '.join(arrays) or 'nothing'}; expected an array 'frames'")
    values, shape = arrays["frames"], graph.nodes[graph.input].shape
    assumed: tuple[str, ...] = ()
    unlabelled = path.suffix.lower() == ".npz" and "labels" not in arrays
    one_sample = unlabelled and values.ndim == len(shape) + 1 and not time_first
    if one_sample:
        values = values[None]  # SpikingJelly keeps each sample in a file of its own
        assumed = (f"the frames are taken for {values.shape[1]} steps of one sample",)
    values = _check_shape(graph, values, path)
    assumed += _rounded(values)
    if time_first:
        if values.ndim == len(shape) + 1:
            raise RefusedInput(f"{path}: frames {list(values.shape)} have no axis of time; expected no --time-first")
        values = values.swapaxes(0, 1)
    elif values.ndim == len(shape) + 2 and not one_sample:
        assumed += _axes(values.shape[:2], graph, path)
    elif values.ndim == len(shape) + 1 and graph.metadata.time_steps in (None, len(values)):
        assumed += (f"frames are taken for {len(values)} samples, each the same in every step, [N, ...]",)
    names = texts(arrays.get("label_names", np.zeros(0, np.str_)), f"{path}: label_names")
    labels = arrays.get("labels")
    if labels is not None:
        labels = class_labels(labels, len(values), names, path, "label_names")
    assumed += _unread(path, arrays, "labels", "label_names")
    return Frames(values, (), str(path), labels, names, _kind(values), assumed)


def _kind(values: NDArray[Any]) -> InputKind | None:
    """The kind of values, if their type says it."""
    return "spikes" if values.dtype == np.bool_ else None


def _unread(path: Path, arrays: Collection[str], *read: str) -> tuple[str, ...]:
    """An assumption, if a file has arrays that are not used."""
    names = sorted({*arrays} - {"frames", *read})
    labels = " (labels are `labels`)" if "labels" in read else ""
    return (f"{path.name} holds {', '.join(names)} too, which nothing reads{labels}",) if names else ()


def _rounded(values: NDArray[Any]) -> tuple[str, ...]:
    """An assumption, if there are integers that float32, in which frames are computed, doesn't hold."""
    if values.dtype.kind in "iu" and any((sample.astype(np.float32) != sample).any() for sample in values):
        return (f"frames hold whole numbers beyond 2^24 ({values.dtype}); they are rounded to float32",)
    return ()


def _axes(found: tuple[int, ...], graph: Graph, path: Path) -> tuple[str, ...]:
    """An assumption on axes `[N, T, ...]` if T is unknown; refuses what looks like `[T, N, ...]`."""
    samples, steps = found
    known = graph.metadata.time_steps
    if known is None:
        return (f"frames are taken for {samples} samples of {steps} steps, [N, T, ...] (--time-first for [T, N, ...])",)
    if steps != known and samples == known:
        raise RefusedInput(
            f"{path}: {samples} samples of {steps} steps; {graph.source} takes {known}; expected --time-first if the "
            "frames are [T, N, ...]"
        )
    return ()


def _with_names(found: Frames, limit: int | None) -> Frames:
    """The first `limit` samples of `found`, with names."""
    values = found.values[:limit]
    labels = None if found.labels is None else found.labels[:limit]
    return replace(found, values=values, labels=labels, names=tuple(f"frames {i}" for i in range(len(values))))


def _check_shape(graph: Graph, found: NDArray[Any], path: Path) -> NDArray[Any]:
    shape = graph.nodes[graph.input].shape
    if found.dtype.kind not in "biuf":
        raise RefusedInput(f"{path}: holds no array of numbers; expected [N, T, ...] or [N, ...]")
    if found.ndim not in (len(shape) + 1, len(shape) + 2) or found.shape[found.ndim - len(shape) :] != shape:
        raise RefusedInput(
            f"{path}: frames have the shape {list(found.shape)}; expected [N, T, ...] or [N, ...] of the input "
            f"{list(shape)} of {graph.source}"
        )
    if not found.size:
        raise RefusedInput(
            f"{path}: frames have the shape {list(found.shape)}: nothing to run on; expected some of each"
        )
    return found


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a file, by name; that of a `.npy`, which is mapped into memory, is called `frames`."""
    if path.suffix.lower() != ".npz":
        return {"frames": mapped_npy(path)}
    with opened_npz(path) as found:
        return dict(found)
