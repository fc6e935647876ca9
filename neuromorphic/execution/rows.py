"""Rows of weights added up in the processor's vector registers, as an instruction for `kernels`.

A loop that Numba compiles would read and write the sum in memory for every few rows, since LLVM can't tell that it is
not among the weights.  Here the sum stays in registers while rows pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from neuromorphic.execution.registers import REGISTER, Row, along, repeated, rows, several

BLOCKS = (8, 4, 2, 1)
"""Registers that a part of the sum takes, as long as it has so many numbers left; then number by number."""

AHEAD = 4
"""Rows whose place is found before it is their turn: loads that wait for it would hold up the others."""


@intrinsic
def add_row(_context: Any, x: Any, i: Any, y: Any, j: Any) -> tuple[Any, Any]:
    """`y[j] += x[i]`: rows of arrays of one type and width."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, i, y, j = rows(context, builder, signature, arguments)
        add = builder.add if y.integer else builder.fadd
        source, target = (builder.mul(row, y.length) for row in (i, j))

        def body(o: Any, lanes: int) -> None:
            place = builder.add(target, o)
            added = x.load(builder.add(source, o), lanes)
            y.store(add(y.load(place, lanes), added), place, lanes)

        along(context, builder, y.length, y.size, body)
        return context.get_dummy_value()

    return types.void(x, types.intp, y, types.intp), generate


@intrinsic
def sum_rows(
    _context: Any,
    weight: Any,
    spans: Any,
    q: Any,
    active: Any,
    start: Any,
    k: Any,
    sums: Any,
    onto: Any,
    to: Any,
) -> tuple[Any, Any]:
    """`sums[to] = sums[onto] + Σ_i Σ_j weight[offset[i] + active[j]]`.

    That is of the spans i of position q, from `first[q]` to before `first[q + 1]`, and of what list k has in positions
    from `begin[i]` to before `end[i]`: j from `start[k, begin[i]]` to before `start[k, end[i]]`.

    Args:
        weight: `[n, O]`.
        spans: `first`, `offset`, `begin` and `end`, int32.
        q: an output position.
        active: int32 `[m]`; it is read, for nothing, up to `AHEAD` numbers behind the last.
        start: int32 `[K, P + 1]`.
        k: a list.
        sums: `[n, O]`, of the weights' type.
        onto: index in `sums`.
        to: likewise.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weight, spans, q, active, start, k, sums, onto, to = rows(context, builder, signature, arguments)
        first, offset, begin, end = spans
        intp = context.get_value_type(types.intp)
        add = builder.add if sums.integer else builder.fadd
        width, positions = sums.length, start.length
        upcoming = [cgutils.alloca_once(builder, intp) for _ in range(AHEAD)]

        def where(j: Any, of_span: Any) -> Any:
            """Where the row begins that the list names, found here and now: LLVM doesn't see through an instruction."""
            place = builder.mul(builder.add(_index(builder, active, j, intp), of_span), width)
            return builder.asm(ir.FunctionType(intp, [intp]), "", "=r,0", [place], side_effect=False)

        def body(places: list[Any], lanes: int) -> None:
            parts = [cgutils.alloca_once(builder, several(sums.number, lanes)) for _ in places]
            for held, place in zip(parts, places, strict=True):
                builder.store(sums.load(builder.add(builder.mul(onto, width), place), lanes), held)
            with _each_span(builder, first, q, intp) as i:
                of_span = _index(builder, offset, i, intp)
                lowest, highest = (
                    _index(builder, start, builder.add(builder.mul(k, positions), _index(builder, each, i, intp)), intp)
                    for each in (begin, end)
                )
                for ahead, held in enumerate(upcoming):
                    builder.store(where(builder.add(lowest, intp(ahead)), of_span), held)
                with cgutils.for_range_slice(builder, lowest, highest, intp(1), intp) as (j, _):
                    row = builder.load(upcoming[0])
                    for held, following in pairwise(upcoming):
                        builder.store(builder.load(following), held)
                    builder.store(where(builder.add(j, intp(AHEAD)), of_span), upcoming[-1])
                    for held, place in zip(parts, places, strict=True):
                        builder.store(add(builder.load(held), weight.load(builder.add(row, place), lanes)), held)
            for held, place in zip(parts, places, strict=True):
                sums.store(builder.load(held), builder.add(builder.mul(to, width), place), lanes)

        _in_parts(builder, sums, intp, body)
        return context.get_dummy_value()

    of_index = types.intp
    signature = types.void(weight, spans, of_index, active, start, of_index, sums, of_index, of_index)
    return signature, generate


@intrinsic
def sum_products(
    _context: Any, weight: Any, spans: Any, q: Any, x: Any, at: Any, channels: Any, sums: Any
) -> tuple[Any, Any]:
    """`sums = Σ_i Σ_j x[at + j] weight[offset[i] + j]`.

    That is of the spans i of position q, from `first[q]` to before `first[q + 1]`, and of their positions' channels:
    j from `channels begin[i]` to before `channels end[i]`.

    Args:
        weight: `[n, O]`.
        spans: `first`, `offset`, `begin` and `end`, int32.
        q: an output position.
        x: maps `[..., P, C]`: numbers of the weights' type, or narrower integers.
        at: index in x of the map that is read.
        channels: C.
        sums: `[O]`, of the weights' type.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weight, spans, q, x, at, channels, sums = rows(context, builder, signature, arguments)
        first, offset, begin, end = spans
        intp = context.get_value_type(types.intp)
        add, multiply = (builder.add, builder.mul) if sums.integer else (builder.fadd, builder.fmul)

        def body(places: list[Any], lanes: int) -> None:
            kind = several(sums.number, lanes)
            parts = [cgutils.alloca_once_value(builder, ir.Constant(kind, None)) for _ in places]
            with _each_span(builder, first, q, intp) as i:
                of_span = _index(builder, offset, i, intp)
                lowest, highest = (builder.mul(_index(builder, each, i, intp), channels) for each in (begin, end))
                with cgutils.for_range_slice(builder, lowest, highest, intp(1), intp) as (j, _):
                    value = x.load(builder.add(at, j), 1)
                    if value.type != sums.number:
                        value = builder.sext(value, sums.number)
                    value, row = repeated(builder, value, lanes), builder.mul(builder.add(j, of_span), sums.length)
                    for held, place in zip(parts, places, strict=True):
                        product = multiply(value, weight.load(builder.add(row, place), lanes))
                        builder.store(add(builder.load(held), product), held)
            for held, place in zip(parts, places, strict=True):
                sums.store(builder.load(held), place, lanes)

        _in_parts(builder, sums, intp, body)
        return context.get_dummy_value()

    return types.void(weight, spans, types.intp, x, types.intp, types.intp, sums), generate


def _in_parts(builder: Any, sums: Row, intp: Any, body: Callable[[list[Any], int], None]) -> None:
    """Pass over a row of sums in parts, each of some registers, as wide as what is left allows.

    `body` is told where each register of a part begins, and how many numbers it holds.
    """
    done_to = cgutils.alloca_once_value(builder, intp(0))
    for lanes, count in (*((REGISTER // sums.size, count) for count in BLOCKS), (1, 1)):
        head, inside, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        here = builder.load(done_to)
        after = builder.add(here, intp(lanes * count))
        builder.cbranch(builder.icmp_signed("<=", after, sums.length), inside, done)
        builder.position_at_end(inside)
        body([builder.add(here, intp(lanes * i)) for i in range(count)], lanes)
        builder.store(after, done_to)
        builder.branch(head)
        builder.position_at_end(done)


@contextmanager
def _each_span(builder: Any, first: Row, q: Any, intp: Any) -> Iterator[Any]:
    """A loop over the spans of a position."""
    lowest, highest = (_index(builder, first, at, intp) for at in (q, builder.add(q, intp(1))))
    with cgutils.for_range_slice(builder, lowest, highest, intp(1), intp) as (i, _):
        yield i


def _index(builder: Any, row: Row, at: Any, intp: Any) -> Any:
    """A number of a row of int32, as an index."""
    return builder.sext(row.load(at, 1), intp)
