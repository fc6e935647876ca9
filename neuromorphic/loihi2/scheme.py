"""The scheme: the units in which a graph became integers, and what was measured when they were chosen.

    x = λ · integer          the currents of node n, λ = units[n]; of a population: what it reads
    w = λ 2^e q / λ_in       q an integer of 8 bits, e the exponent of the output channel, λ_in the unit of what is read
    b = λ m 2^E / 64         m an integer of 13 bits, E the exponent of the population
    b = λ 2^e d              the same where currents outlast a step: d an integer of 8 bits, e the exponent of the drive
    threshold = g λ θ        θ an integer of 17 bits, above v_reset; g by how much a current of 1 raises v in its step

The file of a quantised graph holds these w, b and thresholds as its floats, so that any reader sees the numbers that
the chip computes with; with the scheme, which is part of its metadata, the integers come back exactly.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np

from neuromorphic.errors import RefusedInput, shown

KEY = "loihi2"
"""The key of the scheme in the metadata's document."""

Granularity = Literal["layer", "channel"]
"""Weights share their exponent within a layer, or within each output channel."""


@dataclass(frozen=True)
class Choice:
    """The result of the choice for one population.

    Attributes:
        exact: whether the integers compute the same spikes as the floats for every input, by proof.
        disagreement: fraction of neurons and steps on the calibration frames whose spike differs from the float
            graph's, where everything before the population is quantised too.
        as_it_was: whether all numbers of the population and of the synapses in its stream were the chip's already, in
            the scheme's unit, and stay as they are.
    """

    exact: bool
    disagreement: float = 0.0
    as_it_was: bool = False


@dataclass(frozen=True)
class Scheme:
    """How a graph became integers.

    Attributes:
        granularity: of the weights' exponents.
        input_scale: frames are `round(input_scale x)`.
        units: λ by node name, of all nodes but the input.
        exponents: e by the name of a node with weights: one for each output channel, or a single one for all.
        clipping: likewise, the largest weight that is representable, relative to the largest weight; at most 1.
        bias_exponents: E by the name of a population, and of the nodes whose biases it adds.
        populations: the choice for each, by name.
        calibration: number of images and their sha256.
        drive_exponents: e of the drive by the name of a population, and of the nodes whose biases it adds, where
            currents of a population in their stream outlast a step.
    """

    granularity: Granularity
    input_scale: float
    units: Mapping[str, float]
    exponents: Mapping[str, tuple[int, ...]]
    clipping: Mapping[str, tuple[float, ...]]
    bias_exponents: Mapping[str, int]
    populations: Mapping[str, Choice]
    calibration: Mapping[str, Any] = field(default_factory=dict)
    drive_exponents: Mapping[str, int] = field(default_factory=dict)

    def adding(self, **entries: Mapping[str, Any]) -> Self:
        """The same with further, or replaced, entries in some of its maps."""
        changed: dict[str, Any] = {key: {**getattr(self, key), **more} for key, more in entries.items()}
        return replace(self, **changed)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Any, source: str) -> Self:
        """The scheme of `to_dict`'s document, as JSON returns it.

        Raises:
            RefusedInput: it is no such document, or a number is out of range.
        """
        try:
            scheme = cls(
                granularity=document["granularity"],
                input_scale=float(document["input_scale"]),
                units={str(k): float(v) for k, v in document["units"].items()},
                exponents={str(k): tuple(int(e) for e in v) for k, v in document["exponents"].items()},
                clipping={str(k): tuple(float(c) for c in v) for k, v in document["clipping"].items()},
                bias_exponents={str(k): int(e) for k, e in document["bias_exponents"].items()},
                populations={str(k): Choice(**v) for k, v in document["populations"].items()},
                calibration=dict(document["calibration"]),
                drive_exponents={str(k): int(e) for k, e in document.get("drive_exponents", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RefusedInput(f"{source}: metadata {KEY!r} is no quantisation scheme ({shown(error)})") from error
        if scheme.granularity not in get_args(Granularity):
            raise RefusedInput(f"{source}: granularity is {shown(scheme.granularity)}; expected layer or channel")
        for name, unit in {"input_scale": scheme.input_scale, **scheme.units}.items():
            if not 0 < unit < np.inf:
                raise RefusedInput(f"{source}: the unit of {shown(name)} is {unit}; expected a positive number")
        return scheme
