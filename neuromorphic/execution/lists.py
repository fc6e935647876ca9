"""Lists of the spikes on a map, eight channels at a time, as an instruction for `kernels`."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from neuromorphic.execution.registers import INT8, INT32, repeated, rows, several

EIGHT = 8
"""Channels at a time: which of them spike is a byte."""

SET = np.zeros((2**EIGHT, EIGHT), np.uint8)
"""The bits of a byte that are set, and zeros behind them."""

for _byte in range(2**EIGHT):
    _bits = [bit for bit in range(EIGHT) if _byte >> bit & 1]
    SET[_byte, : len(_bits)] = _bits

SET = SET.reshape(-1)


@intrinsic
def append(
    _context: Any, x: Any, at: Any, other: Any, both: Any, over: Any, name: Any, table: Any, active: Any, end: Any
) -> tuple[Any, Any]:
    """Write `name + c`, for every c below 8 where `x[at + c] > over`, to `active[end]` and what follows.

    That is, where `x[other + c] > over` too, if `both`; where it isn't, if not.  All of `active[end:end + 8]` is
    overwritten.

    Args:
        x: uint8 `[n]`.
        at: index in x.
        other: likewise; that of `at` for all spikes.
        both: boolean.
        over: uint8.
        name: int32, of the first channel.
        table: `SET`.
        active: int32 `[m]`.
        end: index in `active`.

    Returns:
        intp, how many there are.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, at, other, both, over, name, table, active, end = rows(context, builder, signature, arguments)
        here, there = (
            builder.bitcast(
                builder.icmp_unsigned(">", x.load(each, EIGHT), repeated(builder, over, EIGHT)), ir.IntType(EIGHT)
            )
            for each in (at, other)
        )
        byte = builder.and_(here, builder.xor(there, builder.sub(INT8(0), builder.zext(builder.not_(both), INT8))))
        found = table.load(builder.mul(builder.zext(byte, at.type), at.type(EIGHT)), EIGHT)
        names = builder.add(builder.zext(found, several(INT32, EIGHT)), repeated(builder, name, EIGHT))
        active.store(names, end, EIGHT)
        return builder.zext(builder.ctpop(byte), at.type)

    return types.intp(
        x, types.intp, types.intp, types.boolean, types.uint8, types.int32, table, active, types.intp
    ), generate
