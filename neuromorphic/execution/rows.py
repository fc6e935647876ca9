"""Rows of weights added up in the processor's vector registers, as an instruction for `kernels`.

A loop that Numba compiles would read and write the sum in memory for every few rows, since LLVM can't tell that it is
not among the weights.  Here the sum stays in registers while rows pass, 32 bytes in each.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

REGISTER = 32
"""Bytes of a vector register."""

BLOCKS = (8, 4, 2, 1)
"""Registers that a part of the sum takes, as long as it has so many numbers left; then number by number."""


@intrinsic
def add_rows(context: Any, weight: Any, rows: Any, begin: Any, end: Any, offset: Any, y: Any) -> tuple[Any, Any]:
    """`y += Σ_{begin <= i < end} weight[offset + rows[i]]`: weight `[n, O]` and y `[O]`, contiguous and of one type."""
    return types.void(weight, rows, begin, end, offset, y), _generate


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    weight, rows, y = (
        context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 1, 5)
    )  # fmt: skip
    begin, end, offset = (
        context.cast(builder, arguments[i], signature.args[i], types.intp) for i in (2, 3, 4)
    )  # fmt: skip
    of_sum = context.make_array(signature.args[5])(context, builder, arguments[5])
    outputs = cgutils.unpack_tuple(builder, of_sum.shape)[0]
    number, intp = context.get_data_type(signature.args[5].dtype), context.get_value_type(types.intp)
    size = context.get_abi_sizeof(number)
    add = builder.fadd if isinstance(signature.args[5].dtype, types.Float) else builder.add
    first = cgutils.alloca_once_value(builder, intp(0))

    def load(data: Any, index: Any, kind: Any) -> Any:
        place = builder.bitcast(cgutils.gep(builder, data, index), kind.as_pointer())
        return builder.load(place, align=size)

    def part(kind: Any, lanes: int, count: int) -> None:
        """As many parts of the sum as there are, each of `count` values of a kind that holds so many numbers."""
        head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        here = builder.load(first)
        after = builder.add(here, intp(lanes * count))
        builder.cbranch(builder.icmp_signed("<=", after, outputs), body, done)
        builder.position_at_end(body)
        indices = [builder.add(here, intp(lanes * i)) for i in range(count)]
        sums = [cgutils.alloca_once_value(builder, load(y, index, kind)) for index in indices]
        with cgutils.for_range_slice(builder, begin, end, intp(1), intp) as (i, _):
            listed = builder.sext(load(rows, i, context.get_data_type(signature.args[1].dtype)), intp)
            row = builder.mul(builder.add(listed, offset), outputs)
            for held, index in zip(sums, indices, strict=True):
                builder.store(add(builder.load(held), load(weight, builder.add(row, index), kind)), held)
        for held, index in zip(sums, indices, strict=True):
            place = builder.bitcast(cgutils.gep(builder, y, index), kind.as_pointer())
            builder.store(builder.load(held), place, align=size)
        builder.store(after, first)
        builder.branch(head)
        builder.position_at_end(done)

    lanes = REGISTER // size
    for count in BLOCKS:
        part(ir.VectorType(number, lanes), lanes, count)
    part(number, 1, 1)
    return context.get_dummy_value()
