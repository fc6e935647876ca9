"""What values show of themselves, and when two are equal."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import energy
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast, reference
from neuromorphic.execution.membranes import membranes
from neuromorphic.ir.parity import compare
from neuromorphic.ir.shown import ROWS, WIDTH, Shown, same
from neuromorphic.ir.trace import Trace
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import small_net


@dataclass(frozen=True, repr=False, eq=False)
class Table(Shown):
    values: list[Any]
    note: str = field(default="", compare=False)

    def title(self) -> str:
        return f"{len(self.values)} values"

    def rows(self) -> list[dict[str, Any]]:
        return [{"name": f"n{i}", "value": value} for i, value in enumerate(self.values)]


def test_text_is_left_and_numbers_are_right():
    assert repr(Table([1, 20000])) == "2 values\nname   value\nn0         1\nn1    20,000"


def test_a_long_table_shows_both_ends_and_counts_the_rest():
    lines = repr(Table(list(range(1000)))).splitlines()
    assert len(lines) == ROWS + 3
    assert lines[2 + ROWS // 2] == f"... {1000 - ROWS} more"
    assert (lines[2].split(), lines[-1].split()) == (["n0", "0"], ["n999", "999"])


def test_long_text_is_cut_and_numbers_are_not():
    @dataclass(frozen=True, repr=False, eq=False)
    class Long(Shown):
        def title(self) -> str:
            return "one"

        def rows(self) -> list[dict[str, Any]]:
            return [{"text": "x" * 100, "number": 10**30}]

    last = repr(Long()).splitlines()[-1]
    assert last == "x" * (WIDTH - 3) + "...  " + f"{10**30:,}"


def test_html_escapes_what_a_file_may_hold():
    @dataclass(frozen=True, repr=False, eq=False)
    class Hostile(Shown):
        def title(self) -> str:
            return "<b>"

        def rows(self) -> list[dict[str, Any]]:
            return [{"<i>": "<script>"}]

    page = Hostile()._repr_html_()
    assert not any(mark in page for mark in ("<b>", "<i>", "<script>"))
    assert "&lt;script&gt;" in page


def test_no_rows_are_a_title_alone():
    assert (repr(Table([])), Table([])._repr_html_()) == ("0 values", "<p>0 values</p>")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0]), np.array([1.0], np.float32), False),
        (np.array([1]), np.array([[1]]), False),
        (np.array([1]), 1, False),
        ({"a": np.array([1])}, {"a": np.array([1])}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ((1, np.array([2])), (1, np.array([3])), False),
        ([1], (1,), False),
        (Table([np.array([1])]), Table([np.array([1])], "another note"), True),
        (Table([1]), [1], False),
    ],
)
def test_equality_is_of_contents(one, other, equal):
    assert same(one, other) is equal
    assert same(other, one) is equal


@pytest.fixture
def graph():
    return from_nir(small_net(), "small.nir")


@pytest.fixture
def frames(graph):
    return np.random.default_rng(0).normal(0.5, 1, (2, *graph.nodes[graph.input].shape)).astype(np.float32)


def test_graphs_traces_counts_and_placements_show_a_row_for_each_part(graph, frames):
    trace = fast.run_in_batches(graph, frames)
    report, counts, placement = compare(trace, trace), energy.count(graph, trace), place(graph)
    for value, parts in (
        (graph, graph.nodes),
        (trace, trace.spikes),
        (report, report.nodes),
        (counts, counts.layers),
        (placement, placement.cores),
    ):
        assert len(value.rows()) == len(parts)
        assert repr(value).startswith(value.title() + "\n")
        assert str(value) == repr(value)
        assert value._repr_html_().count("<tr>") == 1 + min(len(parts), ROWS)
        assert all(len(line) < 160 for line in repr(value).splitlines())


def test_the_same_file_read_twice_is_an_equal_graph(graph):
    other = from_nir(small_net(), "other.nir")
    assert graph == other
    assert graph != from_nir(small_net(seed=1), "small.nir")


def test_traces_of_two_executors_that_agree_are_equal(graph, frames):
    one, other = fast.run_in_batches(graph, frames), reference.run(graph, frames)
    assert one == other
    assert energy.count(graph, one) == energy.count(graph, other)
    flipped = other.outputs + np.float32(1)
    assert one != replace(other, outputs=flipped)
    assert energy.count(graph, one) != energy.count(graph, reference.run(graph, frames[:1]))


def test_traces_are_written_and_read_by_paths_of_either_kind(graph, frames, tmp_path):
    trace = fast.run_in_batches(graph, frames)
    trace.write(str(tmp_path / "run.h5"))
    assert Trace.read(str(tmp_path / "run.h5")) == trace


def test_membranes_are_the_references_at_every_step(graph, frames):
    name = graph.populations[0].name
    found = membranes(graph, frames, name)
    node = graph.nodes[name]
    assert found.shape == (len(frames), graph.metadata.time_steps, *node.shape)
    # By the population's own equation, on what its sources send.
    state, sources = node.operation.at_rest(len(frames), node.shape), graph.nodes[node.sources[0]]
    current = sources.operation.apply(frames.astype(np.float64), sources.shapes)
    for t in range(graph.metadata.time_steps):
        node.operation.advance(state, current)
        np.testing.assert_allclose(found[:, t], state.v, rtol=1e-5, atol=1e-6)


def test_membranes_of_no_neurons_are_refused_with_the_name_that_was_meant(graph, frames):
    name = graph.populations[0].name
    with pytest.raises(RefusedInput, match=rf"small\.nir: no neurons '{name}x'; did you mean '{name}'\?"):
        membranes(graph, frames, f"{name}x")
