"""The contract of every pass, executed around it: on every file of other libraries and on random graphs."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given, settings

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import Shapes, Typed
from neuromorphic.reading import limits, passes
from neuromorphic.reading.build import drafted
from neuromorphic.reading.draft import Draft
from neuromorphic.reading.passes import PASSES
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_nir
from tests.fuzz.graphs import graphs
from tests.fuzz.judge import SMALLER
from tests.neuromorphic.compositions import Composer, tangle
from tests.neuromorphic.graphs import DT, small_net
from tests.properties.random_graphs import examples

FOREIGN = sorted((Path(__file__).parents[2] / "data" / "foreign").glob("*.nir"))

AT_FIRST = {passes.edges_are_known}
"""What `drafted` leaves, without which no pass runs."""


def run(raw: nir.NIRGraph, dt: float | None = DT, order=PASSES) -> Draft:
    """What the passes make of a graph, each held to its contract."""
    draft = drafted(raw, "FILE", Asked(dt=dt))
    for step in order:
        for contract in step.requires:
            assert contract(draft) == [], f"{step.run.__name__} requires {contract.__name__}"
        draft = step.run(draft)
        for contract in step.ensures:
            assert contract(draft) == [], f"{step.run.__name__} ensures {contract.__name__}"
    return draft


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.stem)
def test_contracts_hold_on_files_of_other_libraries(path):
    draft = run(read_nir(path), float(np.load(path.with_suffix(".npz"))["dt"]))
    assert set(draft.order) == set(draft.fan_in) == set(draft.typed)


def test_there_are_files_of_every_library():
    assert len(FOREIGN) == 29


@pytest.mark.parametrize("seed", range(40))
def test_contracts_hold_on_compositions_of_every_primitive(seed):
    compose = Composer(seed)
    compose.branch("c")
    run(compose.graph())


def outcome(raw: nir.NIRGraph, dt: float | None = None) -> str:
    try:
        run(raw, dt)
    except RefusedInput:
        return "refused"
    return "read"


def test_contracts_hold_on_tangles_until_one_is_refused():
    found = Counter(outcome(tangle(seed)[0], DT) for seed in range(250))
    assert min(found["read"], found["refused"]) > 20


@settings(max_examples=60)
@given(examples())
def test_contracts_hold_on_random_networks(example):
    run(example.graph, None)


@pytest.fixture(scope="module")
def smaller():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALLER.items():
            patch.setattr(limits, name, value)
        yield


@pytest.mark.usefixtures("smaller")
def test_contracts_hold_on_graphs_with_wrong_parameters_until_one_is_refused():
    found = Counter()

    @settings(max_examples=150, derandomize=True, database=None)
    @given(graphs())
    def look(raw):
        found[outcome(raw)] += 1

    look()
    assert min(found["read"], found["refused"]) > 20


def test_what_a_pass_requires_holds_before_the_first_or_is_ensured_by_the_one_before():
    held = AT_FIRST
    for step in PASSES:
        assert held.issuperset(step.requires), step.run.__name__
        held = {*step.requires, *step.ensures}


def test_a_pass_that_does_nothing_breaks_its_contract():
    """But for `ended`: most graphs have the ends that they need."""
    promising = [index for index, step in enumerate(PASSES) if set(step.ensures) - set(step.requires)]
    assert len(promising) == len(PASSES) - 1
    for index in promising:
        step = PASSES[index]
        broken = [*PASSES]
        broken[index] = replace(step, run=lambda draft: draft)
        with pytest.raises((AssertionError, KeyError)):
            run(small_net(), order=broken)


def typed() -> Draft:
    ended, typed, *_ = PASSES
    return typed.run(ended.run(drafted(small_net(), "FILE")))


def whole() -> Draft:
    return run(small_net())


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def with_typed(draft, name, **changes):
    return replace(draft, typed={**draft.typed, name: draft.typed[name]._replace(**changes)})


def scalar_threshold(draft):
    neurons = draft.typed["lif"].operation
    return with_typed(draft, "lif", operation=replace(neurons, threshold=np.ones((), np.float32)))


VIOLATED = {
    passes.edges_are_known: lambda: replace(whole(), fan_in={**whole().fan_in, "conv": ("nowhere",)}),
    passes.all_are_typed: lambda: replace(whole(), typed=without(whole().typed, "lif")),
    passes.shapes_agree: lambda: with_typed(whole(), "lif2", shapes=Shapes((5, 3, 3), (4, 3, 3))),
    passes.parameters_are_full: lambda: scalar_threshold(whole()),
    passes.none_only_flattens: typed,
    passes.sources_come_first: lambda: replace(whole(), order=whole().order[::-1]),
}
"""By contract, a draft that violates it."""


def test_there_is_a_violation_of_every_contract():
    assert set(VIOLATED) == {contract for step in PASSES for contract in (*step.requires, *step.ensures)}


@pytest.mark.parametrize("contract", VIOLATED, ids=lambda contract: contract.__name__)
def test_every_contract_can_fail(contract):
    draft = whole()
    assert all(isinstance(each, Typed) for each in draft.typed.values())
    assert contract(draft) == []
    assert contract(VIOLATED[contract]()) != []


def test_violations_are_named():
    assert passes.edges_are_known(VIOLATED[passes.edges_are_known]()) == ["conv reads nowhere"]
    assert passes.all_are_typed(VIOLATED[passes.all_are_typed]()) == ["lif"]
    assert passes.shapes_agree(VIOLATED[passes.shapes_agree]()) == ["pool -> lif2"]
    assert passes.parameters_are_full(VIOLATED[passes.parameters_are_full]()) == ["lif.threshold"]
    assert passes.none_only_flattens(VIOLATED[passes.none_only_flattens]()) == ["flat"]
    assert "lif -> pool" in passes.sources_come_first(VIOLATED[passes.sources_come_first]())
