"""Facts about a graph are derived once: counted in a run of `quantise`, by what a graph consists of."""

import pkgutil
from collections import Counter
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import neuromorphic
from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.facts import fact, wiring_fact
from neuromorphic.analysis.schedule import schedule
from neuromorphic.analysis.streams import streams
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import encode
from tests.export.encoders import checkpoint
from tests.neuromorphic.graphs import small_net


def held(kept, name):
    """The cell of a variable that a decorated function closes over."""
    return kept.__closure__[kept.__code__.co_freevars.index(name)]


KEPT = fact(len).__code__
DECORATES = {held(decorate(len), "place").cell_contents.__code__: decorate for decorate in (fact, wiring_fact)}


def facts():
    """Every fact in `neuromorphic`, by name, with what decorates it."""
    found = {}
    for module in pkgutil.walk_packages(neuromorphic.__path__, "neuromorphic."):
        if ".processes" in module.name or module.name.endswith(("child", "network")):
            continue  # Lava's: they hold no facts, and import it
        for value in vars(import_module(module.name)).values():
            if getattr(value, "__code__", None) is KEPT:
                decorate = DECORATES[held(value, "place").cell_contents.__code__]
                found[f"{value.__module__}.{value.__name__}"] = value, decorate
    return found


def contents(graph, decorate):
    """What a fact follows from: objects that are compared by identity, and kept, so that no other takes their place."""
    nodes = graph.nodes.values()
    wiring = tuple((n.name, n.sources, n.input_shape, n.shape, type(n.operation)) for n in nodes)
    return wiring if decorate is wiring_fact else (wiring, tuple(id(n.operation) for n in nodes))


@pytest.fixture
def derived(monkeypatch):
    """How often each fact was derived from the same, by (name, what it follows from)."""
    found, alive = Counter(), []
    for name, (kept, decorate) in facts().items():
        cell = held(kept, "derive")

        def counted(graph, name=name, decorate=decorate, derive=cell.cell_contents):
            alive.append(graph)
            found[name, contents(graph, decorate)] += 1
            return derive(graph)

        monkeypatch.setattr(cell, "cell_contents", counted)
    return found


def test_the_facts_are_found():
    names = {name.rpartition(".")[2] for name in facts()}
    assert names >= {"biases", "schedule", "streams", "layers", "doubles", "graded_intervals", "spike_carriers"}


def test_derivations_are_counted(derived):
    graph = from_nir(small_net())
    for _ in range(2):
        biases(graph), schedule(graph), streams(graph)
    same = replace(graph)  # which forgets
    biases(same)
    assert {name.rpartition(".")[2]: n for (name, _), n in derived.items() if "streams" not in name} == {
        "biases": 2, "schedule": 1,
    }  # fmt: skip


def test_a_graph_with_other_parameters_keeps_the_facts_of_its_wiring(derived):
    graph = from_nir(small_net())
    streams(graph), biases(graph)
    lif = graph.nodes["lif"].operation
    other = graph.with_operations({"lif": replace(lif, threshold=2 * lif.threshold)})
    assert streams(other) is streams(graph)
    assert biases(other) is not biases(graph)
    assert max(derived.values()) == 1


def test_quantising_derives_no_fact_twice(derived, make_encoder, photographs):
    import export

    raw = export.prepare(checkpoint(make_encoder(0), 16)).graph
    derived.clear()  # what exporting derives, of a graph of its own
    graph = from_nir(raw)
    quantise(graph, encode(graph, photographs(16, 2).images))
    again = {name: n for (name, _), n in derived.items() if n > 1}
    assert not again
    wiring = Counter(name for name, _ in derived if facts()[name][1] is wiring_fact)
    assert max(wiring.values()) <= 2, wiring  # of the floats and of the integers


def test_quantising_small_nets_derives_no_fact_twice(derived):
    graph = from_nir(small_net())
    quantise(graph, np.random.default_rng(0).integers(-8, 9, (2, 2, 6, 6)).astype(np.float32))
    assert not {name: n for (name, _), n in derived.items() if n > 1}
