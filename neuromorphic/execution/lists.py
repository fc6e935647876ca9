"""Lists of the spikes on a map, eight channels at a time, as an instruction for `kernels`."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from neuromorphic.execution.registers import INT32, repeated, rows, several

EIGHT = 8
"""Channels at a time: which of them spike is a byte."""

SET = np.zeros((2**EIGHT, EIGHT), np.uint8)
"""The bits of a byte that are set, and zeros behind them."""

for _byte in range(2**EIGHT):
    _bits = [bit for bit in range(EIGHT) if _byte >> bit & 1]
    SET[_byte, : len(_bits)] = _bits

SET = SET.reshape(-1)


@intrinsic
def append(_context: Any, x: Any, at: Any, over: Any, name: Any, table: Any, active: Any, end: Any) -> tuple[Any, Any]:
    """Write `name + c`, for every c below 8 where `x[at + c] > over`, to `active[end]` and what follows.

    All of `active[end:end + 8]` is overwritten.

    Args:
        x: uint8 `[n]`.
        at: index in x.
        over: uint8.
        name: int32, of the first channel.
        table: `SET`.
        active: int32 `[m]`.
        end: index in `active`.

    Returns:
        intp, how many there are.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, at, over, name, table, active, end = rows(context, builder, signature, arguments)
        spikes = builder.icmp_unsigned(">", x.load(at, EIGHT), repeated(builder, over, EIGHT))
        byte = builder.bitcast(spikes, ir.IntType(EIGHT))
        found = table.load(builder.mul(builder.zext(byte, at.type), at.type(EIGHT)), EIGHT)
        names = builder.add(builder.zext(found, several(INT32, EIGHT)), repeated(builder, name, EIGHT))
        active.store(names, end, EIGHT)
        return builder.zext(builder.ctpop(byte), at.type)

    return types.intp(x, types.intp, types.uint8, types.int32, table, active, types.intp), generate
