"""The stages of training on a task of seconds: losses fall, a resumed run is the same run, budgets hold."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from spikeclip.batches import batches
from spikeclip.checkpoint import load
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.objective import Objective
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import RECIPES, Recipe, find_recipe
from spikeclip.teacher import TwinTeacher
from spikeclip.training import train
from spikeclip.twin_checkpoint import load_twin
from spikeclip.twin_training import accuracy, train_twin

CONFIG = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8, time_steps=2)
PREPROCESSING = Preprocessing(image_size=16)
TWIN = Recipe(schedule=((1, 6),), batch_size=8, learning_rate=1e-2, ema=0.5)
SPIKING = Recipe(schedule=((1, 2), (2, 4)), batch_size=8, learning_rate=1e-2, ema=0.5)
STAGES = {
    "budget": replace(SPIKING, stage="align", spike_budget=0.3, spike_weight=3.0),
    "align": replace(SPIKING, stage="align"),
    "dual": replace(SPIKING, stage="dual", kl_weight=0.5, kl_temperature=2.0),
    "published": replace(SPIKING, stage="dual", teacher_temperature=1.0, kl_weight=8, learn_temperature=False, ema=0.0),
}


class CutOff(Exception):
    """What stands for a power failure."""


def cut_off_in(epoch):
    def progress(done, total, text):
        if text.startswith(f"epoch {epoch}/") and done == 2:
            raise CutOff

    return progress


def log(out):
    return [json.loads(line) for line in out.with_name(out.name + ".log.jsonl").read_text().splitlines()]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def run_twin(task, labels, out, **more):
    return train_twin(
        CONFIG, more.pop("recipe", TWIN), PREPROCESSING, task, more.pop("test", None), labels, out, **more
    )


@pytest.fixture(scope="module")
def twin(task, labels, tmp_path_factory):
    """A twin that has learned the task."""
    return run_twin(task, labels, tmp_path_factory.mktemp("twin") / "twin.safetensors", test=task)


@pytest.fixture
def run(task, labels, twin, tmp_path):
    """A function that trains in the given recipe with the twin as the teacher."""

    def train_in(recipe, out="a.safetensors", images=task, **more):
        more.setdefault("teacher", TwinTeacher(twin))
        return train(CONFIG, recipe, PREPROCESSING, images, more.pop("test", None), labels, tmp_path / out, **more)

    return train_in


def test_the_twin_learns_and_says_how_it_was_made(twin, task, labels):
    lines = log(twin.path)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["accuracy"] == twin.card["test"]["accuracy"] > 0.9
    ordered = labels.ordered(task.label_names)
    assert accuracy(TwinTeacher(twin), task, ordered) == twin.card["test"]["accuracy"]
    assert twin.card["recipe"] == TWIN.to_dict()
    assert twin.label_names == task.label_names
    assert twin.scale != TWIN.temperature  # it was learned


def test_a_twins_resumed_run_gives_the_same_weights_to_the_bit(twin, task, labels, tmp_path):
    out = tmp_path / "twin.safetensors"
    with pytest.raises(CutOff):
        run_twin(task, labels, out, test=task, progress=cut_off_in(4))
    assert load_twin(out).card["epochs_done"] == 3
    epochs = []
    again = run_twin(task, labels, out, test=task, progress=lambda d, t, text: epochs.append(int(text.split()[1][0])))
    assert min(epochs) == 4
    assert same(again.model.state_dict(), twin.model.state_dict())
    assert again.scale == twin.scale


@pytest.mark.parametrize("change", [{"stage": "dual"}, {"schedule": ((4, 2),)}, {"spike_budget": 0.1}])
def test_a_recipe_for_spikes_is_refused_for_a_twin(task, labels, tmp_path, change):
    with pytest.raises(RefusedInput, match="a twin has no time steps and no spikes"):
        run_twin(task, labels, tmp_path / "a.safetensors", recipe=replace(TWIN, **change))


@pytest.fixture(scope="module")
def through(task, labels, twin, tmp_path_factory):
    """A function that gives the checkpoint of a stage which nothing cut off: trained once, and where it was written."""

    @cache
    def trained(name):
        out = tmp_path_factory.mktemp("through") / "a.safetensors"
        teacher = TwinTeacher(twin)
        return train(CONFIG, STAGES[name], PREPROCESSING, task, task, labels, out, teacher=teacher), out

    return trained


@pytest.mark.parametrize("name", STAGES)
def test_losses_fall(through, twin, name):
    checkpoint, out = through(name)
    losses = [line["loss"] for line in log(out)]
    assert losses[-1] < 0.8 * losses[0]
    assert checkpoint.card["test"]["accuracy"] > 0.9
    assert checkpoint.card["recipe"]["stage"] == STAGES[name].stage
    assert checkpoint.card["teacher"] == {**TwinTeacher(twin).to_dict(), "cached": False}


def resumed(run, recipe, epoch, **more):
    """The checkpoint of a run that was cut off in the given epoch and goes on there."""
    with pytest.raises(CutOff):
        run(recipe, progress=cut_off_in(epoch), **more)
    epochs = []
    again = run(recipe, progress=lambda d, t, text: epochs.append(int(text.split()[1][0])), **more)
    assert min(epochs) == epoch
    return again


RESUMED = [*(pytest.param(name, marks=pytest.mark.slow) for name in ("align", "published")), "budget", "dual"]
"""The budget is an alignment with one state more, and the published recipe a dual stage with other numbers."""


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_gives_the_same_weights_to_the_bit(run, through, name):
    again = resumed(run, STAGES[name], 4)
    assert same(again.model.state_dict(), through(name)[0].model.state_dict())


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_with_kept_features_gives_the_same_weights_to_the_bit(run, tmp_path, name):
    recipe, kept = replace(STAGES[name], schedule=((1, 1), (2, 2))), tmp_path / "features.npz"
    once = run(recipe, "through.safetensors", cache=kept)
    assert same(resumed(run, recipe, 3, cache=kept).model.state_dict(), once.model.state_dict())


def test_kept_features_are_those_of_the_batchs_own_images(twin, task, labels):
    kept = np.random.default_rng(0).normal(size=(len(task), 8)).astype(np.float32)
    recipe, teacher = STAGES["align"], TwinTeacher(twin)
    vectors = torch.from_numpy(labels.compared(teacher.cosine))
    objective = Objective(recipe, labels, vectors, teacher.cosine, teacher, kept)
    found = list(batches(task, PREPROCESSING, recipe, epoch=0))
    assert sorted(np.concatenate([batch.indices for batch in found])) == list(range(len(task)))
    for batch in found:
        np.testing.assert_array_equal(batch.labels, task.labels[batch.indices])
        assert objective(torch.from_numpy(kept[batch.indices]), torch.tensor(1.0), batch, 2).item() < 1e-6
        assert objective(torch.from_numpy(kept[batch.indices[::-1]]), torch.tensor(1.0), batch, 2).item() > 0.1


def test_alignment_needs_no_labels_and_its_readout_has_the_teachers_vectors(run, twin, task, labels):
    checkpoint = run(STAGES["align"], images=replace(task, labels=None, label_names=()))
    readout = fold_readout(checkpoint.model.encoder, torch.from_numpy(labels.compared(twin.cosine)))
    torch.testing.assert_close(checkpoint.model.readout.weight, readout.weight)


def test_the_divergence_brings_the_student_closer_to_the_teacher(run, twin, task, labels):
    """With wrong labels and a heavy divergence, it says what the teacher says."""
    wrong = replace(task, labels=1 - task.labels)
    checkpoint = run(replace(STAGES["dual"], kl_weight=100.0), images=wrong)
    scores = checkpoint.model(torch.from_numpy(PREPROCESSING(task.images))).argmax(1).numpy()
    logits = TwinTeacher(twin).logits(task.images, labels.ordered(task.label_names))
    assert np.mean(scores == logits.argmax(1)) > 0.9
    assert np.mean(scores == wrong.labels) < 0.2


@pytest.mark.slow
def test_a_spike_budget_is_reached(run, task, tmp_path):
    recipe = replace(STAGES["align"], schedule=((2, 16),), spike_budget=0.25, spike_weight=3.0)
    run(recipe, "limited.safetensors", test=task)
    run(replace(recipe, schedule=((2, 4),), spike_weight=0.0), "free.safetensors")
    limited, free = (
        [line["spikes_per_synapse"] for line in log(tmp_path / f"{n}.safetensors")] for n in ("limited", "free")
    )
    assert limited[-1] < 0.25 < 0.5 * free[-1]
    assert load(tmp_path / "limited.safetensors").card["test"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        (STAGES["align"], {"teacher": None}, r"stage align with no teacher; expected one \(--teacher\)"),
        (SPIKING, {}, "stage classify with a teacher; expected no teacher"),
    ],
)
def test_a_stage_without_its_teacher_is_refused(run, tmp_path, recipe, changes, words):
    with pytest.raises(RefusedInput, match=words):
        run(recipe, **changes)
    assert not list(tmp_path.iterdir())


def test_teachers_and_caches_that_do_not_fit_are_refused(run, twin, task, tmp_path):
    with pytest.raises(RefusedInput, match="features of a teacher; stage classify has none"):
        run(SPIKING, teacher=None, cache=tmp_path / "features.npz")
    narrow = TwinTeacher(twin)
    narrow.embedding_width = 6
    with pytest.raises(RefusedInput, match="embeds in 6 dimensions; expected 8"):
        run(STAGES["align"], teacher=narrow)
    with pytest.raises(RefusedInput, match="no labels to train on"):
        run(STAGES["dual"], images=replace(task, labels=None))


def test_the_state_of_a_run_with_another_teacher_is_refused(run, twin, tmp_path):
    with pytest.raises(CutOff):
        run(STAGES["dual"], progress=cut_off_in(2))
    with pytest.raises(RefusedInput, match="is of a run with another"):
        run(STAGES["dual"], teacher=TwinTeacher(replace(twin, scale=3.0)))


def test_the_published_recipes():
    """Facts of arXiv 2310.06488 and its code: Adam with AMSGrad, half cosines, batches of 196, plain cosines."""
    align, dual = RECIPES["published-align"], RECIPES["published-dual"]
    assert (align.stage, align.schedule, dual.stage, dual.schedule) == ("align", ((4, 50),), "dual", ((4, 200),))
    for recipe, start, middle, end in ((align, 5e-3, 2.75e-3, 5e-4), (dual, 5e-4, 2.55e-4, 1e-5)):
        rates = [recipe.learning_rate_at(progress) for progress in (0, 0.5, 1)]
        assert rates == pytest.approx([start, middle, end])
        assert (recipe.batch_size, recipe.weight_decay, recipe.amsgrad) == (196, 0, True)
        assert (recipe.temperature, recipe.learn_temperature, recipe.teacher_temperature) == (1, False, 1)
    assert (dual.kl_weight, dual.kl_temperature, dual.label_smoothing) == (dual.batch_size, 1, 0)
    with pytest.raises(RefusedInput, match="'mine' is unknown; expected one of short-classify, short-align"):
        find_recipe("mine")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stage": "other"}, "stage is 'other'"),
        ({"final_learning_rate": 1.0}, "final learning rate 1.0"),
        ({"kl_temperature": 0.0}, "temperatures 10.0, None, 0.0"),
        ({"kl_weight": -1.0}, "KL weight -1.0"),
        ({"spike_budget": 0.0}, "spike budget 0.0"),
        ({"spike_weight": float("nan")}, "spike weight nan"),
    ],
)
def test_settings_out_of_range_are_refused(change, words):
    with pytest.raises(RefusedInput, match=words):
        replace(Recipe(), **change)
