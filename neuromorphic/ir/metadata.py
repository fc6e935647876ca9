"""Metadata from exporters: time, images, labels, grids and the certificate, as one JSON string.

NIR writes only simple values of its metadata to HDF5, not None, lists of dictionaries or lists of strings; so a graph
has one string under the key `spikeclip`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, shown

KEY = "spikeclip"
FORMAT_VERSION = 1
LEAST_DT = 1e-9
InputKind = Literal["real", "spikes", "counts"]
Reset = Literal["zero", "subtract"]
DEFAULT_DT = 1e-4
"""Seconds per time step that SpikingJelly and snnTorch assume when they write NIR."""


@dataclass(frozen=True, eq=False)
class Readout:
    """`scores = Σ_t w_t y_t + b`, computed on the host from a graph's output y_t, in float64.

    Attributes:
        time_weights: w, float64 `[T]`.
        bias: b, float64 `[classes]`, or empty for none.
    """

    time_weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def scores(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """The scores of outputs `[images, T, *shape]`: float64 `[images, classes]`."""
        flat = outputs.reshape(*outputs.shape[:2], -1).astype(np.float64)
        scores = np.asarray((self.time_weights[:, None] * flat).sum(1))
        return scores + self.bias if self.bias.size else scores


@dataclass(frozen=True)
class GraphMetadata:
    """Statements of a graph's exporter; graphs from elsewhere may lack all but `dt`.

    Attributes:
        dt: seconds per time step.
        time_steps: steps per image, T; None where the file doesn't say.
        preprocessing: `{"image_size": int, "mean": [...], "std": [...]}` in pixel units, or None.
        input_bits: inputs are rounded to multiples of `2**-input_bits` before the first step; None for no rounding.
        label_names: names of the output's elements, the classes; empty where it is no classifier.
        readout: how the output becomes scores; None for the mean over time.
        certificate: the exporter's proof of the arithmetic, per node.
        twin: the layers of the ANN twin, for counting without torch; None where there is none.
        input_kind: the kind of frames: `real` numbers, `spikes` (0 and 1) or `counts` of spikes; None where the file
            doesn't say.
        groups: by node, the number of groups of convolutions whose kernels are block-diagonal in the file; None for a
            file of this project that is older than this key, where the values of kernels say it.
        layers: nodes that are layers of the original network; other nodes are a part of its neurons, or sums for which
            an ANN has no multiplications.  None where the file doesn't say.
        document: the whole JSON document.
        dt_stated: whether the file, or the caller, said what dt is.
        reset: the effect of a spike on v: `zero` sets it to v_reset, `subtract` takes the threshold off.
        reset_stated: whether the file said so.
        integrators: the factor of the input of `IF` and `I`: `dt`, or 1 per `step`.
        assumed: assumptions about what the file leaves open, in sentences (`reading.provenance`).
    """

    dt: float = DEFAULT_DT
    time_steps: int | None = None
    preprocessing: Mapping[str, Any] | None = None
    input_bits: int | None = None
    label_names: tuple[str, ...] = ()
    readout: Readout | None = None
    certificate: Mapping[str, Any] = field(default_factory=dict)
    twin: Mapping[str, Any] | None = None
    input_kind: InputKind | None = None
    groups: Mapping[str, int] | None = field(default_factory=dict)
    layers: frozenset[str] | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    dt_stated: bool = False
    reset: Reset = "zero"
    reset_stated: bool = False
    integrators: str = "dt"
    assumed: tuple[str, ...] = ()

    @classmethod
    def of(cls, metadata: Mapping[str, Any], source: str, dt: float | None = None) -> Self:
        """The metadata of a graph that `nir.read` returned; defaults where the graph is of another exporter.

        Args:
            metadata: of the graph; from other exporters, a number `dt` and words `reset` and `input_kind` are
                understood.
            source: named in messages.
            dt: seconds per time step, where the file doesn't say.

        Raises:
            RefusedInput: the string is not JSON, of another format version, or holds values of the wrong kind; or dt is
                not above 0, or another than the file's.
        """
        asked = dt
        if KEY not in metadata:
            found = _seconds(metadata.get("dt"), source)
            dt = found if asked is None else asked
            _check_dt(dt, found, source)
            words = _words(metadata, source)
            return cls(**words) if dt is None else cls(dt=dt, dt_stated=True, **words)
        text = metadata[KEY]
        try:
            document = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise RefusedInput(f"{source}: its metadata {KEY!r} is not JSON ({shown(str(error))})") from error
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise RefusedInput(f"{source}: metadata format {shown(version)}; expected {FORMAT_VERSION}")
        dt, steps, bits = document.get("dt"), document.get("time_steps"), document.get("input_bits")
        if not isinstance(dt, float) or not LEAST_DT <= dt < float("inf"):
            raise RefusedInput(f"{source}: metadata dt is {shown(dt)}; expected seconds, at least {LEAST_DT}")
        _check_dt(asked, dt, source)
        if type(steps) is not int or not 1 <= steps <= 4096:
            raise RefusedInput(f"{source}: metadata time_steps is {shown(steps)}; expected 1 to 4096")
        if bits is not None and (type(bits) is not int or not 0 <= bits <= 24):
            raise RefusedInput(f"{source}: metadata input_bits is {shown(bits)}; expected 0 to 24")
        for key in ("preprocessing", "certificate", "twin"):
            if not isinstance(document.get(key, {}), dict | None):
                raise RefusedInput(f"{source}: metadata {key} is {shown(document[key])}; expected an object")
        return cls(
            dt=dt,
            time_steps=steps,
            preprocessing=document.get("preprocessing"),
            input_bits=bits,
            label_names=_label_names(document.get("label_names"), source),
            readout=_readout(document.get("readout"), steps, source),
            certificate=_certificate(document.get("certificate"), source),
            twin=document.get("twin"),
            groups=_groups(document.get("groups"), source),
            layers=_layers(document.get("layers"), source),
            document=document,
            dt_stated=True,
            **_words(document, source),
        )


def _seconds(value: Any, source: str) -> float | None:
    """The dt in another exporter's metadata, a number or a number as text; None where there is none.

    Raises:
        RefusedInput: it is anything else.
    """
    if value is None:
        return None
    array = np.asarray(value)
    try:
        if array.size == 1 and array.dtype.kind in "iufSUO":
            return float(array.item())
    except (TypeError, ValueError):
        pass
    raise RefusedInput(f"{source}: metadata dt is {shown(value)}; expected a number of seconds")


def _check_dt(asked: float | None, stated: float | None, source: str) -> None:
    if asked is not None and not LEAST_DT <= asked < float("inf"):
        raise RefusedInput(f"{source}: dt is {asked!r} s; expected a finite number of at least {LEAST_DT}")
    if asked is not None and stated is not None and asked != stated:
        raise RefusedInput(f"{source}: dt {asked:g} s asked for; the file is made for {stated:g} s")


def _label_names(names: Any, source: str) -> tuple[str, ...]:
    if not isinstance(names, list | None) or not all(
        isinstance(name, str) and name.isprintable() for name in names or ()
    ):
        raise RefusedInput(f"{source}: metadata label_names is {shown(names)}; expected a list of printable names")
    return tuple(names or ())


def _certificate(document: dict[str, Any] | None, source: str) -> dict[str, Any]:
    nodes = (document or {}).get("nodes", {})
    if not isinstance(nodes, dict) or not all(isinstance(proof, dict) for proof in nodes.values()):
        raise RefusedInput(f"{source}: metadata certificate has the nodes {shown(nodes)}; expected an object for each")
    return document or {}


def _words(metadata: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The kind of input and the reset, as any exporter's metadata say them, by the names of attributes."""
    kind = _word(metadata, "input_kind", get_args(InputKind), source)
    reset = _word(metadata, "reset", get_args(Reset), source)
    return {"input_kind": kind} | ({} if reset is None else {"reset": reset, "reset_stated": True})


def _word(metadata: Mapping[str, Any], key: str, known: Sequence[str], source: str) -> str | None:
    value = metadata.get(key)
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    if text is not None and (not isinstance(text, str) or text not in known):
        raise RefusedInput(f"{source}: metadata {key} is {shown(value)}; expected {', '.join(known)}")
    return text


def _groups(groups: Any, source: str) -> dict[str, int] | None:
    if groups is not None and not (
        isinstance(groups, dict) and all(type(count) is int and count >= 1 for count in groups.values())
    ):
        raise RefusedInput(f"{source}: metadata groups is {shown(groups)}; expected a number of groups by node")
    return groups


def _layers(names: Any, source: str) -> frozenset[str] | None:
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise RefusedInput(f"{source}: metadata layers is {shown(names)}; expected a list of names of nodes")
    return None if names is None else frozenset(names)


def _readout(document: Any, steps: int, source: str) -> Readout | None:
    """From `{"time_weights": [T numbers], "bias": [numbers], ...}`; None where that has no time weights."""
    if not isinstance(document, dict) or "time_weights" not in document:
        return None
    numbers = {}
    for key in ("time_weights", "bias"):
        try:
            numbers[key] = np.array(document.get(key, []), np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise RefusedInput(
                f"{source}: metadata readout {key} holds more than numbers ({shown(str(error))})"
            ) from error
        if numbers[key].ndim != 1 or not np.isfinite(numbers[key]).all():
            raise RefusedInput(f"{source}: metadata readout {key} is {shown(document[key])}; expected finite numbers")
    if len(numbers["time_weights"]) != steps:
        found = len(numbers["time_weights"])
        raise RefusedInput(
            f"{source}: metadata readout has {found} time weights; expected one for each of {steps} steps"
        )
    return Readout(**numbers)


def normalisation(metadata: GraphMetadata, source: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the file's preprocessing, in pixel units: float64 of one shape.

    Raises:
        RefusedInput: it has no such numbers.
    """
    settings = metadata.preprocessing or {}
    try:
        mean, std = (np.asarray(settings[key], np.float64) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RefusedInput(f"{source}: preprocessing {shown(settings)} is not understood ({error!r})") from error
    with np.errstate(over="ignore", under="ignore"):
        single = (mean.astype(np.float32), std.astype(np.float32))
    if mean.shape != std.shape or not (np.isfinite(single).all() and (single[1] > 0).all()):
        raise RefusedInput(
            f"{source}: preprocessing {shown(settings)}; expected finite means, and a std above 0 for each"
        )
    return mean, std
