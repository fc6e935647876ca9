"""The classes of images and of a model meet by name in every command, whatever their order and spelling."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import energy.cli
import export.cli
import neuromorphic.cli
import spikeclip
import spikeclip.eval_cli
from neuromorphic.execution.reference import run as reference
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.frames import encode
from neuromorphic.reading.read import read_graph
from spikeclip.checkpoint import Checkpoint, save
from spikeclip.encoder import SpikeClip
from spikeclip.preprocess import Preprocessing
from tests.spikeclip.published import random_state
from tests.spikeclip.test_preprocess import published as recipe
from tests.test_refusals import refused

SIZE = 16
NAMES = ("truck", "Maine_Coon", "sea horse", "ant")
"""The model's classes, in its order."""

SPELLED = {"truck": "Truck", "Maine_Coon": "maine-coon", "sea horse": "Sea_Horse", "ant": "ant"}
"""What the folders are called: in another order, and in other spellings."""


@pytest.fixture
def place(make_encoder, tmp_path):
    """A folder with a model and its graph, pictures, and how the model names each of them."""
    encoder = make_encoder()
    pixels = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3), dtype=np.uint8)
    preprocessing = Preprocessing(SIZE)
    with torch.no_grad():
        features = encoder.features(torch.from_numpy(preprocessing(pixels)))
        # Every class takes some of the images: readouts of random encoders mostly have one that takes them all.
        readout = torch.nn.Linear(encoder.config.width, len(NAMES))
        directions = torch.linalg.svd(features - features.mean(0), full_matrices=False)[2][:2]
        readout.weight.copy_(torch.cat([directions, -directions]))
        readout.bias.copy_(-readout.weight @ features.mean(0))
        predicted = readout(features).argmax(1).tolist()
    model = SpikeClip(encoder, readout, NAMES).eval().requires_grad_(False)
    save(Checkpoint(model, preprocessing), tmp_path / "a.safetensors")
    assert len(set(predicted)) == len(NAMES)
    return tmp_path, pixels, [NAMES[k] for k in predicted]


def folders(root, pixels, names, odd=None):
    """Write each picture into the folder of its name; `odd` into another class's."""
    for i, (image, name) in enumerate(zip(pixels, names, strict=True)):
        folder = SPELLED[NAMES[(NAMES.index(name) + 1) % len(NAMES)] if i == odd else name]
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / folder / f"{i:03d}.png")
    return root


def run(app, *arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def command(name):
    return {"export": export.cli, "simulate": neuromorphic.cli, "energy": energy.cli, "eval": spikeclip.eval_cli}[
        name
    ].app


def test_folders_in_another_order_are_compared_by_name_in_every_command(place):
    here, pixels, names = place
    photos = folders(here / "photos", pixels, names, odd=5)
    said = run(
        command("export"), here / "a.safetensors", "-o", here / "a.nir", "--test", photos, "--json", here / "e.json"
    )
    exported = json.loads((here / "e.json").read_text())
    assert (exported["accuracy"]["original"], exported["accuracy"]["images"]) == (15, 16)
    assert exported["assumed"] == []
    assert "93.75% before" in said

    said = run(
        command("simulate"), here / "a.nir", "--images", photos, "--backend", "reference", "--json", here / "s.json"
    )
    document = json.loads((here / "s.json").read_text())
    right = [each["top5"][0]["name"] == each["label"] for each in document["per_image"]]
    assert document["accuracy"] == np.mean(right) == exported["accuracy"]["exported"] / 16
    assert f"accuracy {document['accuracy']:.2%} of 16 images" in said
    assert document["assumed"] == []
    assert [each["top5"][0]["name"] for each in document["per_image"]] == document["predictions"]
    files = {each["file"]: each["label"] for each in document["per_image"]}
    assert files == {path.relative_to(photos).as_posix(): inverse(path.parent.name) for path in photos.rglob("*.png")}

    run(
        spikeclip.eval_cli.app, here / "a.safetensors", "--images", photos, "--device", "cpu", "--json", here / "v.json"
    )
    evaluated = json.loads((here / "v.json").read_text())
    assert evaluated["rows"][0]["accuracy"] == 15 / 16
    assert evaluated["assumed"] == []


def inverse(folder):
    return next(name for name, spelled in SPELLED.items() if spelled == folder)


def test_scores_are_those_of_the_trace_in_falling_order(place):
    here, pixels, names = place
    run(command("export"), here / "a.safetensors", "-o", here / "a.nir")
    photos = folders(here / "photos", pixels, names)
    arguments = ["--images", photos, "--limit", 3, "--backend", "reference"]
    run(command("simulate"), here / "a.nir", *arguments, "--json", here / "s.json", "-o", here / "run.h5")
    document = json.loads((here / "s.json").read_text())
    scores = Trace.read(here / "run.h5").scores
    for row, each in zip(scores, document["per_image"], strict=True):
        assert {top["name"]: top["score"] for top in each["top5"]} == dict(zip(NAMES, row.tolist(), strict=True))
        assert sorted((top["score"] for top in each["top5"]), reverse=True) == [top["score"] for top in each["top5"]]


def test_a_class_that_the_model_does_not_have_is_refused_before_anything_runs(place):
    here, pixels, names = place
    photos = folders(here / "photos", pixels, names)
    run(command("export"), here / "a.safetensors", "-o", here / "a.nir")
    (photos / "trucks").mkdir()
    Image.fromarray(pixels[0]).save(photos / "trucks" / "x.png")
    for app, arguments in (
        (command("simulate"), [here / "a.nir", "--images", photos, "--json", here / "no.json"]),
        (command("export"), [here / "a.safetensors", "--test", photos, "-o", here / "no.nir"]),
    ):
        refused(
            app, *arguments, words=["no class 'trucks' (did you mean 'truck'?)", "truck, Maine_Coon, sea horse, ant"]
        )
    assert not list(here.glob("no.*"))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [3, 3, 0, 0]])
def test_labels_without_names_are_taken_for_class_numbers_and_it_is_said(place, labels):
    here, pixels, _ = place
    np.savez(here / "bare.npz", images=pixels[:4], labels=labels)
    said = run(
        command("export"), here / "a.safetensors", "-o", here / "a.nir", "--test", here / "bare.npz",
        "--json", here / "e.json",
    )  # fmt: skip
    sentence = (
        "labels are taken to be the model's class numbers (0 is truck, 1 is Maine_Coon): the images come without names "
        "of classes"
    )
    assert json.loads((here / "e.json").read_text())["assumed"] == [sentence]
    assert sentence in said
    arguments = ["--images", here / "bare.npz", "--backend", "reference", "--json", here / "s.json"]
    assert sentence in run(command("simulate"), here / "a.nir", *arguments)
    document = json.loads((here / "s.json").read_text())
    assert document["assumed"] == [sentence]
    assert [each["label"] for each in document["per_image"]] == [NAMES[k] for k in labels]


def test_labels_beyond_the_classes_are_refused(place):
    here, pixels, _ = place
    run(command("export"), here / "a.safetensors", "-o", here / "a.nir")
    np.savez(here / "bare.npz", images=pixels[:2], labels=[0, 4])
    for app, arguments in (
        (command("simulate"), [here / "a.nir", "--images", here / "bare.npz"]),
        (command("export"), [here / "a.safetensors", "--test", here / "bare.npz", "-o", here / "no.nir"]),
    ):
        refused(app, *arguments, words=["label 4 (image bare/1)", "has 4 classes, expected 0 to 3"])


@pytest.fixture
def published(tmp_path):
    """A published checkpoint, the graph that it becomes, and photographs of other sizes than 32 pixels."""
    torch.save({"state_dict": random_state(16, 1, 64, embedding=8)}, tmp_path / "a.pth")
    rng = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    for i, (width, height) in enumerate([(96, 96), (57, 131), (250, 33)]):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        image.save(tmp_path / "photos" / f"{i}.png")
    run(command("export"), tmp_path / "a.pth", "--heads", "4", "-o", tmp_path / "a.nir")
    return tmp_path


def test_a_published_checkpoint_s_graph_reads_the_published_recipe_s_picture(published):
    graph = read_graph(published / "a.nir")
    assert graph.metadata.preprocessing["resize"] == "clip-samples"
    checkpoint = spikeclip.load(published / "a.pth", heads=4)
    arguments = ["--images", published / "photos", "--backend", "reference"]
    run(command("simulate"), published / "a.nir", *arguments, "-o", published / "run.h5")
    pictures = []
    for path in sorted((published / "photos").iterdir()):
        with Image.open(path) as image:
            pictures.append(recipe(image, 32).astype(np.uint8))
    frames = encode(graph, np.stack(pictures))
    np.testing.assert_allclose(frames, checkpoint.preprocessing(np.stack(pictures)), atol=2**-7)
    expected, found = reference(graph, frames), Trace.read(published / "run.h5")
    np.testing.assert_array_equal(found.outputs, expected.outputs)
    assert found.outputs.any()


def test_energy_counts_on_the_same_picture(published):
    run(command("energy"), published / "a.nir", "--images", published / "photos", "--json", published / "direct.json")
    arguments = ["--images", published / "photos", "--backend", "reference", "-o", published / "run.h5"]
    run(command("simulate"), published / "a.nir", *arguments)
    run(command("energy"), published / "a.nir", "--trace", published / "run.h5", "--json", published / "traced.json")
    direct, traced = (json.loads((published / f"{name}.json").read_text())["snn"] for name in ("direct", "traced"))
    assert direct == traced
