import json
import logging

import numpy as np
import pytest
from typer.testing import CliRunner

from spikeclip.checkpoint import load
from spikeclip.cli import app


@pytest.fixture
def command(task, labels, tmp_path):
    """A function that runs spikeclip-train on the task, with options changed."""
    images = np.repeat(np.repeat(task.images[:16], 2, 1), 2, 2)
    np.savez(tmp_path / "images.npz", images=images, labels=task.labels[:16], label_names=task.label_names)
    vectors = np.random.default_rng(0).normal(size=(2, 512))
    np.savez(tmp_path / "labels.npz", set=vectors, set__names=labels.names)

    def run(**changes):
        options = {
            "preset": "spike-driven-tiny",
            "data": tmp_path / "images.npz",
            "labels": f"{tmp_path / 'labels.npz'}:set",
            "output": tmp_path / "a.safetensors",
            "schedule": "4x1",
            "batch-size": 8,
            **changes,
        }
        return CliRunner().invoke(app, [text for name, value in options.items() for text in (f"--{name}", str(value))])

    return run


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert all(word in result.stderr for word in words), result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_help_shows_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Example: spikeclip-train --preset" in result.output


def test_it_trains_and_says_where_and_how_well(command, tmp_path):
    result = command(test=tmp_path / "images.npz", precision="float32", device="cpu")
    assert result.exit_code == 0, result.output
    checkpoint = load(tmp_path / "a.safetensors")
    assert f"a.safetensors: accuracy {checkpoint.card['test']['accuracy']:.2%}" in result.output
    assert json.loads((tmp_path / "a.safetensors.log.jsonl").read_text())["epoch"] == 1


def test_misspelt_option_is_a_usage_error():
    result = CliRunner().invoke(app, ["--labls", "x"])
    assert result.exit_code == 2
    assert "No such option: --labls" in result.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "nowhere"}, ["'nowhere'", "no such file or folder"]),
        ({"labels": "nowhere.npz"}, ["nowhere.npz", "no such file"]),
        ({"test": "nowhere"}, ["'nowhere'", "no such file or folder"]),
        ({"preset": "spike-driven-huge"}, ["spike-driven-huge", "expected one of spike-driven-tiny"]),
        ({"output": "nowhere/a.safetensors"}, ["nowhere/a.safetensors", "can't be written"]),
        ({"schedule": "many"}, ["'many'", "expected STEPSxEPOCHS"]),
        ({"device": "tpu"}, ["'tpu'", "expected 'auto', 'cpu' or 'cuda'"]),
        ({"precision": "fp8"}, ["'fp8'", "expected 'auto', 'float32' or 'bf16'"]),
        ({"seed": -1}, ["seed is -1"]),
        ({"limit": 0}, ["limit is 0"]),
    ],
)
def test_refusals_are_one_sentence_and_exit_code_2(command, tmp_path, changes, words):
    refused(command(**changes), *words)
    assert not (tmp_path / "a.safetensors").exists()


def test_torch_keeps_to_itself_that_there_is_no_triton():
    assert not logging.getLogger("torch._library.triton").isEnabledFor(logging.WARNING)
