"""What is late, what circles and what sends membranes, counted by hand; and the report of graphs with all of it."""

import csv
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import energy
from energy.cli import app
from energy.document import Document
from energy.events import Events
from energy.report import figures, html
from energy.traffic import snn_accesses
from energy.updates import updates_needed
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ops import Delay, LoihiLif
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from tests.energy.test_sops import trace_of
from tests.energy.test_streaming import same
from tests.energy.test_traffic import elements
from tests.energy.test_updates import spikes
from tests.neuromorphic.compositions import Composer
from tests.neuromorphic.graphs import DT, attention, chain, lif, metadata

FOREIGN = Path(__file__).parents[1] / "data" / "foreign"
DEVICES = energy.read_devices(energy.SHIPPED)


def full(size, *values):
    return (np.full(size, value, np.float32) for value in values)


def delay(*steps):
    return nir.Delay(np.array(steps, np.float32) * np.float32(DT))


def leaky(size):
    """Leaks by a half in every step, and sends its membranes."""
    return nir.LI(*full(size, 2 * DT, 1, 0))


def graph_of(nodes, edges, size, out, time_steps=4):
    ends = {"input": nir.Input(np.array([size])), "output": nir.Output(np.array([out]))}
    return from_nir(nir.NIRGraph({**ends, **nodes}, edges, metadata=metadata(time_steps), type_check=False))


def test_neurons_that_read_themselves_hear_their_spikes_a_step_later():
    graph = graph_of({"a": lif((2,))}, [("input", "a"), ("a", "a"), ("a", "output")], 2, 2)
    counts = energy.count(graph, trace_of(graph, a=spikes("x.", "xx", "..", "xx")))
    layer = counts.layers["a"]
    (own,) = layer.spiking_sources
    assert (layer.kind, own.source, layer.real_sources, layer.macs) == ("identity", "a", ("input",), 0)
    assert own.per_step.tolist() == [[0, 1, 2, 0]]
    # Both spikes of the last step are under way when the image ends.  At a rate of 1, three steps of two are summed.
    assert (own.sops_under_way, counts.sops_under_way, counts.sops) == (2, 2, 3)
    assert (layer.dense, layer.dense_padded) == (6, 8)
    assert layer.rate == 5 / 8


def test_a_loop_through_a_matrix():
    edges = [("input", "a"), ("a", "w"), ("w", "a"), ("a", "output")]
    weight = nir.Affine(np.zeros((3, 3), np.float32), np.ones(3, np.float32))
    graph = graph_of({"a": lif((3,)), "w": weight}, edges, 3, 3)
    counts = energy.count(graph, trace_of(graph, a=spikes("xx.", "...", "x..", "xxx")))
    (own,) = counts.layers["w"].spiking_sources
    assert own.per_step.tolist() == [[0, 6, 0, 3]]
    assert (own.sops_under_way, own.dense, own.dense_padded) == (9, 3 * 9, 4 * 9)
    # The matrix adds 3 biases a step; a sums what arrives from the input and from the matrix.
    assert vars(counts.additions) == {"bias": 12, "pooling": 0, "fan_in": 12}
    assert counts.macs == 0
    # No step of the loop is written twice: 6 spikes, of which 3 are read in time.
    assert elements(snn_accesses(graph, counts, "no_reuse"), "spikes") == {"a": 6, "w": 3}
    assert elements(snn_accesses(graph, counts, "no_reuse"), "weights") == {"w": 9 + 12}


def test_a_delay_of_spikes_that_are_under_way_at_the_end():
    # The first neuron's spikes wait two steps, the second one's none; each then meets three synapses.
    nodes = {"a": lif((2,)), "late": delay(2, 0), "w": nir.Linear(np.ones((3, 2), np.float32)), "b": lif((3,))}
    graph = from_nir(chain(nodes, (2,), (3,)))
    counts = energy.count(graph, trace_of(graph, a=spikes("xx", "x.", "x.", "xx"), b=spikes(*["..."] * 4)))
    assert list(counts.layers) == ["w"]  # waiting is no operation
    (own,) = counts.layers["w"].spiking_sources
    assert own.source == "a"
    assert own.per_step.tolist() == [[3, 0, 3, 3 + 3]]
    assert (own.sops_under_way, own.dense, own.dense_padded) == (2 * 3, 2 * 3 + 4 * 3, 4 * 6)
    assert counts.macs == counts.additions.total == 0
    # A spike of step 1 touches b in step 3.
    once = trace_of(graph, a=spikes("..", "x.", "..", ".."), b=spikes(*["..."] * 4))
    assert updates_needed(graph, once, Events.of(graph, once, None))["b"].tolist() == [[0, 0, 0, 3]]
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "spikes") == {"a": 6, "w": 4}


def test_ways_of_different_lateness_are_synapses_of_their_own():
    nodes = {"a": lif((1,)), "late": delay(1), "b": lif((1,))}
    edges = [("input", "a"), ("a", "late"), ("a", "b"), ("late", "b"), ("b", "output")]
    graph = graph_of(nodes, edges, 1, 1)
    counts = energy.count(graph, trace_of(graph, a=spikes("x", "x", ".", "x"), b=spikes(*"....")))
    assert sorted(s.per_step.tolist()[0] for s in counts.layers["b"].spiking_sources) == [[0, 1, 1, 0], [1, 1, 0, 1]]
    assert counts.sops_under_way == 1


def test_a_leaky_readout():
    # It reads spikes through a matrix: SOPs there; an update is one addition, as nothing is compared.
    nodes = {"a": lif((2,)), "w": nir.Linear(np.ones((3, 2), np.float32)), "li": leaky(3)}
    graph = from_nir(chain(nodes, (2,), (3,)))
    counts = energy.count(graph, trace_of(graph, a=spikes("..", "x.", "..", "xx")))
    assert (counts.sops, counts.macs, counts.sops_under_way) == (9, 0, 0)
    assert list(counts.populations) == ["a"]
    readout = counts.membranes["li"]
    assert (readout.updates, readout.needed.tolist()) == (12, [[0, 3, 3, 3]])
    assert counts.neuron_updates == 2 * 4 + 12
    papers, every = (
        energy.assemble(graph, counts, DEVICES, energy.provenance(graph)).devices["45nm-fp32"].accounts[scheme]
        for scheme in ("papers", "operations")
    )
    assert papers.unpriced["neuron_updates"] == 20
    assert every.energy.mean - papers.energy.mean == pytest.approx((8 * 2 + 12) * 0.9)
    assert elements(snn_accesses(graph, counts, "no_reuse"), "states")["li"] == 2 * 12
    assert elements(snn_accesses(graph, counts, "no_reuse"), "activations") == {}
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "activations") == {}


def test_a_leaky_readout_reads_a_population_by_one_synapse_each():
    graph = from_nir(chain({"a": lif((2,)), "li": leaky(2)}, (2,), (2,)))
    counts = energy.count(graph, trace_of(graph, a=spikes("x.", "..", "xx", "..")))
    assert (counts.layers["li"].kind, counts.layers["li"].sops, counts.layers["li"].macs) == ("identity", 3, 0)


def test_what_reads_membranes_computes_macs_in_every_step():
    # li changes, so that its sums can't be used once; and b needs them step by step.
    nodes = {"a": lif((2,)), "li": leaky(2), "w": nir.Linear(np.ones((3, 2), np.float32)), "b": lif((3,))}
    graph = from_nir(chain(nodes, (2,), (3,)))
    counts = energy.count(graph, trace_of(graph, a=spikes("x.", "..", "..", ".."), b=spikes(*["..."] * 4)))
    layer = counts.layers["w"]
    assert (layer.sops, layer.real_sources, layer.macs, layer.macs_once, layer.macs_summed) == (0, ("li",), 24, 24, 24)
    # Membranes arrive in every step, whatever they are.
    assert counts.neurons["b"].needed.tolist() == [[3, 3, 3, 3]]
    assert counts.neurons["li"].needed.tolist() == [[1, 1, 1, 1]]
    # li is written for the matrix to read; without reuse the matrix fetches one for each of its MACs.
    assert elements(snn_accesses(graph, counts, "no_reuse"), "activations") == {"li": 8, "w": 24}
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "activations") == {"li": 8, "w": 8}


def test_real_values_that_wait_are_written_and_read():
    # The matrix writes its sums for the Delay, which reads them; neurons then take them up.  They begin with zeros.
    nodes = {"w": nir.Linear(np.ones((3, 2), np.float32)), "late": delay(1, 1, 1), "b": nir.IF(*full(3, 5000, 1))}
    graph = from_nir(chain(nodes, (2,), (3,)))
    counts = energy.count(graph, trace_of(graph, b=spikes(*["..."] * 4)))
    assert (counts.macs, counts.sops, list(counts.layers)) == (24, 0, ["w"])
    assert counts.neurons["b"].needed.tolist() == [[0, 3, 3, 3]]
    assert elements(snn_accesses(graph, counts, "no_reuse"), "activations") == {"w": 24 + 12, "late": 12}
    # The frame is the same in every step, and so are the sums, until they wait.
    assert elements(snn_accesses(graph, counts, "ideal_reuse"), "activations") == {"w": 2 + 3, "late": 3}


def test_sums_that_circle_arrive_again_and_again():
    # A spike of step 0 reaches b at once, and then in every step, through a matrix that reads itself a step later.
    one = nir.IF(*full(1, 5000, 1))
    nodes = {"a": lif((1,)), "w": nir.Linear(np.ones((1, 1), np.float32)), "late": delay(1), "b": one}
    edges = [("input", "a"), ("a", "w"), ("w", "late"), ("late", "w"), ("w", "b"), ("b", "output")]
    graph = graph_of(nodes, edges, 1, 1)
    counts = energy.count(graph, trace_of(graph, a=spikes("x", ".", ".", "."), b=spikes(*"....")))
    assert counts.neurons["b"].needed.tolist() == [[1, 1, 1, 1]]
    # The matrix reads a's spike, and in every step what has waited.
    assert (counts.layers["w"].sops, counts.layers["w"].real_sources, counts.layers["w"].macs) == (1, ("late",), 4)


def test_attention_on_a_cycle_reads_the_step_before():
    nodes = {"qkv": lif((3, 1, 2)), "product": attention((3, 1, 2)), "spread": nir.Conv2d(
        (1, 2), np.ones((3, 1, 1, 1), np.float32), (1, 1), (0, 0), (1, 1), 1, np.zeros(3, np.float32))}  # fmt: skip
    ends = {"input": nir.Input(np.array([3, 1, 2])), "output": nir.Output(np.array([1, 1, 2]))}
    edges = [("input", "qkv"), ("qkv", "product"), ("product", "spread"), ("spread", "qkv"), ("product", "output")]
    graph = from_nir(nir.NIRGraph({**ends, **nodes}, edges, metadata=metadata(2), type_check=False))
    assert graph.recurrent == {("qkv", "product")}
    qkv = np.zeros((1, 2, 3, 1, 2), np.bool_)
    qkv[0, 0] = True
    found = energy.count(graph, trace_of(graph, qkv=qkv)).layers["product"].attention
    assert found.per_step.tolist() == [[0, 2 + 2]]  # 2 tokens of one channel, in either product
    assert energy.count(graph, trace_of(graph, qkv=qkv[:, ::-1])).layers["product"].attention.coincidences == 0


@pytest.mark.parametrize(
    ("node", "additions", "multiplications"),
    [
        (nir.LIF(*full(1, 2 * DT, 1, 0, 1, 0)), 2, 0),
        (nir.LIF(*full(1, 3 * DT, 1, 0, 1, 0)), 2, 1),
        (nir.IF(*full(1, 5000, 1, 0)), 2, 0),
        (nir.Threshold(np.ones(1, np.float32)), 1, 0),
        (nir.CubaLIF(*full(1, 2 * DT, 3 * DT, 1, 0, 1)), 3, 1),
        (nir.CubaLIF(*full(1, 3 * DT, 3 * DT, 1, 0, 1)), 3, 2),
        (nir.I(np.ones(1, np.float32)), 1, 0),
        (nir.LI(*full(1, 3 * DT, 1, 0)), 1, 1),
        (nir.CubaLI(*full(1, 3 * DT, 2 * DT, 1, 0)), 2, 1),
    ],
)
def test_what_an_update_computes(node, additions, multiplications):
    operation = from_nir(chain({"node": node}, (1,), (1,))).nodes["node"].operation
    assert operation.additions == additions
    assert operation.multiplications == multiplications


def on_the_chip(decay, current_decay=4096, drive=0, bias=0, lowering=None):
    """One neuron of integers."""
    numbers = (np.full(1, n, np.int32) for n in (100, bias))
    return LoihiLif(decay, *numbers, 0, current_decay, np.full(1, drive, np.int32), lowering)


@pytest.mark.parametrize(
    ("population", "additions", "multiplications", "expected"),
    [
        (on_the_chip(2048), 2, 0, [0, 1, 1, 0, 1, 1]),
        (on_the_chip(2000), 2, 1, [0, 1, 1, 0, 1, 1]),
        (on_the_chip(0), 2, 0, [0, 1, 0, 0, 1, 0]),  # doesn't leak
        (on_the_chip(4096), 1, 0, [0, 1, 0, 0, 1, 0]),  # remembers nothing
        (on_the_chip(2048, 2048), 3, 0, [0, 1, 1, 1, 1, 1]),  # its current lasts
        (on_the_chip(2000, 2000), 3, 2, [0, 1, 1, 1, 1, 1]),
        (on_the_chip(2048, 2048, drive=5), 3, 0, [1] * 6),
        (on_the_chip(2048, bias=5), 2, 0, [1] * 6),
    ],
)
def test_neurons_of_the_chip(population, additions, multiplications, expected):
    graph = from_nir(chain({"a": lif((1,)), "b": lif((1,))}, (1,), (1,), time_steps=6))
    graph = replace(graph, nodes={**graph.nodes, "b": replace(graph.nodes["b"], operation=population)})
    trace = trace_of(graph, a=spikes(".", "x", ".", ".", "x", "."), b=spikes(".", ".", "x", ".", ".", "."))
    assert updates_needed(graph, trace, Events.of(graph, trace, None))["b"].tolist() == [expected]
    assert (population.additions, population.multiplications) == (additions, multiplications)


@pytest.mark.parametrize(
    ("lowering", "expected"), [(None, [0, 1, 0, 0, 1, 0]), (np.full(1, 100, np.int32), [0, 1, 1, 1, 1, 0])]
)
def test_an_integrator_may_fire_again_behind_a_spike_that_subtracts(lowering, expected):
    graph = from_nir(chain({"a": lif((1,)), "b": lif((1,))}, (1,), (1,), time_steps=6))
    graph = replace(
        graph, nodes={**graph.nodes, "b": replace(graph.nodes["b"], operation=on_the_chip(0, lowering=lowering))}
    )
    trace = trace_of(graph, a=spikes(".", "x", ".", ".", "x", "."), b=spikes(".", "x", "x", ".", ".", "."))
    assert updates_needed(graph, trace, Events.of(graph, trace, None))["b"].tolist() == [expected]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (nir.I(np.ones(1, np.float32)), [0, 1, 0, 0, 1, 0]),  # nothing leaks
        (nir.LI(*full(1, 2 * DT, 1, 0)), [0, 1, 1, 1, 1, 1]),
        (nir.LI(*full(1, 2 * DT, 1, 0.5)), [0, 1, 1, 1, 1, 1]),  # an image begins at its leak
        (nir.CubaLI(*full(1, 2 * DT, 2 * DT, 1, 0.5)), [0, 1, 1, 1, 1, 1]),
    ],
)
def test_membranes_need_updates_from_the_first_arrival_on(node, expected):
    graph = from_nir(chain({"a": lif((1,)), "b": node}, (1,), (1,), time_steps=6))
    trace = trace_of(graph, a=spikes(".", "x", ".", ".", "x", "."))
    assert updates_needed(graph, trace, Events.of(graph, trace, None))["b"].tolist() == [expected]


def composition(seed):
    compose = Composer(seed)
    for prefix in "abc":
        compose.branch(prefix, 8)
    return from_nir(compose.graph(), dt=DT), compose.frames(5, 6)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_are_the_whole(batch):
    graph, frames = composition(12)
    whole = energy.count(graph, run(graph, frames))
    assert whole.sops_under_way
    assert whole.membranes
    assert same(energy.count_running(graph, frames, batch=batch), whole)


@pytest.mark.parametrize("seed", [0, 1, 5, 9])
def test_the_report_shows_it_and_says_that_there_is_no_twin(seed):
    graph, frames = composition(seed)
    counts = energy.count(graph, run(graph, frames))
    report = energy.assemble(graph, counts, DEVICES, energy.provenance(graph))
    text = report.model_dump_json()
    assert Document.model_validate_json(text).model_dump_json() == text
    assert report.ann is None
    page = html(report).replace("<wbr>", "")  # names may break at their dots
    assert "The file describes no ANN twin, so that there is nothing to compare with." in page
    assert all(name in page for name in (*counts.layers, *counts.membranes))
    said = [one.what for one in report.not_counted]
    assert any("under way when their image ends" in what for what in said) == (counts.sops_under_way > 0)
    assert any("Delay" in what for what in said) == any(isinstance(n.operation, Delay) for n in graph.nodes.values())
    assert all(figure.startswith("<") for figure in figures(report).values())


@pytest.mark.parametrize("path", sorted(FOREIGN.glob("*.nir")), ids=lambda path: path.stem)
def test_files_of_other_libraries_are_counted_by_the_command(path, tmp_path):
    graph = read_graph(path, 1e-6 if "norse" in path.stem else None)
    frames = np.load(path.with_suffix(".npz"))["frames"]
    np.save(tmp_path / "frames.npy", frames)
    run(graph, frames).write(tmp_path / "run.h5")
    dt = ["--dt", "1e-6"] if "norse" in path.stem else []
    outputs = ["--csv", tmp_path / "c.csv", "--json", tmp_path / "r.json"]
    page = ["--html", tmp_path / "r.html"]
    for source in (["--frames", tmp_path / "frames.npy", *page], ["--trace", tmp_path / "run.h5"]):
        result = CliRunner().invoke(app, [str(word) for word in (path, *dt, *source, *outputs)])
        assert result.exit_code == 0, result.output
        assert "ANN of the same layers, once" in result.stdout
        counts = energy.count(graph, run(graph, frames))
        report = Document.model_validate_json((tmp_path / "r.json").read_text())
        assert (report.snn.sops, report.snn.macs, report.snn.sops_under_way) == (
            counts.sops, counts.macs, counts.sops_under_way
        )  # fmt: skip
        with (tmp_path / "c.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert sum(int(row["sops_under_way"] or 0) for row in rows) == counts.sops_under_way
        assert sum(int(row["neuron_updates"] or 0) for row in rows) == counts.neuron_updates


def test_an_echo_of_spikes_is_refused_by_the_command(tmp_path):
    nodes = {"a": lif((1,)), "one": delay(1), "other": delay(0), "b": lif((1,))}
    ends = {"input": nir.Input(np.array([1])), "output": nir.Output(np.array([1]))}
    edges = [("input", "a"), ("a", "one"), ("one", "other"), ("other", "one"), ("one", "b"), ("b", "output")]
    nir.write(tmp_path / "echo.nir", nir.NIRGraph({**ends, **nodes}, edges, metadata=metadata(), type_check=False))
    np.save(tmp_path / "frames.npy", np.ones((1, 4, 1), np.float32))
    result = CliRunner().invoke(app, [str(tmp_path / "echo.nir"), "--frames", str(tmp_path / "frames.npy")])
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert said.startswith("error: ")
    assert "echo.nir: node 'one' is a Delay on a cycle of nothing but Delay nodes" in said
    assert "expected a neuron or synapses on it" in said


def test_delays_side_by_side_in_a_row_are_refused():
    nodes, edges, before = {"a": lif((1,))}, [("input", "a")], ["a"]
    for level in range(10):
        now = [f"{level}{side}" for side in "xy"]
        nodes |= {name: delay(1) for name in now}
        edges += [(s, name) for s in before for name in now]
        before = now
    edges += [(name, "output") for name in before]
    graph = graph_of(nodes, edges, 1, 1)
    with pytest.raises(RefusedInput, match="along 128 paths through 8 Delay nodes in a row; expected at most 64 and"):
        energy.count(graph, trace_of(graph, a=spikes(*"....")))


def test_a_row_of_delays_too_long_to_look_through_is_refused():
    nodes = {"a": lif((1,)), **{f"d{i:03}": delay(0) for i in range(65)}}
    graph = from_nir(chain(nodes, (1,), (1,)))
    with pytest.raises(RefusedInput, match="node 'd064' is reached along 1 path through 65 Delay nodes in a row"):
        energy.count(graph, trace_of(graph, a=spikes(*"....")))
