"""Loops over rows of numbers by the processor's vector registers, as instructions for `kernels`.

Numba leaves vectors to LLVM, which takes them only where it can tell that what is written isn't read: hardly ever where
spikes, membranes and parameters meet.  A loop of `along` says so.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.types import UniTuple

REGISTER = 32
"""Bytes of a vector register."""

INT8, INT32, INT64 = (ir.IntType(bits) for bits in (8, 32, 64))


class Row:
    """The numbers of an array that lie side by side, in whatever dimensions, read and written some at a time."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder = builder
        self.array = context.make_array(kind)(context, builder, value)
        self.number, self.integer = context.get_data_type(kind.dtype), isinstance(kind.dtype, types.Integer)
        self.size = context.get_abi_sizeof(self.number)

    @property
    def length(self) -> Any:
        """How many numbers there are in the last dimension."""
        return cgutils.unpack_tuple(self.builder, self.array.shape)[-1]

    def load(self, index: Any, lanes: int) -> Any:
        """The numbers `[index, index + lanes)`."""
        return self.builder.load(self._place(index, lanes), align=self.size)

    def store(self, values: Any, index: Any, lanes: int) -> None:
        """Write `values` to `[index, index + lanes)`."""
        self.builder.store(values, self._place(index, lanes), align=self.size)

    def _place(self, index: Any, lanes: int) -> Any:
        place = cgutils.gep(self.builder, self.array.data, index)
        return self.builder.bitcast(place, several(self.number, lanes).as_pointer())


def rows(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments of an instruction: arrays as `Row`, tuples of such as lists, other ones as they are."""

    def read(kind: Any, value: Any) -> Any:
        if isinstance(kind, UniTuple):
            return [read(each, builder.extract_value(value, i)) for i, each in enumerate(kind)]
        return Row(context, builder, kind, value) if isinstance(kind, types.Array) else value

    return [read(kind, value) for kind, value in zip(signature.args, arguments, strict=True)]


def along(context: Any, builder: Any, length: Any, size: int, body: Callable[[Any, int], None]) -> None:
    """Pass over `length` numbers of `size` bytes, a register at a time, then one by one.

    `body` is told the index of the first number, and how many there are.
    """
    intp = context.get_value_type(types.intp)
    lanes = REGISTER // size
    whole = builder.and_(length, intp(-lanes))
    for step, begin, end in ((lanes, intp(0), whole), (1, whole, length)):
        with cgutils.for_range_slice(builder, begin, end, intp(step), intp) as (index, _):
            body(index, step)


def several(number: Any, lanes: int) -> Any:
    """The type of so many numbers at a time."""
    return ir.VectorType(number, lanes) if lanes > 1 else number


def constant(number: Any, value: float, lanes: int) -> Any:
    """A number, so many times side by side."""
    return ir.Constant(several(number, lanes), [value] * lanes if lanes > 1 else value)


def repeated(builder: Any, value: Any, lanes: int) -> Any:
    """A number of the program, so many times side by side."""
    if lanes == 1:
        return value
    kind = several(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT32(0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), constant(INT32, 0, lanes))


def as_floats(builder: Any, values: Any, kind: Any) -> Any:
    """Integers or floats, as floats of `kind`."""
    number, wanted = (getattr(each, "element", each) for each in (values.type, kind))
    if isinstance(number, ir.IntType):
        return builder.sitofp(values, kind)
    if number == wanted:
        return values
    return builder.fpext(values, kind) if isinstance(wanted, ir.DoubleType) else builder.fptrunc(values, kind)
