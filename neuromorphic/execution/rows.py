"""Rows of weights added up in the processor's vector registers, as an instruction for `kernels`.

A loop that Numba compiles would read and write the sum in memory for every few rows, since LLVM can't tell that it is
not among the weights.  Here the sum stays in registers while rows pass.
"""

from itertools import pairwise
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from neuromorphic.execution.registers import REGISTER, constant, rows

BLOCKS = (8, 4, 2, 1)
"""Registers that a part of the sum takes, as long as it has so many numbers left; then number by number."""


AHEAD = 4
"""Rows whose place is found before it is their turn: loads that wait for it would hold up the others."""


@intrinsic
def sum_rows(
    _context: Any,
    weight: Any,
    listed: Any,
    start: Any,
    offset: Any,
    begin: Any,
    end: Any,
    spans: Any,
    spans_end: Any,
    y: Any,
) -> tuple[Any, Any]:
    """`y = Σ_i Σ_j weight[offset[i] + listed[j]]`, `start[begin[i]] <= j < start[end[i]]`, `spans <= i < spans_end`.

    Args:
        weight: `[n O]`, rows of O numbers of y's type.
        listed: int32 `[m]`; it is read, for nothing, up to `AHEAD` numbers behind the spans.
        start: int32, where the list of a position begins.
        offset: int32, as `begin` and `end` by span.
        begin: the first position of a span.
        end: the one behind its last.
        spans: the first one.
        spans_end: the one behind the last.
        y: `[O]`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weight, listed, start, offset, begin, end, spans, spans_end, y = rows(context, builder, signature, arguments)
        intp = context.get_value_type(types.intp)
        add = builder.add if y.integer else builder.fadd
        first = cgutils.alloca_once_value(builder, intp(0))
        upcoming = [cgutils.alloca_once_value(builder, intp(0)) for _ in range(AHEAD)]

        def index(row: Any, at: Any) -> Any:
            return builder.sext(row.load(at, 1), intp)

        def where(j: Any, of_span: Any) -> Any:
            """Where the row begins that the list names, found here and now: LLVM doesn't see through an instruction."""
            place = builder.mul(builder.add(index(listed, j), of_span), y.length)
            return builder.asm(ir.FunctionType(intp, [intp]), "", "=r,0", [place], side_effect=False)

        def part(lanes: int, count: int) -> None:
            """As many parts of the sum as there are, each of `count` times so many numbers."""
            head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
            builder.branch(head)
            builder.position_at_end(head)
            here = builder.load(first)
            after = builder.add(here, intp(lanes * count))
            builder.cbranch(builder.icmp_signed("<=", after, y.length), body, done)
            builder.position_at_end(body)
            places = [builder.add(here, intp(lanes * i)) for i in range(count)]
            sums = [cgutils.alloca_once_value(builder, constant(y.number, 0, lanes)) for _ in places]
            for held in sums:
                builder.store(constant(y.number, 0, lanes), held)
            with cgutils.for_range_slice(builder, spans, spans_end, intp(1), intp) as (i, _):
                of_span = index(offset, i)
                lowest, highest = (index(start, index(each, i)) for each in (begin, end))
                for ahead, held in enumerate(upcoming):
                    builder.store(where(builder.add(lowest, intp(ahead)), of_span), held)
                with cgutils.for_range_slice(builder, lowest, highest, intp(1), intp) as (j, _):
                    row = builder.load(upcoming[0])
                    for held, following in pairwise(upcoming):
                        builder.store(builder.load(following), held)
                    builder.store(where(builder.add(j, intp(AHEAD)), of_span), upcoming[-1])
                    for held, place in zip(sums, places, strict=True):
                        builder.store(add(builder.load(held), weight.load(builder.add(row, place), lanes)), held)
            for held, place in zip(sums, places, strict=True):
                y.store(builder.load(held), place, lanes)
            builder.store(after, first)
            builder.branch(head)
            builder.position_at_end(done)

        for count in BLOCKS:
            part(REGISTER // y.size, count)
        part(1, 1)
        return context.get_dummy_value()

    return types.void(weight, listed, start, offset, begin, end, types.intp, types.intp, y), generate
