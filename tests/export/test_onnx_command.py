"""`spikeclip-export` to ONNX: what it writes and says, and what it refuses."""

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from export.cli import app
from spikeclip.checkpoint import save
from spikeclip.data import load_images
from spikeclip.labels import save_labels
from spikeclip.twin import twin_table
from spikeclip.twin_checkpoint import save_twin
from tests.export.encoders import CLASSES, checkpoint, published
from tests.export.onnx_runs import run
from tests.export.test_onnx_twin import label_set, make_twin


@pytest.fixture
def encoder(tmp_path):
    path = tmp_path / "model.safetensors"
    save(checkpoint(published(0), 16), path)
    return path


@pytest.fixture
def twin(tmp_path):
    path = tmp_path / "twin.safetensors"
    save_twin(make_twin(), path)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_an_encoder(encoder, tmp_path):
    output, report, images = (tmp_path / name for name in ("model.onnx", "export.json", "images.npz"))
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (4, 16, 16, 3), np.uint8), rng.integers(0, CLASSES, 4)
    np.savez(images, images=pixels, labels=labels)
    before = {p.name for p in tmp_path.iterdir()}
    done = invoke(encoder, "-o", output, "--json", report, "--test", images)
    assert done.exit_code == 0, done.output
    assert {p.name for p in tmp_path.iterdir()} - before == {output.name, report.name}
    document, model = json.loads(report.read_text()), onnx.load(output)
    assert (document["format"], document["opset"], document["outputs"]) == ("onnx", 18, ["scores"])
    assert document["bytes"] == output.stat().st_size
    assert document["operators"] == len(model.graph.node)
    assert document["certificate"]["exact"]
    scores = run(model, pixels)["scores"]
    assert document["accuracy"]["exported"] == int((scores.argmax(1) == labels).sum())
    assert "only readers that know these nodes" not in done.stdout


def test_spikes_of_every_population(encoder, tmp_path):
    output = tmp_path / "of_no_suffix"
    done = invoke(encoder, "--format", "onnx", "--outputs", "spikes", "-o", output)
    assert done.exit_code == 0, done.output
    names = [value.name for value in onnx.load(output).graph.output]
    assert names[0] == "scores"
    assert "block.0.attn.qkv.lif" in names
    assert f"scores and the spikes of {len(names) - 1} populations" in " ".join(done.stdout.split())


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_twin(twin, tmp_path, with_labels):
    output, report, labels = (tmp_path / name for name in ("twin.onnx", "export.json", "labels.npz"))
    save_labels(label_set(), labels, "own")
    done = invoke(twin, "-o", output, "--json", report, *(["--labels", labels] if with_labels else []))
    assert done.exit_code == 0, done.output
    document, expected = json.loads(report.read_text()), make_twin()
    found = twin_table(expected.config, CLASSES if with_labels else None)
    assert document["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert document["parameters"] == found["parameters"]
    assert document["outputs"] == ["scores" if with_labels else "embedding"]
    assert f"{document['macs']:,} per image" in done.stdout
    (entry,) = onnx.load(output).metadata_props
    metadata = json.loads(entry.value)
    assert metadata["format"] == "spikeclip-twin-onnx"
    assert metadata["label_names"] == (list(label_set().names) if with_labels else [])
    assert metadata["checkpoint"]["config"] == expected.config.to_dict()
    assert metadata["cosines"] == {"scale": 10.0, "centred": True}


def test_the_program_in_the_documentation(tmp_path, monkeypatch, capsys):
    """docs/onnx.md, as a user would copy it."""
    text = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    program = textwrap.dedent(re.search(r"(    import json\n(?:(?:    .*)?\n)+)", text)[1])
    done = invoke("spike-driven-small", "-o", tmp_path / "model.onnx")
    assert done.exit_code == 0, done.output
    horse = load_images("samples", 32)
    where = [Path(name).stem for name in horse.names].index("horse")
    Image.fromarray(horse.images[where]).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/onnx.md", "exec"), {})
    assert capsys.readouterr().out == "horse\n"


def refused(path, tmp_path, options, *words):
    before = {p.name for p in tmp_path.iterdir()}
    done = invoke(path, *options)
    assert done.exit_code == 2, done.output
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: ")
    for word in words:
        assert word in said
    assert {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("m.onnx", ["--standard-nodes"], ["--standard-nodes", "--format nir"]),
        ("m.onnx", ["--max-neurons", "10"], ["--max-neurons", "--format nir"]),
        ("m.nir", ["--outputs", "spikes"], ["--outputs", "--format onnx"]),
        ("m.nir", ["--format", "onnx"], ["-o", "m.nir", "expected a name that ends in .onnx"]),
        ("m.onnx", ["--format", "nir"], ["-o", "m.onnx", "expected a name that ends in .nir"]),
        ("m.h5", [], ["-o", "m.h5", "expected a name that ends in .nir"]),
    ],
)
def test_options_that_make_no_sense(encoder, tmp_path, name, options, words):
    refused(encoder, tmp_path, ["-o", tmp_path / name, *options], *words)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("t.nir", [], ["twin.safetensors", "no spikes", "--format onnx"]),
        ("t.onnx", ["--outputs", "spikes"], ["twin.safetensors", "ANN twin", "--outputs"]),
        ("t.onnx", ["--heads", "4"], ["ANN twin", "--heads"]),
        ("t.onnx", ["--test", "samples"], ["ANN twin", "--test"]),
        ("t.onnx", ["--standard-nodes"], ["ANN twin", "--standard-nodes"]),
    ],
)
def test_options_that_a_twin_has_not(twin, tmp_path, name, options, words):
    refused(twin, tmp_path, ["-o", tmp_path / name, *options], *words)


def test_a_truncated_twin(twin, tmp_path):
    twin.write_bytes(twin.read_bytes()[:-100])
    refused(twin, tmp_path, ["-o", tmp_path / "t.onnx"], "twin.safetensors", "not a readable")


def test_a_twin_with_weights_that_are_not_finite(twin, tmp_path):
    broken = make_twin()
    broken.model.head.bias[0] = float("nan")
    save_twin(broken, twin)
    refused(twin, tmp_path, ["-o", tmp_path / "t.onnx"], "twin.safetensors", "head.bias", "not finite")
