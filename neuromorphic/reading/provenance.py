"""The meaning of a file depends on its writer: dt, the effect of a spike on v, the input of integrators.

NIR's files need not hold any of these.  Before version 1.0.6 a spike took the threshold off v (`nir/ir/neuron.py` of
1.0.4 and 1.0.5), and there was no v_reset; the input of IF is multiplied by dt in NIR's equation, and by 1 in most
libraries.  So the caller says what is known (`Asked`), the profile of the writer's library adds to it (`writers.toml`),
and for the rest there are assumptions, which are listed (`GraphMetadata.assumed`).
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from numbers import Real
from typing import Any, Literal, get_args

import nir

from neuromorphic.errors import RefusedInput, check_choice, meant, shown
from neuromorphic.ir.metadata import GraphMetadata, Reset
from neuromorphic.ops import Conventions

Integrators = Literal["dt", "step"]

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)
INTEGRATORS = (nir.IF, nir.I)

FIRST_WITH_RESET, FIRST_STABLE = (1, 0, 6), (1, 0, 0)
"""The version of NIR that introduced v_reset, and with it that a spike sets v; and the first stable version."""


@dataclass(frozen=True)
class Asked:
    """Statements of the caller about a file; None where the caller makes none.

    Attributes:
        dt: seconds per time step.
        reset: the effect of a spike on v.
        integrators: the factor of the input of `IF` and `I`.
        written_by: the library that wrote the file, as `sinabs` or `norse@2`.
    """

    dt: float | None = None
    reset: Reset | None = None
    integrators: Integrators | None = None
    written_by: str | None = None

    def __post_init__(self) -> None:
        if self.dt is not None and not isinstance(self.dt, Real):
            raise RefusedInput(f"dt is {shown(self.dt)}; expected seconds")
        for what, value, known in (("reset", self.reset, Reset), ("integrators", self.integrators, Integrators)):
            if value is not None:
                check_choice(what, value, get_args(known))


@dataclass(frozen=True)
class Origin:
    """Statements of a file about where it comes from.

    Attributes:
        version: of NIR; empty where the file names none, None for a graph that was never a file.
        without_reset: whether some spiking neurons have no v_reset.
    """

    version: str | None = None
    without_reset: bool = False

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers, for comparisons; empty where there is none."""
        return tuple(int(n) for n in re.findall(r"\d+", self.version or "")[:3])


def understood(
    metadata: GraphMetadata, nodes: Collection[Any], given: Asked, origin: Origin, source: str
) -> tuple[GraphMetadata, Conventions]:
    """The metadata with assumptions added, and the conventions for reading the nodes.

    Args:
        metadata: of the file; its dt is that of the caller, if the caller says one.
        nodes: of NIR.
        given: by the caller.
        origin: of the file.
        source: named in messages.

    Raises:
        RefusedInput: there is no profile of the library, its files don't hold the meaning of a node, or the file
            contradicts the caller's reset.
    """
    profile = _profile(given.written_by, source)
    kinds = sorted({type(node).__name__ for node in nodes} & profile.get("refuses", {}).keys())
    if kinds:
        means = "; ".join(f"a {kind} doesn't hold what it means ({profile['refuses'][kind]})" for kind in kinds)
        raise RefusedInput(
            f"{source}: written by {given.written_by}: {means}; expected no --written-by, to run what the file says"
        )
    assumed = [f"of a file of {given.written_by}: {profile['note']}"] if "note" in profile else []
    if not metadata.dt_stated:
        dt = profile.get("dt", metadata.dt)
        metadata = replace(metadata, dt=dt)
        why = f"as {given.written_by} means it" if "dt" in profile else "the file doesn't say (--dt, --written-by)"
        assumed.append(f"dt is taken to be {dt:g} s; {why}")
    reset = _reset(metadata, any(isinstance(n, SPIKING) for n in nodes), given, profile, origin, assumed, source)
    step = given.integrators or metadata.document.get("integrators") or profile.get("integrators")
    integrates = any(isinstance(node, INTEGRATORS) for node in nodes)
    if step is None and not metadata.document and integrates and metadata.dt != 1:
        assumed.append(
            f"IF and I multiply their input by dt = {metadata.dt:g}, as NIR has it; most libraries mean 1 per "
            "step (--integrators step)"
        )
    conventions = Conventions(
        dt=metadata.dt,
        integrator_dt=1.0 if step == "step" else metadata.dt,
        subtract=reset == "subtract",
        exponential=profile.get("decay") == "exponential",
        leaky_adds=profile.get("leaky_input") == "adds",
        current_adds=profile.get("current_input") == "adds",
        fires_at=profile.get("fires") == "at",
    )
    return replace(metadata, reset=reset, integrators=step or "dt", assumed=tuple(assumed)), conventions


def _reset(
    metadata: GraphMetadata,
    spiking: bool,
    given: Asked,
    profile: Mapping[str, Any],
    origin: Origin,
    assumed: list[str],
    source: str,
) -> Reset:
    stated = metadata.reset if metadata.reset_stated else None
    if None not in (stated, given.reset) and stated != given.reset:
        raise RefusedInput(f"{source}: reset {given.reset!r} asked for; the file is made for {stated!r}")
    known: Reset | None = given.reset or stated or profile.get("reset")
    if known is not None or not spiking:
        return known or "zero"
    if origin.without_reset and origin.version == "":
        assumed.append(
            "a spike sets v to 0, as in NIR from 1.0.6 on: the file names no version of NIR, and before that a spike "
            "took the threshold off (--reset subtract)"
        )
    if not origin.without_reset or not origin.number or origin.number >= FIRST_WITH_RESET:
        return "zero"
    if origin.number >= FIRST_STABLE:
        assumed.append(
            f"a spike takes the threshold off v, as in NIR before 1.0.6 (the file is of {origin.version}; --reset zero)"
        )
        return "subtract"
    assumed.append(
        f"a spike sets v to 0, as the libraries of its time did that wrote such files; NIR {origin.version} itself "
        "says that the threshold is taken off (--reset subtract)"
    )
    return "zero"


def _profile(written_by: str | None, source: str) -> Mapping[str, Any]:
    """The profile of a library; a profile of one of its versions replaces it."""
    if written_by is None:
        return {}
    name, at, version = written_by.lower().partition("@")
    profiles = _profiles()
    if name not in profiles:
        raise RefusedInput(
            f"{source}: no profile of {written_by!r}; expected one of {', '.join(sorted(profiles))}"
            f"{meant(name, profiles)}"
        )
    if at and not re.fullmatch(r"\d+(\.\w+)*", version):
        raise RefusedInput(f"{source}: written by {written_by!r}; expected a library, or one @ its version, as norse@2")
    numbers = version.split(".")
    merged = {key: value for key, value in profiles[name].items() if not key[0].isdigit()}
    for key, value in profiles[name].items():
        if key[0].isdigit() and numbers[: key.count(".") + 1] == key.split("."):
            merged |= value
    return merged


@cache
def _profiles() -> dict[str, dict[str, Any]]:
    return tomllib.loads((resources.files("neuromorphic.reading") / "writers.toml").read_text(encoding="utf-8"))
