"""`spikeclip-energy`: what it prints and writes, and what it refuses."""

import csv
import hashlib
import json
from dataclasses import replace
from importlib import resources

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import energy
from energy.cli import app
from energy.document import Document
from neuromorphic import encode, read_graph
from neuromorphic.execution.reference import run
from spikeclip.data import load_images
from tests.neuromorphic.graphs import chain, conv, lif

TWIN = {"parameters": 3, "layers": [{"name": "head", "kind": "linear", "macs": 1000}]}
PREPROCESSING = {"image_size": 8, "mean": [128.0] * 3, "std": [64.0] * 3}


@pytest.fixture
def model(tmp_path):
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    nodes = {
        "conv": conv(weight, padding=1, hw=(8, 8)),
        "lif": lif((4, 8, 8)),
        "pool": conv(weight[:2, :1].repeat(4, 1), hw=(8, 8)),
    }
    path = tmp_path / "model.nir"
    nir.write(path, chain(nodes, (3, 8, 8), (2, 6, 6), preprocessing=PREPROCESSING, input_bits=6, twin=TWIN))
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def expected(model, limit):
    graph = read_graph(model)
    trace = run(graph, encode(graph, load_images("samples", 8, limit).images))
    return energy.count(graph, trace), trace


def test_counts_as_json_csv_and_table(model, tmp_path):
    result = invoke(
        model, "--images", "samples", "--limit", 3, "--json", tmp_path / "c.json", "--csv", tmp_path / "c.csv"
    )
    assert result.exit_code == 0, result.output
    counts, _ = expected(model, 3)
    document = json.loads((tmp_path / "c.json").read_text())
    assert (document["format"], document["format_version"], document["model"]) == ("spikeclip-energy", 4, str(model))
    assert (document["producer"], document["precision"]) == ("reference", "float")
    assert document["snn"] == json.loads(counts.model_dump_json())
    assert list(document["devices"]) == ["45nm-fp32", "45nm-int8", "loihi1"]
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    nodes = [(row["network"], row["layer"], row["kind"]) for row in rows]
    assert nodes == [
        ("snn", "conv", "conv2d"), ("snn", "pool", "conv2d"), ("snn", "lif", "population"), ("ann", "head", "linear")
    ]  # fmt: skip
    assert sum(int(row["sops"] or 0) for row in rows) == counts.sops > 0
    assert [row["macs"] for row in rows] == [str(counts.macs), "0", "", "3000"]
    assert (rows[2]["neurons"], rows[2]["neuron_updates"]) == ("256", str(256 * 3 * 4))
    assert f"SNN: {counts.sops / 3:,.0f} SOPs + {counts.macs / 3:,.0f} MACs per image" in result.stdout
    assert "ANN twin: 1,000 MACs per image" in result.stdout
    assert "no measurement of this model" in result.stdout


@pytest.mark.parametrize("accuracy", [True, "high", float("nan"), -0.1, 2])
def test_an_accuracy_that_is_none_is_refused(tmp_path, accuracy):
    graph = chain({"lif": lif((2,))}, (2,), (2,), twin={**TWIN, "accuracy": accuracy})
    nir.write(tmp_path / "model.nir", graph)
    np.save(tmp_path / "frames.npy", np.ones((1, 2), np.float32))
    result = invoke(tmp_path / "model.nir", "--frames", tmp_path / "frames.npy")
    assert result.exit_code == 2
    assert "its ANN twin has the accuracy" in result.stderr


def test_a_trace_of_other_steps_than_the_file_is_made_for_is_refused(model, tmp_path):
    """T is no part of a graph's fingerprint."""
    _, trace = expected(model, 2)
    trace.write(tmp_path / "run.h5")
    graph = nir.read(model)
    graph.metadata["spikeclip"] = graph.metadata["spikeclip"].replace('"time_steps": 4', '"time_steps": 3')
    nir.write(model, graph)
    result = invoke(model, "--trace", tmp_path / "run.h5")
    assert result.exit_code == 2
    assert "is made for 3 time steps" in result.stderr


def test_a_trace_gives_the_same_counts_as_the_run_it_is_of(model, tmp_path):
    counts, trace = expected(model, 2)
    trace.write(tmp_path / "run.h5")
    result = invoke(model, "--trace", tmp_path / "run.h5", "--json", tmp_path / "c.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "c.json").read_text())["snn"] == json.loads(counts.model_dump_json())


def test_a_graph_without_a_twin_and_without_weights_says_so(tmp_path):
    path = tmp_path / "other.nir"
    nir.write(path, chain({"lif": lif((3, 4, 4))}, (3, 4, 4), (3, 4, 4), preprocessing=PREPROCESSING))
    result = invoke(path, "--images", "samples", "--limit", 1, "--json", tmp_path / "c.json")
    assert result.exit_code == 0, result.output
    assert "no layer of the graph multiplies" in result.stdout
    assert json.loads((tmp_path / "c.json").read_text())["ann"] is None


def test_every_image_and_step_as_csv(model, tmp_path):
    result = invoke(model, "--images", "samples", "--limit", 3, "--per-image", tmp_path / "images.csv")
    assert result.exit_code == 0, result.output
    counts, _ = expected(model, 3)
    with (tmp_path / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 4
    (source,) = counts.layers["pool"].spiking_sources
    found = [int(row["sops"]) for row in rows if row["layer"] == "pool"]
    assert np.reshape(found, (3, 4)).tolist() == source.per_step.tolist()
    found = [int(row["spikes"]) for row in rows if row["layer"] == "lif" and row["image"] == "1"]
    assert found == counts.populations["lif"].per_step[1].tolist()


def test_reports_of_a_device_of_ones_own(model, tmp_path):
    text = (resources.files("energy") / "devices" / "45nm-int8.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace('name = "45nm-int8"', 'name = "mine"').replace("0.03", "0.06"))
    outputs = ("--json", tmp_path / "r.json", "--html", tmp_path / "r.html", "--svg", tmp_path / "figures")
    devices = ("--device", tmp_path / "mine.toml", "--device", "loihi1")
    result = invoke(model, "--images", "samples", "--limit", 2, *devices, *outputs)
    assert result.exit_code == 0, result.output
    report = Document.model_validate_json((tmp_path / "r.json").read_text())
    assert list(report.devices) == ["mine", "loihi1"]
    assert report.devices["mine"].device.operations["add"].value == 0.06
    assert report.provenance.model_sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert report.provenance.data.spec == "samples"
    assert report.provenance.command == ["spikeclip-energy", str(model), "--images", "samples", "--limit", "2",
                                         "--device", str(tmp_path / "mine.toml"), "--device", "loihi1"]  # fmt: skip
    assert (tmp_path / "r.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert all(path.read_text().startswith("<") for path in (tmp_path / "figures").iterdir())
    (row,) = (line for line in result.stdout.splitlines() if line.startswith(" chip"))
    assert row.rstrip().endswith("(a chip)")


@pytest.mark.parametrize(
    "option", [["--limit", 0], ["--input-kind", "events"], ["--ann-accuracy", "1.5"], ["--time-steps", 0]]
)
def test_what_an_option_does_not_take_is_a_usage_error(model, option):
    result = invoke(model, "--images", "samples", *option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert option[0] in result.stderr


def spiking(tmp_path, dtype):
    """A file of others and frames of zeros and ones: 20 inputs, 10 neurons, 4 neurons."""
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=shape).astype(np.float32) for shape in ((10, 20), (4, 10))]
    nodes = {"a": nir.Linear(matrices[0]), "la": lif((10,)), "b": nir.Linear(matrices[1]), "lb": lif((4,))}
    graph = chain(nodes, (20,), (4,))
    graph.metadata = {}
    nir.write(tmp_path / "m.nir", graph)
    frames = rng.random((3, 8, 20)) < 0.3
    np.save(tmp_path / "x.npy", frames.astype(dtype))
    arguments = (tmp_path / "m.nir", "--frames", tmp_path / "x.npy", "--dt", "1e-4", "--json", tmp_path / "e.json")
    return arguments, frames, lambda: json.loads((tmp_path / "e.json").read_text())


def test_input_spikes_by_option_by_booleans_and_not_at_all(tmp_path):
    arguments, frames, document = spiking(tmp_path, np.float32)
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    found = document()
    assert (found["input_kind"], found["snn"]["layers"]["a"]["macs"]) == ("real", 3 * 8 * 200)
    axes, kind = found["assumed"]
    assert "frames are taken for 3 samples of 8 steps" in axes
    assert "although all of its frames are 0 or 1" in kind
    assert f"assumed: {axes}" in result.stdout
    assert f"assumed: {kind}" in result.stdout
    assert invoke(*arguments, "--input-kind", "spikes").exit_code == 0
    found = document()
    assert (found["input_kind"], found["assumed"], found["snn"]["macs"]) == ("spikes", [axes], 0)
    assert found["snn"]["layers"]["a"]["sops"] == 10 * frames.sum()
    arguments, frames, document = spiking(tmp_path, np.bool_)
    assert invoke(*arguments).exit_code == 0
    found = document()
    assert (found["input_kind"], found["snn"]["layers"]["a"]["sops"]) == ("spikes", 10 * frames.sum())
    assert "its frames are booleans" in found["assumed"][1]


def test_a_dense_baseline_bits_that_match_and_neurobench_by_option(tmp_path):
    arguments, _, document = spiking(tmp_path, np.bool_)
    options = ("--dense-baseline", "--bit-matched", "--ann-accuracy", "0.5", "--neurobench", tmp_path / "n.json")
    result = invoke(*arguments, *options)
    assert result.exit_code == 0, result.output
    found = document()
    assert (found["ann"]["macs"], found["ann"]["baseline"], found["ann"]["parameters"]) == (3 * 240, "dense", 240)
    assert "ANN of the same layers, once: 240 MACs per image" in result.stdout
    assert list(found["ann_devices"]) == ["45nm-int8-4bit"]  # T = 8: 9 values
    rows = found["devices"]["45nm-int8"]["accounts"]["papers"]["comparisons"]
    # An addition 0.03 pJ, and a product half of 0.2 pJ.
    assert [row["ann_energy"] for row in rows] == pytest.approx([240 * 0.23, 240 * 0.13])
    assert "an ANN of its own layers, evaluated once" in rows[0]["sentence"]
    assert json.loads((tmp_path / "n.json").read_text()) == found["neurobench"]
    assert found["accuracy"] == {"snn": None, "ann": 0.5}
    refused = invoke(*arguments, "--bit-matched", "--device", "45nm-fp32")
    assert refused.exit_code == 2
    assert "--bit-matched needs a device of integers of more than 4 bits (T = 8)" in refused.stderr


def test_events_in_folders_of_classes_are_synaptic_operations_with_an_accuracy(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.5, (3, 2, 3, 3)).astype(np.float32)
    matrix = rng.normal(size=(2, 3 * 5 * 4)).astype(np.float32)
    nodes = {
        "conv": nir.Conv2d((5, 4), weights, 1, 1, 1, 1, np.zeros(3, np.float32)),
        "lif": lif((3, 5, 4)),
        "flat": nir.Flatten({"input": np.array([3, 5, 4])}, 0, -1),
        "fc": nir.Linear(matrix),
    }
    graph = chain(nodes, (2, 5, 4), (2,))
    graph.metadata = {}
    nir.write(tmp_path / "m.nir", graph)
    taps = np.outer([2, 3, 3, 3, 2], [2, 3, 3, 2])  # outputs of a 3 × 3 kernel that a pixel reaches, times 3 channels
    right = 0
    for name in ("0", "0", "1"):
        x, y, p, t = (rng.integers(0, high, 40) for high in (4, 5, 2, 6000))
        right += int(3 * taps[y, x].sum())
        events = np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], 1).astype(np.uint8)
        (tmp_path / "Test" / name).mkdir(parents=True, exist_ok=True)
        events[np.argsort(t, kind="stable")].tofile(tmp_path / "Test" / name / f"{right:05}.bin")
    result = invoke(
        tmp_path / "m.nir", "--frames", tmp_path / "Test", "--bin", "1ms", "--dt", "1e-4", "--json", tmp_path / "e.json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "e.json").read_text())
    conv = found["snn"]["layers"]["conv"]
    assert (found["input_kind"], found["images"], conv["sops"], conv["macs"]) == ("counts", 3, right, 0)
    assert found["accuracy"]["snn"] in (0, 1 / 3, 2 / 3, 1)
    assert "its frames are booleans or events" in " ".join(found["assumed"])
    trace = invoke(tmp_path / "m.nir", "--frames", tmp_path / "Test", "--dt", "1e-4")
    assert (trace.exit_code, "expected the time that a step takes" in trace.stderr) == (2, True)


def test_a_trace_of_another_graph_is_refused_and_one_of_an_unknown_graph_an_assumption(model, tmp_path):
    _, trace = expected(model, 2)
    replace(trace, graphs=("0" * 64,)).write(tmp_path / "other.h5")
    result = invoke(model, "--trace", tmp_path / "other.h5")
    assert result.exit_code == 2
    assert "model.nir: the trace is of another graph (000000000000; expected" in result.stderr
    assert not result.stdout
    replace(trace, graphs=()).write(tmp_path / "old.h5")
    result = invoke(model, "--trace", tmp_path / "old.h5", "--json", tmp_path / "c.json")
    assert result.exit_code == 0, result.output
    assert "the trace doesn't say which graph ran" in result.stdout
    assert any("which graph ran" in said for said in json.loads((tmp_path / "c.json").read_text())["assumed"])


def test_a_trace_of_input_spikes_is_counted_with_its_frames(tmp_path):
    arguments, frames, document = spiking(tmp_path, np.bool_)
    assert invoke(*arguments).exit_code == 0
    whole = document()["snn"]
    graph = read_graph(tmp_path / "m.nir", 1e-4)
    run(graph, frames.astype(np.float32)).write(tmp_path / "run.h5")
    of_trace = (arguments[0], "--trace", tmp_path / "run.h5", "--dt", "1e-4", "--input-kind", "spikes")
    assert "expected the frames with it (--frames)" in " ".join(invoke(*of_trace).stderr.split())
    result = invoke(*of_trace, *arguments[1:3], "--json", tmp_path / "e.json")
    assert result.exit_code == 0, result.output
    assert document()["snn"] == whole


def test_accuracy_of_labelled_images_stands_beside_the_verdict(tmp_path):
    names = ("a", "b", "c")
    nodes = {
        "flat": nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1),
        "fc": nir.Linear(np.eye(3, 48, dtype=np.float32)),
    }
    settings = {"image_size": 4, "mean": [0.0] * 3, "std": [1.0] * 3}
    twin = {**TWIN, "accuracy": 0.5}
    nir.write(tmp_path / "m.nir", chain(nodes, (3, 4, 4), (3,), preprocessing=settings, label_names=names, twin=twin))
    images = np.zeros((4, 4, 4, 3), np.uint8)
    images[np.arange(4), 0, [0, 1, 2, 2], 0] = 9  # a pixel of red, of which the column is the class
    np.savez(tmp_path / "i.npz", images=images, labels=np.array([0, 1, 2, 0]), label_names=np.array(names))
    arguments = (tmp_path / "m.nir", "--images", tmp_path / "i.npz", "--json", tmp_path / "e.json")
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "e.json").read_text())
    assert document["accuracy"] == {"snn": 0.75, "ann": 0.5}
    assert "accuracy: SNN 75.00% of 4 images, ANN 50.00%" in result.stdout
    (row, *_) = document["devices"]["45nm-fp32"]["accounts"]["papers"]["comparisons"]
    assert row["sentence"].endswith("Accuracy 75.00%, of its ANN twin 50.00%.")
    assert invoke(*arguments, "--ann-accuracy", "0.25").exit_code == 0
    assert json.loads((tmp_path / "e.json").read_text())["accuracy"]["ann"] == 0.25
    assert invoke(*arguments, "--dense-baseline").exit_code == 0
    assert json.loads((tmp_path / "e.json").read_text())["accuracy"]["ann"] is None


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "one of --images SPEC, --frames FILE.npy and --trace RUN.h5"),
        (["--images", "samples", "--frames", "x.npy"], "one of --images SPEC, --frames FILE.npy"),
        (["--frames", "nowhere.npy"], "nowhere.npy: not a readable .npy array"),
        (["--trace", "run.h5", "--frames", "x.npy", "--limit", 3], "expected no --frames and no --limit with it"),
        (["--images", "nowhere"], "nowhere"),
        (["--trace", "nowhere.h5"], "nowhere.h5"),
        (["--trace", "run.h5", "--images", "samples"], "run.h5"),
        (["--images", "samples", "--json", "no/folder/c.json"], "folder"),
        (["--images", "samples", "--csv", "no/folder/c.csv"], "folder"),
        (["--images", "samples", "--html", "no/folder/c.html"], "folder"),
        (["--images", "samples", "--svg", __file__], "expected a folder"),
        (["--images", "samples", "--device", "abacus"], "'abacus'"),
        (["--images", "samples", "--device", "loihi1", "--device", "loihi1"], "2 times"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(model, arguments, word):
    result = invoke(model, *arguments)
    assert result.exit_code == 2
    assert word in " ".join(result.stderr.split())
    assert result.stderr.strip().startswith("error: ")
    assert "Traceback" not in result.output
