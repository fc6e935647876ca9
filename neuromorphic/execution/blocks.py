"""Transposed blocks of a matrix, in the processor's vector registers, as an instruction for `kernels`."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from neuromorphic.execution.registers import INT32, rows, several

SIDE = 8
"""Rows, and columns, of a block."""


@intrinsic
def transpose_block(_context: Any, x: Any, at: Any, width: Any, y: Any, to: Any, height: Any) -> tuple[Any, Any]:
    """`y[to + j height + i] = x[at + i width + j]`, for all i and j below 8.

    Args:
        x: numbers, in whatever dimensions.
        at: index in x.
        width: of a row of x.
        y: numbers of x's type, or int32 where x has integers in float32.
        to: index in y.
        height: of a row of y.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, at, width, y, to, height = rows(context, builder, signature, arguments)

        def place(first: Any, i: int, row: Any) -> Any:
            return builder.add(first, builder.mul(at.type(i), row))

        block = [x.load(place(at, i, width), SIDE) for i in range(SIDE)]
        if x.number != y.number:
            block = [builder.fptosi(row, several(y.number, SIDE)) for row in block]
        for half in (1, 2, 4):  # what is off the diagonal changes places: numbers, then squares of 2 x 2 and of 4 x 4
            block = [_exchanged(builder, block[i & ~half], block[i | half], half, i & half) for i in range(SIDE)]
        for i, row in enumerate(block):
            y.store(row, place(to, i, height), SIDE)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, y, types.intp, types.intp), generate


def _exchanged(builder: Any, upper: Any, lower: Any, half: int, of_lower: int) -> Any:
    """The upper or the lower of two rows, after the upper's right halves and the lower's left ones changed places."""
    taken = [i | half if of_lower else i & ~half for i in range(SIDE)]
    lanes = [lane + SIDE * bool(i & half) for i, lane in enumerate(taken)]
    return builder.shuffle_vector(upper, lower, ir.Constant(several(INT32, SIDE), lanes))
