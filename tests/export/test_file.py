"""What lies in the file: standard nodes for other readers, metadata for ours; and the command that writes it."""

import gzip
import json
import subprocess
import sys

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import nir_exchange
from typer.testing import CliRunner

import export
from export.accuracy import compare_accuracy, find_labels
from export.cli import app
from neuromorphic.execution.reference import run
from neuromorphic.reading.read import read_graph
from spikeclip.checkpoint import save
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from tests.export.encoders import CLASSES, checkpoint, published
from tests.export.parity import assert_equal

STANDARD = (nir.Input, nir.Output, nir.Conv2d, nir.LIF, nir.SumPool2d, nir.Flatten, nir.Affine)


@pytest.fixture(scope="module")
def prepared(make_encoder):
    return export.prepare(checkpoint(make_encoder(2, depth=2), 16))


@pytest.fixture(scope="module")
def prepared_paper():
    return export.prepare(checkpoint(published(2, depth=2), 16))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)


def test_spikingjelly_reads_the_file_and_computes_the_same(prepared, pixels, tmp_path):
    path = tmp_path / "model.nir"
    export.write(prepared.graph, path)
    graph = nir.read(path)
    assert all(isinstance(node, STANDARD) for node in graph.nodes.values())
    # The graph up to its last population too: a readout could hide a spike's difference.
    nodes = {name: node for name, node in graph.nodes.items() if not name.startswith("readout")}
    nodes["output"] = nir.Output(np.array([16, 4, 4]))
    edges = [edge for edge in graph.edges if set(edge) <= set(nodes) - {"output"}]
    spikes = nir.NIRGraph(nodes, [*edges, ("lif", "output")])
    frames = prepared.encode(pixels)
    recording = export.record(prepared, frames)
    for read, expected in (
        (spikes, recording.spikes["lif"].unpack().astype(np.float32)),
        (graph, recording.outputs),
    ):
        network, state = nir_exchange.import_from_nir(read, dt=1e-4), None
        for t in range(4):
            with torch.no_grad():
                y, state = network(torch.from_numpy(frames), state)
            np.testing.assert_array_equal(y.numpy().reshape(expected[:, t].shape), expected[:, t])
    assert recording.spikes["lif"].count()


def test_our_reader_finds_the_metadata(prepared, pixels, tmp_path):
    path = tmp_path / "model.nir"
    export.write(prepared.graph, path)
    graph = read_graph(path)
    metadata = graph.metadata
    assert (metadata.dt, metadata.time_steps, metadata.input_bits) == (1e-4, 4, 6)
    assert metadata.label_names == tuple(f"class {i}" for i in range(CLASSES))
    assert metadata.preprocessing["image_size"] == 16
    assert metadata.certificate["exact"] is True
    assert set(metadata.certificate["nodes"]) >= {node.name for node in graph.populations} | {"readout"}
    assert metadata.twin["layers"][-1]["output"][-1] == CLASSES
    frames = prepared.encode(pixels)
    np.testing.assert_array_equal(run(graph, frames).outputs, export.record(prepared, frames).outputs)


def test_the_metadata_of_a_published_encoder(prepared_paper, pixels, tmp_path):
    path = tmp_path / "model.nir"
    export.write(prepared_paper.graph, path)
    graph = read_graph(path)
    document, model = graph.metadata.document, prepared_paper.checkpoint.model
    assert document["extensions"] == ["MaxPool2d", "SpikingSelfAttention"]
    assert document["readout"]["time_weights"] == model.encoder.time_weights.tolist()
    assert document["readout"]["bias"] == model.readout.bias.tolist()
    assert not prepared_paper.graph.nodes["readout"].bias.any()
    assert {n for n, node in graph.metadata.certificate["nodes"].items() if node["limit"] == 53} == {
        "readout.sum", "readout",
    }  # fmt: skip
    frames = prepared_paper.encode(pixels)
    trace, recording = run(graph, frames), export.record(prepared_paper, frames)
    np.testing.assert_array_equal(trace.outputs, recording.outputs)
    scores = np.einsum("t,btc->bc", model.encoder.time_weights.double(), trace.outputs.astype(np.float64))
    np.testing.assert_allclose(trace.scores, scores + model.readout.bias.numpy(), rtol=1e-12)


STOCK = """
import sys
import nir

def ended(read, *arguments, **options):
    try:
        return read(*arguments, **options)
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()), sep=": ")

for path in sys.argv[1:]:
    ended(nir.read, path)
import neuromorphic.ops.extensions  # which registers them
import nirtorch
from spikingjelly.activation_based import nir_exchange
for path in sys.argv[1:]:
    ended(nir_exchange.import_from_nir, nir.read(path), dt=1e-4)
    ended(nirtorch.nir_to_torch, nir.read(path), {})
"""
EXTENSIONS = ("MaxPool2d", "SpikingSelfAttention")


@pytest.fixture(scope="module")
def stock(prepared_paper, tmp_path_factory):
    """How nir without our nodes, and then each reader with them, ended on a file with each extension alone.

    In a process of its own, which nothing has registered nodes in.
    """
    paths = []
    for name in EXTENSIONS:
        extension = next(n for n in prepared_paper.graph.nodes.values() if type(n).__name__ == name)
        nodes = {
            "input": nir.Input(extension.input_type["input"]),
            "node": extension,
            "output": nir.Output(extension.output_type["output"]),
        }
        paths.append(tmp_path_factory.mktemp(name) / "model.nir")
        export.write(nir.NIRGraph(nodes, [("input", "node"), ("node", "output")]), paths[-1])
    done = subprocess.run([sys.executable, "-c", STOCK, *paths], capture_output=True, text=True, check=True)
    without, *rest = (done.stdout.splitlines()[start : start + 2] for start in (0, 2, 4))
    return {node: (without[i], *rest[i]) for i, node in enumerate(EXTENSIONS)}


@pytest.mark.parametrize("node", EXTENSIONS)
def test_stock_readers_fail_on_an_extension(node, stock):
    """Between an input and an output there is nothing else that they might not know."""
    by_nir, *by_readers = stock[node]
    assert by_nir.startswith("AssertionError")
    for ended in by_readers:
        assert "does not exist in node_map" in ended
        assert node in ended


@pytest.mark.slow
def test_the_full_size(tmp_path):
    """The published sizes: every spike of the graph is the model's, and the file is not larger than its weights."""
    whole = export.prepare(checkpoint(published(0, width=384, depth=4, heads=8, image_size=32), 384))
    assert whole.certificate.exact
    path = tmp_path / "model.nir"
    export.write(whole.graph, path)
    weights = b"".join(t.numpy().tobytes() for t in whole.checkpoint.model.state_dict().values())
    assert path.stat().st_size <= 1.1 * len(gzip.compress(weights, 6))
    trace = assert_equal(whole, n=1)
    assert all(train.count() for train in trace.spikes.values())


def test_two_exports_are_the_same(prepared, make_encoder):
    again = export.prepare(checkpoint(make_encoder(2, depth=2), 16)).graph
    assert again.metadata == prepared.graph.metadata
    assert again.edges == prepared.graph.edges
    for name, node in again.nodes.items():
        if isinstance(node, nir.Conv2d | nir.Affine):
            np.testing.assert_array_equal(node.weight, prepared.graph.nodes[name].weight)


def test_a_graph_that_cannot_be_written_leaves_nothing(prepared, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RefusedInput, match="taken"):
        export.write(prepared.graph, tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_accuracy_counts_images(prepared, pixels):
    scores = prepared.model(torch.from_numpy(prepared.encode(pixels)))
    labels = scores.argmax(1).numpy().astype(np.int64)
    labels[0] = (labels[0] + 1) % CLASSES
    images = ImageSet(pixels, tuple("abcd"), labels, (), "test")
    found, assumed = find_labels(prepared.checkpoint, images)
    change = compare_accuracy(prepared, images, found, batch=3)
    assert ["class numbers" in sentence for sentence in assumed] == [True]
    assert (change.images, change.exported) == (4, 3)
    assert change.points == 25 * (change.exported - change.original)
    with pytest.raises(RefusedInput, match="no labels"):
        find_labels(prepared.checkpoint, ImageSet(pixels, tuple("abcd"), None, (), "test"))


def test_the_command(make_encoder, tmp_path):
    path, graph, report = (tmp_path / name for name in ("model.safetensors", "model.nir", "export.json"))
    save(checkpoint(make_encoder(2, depth=2), 16), path)
    rng = np.random.default_rng(0)
    images = tmp_path / "images.npz"
    np.savez(images, images=rng.integers(0, 256, (6, 16, 16, 3), np.uint8), labels=rng.integers(0, CLASSES, 6))
    arguments = [path, "-o", graph, "--test", images, "--limit", 5, "--json", report]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "exact in all" in result.stdout
    document = json.loads(report.read_text())
    assert document["certificate"]["exact"]
    assert document["accuracy"]["images"] == 5
    populations = read_graph(graph).populations
    assert document["populations"] == len(populations)
    assert document["neurons"] == sum(int(np.prod(node.shape)) for node in populations)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, graph.name, report.name, images.name}
    assert document["extensions"] == []
    assert "extensions" not in result.stdout


def test_the_command_names_extensions(tmp_path):
    path, graph, report = (tmp_path / name for name in ("model.safetensors", "model.nir", "export.json"))
    save(checkpoint(published(0), 16), path)
    result = CliRunner().invoke(app, [str(a) for a in (path, "-o", graph, "--json", report)])
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "extensions MaxPool2d, SpikingSelfAttention: only readers that know these nodes" in shown
    assert "of 24 bits needed, " in shown
    assert "of 53 in the readout" in shown
    assert json.loads(report.read_text())["extensions"] == ["MaxPool2d", "SpikingSelfAttention"]
