"""What a Loihi 2 core has: every limit with its unit, its source, and how far the source carries.

Grades: `published` for Loihi 2; `derived` from published figures by the arithmetic given; `assumption` where nothing is
published for Loihi 2.  Each can be set to something else: `Limits(axons_in=8192)`.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from neuromorphic.errors import RefusedInput

Grade = Literal["published", "derived", "assumption", "set"]

BRIEF = "Intel, Taking Neuromorphic Computing to the Next Level with Loihi 2, technology brief, 2021"
DAVIES = "Davies et al., Loihi, IEEE Micro 38(1), 2018"
LAVA = "Intel, Lava 0.10.0, the bit-accurate model of DelayDense, on Loihi 2"


def _limit(value: float, unit: str, grade: Grade, source: str) -> Any:
    return field(default=value, metadata={"unit": unit, "grade": grade, "source": source})


@dataclass(frozen=True)
class Limits:
    """Capacities of a core and a chip, sizes of what lies in a core's memory, and times of operations.

    Every attribute is documented by its row: `Limits().rows()`.

    Raises:
        RefusedInput: a value is not positive, or not whole where it counts something.
    """

    cores_per_chip: int = _limit(128, "cores", "published", f"{BRIEF}, comparison of Loihi and Loihi 2")
    neurons: int = _limit(8192, "neurons per core", "published", f"{BRIEF}, comparison of Loihi and Loihi 2")
    memory: int = _limit(192 * 1024, "bytes per core", "published", f"{BRIEF}: 192 KB, flexibly allocated")
    synaptic_memory: int = _limit(128 * 1024, "bytes per core", "published", f"{BRIEF}: up to 128 KB of synapses")
    axons_in: int = _limit(4096, "axons per core", "assumption", f"as Loihi: {DAVIES}, p. 89, constraint 4")
    axons_out: int = _limit(4096, "axons per core", "assumption", f"as Loihi: {DAVIES}, p. 89, constraint 3")
    delay: int = _limit(63, "time steps", "published", f"{LAVA}: 6 bits for delays, 0 to 63 time steps")
    weight_bits: int = _limit(8, "bits per weight", "published", "Timcheck et al., arXiv 2601.10035, 2026")
    membrane_bytes: int = _limit(3, "bytes per neuron", "assumption", "v of 24 bits, as in Lava's fixed-point LIF")
    accumulator_bytes: int = _limit(
        3, "bytes per neuron and step of delay", "assumption", "a sum of 24 bits, as Lava's u"
    )
    bias_bytes: int = _limit(
        2, "bytes per neuron", "assumption", "a mantissa of 13 bits and an exponent of 3, as Lava's"
    )
    axon_bytes: int = _limit(4, "bytes per axon", "assumption", "an identifier and a pointer; nothing is published")
    synapse_ns: float = _limit(
        0.7, "ns per synaptic operation", "derived", f"3.5 ns ({DAVIES}, table 2) / 5 ({BRIEF}: 5x faster)"
    )
    neuron_ns: float = _limit(
        4.2, "ns per neuron and time step", "derived", f"8.4 ns ({DAVIES}, table 2) / 2 ({BRIEF}: 2x faster)"
    )
    step_ns: float = _limit(
        200.0, "ns per time step", "published", f"{BRIEF}: shortest time step of a chip under 200 ns"
    )

    def __post_init__(self) -> None:
        for row in fields(self):
            value = getattr(self, row.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole if row.type is int else isinstance(value, int | float)) or not 0 < value < math.inf:
                expected = "whole number" if row.type is int else "number"
                raise RefusedInput(f"limit {row.name} is {value!r}; expected a positive {expected}")

    def rows(self) -> dict[str, dict[str, Any]]:
        """By name: value, unit, grade (`set` where it isn't the default) and source."""
        found: dict[str, dict[str, Any]] = {}
        for row in fields(self):
            value = getattr(self, row.name)
            origin = dict(row.metadata) if value == row.default else {**row.metadata, "grade": "set", "source": "given"}
            found[row.name] = {"value": value, **origin}
        return found
