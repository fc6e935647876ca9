"""Reads the layers of a netx file.

    layer/0, layer/1, ...       type, shape, neuron, and of synapses weight, bias, delay, stride, ...
    layer/N/neuron              type, iDecay, vDecay, vThMant, refDelay, ...
    simulation                  not part of the network

Whatever the layers of `netx.layers` can't express is refused, by the number, the type and the key of the layer.
"""

from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuromorphic.errors import RefusedInput, first_line, shown
from neuromorphic.ir.hdf5 import survey
from neuromorphic.ops import Int64
from neuromorphic.ops.windows import Pair
from neuromorphic.reading.netx.layers import (
    LEAST_WEIGHT,
    MOST_DELAY,
    MOST_WEIGHT,
    Conv,
    Dense,
    Flatten,
    Input,
    Layer,
    Neuron,
)

CUBA = ("CUBA", "LOIHI")
"""The types of neuron that can be read, which are the same: current-based, as on Loihi."""

UNHEARD = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "weight_exp": 0}
"""Keys of a neuron that lava-dl's reader ignores, and the one value with which ignoring them changes nothing."""

NEURON_KEYS = (
    *("type", "iDecay", "vDecay", "vThMant", *UNHEARD),
    *("messageBits", "scaleRho", "tauRho", "theta"),  # bits of a spike's value, which is 1; the slope that training has
)

SYNAPSES = ("neuron", "weight", "bias", "delay")
DENSE = (*SYNAPSES, "inFeatures", "outFeatures")
WINDOWS = ("kernelSize", "stride", "padding", "dilation", "groups")

LAYER_KEYS: dict[str, tuple[str, ...]] = {
    "input": ("neuron", "weight", "bias"),
    "flatten": (),
    "dense": DENSE,
    "dense_rec": (*DENSE, "weight_rec"),
    "conv": (*SYNAPSES, *WINDOWS, "inChannels", "outChannels"),
}
"""By type of layer, its keys besides type and shape, as `export_hdf5` of lava-dl writes them."""

LARGEST = 2**31 - 1


def is_netx(file: h5py.File) -> bool:
    """Whether an HDF5 file holds layers, and no graph of NIR; false if it is too damaged to tell."""
    try:
        return "layer" in file and "node" not in file
    except (RuntimeError, OSError, KeyError, ValueError):  # whatever HDF5's library finds wrong
        return False


def read_layers(path: Path) -> tuple[Layer, ...] | None:
    """The layers of the netx file at `path`; None where it is no netx file, or no readable HDF5 at all.

    Raises:
        RefusedInput: the file reaches outside itself or declares too much, or a layer is none that is known, by number.
    """
    try:
        file = h5py.File(path, "r")
    except OSError:
        return None
    with file:
        if not is_netx(file):
            return None
        try:
            survey(file, path)
            stored = file["layer"]
            if not isinstance(stored, h5py.Group) or not len(stored):
                raise RefusedInput(f"{path}: is a netx file without layers; expected layer/0, layer/1, ...")
            missing = [number for number in range(len(stored)) if str(number) not in stored]
            if missing:
                raise RefusedInput(
                    f"{path}: is a netx file of {len(stored)} layers, none of them {missing[0]}; expected 0 to "
                    f"{len(stored) - 1}"
                )
            return tuple(_layer(_Group(stored[str(n)], f"{path}: layer {n}"), n) for n in range(len(stored)))
        except RefusedInput:
            raise
        except Exception as error:  # h5py raises whatever it finds: KeyError, OSError, ValueError, RuntimeError
            said = f"{type(error).__name__}: {first_line(str(error))}"
            raise RefusedInput(f"{path}: not a readable netx file ({said})") from error


class _Group:
    """A group of the file whose values are numbers or text; messages name it."""

    def __init__(self, group: Any, where: str) -> None:
        if not isinstance(group, h5py.Group):
            raise RefusedInput(f"{where} is no group; expected one with a type and a shape")
        self.group, self.where = group, where

    def __contains__(self, key: str) -> bool:
        return key in self.group

    def inner(self, key: str) -> "_Group":
        return _Group(self.group[key], f"{self.where}: {key}")

    def check_keys(self, known: tuple[str, ...]) -> None:
        """Refuse a key that is not read here, since it may change what the layer computes."""
        if unknown := [key for key in self.group if key not in known]:
            held = ", ".join(shown(key) for key in unknown)
            raise RefusedInput(f"{self.where}: holds {held}, which nothing reads; expected {', '.join(known)}")

    def text(self, key: str) -> str:
        value = self._stored(key)
        first = value.reshape(-1)[0] if value.size == 1 else None
        if not isinstance(first, bytes | str):
            raise RefusedInput(f"{self.where}: {key} is {shown(value)}; expected a word")
        return first.decode(errors="replace") if isinstance(first, bytes) else first

    def numbers(self, key: str) -> Int64:
        """Integers, stored in any type of numbers: int64."""
        value = self._stored(key)
        if value.dtype.kind not in "fiub":
            raise RefusedInput(f"{self.where}: {key} is {shown(value)}; expected numbers")
        if not value.size:
            raise RefusedInput(f"{self.where}: {key} is empty; expected numbers")
        odd = ~np.isfinite(value) | (value != np.rint(value)) | (np.abs(value.astype(np.float64)) > LARGEST)
        if odd.any():
            raise RefusedInput(f"{self.where}: {key} holds {value[odd].flat[0]:g}; expected integers")
        return np.asarray(value, np.int64)

    def number(self, key: str, least: int, most: int) -> int:
        """One integer."""
        value = self.numbers(key)
        if value.size != 1 or not least <= value.item() <= most:
            raise RefusedInput(f"{self.where}: {key} is {shown(value.tolist())}; expected one of {least} to {most}")
        return int(value.item())

    def pair(self, key: str, least: int) -> Pair:
        """Two integers, or one that stands for both."""
        value = self.numbers(key).reshape(-1)
        if value.size not in (1, 2) or value.min() < least:
            raise RefusedInput(f"{self.where}: {key} is {shown(value.tolist())}; expected two, at least {least}")
        return int(value[0]), int(value[-1])

    def shape(self) -> tuple[int, ...]:
        value = self.numbers("shape").reshape(-1)
        if value.size > 3 or value.min() < 1:
            raise RefusedInput(f"{self.where}: its shape is {shown(value.tolist())}; expected up to 3 positive sizes")
        return tuple(int(n) for n in value)

    def weights(self, key: str) -> Int64:
        """Weights that a synapse holds."""
        value = self.numbers(key)
        if value.min() < LEAST_WEIGHT or value.max() > MOST_WEIGHT:
            raise RefusedInput(
                f"{self.where}: {key} reaches from {value.min()} to {value.max()}; expected {LEAST_WEIGHT} to "
                f"{MOST_WEIGHT}, which is what a synapse holds and lava-dl clips to"
            )
        return value

    def _stored(self, key: str) -> Any:
        if key not in self.group:
            raise RefusedInput(f"{self.where} has no {key}; expected one")
        item = self.group[key]
        if isinstance(item, h5py.Group):
            held = ", ".join(item)
            raise RefusedInput(f"{self.where}: {key} is a group ({held[:60]}); expected real numbers")
        return np.asarray(item[()])


def _layer(group: _Group, number: int) -> Layer:
    kind = group.text("type")
    group.where += f" ({kind})"
    if kind in LAYER_KEYS:
        group.check_keys(("type", "shape", *LAYER_KEYS[kind]))
    match kind:
        case "input":
            if number:
                raise RefusedInput(f"{group.where} is an input; expected it as layer 0 only")
            return _input(group)
        case "flatten":
            return Flatten()
        case "dense" | "dense_rec":
            return _dense(group, recurrent=kind == "dense_rec")
        case "conv":
            return _conv(group)
        case _:
            raise RefusedInput(
                f"{group.where} is of type {shown(kind)}; expected input, flatten, dense, dense_rec or conv"
            )


def _neuron(group: _Group) -> Neuron:
    kind = group.text("type")
    if kind not in CUBA:
        raise RefusedInput(f"{group.where} is of type {shown(kind)}; expected {' or '.join(CUBA)}")
    group.check_keys(NEURON_KEYS)
    for key, value in UNHEARD.items():
        if key in group and (found := group.numbers(key)).tolist() not in (value, [value]):
            raise RefusedInput(f"{group.where}: {key} is {shown(found.tolist())}; expected {value}")
    return Neuron(
        current_decay=group.number("iDecay", 1, 4096),
        decay=group.number("vDecay", 0, 4096),
        threshold=group.number("vThMant", 0, LARGEST),
    )


def _optional_neuron(group: _Group) -> Neuron | None:
    return _neuron(group.inner("neuron")) if "neuron" in group else None


def _input(group: _Group) -> Input:
    shape = group.shape()
    if len(shape) == 2:
        raise RefusedInput(f"{group.where}: its shape is {list(shape)}; expected [n] or [C, H, W]")
    transform = {key: float(group.number(key, -LARGEST, LARGEST)) for key in ("weight", "bias") if key in group}
    return Input(shape, _optional_neuron(group), **transform)


def _dense(group: _Group, *, recurrent: bool) -> Dense:
    out = prod(group.shape())
    weight = _matrix(group.weights("weight"), out, "weight", group.where)
    delay = _delays(group.numbers("delay"), weight.shape, group.where) if "delay" in group else None
    back = None
    if recurrent:
        back = _matrix(group.weights("weight_rec"), out, "weight_rec", group.where)
        if back.shape != (out, out):
            raise RefusedInput(f"{group.where}: weight_rec has the shape {list(back.shape)}; expected [{out}, {out}]")
        if delay is not None:
            raise RefusedInput(f"{group.where}: has delays; expected none beside recurrent weights")
    return Dense(weight, _bias(group, out), _optional_neuron(group), delay, back)


def _matrix(weight: Int64, out: int, key: str, where: str) -> Int64:
    """A matrix `[out, in]`; a file may hold a single row with one axis."""
    if weight.ndim == 1 and weight.size % out == 0:
        weight = weight.reshape(out, -1)
    if weight.ndim != 2 or len(weight) != out:
        raise RefusedInput(f"{where}: {key} has the shape {list(weight.shape)}; expected [{out}, in]")
    return weight


def _delays(delay: Int64, shape: tuple[int, ...], where: str) -> Int64 | None:
    """Delays of every synapse, from one number, or one per output (preferred, as in lava-dl), per input or synapse."""
    if delay.min() < 0 or delay.max() > MOST_DELAY:
        raise RefusedInput(
            f"{where}: delay reaches from {delay.min()} to {delay.max()}; expected 0 to {MOST_DELAY} steps, to which "
            "lava-dl clamps it"
        )
    if delay.size == 1:
        whole = np.broadcast_to(delay.reshape(()), shape)
    elif delay.shape == shape[:1]:
        whole = np.broadcast_to(delay[:, None], shape)
    elif delay.shape in (shape[1:], shape):
        whole = np.broadcast_to(delay, shape)
    else:
        raise RefusedInput(f"{where}: delay has the shape {list(delay.shape)}; its weight has {list(shape)}")
    return whole if whole.any() else None


def _bias(group: _Group, out: int) -> Int64:
    if "bias" not in group:
        return np.zeros(out, np.int64)
    bias = group.numbers("bias")
    if bias.size not in (1, out):
        raise RefusedInput(f"{group.where}: bias has the shape {list(bias.shape)}; expected [{out}]")
    return np.broadcast_to(bias.reshape(-1), (out,))


def _conv(group: _Group) -> Conv:
    shape = group.shape()
    weight = group.weights("weight")
    if weight.ndim == 5 and weight.shape[4] == 1:  # lava-dl's axis of time
        weight = weight[..., 0]
    if len(shape) != 3 or weight.ndim != 4 or len(weight) != shape[0]:
        raise RefusedInput(
            f"{group.where}: weight has the shape {list(weight.shape)}; expected [out, in / groups, height, width] of "
            f"the outputs {list(shape)}"
        )
    if "delay" in group and group.numbers("delay").any():
        raise RefusedInput(f"{group.where}: has delays, which lava-dl leaves out in convolutions; expected none")
    if "neuron" not in group:
        raise RefusedInput(f"{group.where} has no neuron; expected one")
    groups = group.number("groups", 1, LARGEST)
    if len(weight) % groups:
        raise RefusedInput(f"{group.where}: groups is {groups}; expected a divisor of its {len(weight)} channels")
    return Conv(
        weight,
        _map_bias(group, shape),
        _neuron(group.inner("neuron")),
        shape,
        stride=group.pair("stride", 1),
        padding=group.pair("padding", 0),
        dilation=group.pair("dilation", 1),
        groups=groups,
    )


def _map_bias(group: _Group, shape: tuple[int, ...]) -> Int64:
    """`[C]`, or `[C, H, W]` of one bias per neuron, which the file keeps as `[W, H, C]`."""
    if "bias" in group and (bias := group.numbers("bias")).shape == shape[::-1]:
        return bias.transpose(2, 1, 0)
    return _bias(group, shape[0])
