"""The head in closed form: own names in the order that they had, scores as its equation says, foreign names far off."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spikeclip.card import measure
from spikeclip.checkpoint import Checkpoint, load, save
from spikeclip.data import ImageSet, load_images
from spikeclip.encoder import SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.evaluation import run
from spikeclip.head_cli import app
from spikeclip.labels import LabelSet
from spikeclip.plain_head import with_plain_head
from spikeclip.preprocess import CLIP_SAMPLES, Preprocessing

NAMES = tuple("abcde")


@pytest.fixture
def labels():
    vectors = np.random.default_rng(1).normal(size=(5, 64)) + 2  # they share a direction, as CLIP's do
    return LabelSet(NAMES, vectors.astype(np.float32), "ViT-B/16")


@pytest.fixture
def images():
    pixels = np.random.default_rng(2).integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    return ImageSet(pixels, tuple(map(str, range(60))), np.arange(60) % 5, NAMES, "made")


@pytest.fixture
def centred(make_encoder, labels, images):
    """An encoder that was trained with centred vectors, as its card says; its names are in another order."""
    encoder = make_encoder(4, embedding_width=64)
    with torch.no_grad():  # what all images have in common would decide every prediction
        features = encoder.features(torch.from_numpy(Preprocessing(16)(images.images)))
        encoder.head.bias.copy_(-encoder.head.weight @ features.mean(0))
    names = NAMES[::-1]
    directions = torch.from_numpy(labels.ordered(names).directions())
    model = SpikeClip(encoder, fold_readout(encoder, directions), names).eval().requires_grad_(False)
    return Checkpoint(model, Preprocessing(16), {"clip": "ViT-B/16", "test": {"accuracy": 0.5}})


def test_scores_of_its_own_names_are_one_and_the_spread_times_the_standardised_logits(centred, labels, images):
    logits = run(centred, images)[1].astype(np.float64)
    made = with_plain_head(centred, labels, images, 0.25)
    embeddings, scores = run(made, images)
    expected = 1 + 0.25 * (logits - logits.mean()) / logits.std()
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    np.testing.assert_allclose(embeddings @ labels.ordered(made.label_names).unit().T, expected, rtol=1e-4)
    assert made.label_names == NAMES[::-1]
    assert scores.std() == pytest.approx(0.25, rel=1e-4)
    assert (scores.argmax(1) == logits.argmax(1)).all()
    assert len(set(scores.argmax(1))) > 1


def test_embeddings_lie_among_the_label_vectors(centred, labels, images):
    made = with_plain_head(centred, labels, images, 0.25)
    embeddings = run(made, images)[0].astype(np.float64)
    beside = np.linalg.svd(labels.unit().astype(np.float64))[2][5:]  # orthogonal to all of them
    assert np.abs(embeddings @ beside.T).max() < 1e-5 * np.abs(embeddings).max()


def test_the_smaller_the_spread_the_fewer_images_a_foreign_name_takes(centred, labels, images):
    foreign = np.repeat(labels.vectors, 40, 0) + 0.5 * np.random.default_rng(3).normal(size=(200, 64))
    foreign /= np.linalg.norm(foreign, axis=1, keepdims=True)
    taken = []
    for spread in (0.05, 0.2, 5.0):
        embeddings, scores = run(with_plain_head(centred, labels, images, spread), images)
        taken.append(((embeddings @ foreign.T).max(1) > scores.max(1)).mean())
    assert taken == sorted(taken)
    assert taken[0] < 0.5 < taken[1] < taken[2]


def test_the_checkpoint_that_it_came_from_is_left_as_it_was(centred, labels, images):
    before = {name: tensor.clone() for name, tensor in centred.model.state_dict().items()}
    made = with_plain_head(centred, labels, images, 0.25)
    assert all(torch.equal(before[name], tensor) for name, tensor in centred.model.state_dict().items())
    changed = {name for name, tensor in made.model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {"encoder.head.weight", "encoder.head.bias", "readout.weight", "readout.bias"}
    assert made.card["cosine"] == "plain"
    assert made.card["head"] == {"spread": 0.25, "images": 60, "sha256": images.sha256}
    assert made.card["test"] is None


def test_a_plain_head_is_made_again_from_a_plain_one(centred, labels, images):
    first = with_plain_head(centred, labels, images, 0.25)
    again = with_plain_head(first, labels, images, 0.25)
    for name, tensor in first.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spread_that_is_not_positive_is_refused(centred, labels, images, spread):
    with pytest.raises(RefusedInput, match=r"spread is .*expected a positive number"):
        with_plain_head(centred, labels, images, spread)


def test_labels_that_do_not_fit_are_refused(centred, labels, images):
    for sentence, wrong in [
        ("no class 'e'", LabelSet(NAMES[:4], labels.vectors[:4])),
        ("linearly dependent", LabelSet(NAMES, np.vstack([labels.vectors[:4], labels.vectors[:2].sum(0)]))),
        ("the label vectors are of ViT-B/32", LabelSet(NAMES, labels.vectors, "ViT-B/32")),
        ("the label vectors have 6", LabelSet(NAMES, labels.vectors[:, :6])),
    ]:
        with pytest.raises(RefusedInput, match=sentence):
            with_plain_head(centred, wrong, images, 0.25)
    headless = Checkpoint(SpikeClip(centred.model.encoder, centred.model.encoder.head, ()), Preprocessing(16), {})
    with pytest.raises(RefusedInput, match="no label set"):
        with_plain_head(headless, labels, images, 0.25)


def test_the_command_writes_a_checkpoint_that_is_compared_as_it_says(centred, labels, images, tmp_path):
    save(centred, tmp_path / "a.safetensors")
    np.savez(tmp_path / "labels.npz", set=labels.vectors, set__names=labels.names)
    np.savez(tmp_path / "images.npz", images=images.images, labels=images.labels)
    out = tmp_path / "open.safetensors"
    options = {
        "--labels": tmp_path / "labels.npz", "--data": tmp_path / "images.npz", "--spread": 0.25,
        "--test": tmp_path / "images.npz", "-o": out,
    }  # fmt: skip
    words = [str(part) for pair in options.items() for part in pair]
    result = CliRunner().invoke(app, [str(tmp_path / "a.safetensors"), *words])
    assert result.exit_code == 0, result.output
    found = load(out)
    assert found.card["cosine"] == "plain"
    assert f"open.safetensors: accuracy {found.card['test']['accuracy']:.2%}" in result.output
    again = CliRunner().invoke(app, [str(tmp_path / "a.safetensors"), *words])
    assert again.exit_code == 2
    assert "stands there already" in again.stderr


def test_accuracy_is_measured_by_the_names_of_classes(centred, images):
    assert centred.label_names != images.label_names
    x = torch.from_numpy(centred.preprocessing(images.images))
    taken = [centred.label_names[i] for i in centred.model(x).argmax(1)]
    right = [name == images.label_names[label] for name, label in zip(taken, images.labels, strict=True)]
    assert measure(centred, images)["accuracy"] == np.mean(right)
    with pytest.raises(RefusedInput, match="no labels to measure accuracy with"):
        measure(centred, replace(images, labels=None))


def test_the_command_resizes_as_the_checkpoint_says(centred, labels, tmp_path):
    how = replace(centred.preprocessing, resize=CLIP_SAMPLES)
    save(replace(centred, preprocessing=how), tmp_path / "a.safetensors")
    np.savez(tmp_path / "labels.npz", set=labels.vectors, set__names=labels.names)
    large = np.random.default_rng(3).integers(0, 256, (10, 40, 40, 3)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=large)
    files = {"--labels": "labels.npz", "--data": "images.npz", "-o": "open.safetensors"}
    words = [str(part) for option, name in files.items() for part in (option, tmp_path / name)]
    assert CliRunner().invoke(app, [str(tmp_path / "a.safetensors"), *words]).exit_code == 0
    seen = load_images(str(tmp_path / "images.npz"), 16, None, CLIP_SAMPLES)
    assert load(tmp_path / "open.safetensors").card["head"]["sha256"] == seen.sha256
