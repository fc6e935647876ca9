"""`spikeclip-inspect`: what it says of a graph against figures worked out here, and what it believes of a file."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import export
from neuromorphic.analysis.schedule import schedule
from neuromorphic.inspection import describe, draw, inspect
from neuromorphic.inspection.cli import app
from neuromorphic.inspection.layout import plan
from neuromorphic.inspection.report import NodeReport
from neuromorphic.ops import Conv2d, Lif, MaxPool2d, Operation, SelfAttention
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from tests.export.encoders import checkpoint, published
from tests.neuromorphic.analysis.test_soft_resets import looped
from tests.neuromorphic.graphs import chain, lif, metadata, small_net

SVG = "{http://www.w3.org/2000/svg}"


def invoke(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def path(make_encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("inspect") / "model.nir"
    export.write(export.prepare(checkpoint(make_encoder(2), 16)).graph, path)
    return path


def report(name, latency, *sources):
    return NodeReport(name, "Scale", False, sources, (1,), (1,), latency, {}, 0, 0, 0, {}, "")


def test_the_nodes_of_a_small_net(tmp_path):
    path = tmp_path / "small.nir"
    nir.write(path, small_net())
    said = invoke(path, "--json", tmp_path / "small.json")
    found = json.loads((tmp_path / "small.json").read_text())
    nodes = {node["name"]: node for node in found["nodes"]}
    assert list(nodes) == ["input", "conv", "lif", "pool", "lif2", "readout", "output"]
    assert [node["latency"] for node in found["nodes"]] == [0, 1, 1, 2, 2, 3, 3]
    assert [node["neurons"] for node in found["nodes"]] == [0, 0, 144, 0, 36, 0, 0]
    assert [node["parameters"] for node in found["nodes"]] == [0, 4 * 2 * 9 + 4, 0, 0, 0, 5 * 36 + 5, 0]
    # On a row of 6, three taps with padding 1 see 3 · 6 - 2 positions; the pool sees every neuron once.
    assert [node["synapses"] for node in found["nodes"]] == [0, 4 * 2 * 16**2, 0, 144, 0, 180, 0]
    assert nodes["pool"]["settings"] == {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0], "divisor": 1}
    assert nodes["lif"]["settings"]["threshold"] == {"shape": [4, 6, 6], "least": 0.5, "greatest": 0.5}
    assert (nodes["conv"]["shape"], nodes["conv"]["sources"]) == ([4, 6, 6], ["input"])
    totals = {"nodes": 7, "edges": 6, "populations": 2, "neurons": 180, "parameters": 261, "synapses": 2372}
    assert found["totals"] == totals
    assert (found["precision"], found["time_steps"], found["depth"], found["extensions"]) == ("float", 4, 3, [])
    assert "small.nir: 7 nodes, 6 edges" in said
    assert "certificate none: the file says nothing of rounding" in said


def test_spikes_that_arrive_directly_take_a_synapse_each(tmp_path):
    nodes = {name: lif((3, 4, 4)) for name in ("a", "b", "both")}
    nodes = {"input": nir.Input(np.array([3, 4, 4])), **nodes, "output": nir.Output(np.array([3, 4, 4]))}
    edges = [("input", "a"), ("a", "b"), ("a", "both"), ("b", "both"), ("both", "output")]
    path = tmp_path / "both.nir"
    nir.write(path, nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))
    said = invoke(path, "--json", tmp_path / "both.json")
    nodes = {node["name"]: node for node in json.loads((tmp_path / "both.json").read_text())["nodes"]}
    assert [nodes[name]["synapses"] for name in ("a", "b", "both")] == [48, 48, 96]
    assert nodes["both"]["delays"] == {"a": 1}
    assert "reads a (waits 1), b" in said


def test_membranes_that_are_the_output_are_neurons_and_average_pooling_keeps_its_name(tmp_path):
    one = np.ones(12, np.float32)
    nodes = {
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "membranes": nir.LI(2e-4 * one, one, 0 * one),
    }
    nir.write(tmp_path / "li.nir", chain(nodes, (3, 4, 4), (12,)))
    invoke(tmp_path / "li.nir", "--json", tmp_path / "li.json")
    found = json.loads((tmp_path / "li.json").read_text())
    assert [node["type"] for node in found["nodes"]] == ["Input", "AvgPool2d", "LI", "Output"]
    assert [node["neurons"] for node in found["nodes"]] == [0, 0, 12, 0]


def test_a_graph_from_elsewhere_has_no_metadata(tmp_path):
    affine = nir.Affine(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    graph = nir.NIRGraph.from_list(affine, lif((3,)))
    nir.write(tmp_path / "foreign.nir", graph)
    said = invoke(tmp_path / "foreign.nir", "--svg", tmp_path / "foreign.svg")
    assert "the file doesn't say how many, of 0.0001 s" in said
    assert "synapses 9; 12 parameters" in said
    assert len(ElementTree.parse(tmp_path / "foreign.svg").getroot().findall(f"{SVG}g")) == len(graph.nodes)


def test_a_recurrent_graph_from_elsewhere(tmp_path):
    path = Path(__file__).parents[2] / "data" / "foreign" / "spyx_recurrent.nir"
    said = invoke(path, "--dt", "1", "--json", tmp_path / "found.json")
    assert "the file doesn't say how many, of 1 s; an image" in said
    assert "neurons 5 in 1 population " in said
    assert "reads layer_0, layer_1.layer_1.lif (a step late)" in said
    assert "recurrent layer_1.layer_1.lif -> layer_1.layer_1.w_rec: one time step late" in said
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["dt"], found["recurrent"]) == (1.0, [["layer_1.layer_1.lif", "layer_1.layer_1.w_rec"]])


def test_an_exported_file_is_proven_again(path, tmp_path):
    said = invoke(path, "--json", tmp_path / "found.json")
    proof = json.loads((tmp_path / "found.json").read_text())["certificate"]
    assert proof["proven"] == proof["claimed"]
    assert proof["proven"]["exact"]
    count = len(proof["proven"]["nodes"])
    assert f"certificate exact in {count} of {count} nodes, proven from the weights" in said
    assert "none: standard NIR" in said
    assert "mean of the outputs over time" in said


def test_without_proof_it_is_the_files_own_claim(path):
    assert "exact, by the file's own claim; not proven again: not asked for" in invoke(path, "--no-prove")


def test_a_claim_that_the_weights_contradict(path, tmp_path):
    graph = nir.read(path)
    graph.nodes["stem.layers.1.synapse.conv"].weight[0, 0, 0, 0] = 1 / 3  # on no grid that leaves 24 bits
    nir.write(tmp_path / "off.nir", graph)
    said = invoke(tmp_path / "off.nir", "--svg", tmp_path / "off.svg", code=1)
    assert "stem.layers.1.synapse.conv: values up to" in said
    assert "stem.layers.1.synapse.conv: the file claims the opposite" in said
    assert "not proven exact" in (tmp_path / "off.svg").read_text()


def test_extension_nodes_are_named(tmp_path):
    path = tmp_path / "paper.nir"
    export.write(export.prepare(checkpoint(published(2), 16)).graph, path)
    said = invoke(path, "--svg", tmp_path / "paper.svg")
    assert "MaxPool2d, SpikingSelfAttention: only readers that know these nodes (*) can run the file" in said
    assert "SpikingSelfAttention * 16×4×4" in said
    assert "outputs over time, weighted by" in said
    assert "extension of NIR" in (tmp_path / "paper.svg").read_text()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"certificate": 3}, "metadata certificate is 3; expected an object"),
        ({"certificate": {"nodes": [1]}}, "metadata certificate has the nodes [1]; expected an object for each"),
        ({"certificate": {"nodes": {"lif": {}}}}, "metadata certificate is no certificate"),
    ],
)
def test_a_claim_that_is_none_is_refused(document, words, tmp_path):
    nir.write(tmp_path / "a.nir", chain({"lif": lif((1,))}, (1,), (1,), **document))
    said = invoke(tmp_path / "a.nir", code=2)
    assert said.startswith("error: ")
    assert words in said


@pytest.mark.parametrize(
    "preprocessing",
    [{"image_size": 4, "mean": [128.0], "std": [0.0]}, {"image_size": 4, "mean": [1.0, 2.0], "std": [1.0]}, {"x": 1}],
)
def test_frames_that_make_no_sense_leave_it_unproven(preprocessing, tmp_path):
    claim = {"exact": True, "nodes": {"lif": {"exact": True}}}
    more = {"preprocessing": preprocessing, "input_bits": 6, "certificate": claim}
    nir.write(tmp_path / "a.nir", chain({"lif": lif((3, 4, 4))}, (3, 4, 4), (3, 4, 4), **more))
    assert "exact, by the file's own claim; not proven again" in invoke(tmp_path / "a.nir")


def test_bad_input_is_one_sentence(path, tmp_path):
    assert invoke(tmp_path / "none.nir", code=2).endswith("none.nir: no such file; expected a .nir graph")
    (tmp_path / "cut.nir").write_bytes(path.read_bytes()[:3000])
    assert "not a readable NIR graph" in invoke(tmp_path / "cut.nir", code=2)
    nowhere = tmp_path / "nowhere" / "a.svg"
    assert "its folder does not exist" in invoke(path, "--svg", nowhere, code=2)
    assert "Example" in invoke("--help")


def without_flattening(graph):
    """The graph with an edge in place of every node that flattens what one other sends."""
    nodes, edges = dict(graph.nodes), set(graph.edges)
    for name in [name for name, node in nodes.items() if isinstance(node, nir.Flatten)]:
        del nodes[name]
        (before,) = (edge for edge in edges if edge[1] == name)
        behind = {edge for edge in edges if edge[0] == name}
        edges = edges - {before} - behind | {(before[0], after) for _, after in behind}
    assert len(nodes) < len(graph.nodes)
    return nir.NIRGraph(nodes, sorted(edges), metadata=graph.metadata, type_check=False)


def test_every_node_is_a_box_and_every_edge_a_line(path, tmp_path):
    invoke(path, "--svg", tmp_path / "model.svg")
    root = ElementTree.parse(tmp_path / "model.svg").getroot()
    graph = without_flattening(nir.read(path))
    boxes = [g.findtext(f"{SVG}title") for g in root.iter(f"{SVG}g")]
    assert sorted(box.partition(":")[0] for box in boxes) == sorted(graph.nodes)
    lines = [p.findtext(f"{SVG}title") for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None]
    drawn = {tuple(line.partition(", waits")[0].split(" → ")) for line in lines}
    assert drawn == set(graph.edges)
    assert len(lines) == len(graph.edges)
    timing = schedule(read_graph(path))
    assert {line for line in lines if ", waits" in line} == {
        f"{source} → {reader}, waits {steps} steps" for (source, reader), steps in timing.delay.items() if steps
    }
    assert root.find(f".//{SVG}script") is None


def test_names_from_files_are_escaped():
    name = '<script>alert("&")<script>'
    drawn = draw(inspect(from_nir(chain({name: lif((1,))}, (1,), (1,)))))
    root = ElementTree.fromstring(drawn)  # well-formed
    assert root.find(f".//{SVG}script") is None
    assert "alert" in drawn


def test_rows_follow_latency_and_lanes_pass_boxes():
    # a diamond with a shortcut, and an edge back from its end: a -> b -> c -> d, a -> d, d -> b
    nodes = [report("a", 0), report("b", 1, "a", "d"), report("c", 2, "b"), report("d", 3, "a", "c")]
    layout = plan(nodes)
    assert [layout.places[name].row for name in "abcd"] == [0, 1, 2, 3]
    assert set(layout.direct) == {("a", "b"), ("b", "c"), ("c", "d")}
    assert {(lane.source, lane.readers, lane.upward) for lane in layout.lanes} == {
        ("a", ("d",), False),
        ("d", ("b",), True),
    }
    assert (layout.count(upward=True), layout.count(upward=False)) == (1, 1)


def test_a_neuron_that_reads_itself():
    layout = plan([report("a", 0), report("b", 1, "a", "b")])
    assert [(lane.source, lane.readers, lane.upward) for lane in layout.lanes] == [("b", ("b",), True)]


def test_lanes_that_overlap_stand_apart():
    names = [f"n{i}" for i in range(9)]
    nodes = [report(names[0], 0)]
    nodes += [
        report(after, i + 1, before, *names[max(0, i - 3) : i]) for i, (before, after) in enumerate(pairwise(names))
    ]
    layout = plan(nodes)
    row = {name: place.row for name, place in layout.places.items()}
    spans = [(lane.index, row[lane.source], row[lane.readers[-1]]) for lane in layout.lanes]
    for i, (index, top, bottom) in enumerate(spans):
        for other, first, last in spans[i + 1 :]:
            assert index != other or bottom < first or last < top
    edges = {(s, node.name) for node in nodes for s in node.sources}
    assert edges == set(layout.direct) | {(lane.source, reader) for lane in layout.lanes for reader in lane.readers}


@dataclass(frozen=True)
class Unheard(Operation):
    """An operation that nobody described."""

    weight: np.ndarray
    steps: int
    flag: str
    kernel: tuple


Unheard.__abstractmethods__ = frozenset()


def test_operations_in_words():
    full = np.full((2, 3, 3), 0.5, np.float32)
    conv = Conv2d(np.zeros((4, 2, 3, 3), np.float32), np.zeros(4, np.float32), (2, 1), (1, 1), (1, 1), 2)
    assert describe.words(conv) == "weight 4×2×3×3, bias 0, stride 2×1, padding 1, groups 2"
    assert describe.window(conv) == " 3×3 /2"
    assert describe.words(Lif(full, np.ones_like(full), np.linspace(0, 1, 18, dtype=np.float32))) == (
        "decay 0.5, threshold 0 to 1"
    )
    assert describe.words(MaxPool2d((3, 3), (2, 2), (1, 1))) == "kernel_size 3, stride 2, padding 1"
    assert describe.words(SelfAttention(4, 0.125)) == "heads 4, scale 0.125"
    unheard = Unheard(np.zeros((2, 5)), 3, "yes", (4, 2))
    assert describe.words(unheard) == "weight 2×5, steps 3, flag yes, kernel 4×2"
    assert unheard.nir_name == "Unheard"
    assert json.loads(json.dumps(describe.numbers(unheard)))["kernel"] == [4, 2]


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_four_nodes_of_a_soft_reset_answer_together(recurrent):
    found = inspect(looped(recurrent=recurrent))
    nodes = {node.name: node for node in found.nodes}
    for layer, latency in ("a", 1), ("b", 2):
        parts = [nodes[f"{layer}{part}"] for part in ("", ".v", ".back", ".later")]
        assert [(node.latency, node.delays) for node in parts] == [(latency, {})] * 4
    assert found.timing.depth == 3
    assert "b.later" in draw(found)
