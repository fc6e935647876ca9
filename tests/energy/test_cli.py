"""`spikeclip-energy`: what it prints and writes, and what it refuses."""

import csv
import hashlib
import json
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
    assert (document["format"], document["format_version"], document["model"]) == ("spikeclip-energy", 3, str(model))
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


def test_a_trace_gives_the_same_counts_as_the_run_it_is_of(model, tmp_path):
    counts, trace = expected(model, 2)
    trace.write(tmp_path / "run.h5")
    result = invoke(model, "--trace", tmp_path / "run.h5", "--json", tmp_path / "c.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "c.json").read_text())["snn"] == json.loads(counts.model_dump_json())


def test_a_graph_without_a_twin_says_so(tmp_path):
    path = tmp_path / "other.nir"
    nir.write(path, chain({"lif": lif((3, 4, 4))}, (3, 4, 4), (3, 4, 4), preprocessing=PREPROCESSING))
    result = invoke(path, "--images", "samples", "--limit", 1, "--json", tmp_path / "c.json")
    assert result.exit_code == 0, result.output
    assert "ANN twin: the file describes none" in result.stdout
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


def test_help_shows_an_example():
    assert "spikeclip-energy model.nir --images samples" in " ".join(invoke("--help").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "one of --images SPEC, --frames FILE.npy and --trace RUN.h5"),
        (["--images", "samples", "--frames", "x.npy"], "one of --images SPEC, --frames FILE.npy"),
        (["--frames", "nowhere.npy"], "nowhere.npy: not a readable .npy array"),
        (["--trace", "run.h5", "--frames", "x.npy", "--limit", 3], "expected no --frames and no --limit with it"),
        (["--images", "nowhere"], "nowhere"),
        (["--images", "samples", "--limit", 0], "limit"),
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
