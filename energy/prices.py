"""Prices: what an operation or a memory access takes on one device, from a data file that names its sources.

`energy = Σ count · price`.  A file of a device is TOML; `Device` is its schema.  Every figure says where it comes from,
on which process node, for how many bits, and whether it was measured, simulated or estimated.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from energy.record import Strict, first_fault
from energy.shipped import SHIPPED
from neuromorphic.errors import RefusedInput, meant

PLAUSIBLE: Mapping[str, float] = {"measured": 1.1, "simulated": 1.5, "estimated": 2.0}
"""Up to what factor, either way, a figure of each grade may be off where its file gives no range: a convention."""

Grade = Literal["measured", "simulated", "estimated"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Operation = Literal[
    "add", "multiply", "state_add", "state_multiply", "sop", "update_active", "update_inactive", "spike"
]
"""`state_*` work on membranes, which may be wider than weights; the last four are a neuromorphic chip's own."""


class Figure(Strict):
    """One price.

    Attributes:
        value: per operation, or per access of `bit_width` bits.
        unit: picojoules.
        source: publication, with table or page.
        process_node: of the silicon that it is for.
        bit_width: of the operands, or of one access.
        grade: of the evidence.
        range: lowest and highest plausible value; None for `value` times and over the factor of its grade.
        note: what else has to be known to read it.
    """

    value: Positive
    unit: Literal["pJ"]
    source: Annotated[str, Field(min_length=1)]
    process_node: Annotated[str, Field(min_length=1)]
    bit_width: Annotated[int, Field(ge=1)]
    grade: Grade
    range: tuple[Positive, Positive] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> "Figure":
        if self.range is not None and not self.range[0] <= self.value <= self.range[1]:
            raise ValueError(f"range {list(self.range)} does not hold the value {self.value:g}")
        return self

    @property
    def factors(self) -> tuple[float, float]:
        """The plausible range over the value: what a price may be multiplied by."""
        if self.range is not None:
            return self.range[0] / self.value, self.range[1] / self.value
        return 1 / PLAUSIBLE[self.grade], PLAUSIBLE[self.grade]


class Memory(Figure):
    """The price of an access to a memory.

    Attributes:
        capacity: bytes that it holds; None for as many as are asked for.
    """

    capacity: Annotated[int, Field(ge=1)] | None = None


class Widths(Strict):
    """Bits of what memories hold, side by side without gaps.

    Attributes:
        weight: of a weight or bias.
        activation: of a real value that passes between layers.
        state: of a membrane, and of the sum that arrives at it.
        address: of a spike.
    """

    weight: Annotated[int, Field(ge=1)]
    activation: Annotated[int, Field(ge=1)]
    state: Annotated[int, Field(ge=1)]
    address: Annotated[int, Field(ge=1)]


class Device(Strict):
    """Prices of operations on one device.

    Attributes:
        format_version: of the file.
        name: short, as commands take it.
        title: for people.
        technology: devices are compared with each other only where this is equal, so that no chip's figure is ever
            divided by a bare operation's on another process node.
        precision: of its arithmetic, as in `fp32`.
        chip: whether its figures are a whole chip's, memory and control included: those of `sop`, `update_active`,
            `update_inactive` and `spike` instead of additions, multiplications and memories.
        widths: of what its memories hold; None for a chip.
        operations: prices by operation.
        memories: prices by name, of accesses.
    """

    format_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    title: Annotated[str, Field(min_length=1)]
    technology: Annotated[str, Field(min_length=1)]
    precision: Annotated[str, Field(min_length=1)]
    chip: bool
    widths: Widths | None = None
    operations: dict[Operation, Figure]
    memories: dict[str, Memory] = Field(default={})

    @model_validator(mode="after")
    def _complete(self) -> "Device":
        chip = {"sop", "update_active", "update_inactive", "spike"}
        needed = chip if self.chip else {"add", "multiply", "state_add", "state_multiply"}
        if set(self.operations) != needed:
            raise ValueError(f"operations are {sorted(self.operations)}; expected {sorted(needed)}")
        if self.chip and (self.memories or self.widths):
            raise ValueError("a chip's figures include its memories; expected neither memories nor widths")
        if self.memories and (self.widths is None or all(m.capacity for m in self.memories.values())):
            raise ValueError("memories need widths, and one of them without a capacity, for what fits nowhere else")
        return self

    def memory(self, size: int) -> str:
        """Name of the smallest memory that holds `size` bytes; the device has memories."""
        fitting = [name for name, m in self.memories.items() if m.capacity is None or m.capacity >= size]
        return min(fitting, key=lambda name: self.memories[name].capacity or math.inf)

    def figure(self, key: str) -> Figure:
        """The price of an operation or of a memory's access, by name."""
        for operation, figure in self.operations.items():
            if operation == key:
                return figure
        return self.memories[key]


def read_device(name: str | Path) -> Device:
    """The device that ships under this name, or the one in the file at this path.

    Raises:
        RefusedInput: no such file, no TOML, or it doesn't follow the schema; names file, key, found and expected.
    """
    shipped = resources.files("energy") / "devices" / f"{name}.toml"
    path = Path(name)
    try:
        text = shipped.read_text() if str(name) in SHIPPED else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"not readable ({error})"
        raise RefusedInput(
            f"device {str(name)!r}: {reason}; expected a .toml file or one of {', '.join(SHIPPED)}"
            f"{meant(str(name), SHIPPED)}"
        ) from error
    try:
        return Device.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RefusedInput(f"{name}: not TOML ({error}); expected a file of prices") from error
    except ValidationError as error:
        raise RefusedInput(f"{name}: {first_fault(error, 'the file')}") from error


def read_devices(names: Sequence[str]) -> list[Device]:
    """The devices of these names or files, in that order.

    Raises:
        RefusedInput: as `read_device` does; or two have one name.
    """
    devices = [read_device(name) for name in names]
    found = [device.name for device in devices]
    for name in found:
        if found.count(name) > 1:
            raise RefusedInput(f"device {name!r} stands {found.count(name)} times; expected every name once")
    return devices
