"""Integers in tensors: what type holds them, sums of them, and products with constant weights.

A product takes the operators that runtimes have for bytes (`ConvInteger`, `MatMulInteger`), exact on every processor:
both sides are unsigned, as some processors saturate sums of signed by unsigned bytes.  Weights that no byte holds are
written in digits of base 256, `W = Σ 256^i q_i`.  What isn't made of bytes on the side that is read takes `MatMul` of
integers, a window's tap after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.onnx.builder import Builder

Integers = NDArray[np.int64]
Type = type[np.uint8] | type[np.int32] | type[np.int64]

ZERO = 128
"""The unsigned byte that stands for 0 among signed numbers."""


@dataclass(frozen=True)
class Value:
    """A tensor of integers.

    Attributes:
        name: of the tensor.
        dtype: uint8 where these are spikes, else int32, or int64 where that could be too narrow.
        low, high: the least and the greatest that it can hold.
    """

    name: str
    dtype: Type
    low: int
    high: int

    @property
    def fits(self) -> bool:
        """Whether a byte holds it, signed or not."""
        return (self.low >= 0 and self.high < 256) or (self.low >= -ZERO and self.high < ZERO)


def width(*bounds: int) -> Type:
    """The type that holds these integers."""
    return np.int32 if max(map(abs, bounds)) < 2**31 else np.int64


def cast(builder: Builder, name: str, x: Value, dtype: Type) -> str:
    """The tensor in another type."""
    return x.name if x.dtype is dtype else builder.cast(name, x.name, dtype)


def number(builder: Builder, value: int, dtype: Type) -> str:
    """A scalar constant; one per value and type."""
    return builder.constant(f"{np.dtype(dtype)}/{value}", np.array(value, dtype))


def total(builder: Builder, name: str, values: Sequence[Value]) -> Value:
    """The sum of values; of one, itself."""
    if len(values) == 1:
        return values[0]
    low, high = sum(v.low for v in values), sum(v.high for v in values)
    dtype = width(low, high, *(bound for v in values for bound in (v.low, v.high)))
    names = [cast(builder, f"{name}/{i}", value, dtype) for i, value in enumerate(values)]
    return Value(added(builder, name, names), dtype, low, high)


def added(builder: Builder, name: str, terms: Sequence[str]) -> str:
    """The sum of tensors of one type; of one, itself."""
    found = terms[0]
    for i, term in enumerate(terms[1:]):
        found = builder.add("Add", f"{name}.{i}", found, term)
    return found


def plus(builder: Builder, name: str, x: Value, constant: Integers) -> Value:
    """`x + c`; x itself where all of c is 0."""
    if not constant.any():
        return x
    low, high = x.low + int(constant.min()), x.high + int(constant.max())
    dtype = width(low, high, x.low, x.high)
    term = builder.constant(f"{name}/constant", constant.astype(dtype))
    return Value(builder.add("Add", name, cast(builder, f"{name}/wide", x, dtype), term), dtype, low, high)


def byte(builder: Builder, name: str, x: Value) -> tuple[str, str]:
    """Unsigned bytes of x, and the name of what stands for 0 in them."""
    if x.low >= 0:
        return cast(builder, f"{name}/bytes", x, np.uint8), number(builder, 0, np.uint8)
    moved = builder.add("Add", f"{name}/moved", x.name, number(builder, ZERO, x.dtype))
    return builder.cast(f"{name}/bytes", moved, np.uint8), number(builder, ZERO, np.uint8)


def digits(weight: Integers) -> list[tuple[NDArray[np.uint8], Integers]]:
    """Weights `[out, ...]` as a sum of `factor · (q - 128)`, q unsigned bytes, factor int64 `[out]`.

    A power of two that divides all weights of a channel is its factor; what is then too wide has several digits.
    """
    flat = np.bitwise_or.reduce(weight.reshape(len(weight), -1), axis=1)
    factor = flat & -flat
    common = factor[factor > 0].min(initial=2**62) if flat.any() else np.int64(1)
    factor = np.where(factor > 0, factor, common)
    if not _wide(weight // common):
        factor = np.full_like(factor, common)
    rest = weight // factor.reshape(-1, *(1 for _ in weight.shape[1:]))
    found = []
    while True:
        low = (rest + ZERO) % 256 - ZERO
        found.append(((low + ZERO).astype(np.uint8), factor))
        rest = (rest - low) // 256
        if not rest.any():
            return found
        factor = factor * 256


def _wide(weight: Integers) -> bool:
    return bool(weight.min() < -ZERO or weight.max() >= ZERO)


def scaled(builder: Builder, name: str, x: str, factor: Integers, dtype: Type) -> str:
    """`factor x`; x itself where all factors are 1."""
    if (factor == 1).all():
        return x
    single = factor.reshape(-1)[:1] if (factor == factor.reshape(-1)[0]).all() else factor
    values = single.reshape(()) if single.size == 1 else single
    return builder.add("Mul", name, x, builder.constant(f"{name}/factor", values.astype(dtype)))
