import json
import logging

import numpy as np
import pytest
from typer.testing import CliRunner

from spikeclip.checkpoint import load, trained_cosine
from spikeclip.cli import app
from spikeclip.labels import load_labels
from spikeclip.twin_checkpoint import load_twin


@pytest.fixture
def command(task, labels, tmp_path):
    """A function that runs spikeclip-train on the task, with options changed."""
    images = np.repeat(np.repeat(task.images[:16], 2, 1), 2, 2)
    np.savez(tmp_path / "images.npz", images=images, labels=task.labels[:16], label_names=task.label_names)
    vectors = np.random.default_rng(0).normal(size=(2, 512))
    np.savez(tmp_path / "labels.npz", set=vectors, set__names=labels.names)

    def run(*flags, **changes):
        options = {
            "preset": "spike-driven-tiny",
            "data": tmp_path / "images.npz",
            "labels": f"{tmp_path / 'labels.npz'}:set",
            "output": tmp_path / "a.safetensors",
            "schedule": "4x1",
            "batch-size": 8,
            **changes,
        }
        given = [[f"--{name}", str(value)] for name, value in options.items() if value is not None]
        return CliRunner().invoke(app, [text for option in given for text in option] + list(flags))

    return run


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert all(word in result.stderr for word in words), result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_it_trains_and_says_where_and_how_well(command, tmp_path):
    result = command(test=tmp_path / "images.npz", precision="float32", device="cpu")
    assert result.exit_code == 0, result.output
    checkpoint = load(tmp_path / "a.safetensors")
    assert f"a.safetensors: accuracy {checkpoint.card['test']['accuracy']:.2%}" in result.output
    assert json.loads((tmp_path / "a.safetensors.log.jsonl").read_text())["epoch"] == 1


def test_it_trains_a_checkpoint_further_for_8_bit_weights(command, tmp_path):
    result = command("--quantized", init="spike-driven-small", preset=None, schedule=None)
    assert result.exit_code == 0, result.output
    checkpoint = load(tmp_path / "a.safetensors")
    shipped = load("spike-driven-small")
    assert checkpoint.config == shipped.config
    assert checkpoint.card["start"]["checkpoint"] == "spike-driven-small.safetensors"
    assert checkpoint.card["start"]["quantized"] is True
    recipe = checkpoint.card["recipe"]
    assert (recipe["schedule"], recipe["learning_rate"], recipe["precision"]) == ([[4, 1]], 1e-4, "float32")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"init": None}, ["--quantized", "expected one with --init"]),
        ({"init": "nowhere", "preset": None}, ["'nowhere'", "no such file"]),
        ({"init": "spike-driven-small"}, ["its width", "expected the same"]),
        ({"init": "spike-driven-small", "preset": None, "precision": "bf16"}, ["precision bf16", "expected float32"]),
    ],
)
def test_what_does_not_go_with_quantized_is_refused(command, tmp_path, changes, words):
    refused(command("--quantized", **changes), *words)
    assert not (tmp_path / "a.safetensors").exists()


def test_it_goes_on_at_other_time_steps_by_muon(command, tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert command(schedule="1x1", **{"time-steps": 1}).exit_code == 0
    how = {"optimizer": "muon", "muon-learning-rate": 0.03, "flips": "alternating", "save-every": 2}
    result = command(init=first, preset=None, output=second, schedule="2x3", **{"time-steps": 2}, **how)
    assert result.exit_code == 0, result.output
    recipe = load(second).card["recipe"]
    assert [recipe[name] for name in ("optimizer", "muon_learning_rate", "flips")] == ["muon", 0.03, "alternating"]
    assert (load(first).config.time_steps, load(second).config.time_steps) == (1, 2)
    refused(command(output=tmp_path / "c.safetensors", optimizer="sgd"), "'sgd'", "'adamw' or 'muon'")


def test_a_twin_teaches_in_both_stages(command, tmp_path):
    twin, cache = tmp_path / "twin.safetensors", tmp_path / "features.npz"
    result = command("--twin", output=twin, schedule="1x1", test=tmp_path / "images.npz")
    assert result.exit_code == 0, result.output
    assert f"{twin}: accuracy " in result.output
    for stage, changes in {
        "align": {"recipe": "published-align", "teacher-cache": cache},
        "dual": {"init": tmp_path / "align.safetensors", "preset": None, "kl-weight": 2, "spike-budget": 0.5},
    }.items():
        result = command(teacher=twin, stage=stage, output=tmp_path / f"{stage}.safetensors", **changes)
        assert result.exit_code == 0, result.output
    align, dual = (load(tmp_path / f"{stage}.safetensors").card for stage in ("align", "dual"))
    assert cache.is_file()
    assert (align["recipe"]["learning_rate"], align["recipe"]["amsgrad"]) == (5e-3, True)
    assert (align["recipe"]["batch_size"], align["recipe"]["schedule"]) == (8, [[4, 1]])  # options go before the recipe
    assert dual["start"]["checkpoint"] == "align.safetensors"
    assert (dual["recipe"]["stage"], dual["recipe"]["kl_weight"], dual["recipe"]["spike_budget"]) == ("dual", 2, 0.5)


@pytest.mark.parametrize(
    ("flags", "changes", "words"),
    [
        ([], {"stage": "dual"}, ["stage dual with no teacher", "--teacher"]),
        ([], {"stage": "dual", "recipe": "published-align"}, ["published-align is of the stage align", "dual"]),
        ([], {"recipe": "mine"}, ["'mine'", "short-classify"]),
        ([], {"stage": "align", "teacher": "nowhere.safetensors"}, ["nowhere.safetensors", "no such file"]),
        ([], {"stage": "align", "teacher": "."}, ["has no config.json"]),
        ([], {"stage": "align", "cosine": "plain"}, ["stage align", "expected no --cosine plain"]),
        ([], {"spike-budget": -1}, ["spike budget -1"]),
        (["--twin"], {"teacher": "a.safetensors"}, ["--twin", "no --teacher"]),
        (["--twin"], {}, ["a twin has no time steps", "1x30"]),
    ],
)
def test_stages_and_teachers_that_do_not_fit_are_refused(command, tmp_path, flags, changes, words):
    refused(command(*flags, **changes), *words)
    assert not (tmp_path / "a.safetensors").exists()


def readouts(checkpoint, path):
    """The head's outputs in float64 with label vectors as they are and with centred ones, in the checkpoint's order."""
    labels = load_labels(f"{path}:set").ordered(checkpoint.label_names)
    unit = labels.vectors.astype(np.float64)
    unit /= np.sqrt((unit**2).sum(1, keepdims=True))
    centred = unit - unit.mean(0)
    centred /= np.sqrt((centred**2).sum(1, keepdims=True))
    head = checkpoint.model.encoder.head.weight.numpy()
    return {"plain": unit @ head, "centred": centred @ head}


@pytest.mark.parametrize("cosine", ["plain", "centred"])
def test_the_cosine_is_that_of_training_of_the_readout_and_of_the_card(command, tmp_path, cosine):
    result = command(cosine=cosine, precision="float32")
    assert result.exit_code == 0, result.output
    first = load(tmp_path / "a.safetensors")
    assert (first.card["cosine"], first.card["recipe"]["centred"]) == (cosine, cosine == "centred")
    further = {"init": tmp_path / "a.safetensors", "preset": None, "output": tmp_path / "b.safetensors"}
    assert command(**further).exit_code == 0  # --init keeps it
    for checkpoint in (first, load(tmp_path / "b.safetensors")):
        assert trained_cosine(checkpoint.card) == cosine
        expected = readouts(checkpoint, tmp_path / "labels.npz")[cosine]
        np.testing.assert_allclose(checkpoint.model.readout.weight, expected, rtol=1e-3, atol=1e-5)


def test_a_student_is_scored_with_the_vectors_of_its_teacher(command, tmp_path):
    twin = tmp_path / "twin.safetensors"
    assert command("--twin", cosine="plain", output=twin, schedule="1x1").exit_code == 0
    assert load_twin(twin).centred is False
    assert command(teacher=twin, stage="align").exit_code == 0
    student = load(tmp_path / "a.safetensors")
    assert trained_cosine(student.card) == "plain"
    expected = readouts(student, tmp_path / "labels.npz")["plain"]
    np.testing.assert_allclose(student.model.readout.weight, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--labls", "x", "No such option: --labls"), ("--limit", "0", "greater than or equal to 1")],
)
def test_misspelt_options_and_numbers_out_of_range_are_usage_errors(option, value, words):
    result = CliRunner().invoke(app, [option, value])
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "nowhere"}, ["'nowhere'", "no such file or folder"]),
        ({"labels": "nowhere.npz"}, ["nowhere.npz", "no such file"]),
        ({"test": "nowhere"}, ["'nowhere'", "no such file or folder"]),
        ({"preset": "spike-driven-huge"}, ["spike-driven-huge", "expected one of spike-driven-tiny"]),
        ({"output": "nowhere/a.safetensors"}, ["nowhere/a.safetensors", "its folder does not exist"]),
        ({"schedule": "many"}, ["'many'", "expected STEPSxEPOCHS"]),
        ({"device": "tpu"}, ["'tpu'", "expected 'auto', 'cpu' or 'cuda'"]),
        ({"precision": "fp8"}, ["'fp8'", "expected 'auto', 'float32' or 'bf16'"]),
        ({"seed": -1}, ["seed is -1"]),
        ({"learning-rate": 0}, ["learning rate 0"]),
    ],
)
def test_refusals_are_one_sentence_and_exit_code_2(command, tmp_path, changes, words):
    refused(command(**changes), *words)
    assert not (tmp_path / "a.safetensors").exists()


def test_torch_keeps_to_itself_that_there_is_no_triton():
    assert not logging.getLogger("torch._library.triton").isEnabledFor(logging.WARNING)
