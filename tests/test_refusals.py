"""Bad input to the commands: one sentence that names the file, exit code 2, no traceback, nothing left behind."""

import json

import h5py
import nir
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import energy.cli
import export.cli
import neuromorphic.cli
import spikeclip.cli
import spikeclip.eval_cli
import spikeclip.labels_cli
from spikeclip.checkpoint import shipped
from tests.neuromorphic.graphs import chain, lif, small_net
from tests.spikeclip.published import random_state

PREPROCESSING = {"image_size": 6, "mean": [128.0, 128.0], "std": [64.0, 64.0]}


def refused(app, *arguments, words):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    said = " ".join(result.stderr.split())
    assert result.exit_code == 2, result.output
    assert said.startswith("error: ")
    assert "Traceback" not in said
    for word in words:
        assert word in said
    return said


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.nir"
    nir.write(
        path,
        chain({"lif": lif((3, 4, 4))}, (3, 4, 4), (3, 4, 4), preprocessing={"mean": [128.0] * 3, "std": [64.0] * 3}),
    )
    return path


@pytest.fixture(params=[neuromorphic.cli.app, energy.cli.app], ids=["simulate", "energy"])
def reader(request):
    return request.param


def test_a_truncated_graph(reader, model):
    model.write_bytes(model.read_bytes()[:2000])
    refused(reader, model, "--images", "samples", words=["model.nir", "not a readable NIR graph"])


def test_a_graph_with_an_external_link(reader, model, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["r"] = np.ones((3, 4, 4), np.float32)
    with h5py.File(model, "r+") as file:
        del file["node/nodes/lif/r"]
        file["node/nodes/lif/r"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/r")
    refused(reader, model, "--images", "samples", words=["model.nir", "/node/nodes/lif/r", "another file"])


def test_nan_weights(reader, tmp_path):
    graph = small_net()
    graph.nodes["conv"].weight[0, 0, 0, 0] = np.nan
    nir.write(tmp_path / "nan.nir", graph)
    refused(reader, tmp_path / "nan.nir", "--images", "samples", words=["nan.nir", "'conv'", "weight", "not finite"])


def test_images_that_do_not_exist(reader, model, tmp_path):
    refused(reader, model, "--images", tmp_path / "nowhere", words=["nowhere", "no such file or folder"])


def test_a_folder_with_a_broken_image(reader, model, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:40])
    refused(reader, model, "--images", folder, words=["b.png", "not a readable image"])


def test_a_graph_without_preprocessing(reader, tmp_path):
    nir.write(tmp_path / "bare.nir", chain({"lif": lif((3, 4, 4))}, (3, 4, 4), (3, 4, 4)))
    refused(reader, tmp_path / "bare.nir", "--images", "samples", words=["bare.nir", "preprocessing"])


def test_an_output_folder_that_does_not_exist(model, tmp_path):
    arguments = [model, "--images", "samples", "--json", tmp_path / "none" / "out.json"]
    refused(neuromorphic.cli.app, *arguments, words=["out.json", "folder"])
    refused(energy.cli.app, *arguments, words=["out.json", "folder"])


def test_a_graph_of_another_checkpoint(model):
    name = next(iter(shipped()))
    refused(
        neuromorphic.cli.app, model, "--images", "samples", "--limit", "1", "--backend", "reference", "--check", name,
        words=["model.nir", "not exported from", name],
    )  # fmt: skip


def test_a_checkpoint_of_another_model(tmp_path):
    import torch

    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(2, 2)}, path)
    refused(export.cli.app, path, "-o", tmp_path / "out.nir", words=["other.safetensors", "SpikeCLIP"])
    assert [p.name for p in tmp_path.iterdir()] == ["other.safetensors"]


def test_a_truncated_checkpoint(tmp_path):
    path = tmp_path / "half.safetensors"
    path.write_bytes(next(iter(shipped().values())).read_bytes()[:10_000])
    refused(export.cli.app, path, "-o", tmp_path / "out.nir", words=["half.safetensors", "not a readable"])


def test_an_unknown_checkpoint(tmp_path):
    said = refused(export.cli.app, "no-such-model", "-o", tmp_path / "out.nir", words=["no-such-model", "ships"])
    assert all(name in said for name in shipped())


def test_training_without_data(tmp_path):
    refused(
        spikeclip.cli.app, "--data", tmp_path / "none", "--labels", "labels.npz", "-o", tmp_path / "x.safetensors",
        words=["none", "no such file or folder"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "app",
    [
        spikeclip.cli.app,
        spikeclip.labels_cli.app,
        spikeclip.eval_cli.app,
        export.cli.app,
        neuromorphic.cli.app,
        energy.cli.app,
    ],
)
def test_help_shows_an_example_and_a_typo_is_refused(app):
    helped = CliRunner().invoke(app, ["--help"])
    assert helped.exit_code == 0
    assert "Example" in helped.output
    assert CliRunner().invoke(app, ["--no-such-option"]).exit_code == 2


@pytest.fixture
def published(tmp_path):
    """A published checkpoint of 16 channels, as its training code writes it."""
    import torch

    path = tmp_path / "model_best.pth.tar"
    state = random_state(16, 1, 64, embedding=8)
    torch.save({"epoch": 1, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return path


def test_a_published_checkpoint_without_its_heads(published, tmp_path):
    refused(export.cli.app, published, "-o", tmp_path / "out.nir", words=["model_best.pth.tar", "--heads N"])
    assert not (tmp_path / "out.nir").exists()


def test_a_published_checkpoint_with_labels_of_another_width(published, tmp_path):
    np.savez(tmp_path / "labels.npz", a=np.eye(2, 16), a__names=["x", "y"])
    refused(
        export.cli.app, published, "--heads", 4, "--labels", tmp_path / "labels.npz", "-o", tmp_path / "out.nir",
        words=["model_best.pth.tar", "8 dimensions", "16"],
    )  # fmt: skip


def test_more_neurons_than_allowed(published, tmp_path):
    options = ["--heads", "4", "--standard-nodes", "--max-neurons", "1000", "-o", str(tmp_path / "out.nir")]
    result = CliRunner().invoke(export.cli.app, [str(published), *options])
    assert result.exit_code == 2, result.output
    first, last = result.stderr.splitlines()  # what was found in the file comes first
    assert first.startswith("published checkpoint: ")
    assert last.startswith("error: ")
    assert "neurons; the limit is 1,000: raise" in last
    assert not (tmp_path / "out.nir").exists()


@pytest.mark.parametrize("options", [[], ["--standard-nodes"]], ids=["extension nodes", "standard nodes"])
def test_a_published_checkpoint_goes_the_whole_way(published, tmp_path, options):
    run = CliRunner().invoke
    graph, counts = tmp_path / "out.nir", tmp_path / "counts.json"
    exported = run(export.cli.app, [str(published), "--heads", "4", "-o", str(graph), *options])
    assert exported.exit_code == 0, exported.output
    assert "published checkpoint: width 16" in exported.stderr
    assert ("attn.product in standard nodes: " in exported.stderr) == bool(options)
    shown = ["--images", "samples", "--limit", "2"]
    check = [
        "--check",
        str(published),
        "--heads",
        "4",
        "--json",
        str(tmp_path / "parity.json"),
        "--backend",
        "reference",
    ]
    simulated = run(neuromorphic.cli.app, [str(graph), *shown, *check])
    assert simulated.exit_code == 0, simulated.output
    parity = json.loads((tmp_path / "parity.json").read_text())
    assert (parity["exact"], parity["mismatches"]) == (True, 0)
    assert set(parity["nodes"]) >= {"stem.layers.2.lif", "block.0.attn.qkv.lif", "block.0.attn.out"}
    counted = run(energy.cli.app, [str(graph), *shown, "--json", str(counts)])
    assert counted.exit_code == 0, counted.output
    assert json.loads(counts.read_text())["snn"]["sops"] > 0
