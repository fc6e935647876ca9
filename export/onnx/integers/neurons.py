"""The LIF neuron of Loihi 2 (`neuromorphic.ops.loihi`), one time step after the other, in integers."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from export.onnx.builder import Builder
from export.onnx.integers.values import Integers, Type, Value, cast, number, width
from neuromorphic.ops import LoihiLif
from neuromorphic.ops.loihi import UNITY
from neuromorphic.ops.widths import ALIGNMENT, STATE_LIMIT

STEP = 2**ALIGNMENT


@dataclass
class Neurons:
    """A population on its way through the time steps.

    Attributes:
        name: of the population.
        lif: its parameters.
        v: name of the membranes after the last step, int32 `[N, *shape]`; empty before the first.
        u: name of the currents after the last step, where they last.
        fired: names of the spikes of each step so far, bool `[N, *shape]`.
    """

    name: str
    lif: LoihiLif
    v: str = ""
    u: str = ""
    fired: list[str] = field(default_factory=list)

    def step(self, builder: Builder, x: Value, t: int) -> Value:
        """The spikes of the next step.

        Args:
            builder: gets the operators.
            x: what arrives in it.
            t: its number.
        """
        name, lif = f"{self.name}.{t}", self.lif
        u = self._current(builder, x, t)
        bias = lif.bias.astype(np.int64)
        dtype = width(2 * STATE_LIMIT + int(np.abs(bias).max()))
        v = u if dtype is np.int32 else builder.cast(f"{name}/wide u", u, np.int64)
        if self.v and np.any(np.asarray(lif.decay) < UNITY):
            left = _decayed(builder, f"{name}/left", self.v, lif.decay, f"{self.name}/kept of v")
            left = left if dtype is np.int32 else builder.cast(f"{name}/wide left", left, np.int64)
            v = builder.add("Add", f"{name}/charged", left, v)
        if bias.any():
            v = builder.add("Add", f"{name}/biased", v, _parameter(builder, f"{self.name}/bias", bias, dtype))
        ends = (number(builder, end, dtype) for end in (1 - STATE_LIMIT, STATE_LIMIT - 1))
        v = builder.add("Clip", f"{name}/v", v, *ends)
        if dtype is np.int64:
            v = builder.cast(f"{name}/narrow v", v, np.int32)
        threshold = _parameter(builder, f"{self.name}/threshold", lif.threshold.astype(np.int64) * STEP, np.int32)
        fired = builder.add("Greater", f"{name}/fired", v, threshold)
        self.fired.append(fired)
        rest = number(builder, 0, np.int32)
        if lif.lowering is not None:
            lowering = _parameter(builder, f"{self.name}/lowering", lif.lowering.astype(np.int64) * STEP, np.int32)
            rest = builder.add("Sub", f"{name}/lowered", v, lowering)
        self.v = builder.add("Where", f"{name}/rest", fired, rest, v)
        return Value(builder.cast(name, fired, np.uint8), np.uint8, 0, 1)

    def _current(self, builder: Builder, x: Value, t: int) -> str:
        """u, int32; it is wrapped where x could bring it beyond 24 bits."""
        name, lif = f"{self.name}.{t}", self.lif
        drive = lif.drive.astype(np.int64)
        before = STATE_LIMIT if lif.filters_current else 0
        low = STEP * (x.low + int(drive.min())) - before
        high = STEP * (x.high + int(drive.max())) + before
        dtype = width(low, high)
        u = cast(builder, f"{name}/wide", x, dtype)
        if drive.any():
            u = builder.add("Add", f"{name}/driven", u, _parameter(builder, f"{self.name}/drive", drive, dtype))
        u = builder.add("Mul", f"{name}/aligned", u, number(builder, STEP, dtype))
        if self.u:
            kept = _decayed(builder, f"{name}/kept", self.u, lif.current_decay, f"{self.name}/kept of u")
            kept = kept if dtype is np.int32 else builder.cast(f"{name}/wide kept", kept, np.int64)
            u = builder.add("Add", f"{name}/summed", u, kept)
        if low <= -STATE_LIMIT or high > STATE_LIMIT:
            limit, twice = (number(builder, n, dtype) for n in (STATE_LIMIT, 2 * STATE_LIMIT))
            rest = builder.add("Mod", f"{name}/rest of u", builder.add("Sub", f"{name}/from u", limit, u), twice)
            u = builder.add("Sub", f"{name}/u", limit, rest)
        if dtype is np.int64:
            u = builder.cast(f"{name}/narrow u", u, np.int32)
        if lif.filters_current:
            self.u = u
        return u


def _decayed(builder: Builder, name: str, v: str, decay: int | NDArray[np.int32], base: str) -> str:
    """`sign(v) floor(|v| (4096 - decay) / 4096)`: division of integers rounds toward zero."""
    kept = UNITY - np.asarray(decay, np.int64)
    common = int(np.gcd.reduce(np.append(kept, UNITY)))
    factor, divisor = kept // common, UNITY // common
    if divisor == 1:
        return v
    dtype = width(STATE_LIMIT * int(factor.max()))
    if dtype is np.int64:
        v = builder.cast(f"{name}/wide", v, np.int64)
    if (factor != 1).any():
        v = builder.add("Mul", f"{name}/factor", v, _parameter(builder, base, factor, dtype))
    v = builder.add("Div", name, v, number(builder, divisor, dtype))
    return v if dtype is np.int32 else builder.cast(f"{name}/narrow", v, np.int32)


def _parameter(builder: Builder, name: str, values: Integers, dtype: Type) -> str:
    """A number that all neurons share, or one for each of them."""
    first = int(values.flat[0])
    return number(builder, first, dtype) if (values == first).all() else builder.constant(name, values.astype(dtype))
