"""The limits of a core of Loihi 2: every number with its unit, its source, and a grade of that source.

Grades: `published` for Loihi 2; `logged` where Intel's compiler printed it; `derived` by the arithmetic that is given;
`assumption` where nothing is published.  Each limit can be changed: `Limits(axons_in=8192)`.

There are two profiles: `compiler`, after the logs of Intel's compiler (docs/placement.md), and `chip`, after the
publications on the chip, with assumptions where these say nothing.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from neuromorphic.errors import RefusedInput

Grade = Literal["published", "logged", "derived", "assumption", "set"]
ProfileName = Literal["compiler", "chip"]

BRIEF = "Intel, Taking Neuromorphic Computing to the Next Level with Loihi 2, technology brief, 2021"
DAVIES = "Davies et al., Loihi, IEEE Micro 38(1), 2018"
LAVA = "Intel, Lava 0.10.0, the bit-accurate model of DelayDense, on Loihi 2"
LOGS = "Intel's compiler, in lava-dl's tutorials/lava/lib/dl/netx"
PILOTNET, OXFORD = f"{LOGS}/pilotnet_snn/benchmark.ipynb", f"{LOGS}/oxford/run.ipynb"
MNIST, YOLO = f"{LOGS}/mnist/run.ipynb", f"{LOGS}/yolo_kp/run.ipynb"


@dataclass(frozen=True)
class Limit:
    """A number with its unit, its grade and its source."""

    value: float
    unit: str
    grade: Grade
    source: str


COMPILER = {
    "cores_per_chip": Limit(122, "cores", "derived", "Intel, Hala Point, 2024: 140,544 cores on 1,152 chips"),
    "neurons": Limit(
        4095, "neurons per core", "logged", f"{YOLO}: 3,584 are 87.52 %, 2,688 are 65.64 %; {MNIST}: 64 are 1.56 %"
    ),
    "memory": Limit(
        160_000, "bytes per core", "derived", f"{MNIST}: the column Total is words of 64 bits over 20,000, in all rows"
    ),
    "synaptic_memory": Limit(
        112_000,
        "bytes per core",
        "derived",
        f"14,000 words of 64 bits; {PILOTNET} and {OXFORD} print 12,000, the percentages of {MNIST} and {YOLO} are of "
        "16,000, and 13,654 to 15,359 give the cores of all of them with weights of 8 bits",
    ),
    "axons_in": Limit(16_000, "axons per core", "logged", f"{MNIST}: 784 are 4.90 %"),
    "axons_out": Limit(16_000, "axons per core", "logged", f"{YOLO}: 2,688 neurons are 16.80 % of AxonMap"),
    "delay": Limit(63, "time steps", "published", f"{LAVA}: 6 bits for delays, 0 to 63 time steps"),
    "weight_bits": Limit(8, "bits per weight", "published", "Timcheck et al., arXiv 2601.10035, 2026"),
    "target_bits": Limit(
        12,
        "bits per synapse that shares no weight",
        "derived",
        f"which neuron it ends in; {PILOTNET}: lists of 100 synapses of 3 bits take 24 words; {OXFORD}: of 200 and 256 "
        "synapses of 8 bits, 63 and 81",
    ),
    "list_bits": Limit(
        12, "bits per list of synapses", "derived", f"{OXFORD}: 256 synapses of 8 bits are 81 words, 73 are 23: 1 to 12"
    ),
    "word_bits": Limit(64, "bits", "derived", "what a list is rounded up to; from the same"),
    "membrane_bytes": Limit(3, "bytes per neuron", "assumption", "v of 24 bits, as in Lava's fixed-point LIF"),
    "accumulator_bytes": Limit(
        3, "bytes per neuron and step of delay", "assumption", "a sum of 24 bits, as Lava's u; with v and bias a word"
    ),
    "bias_bytes": Limit(2, "bytes per neuron", "assumption", "a mantissa of 13 bits and an exponent of 3, as Lava's"),
    "axon_bytes": Limit(8, "bytes per axon", "derived", f"{MNIST}: a word in the column Total, as a neuron takes"),
    "synapse_ns": Limit(
        0.7, "ns per synaptic operation", "derived", f"3.5 ns ({DAVIES}, table 2) / 5 ({BRIEF}: 5x faster)"
    ),
    "neuron_ns": Limit(
        4.2, "ns per neuron and time step", "derived", f"8.4 ns ({DAVIES}, table 2) / 2 ({BRIEF}: 2x faster)"
    ),
    "step_ns": Limit(200.0, "ns per time step", "published", f"{BRIEF}: shortest time step of a chip under 200 ns"),
}

CHIP = COMPILER | {
    "cores_per_chip": Limit(128, "cores", "published", f"{BRIEF}, comparison of Loihi and Loihi 2"),
    "neurons": Limit(8192, "neurons per core", "published", f"{BRIEF}, comparison of Loihi and Loihi 2"),
    "memory": Limit(192 * 1024, "bytes per core", "published", f"{BRIEF}: 192 KB, flexibly allocated"),
    "synaptic_memory": Limit(128 * 1024, "bytes per core", "published", f"{BRIEF}: up to 128 KB of synapses"),
    "axons_in": Limit(4096, "axons per core", "assumption", f"as Loihi: {DAVIES}, p. 89, constraint 4"),
    "axons_out": Limit(4096, "axons per core", "assumption", f"as Loihi: {DAVIES}, p. 89, constraint 3"),
    "target_bits": Limit(0, "bits per synapse that shares no weight", "assumption", "weights lie side by side"),
    "list_bits": Limit(0, "bits per list of synapses", "assumption", "weights lie side by side"),
    "word_bits": Limit(8, "bits", "assumption", "lists end at whole bytes"),
    "axon_bytes": Limit(4, "bytes per axon", "assumption", "an identifier and a pointer"),
}

PROFILES: dict[ProfileName, dict[str, Limit]] = {"compiler": COMPILER, "chip": CHIP}


def _default(name: str) -> Any:
    return COMPILER[name].value


@dataclass(frozen=True)
class Limits:
    """Capacities of a core and a chip, sizes of the items in a core's memory, and times of operations.

    `Limits().rows()` documents every attribute but the profile.

    Attributes:
        profile: that all numbers are from, but for those that were changed.

    Raises:
        RefusedInput: a value is negative; or zero, except for those in `_MAY_BE_ZERO`; or no integer where it has to
        be.
    """

    cores_per_chip: int = _default("cores_per_chip")
    neurons: int = _default("neurons")
    memory: int = _default("memory")
    synaptic_memory: int = _default("synaptic_memory")
    axons_in: int = _default("axons_in")
    axons_out: int = _default("axons_out")
    delay: int = _default("delay")
    weight_bits: int = _default("weight_bits")
    target_bits: int = _default("target_bits")
    list_bits: int = _default("list_bits")
    word_bits: int = _default("word_bits")
    membrane_bytes: int = _default("membrane_bytes")
    accumulator_bytes: int = _default("accumulator_bytes")
    bias_bytes: int = _default("bias_bytes")
    axon_bytes: int = _default("axon_bytes")
    synapse_ns: float = _default("synapse_ns")
    neuron_ns: float = _default("neuron_ns")
    step_ns: float = _default("step_ns")
    profile: ProfileName = "compiler"

    def __post_init__(self) -> None:
        for row in fields(self)[:-1]:
            value = getattr(self, row.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            numeric = whole if row.type is int else isinstance(value, int | float)
            if not numeric or not 0 <= value < math.inf or (value == 0 and row.name not in _MAY_BE_ZERO):
                expected = "whole number" if row.type is int else "number"
                raise RefusedInput(f"limit {row.name} is {value!r}; expected a positive {expected}")

    @classmethod
    def of(cls, profile: ProfileName, **changes: Any) -> Self:
        """The limits of a profile, with some changed."""
        return cls(**({name: limit.value for name, limit in PROFILES[profile].items()} | changes), profile=profile)

    def rows(self) -> dict[str, dict[str, Any]]:
        """By name: value, unit, grade (`set` where it was changed) and source."""
        found: dict[str, dict[str, Any]] = {}
        for name, limit in PROFILES[self.profile].items():
            value = getattr(self, name)
            given = {} if value == limit.value else {"value": value, "grade": "set", "source": "given"}
            found[name] = asdict(limit) | given
        return found

    def list_bytes(self, targets: Any, shared: bool) -> Any:
        """Bytes of lists of synapses with these numbers of targets, int64 of any shape; an empty list takes none.

        A list that positions share names no targets.
        """
        bits = targets * (self.weight_bits + (0 if shared else self.target_bits)) + self.list_bits
        return (targets > 0) * (-(-bits // self.word_bits) * self.word_bits // 8)


_MAY_BE_ZERO = ("target_bits", "list_bits")
"""Limits that are allowed to be zero."""
