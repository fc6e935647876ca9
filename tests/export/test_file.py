"""What lies in the file: standard nodes for other readers, metadata for ours; and the command that writes it."""

import json

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import nir_exchange
from typer.testing import CliRunner

import export
from export.accuracy import compare_accuracy
from export.cli import app
from neuromorphic.read import read_graph
from neuromorphic.reference import run
from spikeclip.checkpoint import save
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from tests.export.encoders import CLASSES, checkpoint

STANDARD = (nir.Input, nir.Output, nir.Conv2d, nir.LIF, nir.SumPool2d, nir.Flatten, nir.Affine)


@pytest.fixture(scope="module")
def prepared(make_encoder):
    return export.prepare(checkpoint(make_encoder(2, depth=2), 16))


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
        (spikes, np.unpackbits(recording.spikes["lif"][0], axis=-1).reshape(4, 4, 16, 4, 4).astype(np.float32)),
        (graph, recording.outputs),
    ):
        network, state = nir_exchange.import_from_nir(read, dt=1e-4), None
        for t in range(4):
            with torch.no_grad():
                y, state = network(torch.from_numpy(frames), state)
            np.testing.assert_array_equal(y.numpy().reshape(expected[:, t].shape), expected[:, t])
    assert recording.spikes["lif"][0].any()


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


def test_two_exports_are_the_same(prepared, make_encoder):
    again = export.to_nir(checkpoint(make_encoder(2, depth=2), 16))
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
    scores = prepared.model.scores(torch.from_numpy(prepared.encode(pixels)))
    labels = scores.argmax(1).numpy().astype(np.int64)
    labels[0] = (labels[0] + 1) % CLASSES
    images = ImageSet(pixels, tuple("abcd"), labels, (), "test")
    change = compare_accuracy(prepared, images, batch=3)
    assert (change.images, change.exported) == (4, 3)
    assert change.points == 25 * (change.exported - change.original)
    with pytest.raises(RefusedInput, match="no labels"):
        compare_accuracy(prepared, ImageSet(pixels, tuple("abcd"), None, (), "test"))


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
