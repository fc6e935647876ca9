import json
from dataclasses import replace

import pytest
import torch

from spikeclip.card import measure
from spikeclip.checkpoint import load
from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from spikeclip.labels import LabelSet
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe
from spikeclip.training import train

CONFIG = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8, time_steps=2)
RECIPE = Recipe(schedule=((1, 2), (2, 4)), batch_size=8, learning_rate=1e-2, ema=0.5)


class CutOff(Exception):
    """What stands for a power failure."""


def cut_off_in(epoch):
    def progress(done, total, text):
        if text.startswith(f"epoch {epoch}/") and done == 2:
            raise CutOff

    return progress


def run(task, labels, out, recipe=RECIPE, **more):
    return train(CONFIG, recipe, Preprocessing(image_size=16), task, more.pop("test", None), labels, out, **more)


def weights(path):
    return load(path).model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def finished(task, labels, tmp_path_factory):
    """A run to its end, and what it returned."""
    out = tmp_path_factory.mktemp("finished") / "a.safetensors"
    return out, run(task, labels, out, test=task)


def test_the_paper_architecture_learns_too(task, labels, tmp_path):
    config = replace(CONFIG, architecture="paper", heads=2, attention_scale=0.125)
    checkpoint = train(config, RECIPE, Preprocessing(image_size=16), task, task, labels, tmp_path / "a.safetensors")
    test = checkpoint.card["test"]
    assert test["accuracy"] > 0.9
    assert "stem.layers.2.lif" in test["firing_rates"]
    assert "stem.layers.2.pool" not in test["firing_rates"]  # it pools currents
    assert all(0 <= rate <= 1 for rate in test["firing_rates"].values())


def test_it_learns(finished, task):
    out, checkpoint = finished
    lines = [json.loads(line) for line in out.with_name("a.safetensors.log.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["time_steps"]) for line in lines] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 2)]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert ["accuracy" in line for line in lines] == [False] * 2 + [True] * 4
    assert lines[-1]["accuracy"] == measure(checkpoint, task)["accuracy"] > 0.9


def test_the_checkpoint_says_how_it_was_made(finished, task):
    out, checkpoint = finished
    assert sorted(p.name for p in out.parent.iterdir()) == ["a.json", "a.safetensors", "a.safetensors.log.jsonl"]
    assert checkpoint.label_names == task.label_names  # in the images' order, not the label file's
    assert checkpoint.card["recipe"] == RECIPE.to_dict()
    assert checkpoint.card["train"] == {"source": "made", "images": 48, "sha256": task.sha256}
    assert checkpoint.card["test"]["accuracy"] > 0.9
    assert all(0 <= rate <= 1 for rate in checkpoint.card["test"]["firing_rates"].values())
    assert json.loads(out.with_suffix(".json").read_text()) == checkpoint.card


def test_a_finished_checkpoint_is_not_trained_over(finished, task, labels):
    out, _ = finished
    before = out.read_bytes()
    with pytest.raises(RefusedInput, match="stands there already"):
        run(task, labels, out, test=task)
    assert out.read_bytes() == before


def test_the_seed_decides_the_weights(task, labels, tmp_path):
    short = replace(RECIPE, schedule=((1, 1), (2, 1)))
    one, again, other = (tmp_path / f"{name}.safetensors" for name in ("one", "again", "other"))
    for out, recipe in ((one, short), (again, short), (other, replace(short, seed=1))):
        run(task, labels, out, recipe)
    assert same(weights(one), weights(again))
    assert not same(weights(one), weights(other))


@pytest.fixture(scope="module")
def finished_by_muon(task, labels, tmp_path_factory):
    out = tmp_path_factory.mktemp("muon") / "a.safetensors"
    return out, run(task, labels, out, replace(RECIPE, optimizer="muon"), test=task)


def test_muon_learns_other_weights(finished, finished_by_muon, task):
    assert finished_by_muon[1].card["test"]["accuracy"] > 0.9
    assert not same(weights(finished[0]), weights(finished_by_muon[0]))


@pytest.mark.parametrize(("epoch", "optimizer"), [(2, "adamw"), (6, "adamw"), (2, "muon"), (6, "muon")])
def test_a_resumed_run_gives_the_same_weights_to_the_bit(request, task, labels, tmp_path, epoch, optimizer):
    through, _ = request.getfixturevalue("finished" if optimizer == "adamw" else "finished_by_muon")
    recipe, out = replace(RECIPE, optimizer=optimizer), tmp_path / "a.safetensors"
    with pytest.raises(CutOff):
        run(task, labels, out, recipe, test=task, progress=cut_off_in(epoch))
    assert load(out).card["epochs_done"] == epoch - 1
    epochs = []
    run(task, labels, out, recipe, test=task, progress=lambda done, total, text: epochs.append(int(text.split()[1][0])))
    assert min(epochs) == epoch  # it went on, and did not start anew
    assert same(weights(through), weights(out))
    log = [json.loads(line)["epoch"] for line in out.with_name("a.safetensors.log.jsonl").read_text().splitlines()]
    assert log == [1, 2, 3, 4, 5, 6]


def test_a_run_cut_off_before_its_state_was_written_logs_each_epoch_once(task, labels, tmp_path):
    out, log = tmp_path / "a.safetensors", tmp_path / "a.safetensors.log.jsonl"
    with pytest.raises(CutOff):
        run(task, labels, out, progress=cut_off_in(2))
    log.write_text(log.read_text() + '{"epoch": 2, "cut": "off"}\n')
    run(task, labels, out)
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("what", ["recipe", "data", "labels"])
def test_the_state_of_another_run_is_refused(task, labels, tmp_path, what):
    out = tmp_path / "a.safetensors"
    with pytest.raises(CutOff):
        run(task, labels, out, progress=cut_off_in(2))
    other = {
        "recipe": (task, labels, replace(RECIPE, learning_rate=1e-3)),
        "data": (replace(task, images=255 - task.images), labels, RECIPE),
        "labels": (task, LabelSet(labels.names, -labels.vectors), RECIPE),
    }[what]
    before = out.read_bytes()
    with pytest.raises(RefusedInput, match=r"a\.safetensors\.resume: is of a run with another .*delete it"):
        run(other[0], other[1], out, other[2])
    assert out.read_bytes() == before


def test_a_broken_state_is_refused(task, labels, tmp_path):
    (tmp_path / "a.safetensors.resume").write_bytes(b"PK")
    with pytest.raises(RefusedInput, match="not a readable training state"):
        run(task, labels, tmp_path / "a.safetensors")


def test_images_and_labels_that_do_not_fit_are_refused(task, labels, tmp_path):
    out = tmp_path / "a.safetensors"
    for sentence, images, label_set in [
        ("no labels to train on", replace(task, labels=None), labels),
        ("no class 'dark'", task, LabelSet(("bright", "light"), labels.vectors)),
        ("label 2; the label set has 2", replace(task, labels=task.labels + 1, label_names=()), labels),
        ("width 6; expected 8", task, LabelSet(labels.names, labels.vectors[:, :6])),
    ]:
        with pytest.raises(RefusedInput, match=sentence):
            run(images, label_set, out)
    with pytest.raises(RefusedInput, match="their labels are bright, dark; expected dark, bright"):
        run(task, labels, out, test=replace(task, label_names=("bright", "dark")))
    with pytest.raises(RefusedInput, match="the schedule ends at T = 1; expected the encoder's 2"):
        run(task, labels, out, replace(RECIPE, schedule=((1, 2),)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nowhere/a.safetensors", "."])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(task, labels, tmp_path, name):
    with pytest.raises(RefusedInput, match="can't be written"):
        run(task, labels, tmp_path / name, progress=cut_off_in(1))


def test_a_run_that_diverges_is_refused_and_leaves_no_checkpoint(task, labels, tmp_path):
    with pytest.raises(RefusedInput, match=r"the loss is .*expected a lower --learning-rate"):
        run(task, labels, tmp_path / "a.safetensors", replace(RECIPE, learning_rate=1e30, warmup=0.0))
    assert not (tmp_path / "a.safetensors").exists()


def test_preprocessing_of_another_size_is_refused_before_anything_is_trained(task, labels, tmp_path):
    with pytest.raises(RefusedInput, match="makes 3 channels of 32 pixels; expected the encoder's 3 of 16"):
        train(CONFIG, RECIPE, Preprocessing(image_size=32), task, None, labels, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
