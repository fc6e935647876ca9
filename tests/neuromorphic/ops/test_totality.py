"""An operation that lacks something: mypy says so; and forced into a graph all the same, whatever meets it names it."""

import ast
import subprocess
import sys
from dataclasses import dataclass, replace
from inspect import isabstract
from pathlib import Path
from typing import ClassVar

import nir
import numpy as np
import pytest

import energy
from neuromorphic import ops
from neuromorphic.analysis.intervals import intervals
from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast, reference
from neuromorphic.inspection import inspect
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, conv, lif

ROOT = Path(__file__).parents[3]
PACKAGES = ("neuromorphic", "energy", "export")

OPERATIONS = {kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, ops.Operation)}
KINDS = sorted((kind for kind in OPERATIONS if isabstract(kind)), key=lambda kind: kind.__name__)
"""What an operation may be derived from: `Operation` and the roles below it."""

PROBE = """
from dataclasses import dataclass
from neuromorphic.ops import {base}
from neuromorphic.ops import _readers

@dataclass(frozen=True)
class Nothing({base}):
    pass

_readers(Nothing)
"""


def test_mypy_refuses_operations_without_methods_and_takes_those_that_are_complete(tmp_path):
    """From the cache that `make lint` leaves: there the packages are checked already."""
    probes = [PROBE.format(base=base.__name__).replace("Nothing", f"No{base.__name__}") for base in KINDS]
    (tmp_path / "lacking.py").write_text("\n".join(probes))
    complete = ", ".join(sorted({kind.__name__ for kind in ops.READERS.values()}))
    text = f"from neuromorphic.ops import _readers, {complete}\n\n_readers({complete})\n"
    (tmp_path / "complete.py").write_text(text)
    command = [sys.executable, "-m", "mypy", str(tmp_path / "lacking.py"), str(tmp_path / "complete.py")]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert said.count('Only concrete class can be given where "type[Operation]" is expected') == len(KINDS), said
    assert f"Found {len(KINDS)} errors in 1 file (checked 2 source files)" in said
    assert "complete.py" not in said


def test_every_operation_has_a_reader_and_is_one_that_a_node_may_compute():
    concrete = OPERATIONS - set(KINDS)
    assert {ops.Operation, ops.Stateless, ops.Neurons}.issubset(KINDS)
    assert set(ops.AnyOperation.__args__) == concrete
    assert set(ops.READERS.values()) == {kind for kind in concrete if kind.nir_types}


def matches():
    """Every `match` over operations in the packages that know some, as (file and line, its last case)."""
    names = {kind.__name__ for kind in OPERATIONS}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        if not any(str(node.module).split(".extensions")[0] == "neuromorphic.ops" for node in taken):
            continue
        known = {alias.name for node in taken if node.module == "neuromorphic.ops" for alias in node.names} & names
        for node in filter(lambda node: isinstance(node, ast.Match), ast.walk(tree)):
            cases = {ast.unparse(part.cls) for part in ast.walk(node) if isinstance(part, ast.MatchClass)}
            if cases & known:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.cases[-1])


def test_no_match_over_operations_has_a_silent_default():
    found = dict(matches())
    assert len(found) > 15
    silent = {where: last for where, last in found.items() if "assert_never(" not in last and "raise " not in last}
    assert not silent


def nothing(base: type[ops.Operation]) -> ops.Operation:
    """An operation of the kind that has none of the methods, past the check of abstract methods."""

    @dataclass(frozen=True)
    class Nothing(base):
        nir_types: ClassVar = (nir.Scale,)

    Nothing.__abstractmethods__ = frozenset()
    return Nothing()


def healthy(base: type[ops.Operation]):
    """A graph with an operation of the kind, or nearly, in the node `odd`; and frames for it."""
    odd = lif((1, 2, 2)) if issubclass(base, ops.Population) else nir.Scale(np.full((1, 2, 2), 2, np.float32))
    nodes = {
        "conv": conv(np.ones((1, 1, 1, 1)), hw=(2, 2)),
        "lif": lif((1, 2, 2), 0.5),
        "odd": odd,
        "last": lif((1, 2, 2), 0.5),
    }
    return from_nir(chain(nodes, (1, 2, 2), (1, 2, 2))), np.ones((2, 1, 2, 2), np.float32)


def forced(graph, base):
    """The graph with the operation that has nothing in the node `odd`."""
    return replace(graph, nodes={**graph.nodes, "odd": replace(graph.nodes["odd"], operation=nothing(base))})


ENTRIES = {
    "reference": lambda graph, frames, trace: reference.run(graph, frames),
    "fast executor": lambda graph, frames, trace: fast.run_in_batches(graph, frames),
    "intervals": lambda graph, frames, trace: intervals(graph, (0, 1)),
    "schedule": lambda graph, frames, trace: schedule(graph),
    "quantise": lambda graph, frames, trace: quantise(graph, frames),
    "simulate": lambda graph, frames, trace: simulate(graph, frames, precision=graph.precision),
    "place": lambda graph, frames, trace: place(graph),
    "count": lambda graph, frames, trace: energy.count(graph, replace(trace, graphs=())),  # a trace of any graph
    "inspect": lambda graph, frames, trace: inspect(graph),
}


INHERITED = {
    "schedule": set(KINDS) - {ops.Operation},  # the steps before a node, which the bases tell
    "inspect": set(KINDS) - {ops.Operation},  # the same, and the fields of the operation, of which there are none
    "intervals": {ops.Population, ops.ChipPopulation},  # spikes lie in [0, 1]
}
"""By entry, what an operation may be derived from to have all that is asked of it."""

ASKED = [(entry, base) for entry in ENTRIES for base in KINDS if base not in INHERITED.get(entry, ())]


@pytest.mark.parametrize(("entry", "base"), ASKED, ids=lambda value: getattr(value, "__name__", value))
def test_an_operation_that_was_forced_in_is_named_by_whatever_meets_it(entry, base):
    graph, frames = healthy(base)
    trace = reference.run(graph, frames)
    found, expected = (TypeError, AttributeError, AssertionError), "Nothing"
    refused = {ops.Membranes: "node 'odd' sends its membranes", ops.ChipPopulation: "is quantised already"}
    if entry == "quantise" and base in refused:  # for what its base says of it, before anything is asked
        found, expected = RefusedInput, refused[base]
    with pytest.raises(found, match=expected):
        ENTRIES[entry](forced(graph, base), frames, trace)


def test_whatever_meets_an_operation_without_anything_names_it():
    assert {entry for entry, base in ASKED if base is ops.Operation} == set(ENTRIES)


@pytest.mark.parametrize("base", KINDS, ids=lambda kind: kind.__name__)
def test_one_that_is_registered_by_force_is_named_when_a_file_has_it(base, monkeypatch):
    monkeypatch.setitem(ops.READERS, nir.Scale, type(nothing(base)))
    with pytest.raises(TypeError, match="Nothing"):
        healthy(ops.Stateless)


def test_a_healthy_graph_passes_every_entry():
    """So what raises above is the operation."""
    graph, frames = healthy(ops.Population)
    trace = reference.run(graph, frames)
    for name, entry in ENTRIES.items():
        if name != "simulate":  # Lava takes seconds to start, and other tests start it
            entry(graph, frames, trace)
