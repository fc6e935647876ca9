"""One time step of a position's neurons, as instructions for `kernels`: float32 or float64 in all channels at once.

Arguments are rows `[O]`, one number for each channel.  Sums may be of integers; spikes are uint8.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from neuromorphic.execution.registers import INT8, INT32, INT64, along, as_floats, constant, rows, several
from neuromorphic.ops.widths import ALIGNMENT, STATE_LIMIT


@intrinsic
def leak(
    _context: Any, sums: Any, bias: Any, gain: Any, decay: Any, threshold: Any, v: Any, spikes: Any
) -> tuple[Any, Any]:
    """`v += decay (gain (sums + bias) - v)`; a spike where `v > threshold`; then `v = 0` there.

    All but sums and spikes are of v's type; what arrives is computed in that of sums where it has more digits.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, bias, gain, decay, threshold, v, spikes = rows(context, builder, signature, arguments)
        exact = sums.number if sums.number == ir.DoubleType() else v.number

        def body(o: Any, lanes: int) -> None:
            before = v.load(o, lanes)
            read, constant_part, scale = (
                as_floats(builder, row.load(o, lanes), several(exact, lanes)) for row in (sums, bias, gain)
            )
            current = builder.fmul(builder.fadd(read, constant_part), scale)
            current = as_floats(builder, current, several(v.number, lanes))
            moved = builder.fmul(builder.fsub(current, before), decay.load(o, lanes))
            _fire(builder, builder.fadd(before, moved), threshold, v, spikes, o, lanes)

        along(context, builder, v.length, v.size, body)
        return context.get_dummy_value()

    return types.void(sums, bias, gain, decay, threshold, v, spikes), generate


@intrinsic
def integrate(
    _context: Any, sums: Any, kept: Any, drive: Any, bias: Any, threshold: Any, v: Any, spikes: Any
) -> tuple[Any, Any]:
    """`v = trunc(kept v) + 64 (sums + drive) + bias`, no less than 1 - 2^23; where `v > threshold` a spike, and v = 0.

    All but sums and spikes are integers in float32.

    Returns:
        int64, how many v were below.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, kept, drive, bias, threshold, v, spikes = rows(context, builder, signature, arguments)
        low = cgutils.alloca_once_value(builder, context.get_constant(types.int64, 0))

        def body(o: Any, lanes: int) -> None:
            floats = several(v.number, lanes)
            current = builder.fadd(as_floats(builder, sums.load(o, lanes), floats), drive.load(o, lanes))
            current = builder.fmul(current, constant(v.number, 2.0**ALIGNMENT, lanes))
            held = builder.fmul(v.load(o, lanes), kept.load(o, lanes))
            held = builder.sitofp(builder.fptosi(held, several(INT32, lanes)), floats)
            after = builder.fadd(current, builder.fadd(held, bias.load(o, lanes)))
            least = constant(v.number, float(1 - STATE_LIMIT), lanes)
            below = builder.fcmp_ordered("<", after, least)
            builder.store(builder.add(builder.load(low), _count(builder, below, lanes)), low)
            _fire(builder, builder.select(below, least, after), threshold, v, spikes, o, lanes)

        along(context, builder, v.length, v.size, body)
        return builder.load(low)

    return types.int64(sums, kept, drive, bias, threshold, v, spikes), generate


def _fire(builder: Any, after: Any, threshold: Any, v: Any, spikes: Any, o: Any, lanes: int) -> None:
    fired = builder.fcmp_ordered(">", after, threshold.load(o, lanes))
    spikes.store(builder.zext(fired, several(INT8, lanes)), o, lanes)
    v.store(builder.select(fired, constant(v.number, 0.0, lanes), after), o, lanes)


def _count(builder: Any, bits: Any, lanes: int) -> Any:
    """How many of a register's comparisons hold, in 64 bits."""
    held = builder.ctpop(builder.bitcast(bits, ir.IntType(lanes))) if lanes > 1 else bits
    return builder.zext(held, INT64)
