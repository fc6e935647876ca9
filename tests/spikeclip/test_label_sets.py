import json
import sys

import nir
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import export.cli
from spikeclip.checkpoint import Checkpoint, load, save
from spikeclip.encoder import SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.label_sets import check_same_space, prompt_ensemble, union
from spikeclip.labels import LabelSet, different_spaces, load_labels, save_labels
from spikeclip.labels_cli import app
from spikeclip.preprocess import Preprocessing

VECTORS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32) + 1
NAMES = ("cat", "dog", "ship", "frog")


def labels_of(*names, clip="ViT-B/16", vectors=None):
    return LabelSet(names, VECTORS[: len(names)] if vectors is None else vectors, clip)


class Letters:
    """A text encoder whose embedding counts letters, so that lengths differ and order of words doesn't matter."""

    clip = "letters"

    def __init__(self):
        self.read = []

    def text_features(self, sentences):
        self.read += sentences
        return np.array([[s.count(c) + 0.1 for c in "abcdefghi"] for s in sentences], np.float32)


@pytest.fixture
def sets(tmp_path):
    arrays = {
        "a": (VECTORS[:3], NAMES[:3], "ViT-B/16"),
        "b": (2 * VECTORS[3:], ("ship", "frog", "deer"), None),
        "old_vitb32": (VECTORS[:2], ("x", "y"), None),
        "narrow": (VECTORS[:2, :5], ("x", "y"), None),
        "same": (VECTORS[:2], ("Cat", "Dog"), None),
        "twice": (VECTORS[:3], ("crane", "crane", "hen"), None),
    }
    stored = {key: vectors for key, (vectors, _, _) in arrays.items()}
    stored |= {f"{key}__names": names for key, (_, names, _) in arrays.items()}
    stored |= {f"{key}__clip": clip for key, (_, _, clip) in arrays.items() if clip}
    np.savez(tmp_path / "sets.npz", **stored)
    return lambda key: f"{tmp_path / 'sets.npz'}:{key}"


@pytest.fixture
def command(tmp_path):
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments), "-o", str(tmp_path / "out.npz")])


def refused(result, *words):
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.split())
    assert said.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert all(word in said for word in words), said


def test_an_ensemble_is_the_normalised_mean_of_unit_vectors():
    encoder = Letters()
    found = prompt_ensemble(encoder, ["big_dog", "cab"], ["a photo of a {}.", "{} feed"])
    assert encoder.read == ["a photo of a big dog.", "big dog feed", "a photo of a cab.", "cab feed"]
    a, b = Letters().text_features(["a photo of a big dog.", "big dog feed"]).astype(np.float64)
    mean = a / np.sqrt((a * a).sum()) + b / np.sqrt((b * b).sum())
    np.testing.assert_allclose(found.vectors[0], mean / np.sqrt((mean * mean).sum()), rtol=1e-5)
    assert (found.names, found.clip) == (("big_dog", "cab"), "letters")


@pytest.mark.parametrize(
    ("names", "templates"),
    [
        (["a"], ["{}"]),
        (["a", "a"], ["{}"]),
        (["a", " "], ["{}"]),
        ([], ["{}"]),
        (["a", "b"], []),
        (["a", "b"], ["{} {}"]),
        (["a", "b"], ["a photo"]),
        (["a", "b"], ["{name} {}"]),
    ],
)
def test_names_and_templates_that_make_no_set_are_refused(names, templates):
    with pytest.raises(RefusedInput, match="expected"):
        prompt_ensemble(Letters(), names, templates)


def test_a_union_keeps_the_first_vector_of_a_name():
    found = union([labels_of("cat", "dog", clip=""), labels_of("ship", "cat", vectors=VECTORS[[2, 3]])])
    assert (found.names, found.clip) == (("cat", "dog", "ship"), "ViT-B/16")
    np.testing.assert_allclose(found.vectors, labels_of("cat", "dog", "ship").unit(), rtol=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        ("ViT-B/16", "ViT-B/32", True),
        ("ViT-B/16", "openai/clip-vit-base-patch16", False),
        ("ViT-L/14", "openai/clip-vit-base-patch16", True),
        ("cifar10_vitb16_photo", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", False),
        ("", "ViT-B/32", False),
        ("mine", "yours", True),
        ("mine", "mine", False),
    ],
)
def test_spaces_are_told_apart_by_what_names_say(one, other, different):
    assert different_spaces(one, other) is different
    assert different_spaces(other, one) is different


def test_sets_of_different_spaces_are_not_mixed():
    with pytest.raises(RefusedInput, match="are of CLIP ViT-B/32; expected ViT-B/16"):
        check_same_space(labels_of("cat", "dog"), labels_of("x", "y", clip="ViT-B/32"))
    with pytest.raises(RefusedInput, match="have width 5; expected 8"):
        check_same_space(labels_of("cat", "dog"), labels_of("x", "y", vectors=VECTORS[:2, :5]))


def test_a_set_that_says_no_clip_does_not_hide_that_two_others_differ():
    sets = [labels_of("a", "b", clip=""), labels_of("c", "d"), labels_of("e", "f", clip="ViT-B/32")]
    with pytest.raises(RefusedInput, match="are of CLIP ViT-B/32; expected ViT-B/16"):
        union(sets)


def test_a_file_says_its_clip_by_an_entry_or_by_its_key(sets):
    assert [load_labels(sets(key)).clip for key in ("a", "b", "old_vitb32")] == ["ViT-B/16", "", "ViT-B/32"]


def test_of_repeated_names_the_first_is_kept_when_asked(sets):
    with pytest.raises(RefusedInput, match="expected two or more, all different"):
        load_labels(sets("twice"))
    found = load_labels(sets("twice"), first_of_repeated=True)
    assert found.names == ("crane", "hen")
    np.testing.assert_array_equal(found.vectors, VECTORS[[0, 2]])


@pytest.mark.parametrize("clip", ["", "mine"])
def test_what_is_saved_is_what_is_loaded(tmp_path, clip):
    made = labels_of("cat", "dog", clip=clip)
    save_labels(made, tmp_path / "a.npz", "pets")
    found = load_labels(str(tmp_path / "a.npz"))
    assert (found.names, found.clip) == (made.names, made.clip)
    np.testing.assert_array_equal(found.vectors, made.vectors)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_directions_around_another_set_have_its_mean_taken_out():
    base, joined = labels_of("cat", "dog"), labels_of(*NAMES)
    unit = [v / np.sqrt((v * v).sum()) for v in VECTORS.astype(np.float64)]
    centred = unit[3] - (unit[0] + unit[1]) / 2
    found = joined.directions(around=base)
    np.testing.assert_allclose(found[3], centred / np.sqrt((centred * centred).sum()), rtol=1e-4)
    np.testing.assert_allclose(found[:2], base.directions(), rtol=1e-4, atol=1e-6)


@pytest.fixture
def path(make_encoder, tmp_path):
    """A checkpoint that was trained with the labels cat and dog of ViT-B/16."""
    encoder = make_encoder()
    readout = fold_readout(encoder, torch.from_numpy(labels_of("cat", "dog").directions()))
    card = {"test": {"accuracy": 0.5}, "clip": "ViT-B/16", "label_names": ["cat", "dog"]}
    model = SpikeClip(encoder, readout, ("cat", "dog")).eval()
    save(Checkpoint(model, Preprocessing(image_size=16), card), tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_labels_swapped_into_a_checkpoint_are_what_it_scores(path):
    other = labels_of("ship", "frog", "deer", vectors=VECTORS[1:4])
    swapped = load(path, labels=other)
    images = torch.rand(3, 3, 16, 16)
    expected = swapped.model.encoder(images) @ torch.from_numpy(other.directions()).T
    torch.testing.assert_close(swapped.model(images), expected, rtol=1e-4, atol=1e-5)
    assert swapped.label_names == ("ship", "frog", "deer")
    assert (swapped.card["test"], swapped.card["label_names"]) == (None, ["ship", "frog", "deer"])


def test_labels_are_not_centred_where_the_card_says_that_they_were_not(path):
    made = load(path)
    save(Checkpoint(made.model, made.preprocessing, {"cosine": "plain"}), path)
    swapped = load(path, labels=labels_of("cat", "dog"))
    images = torch.rand(3, 3, 16, 16)
    expected = swapped.model.encoder(images) @ torch.from_numpy(labels_of("cat", "dog").unit()).T
    torch.testing.assert_close(swapped.model(images), expected, rtol=1e-4, atol=1e-5)


def test_its_own_labels_swapped_in_change_nothing(path):
    images = torch.rand(3, 3, 16, 16)
    own, swapped = load(path), load(path, labels=labels_of("cat", "dog"))
    torch.testing.assert_close(swapped.model(images), own.model(images), rtol=0, atol=0)


def test_labels_that_do_not_fit_a_checkpoint_are_refused(path):
    with pytest.raises(RefusedInput, match=r"a\.safetensors: embeds in 8 dimensions; the label vectors have 5"):
        load(path, labels=labels_of("x", "y", vectors=VECTORS[:2, :5]))
    with pytest.raises(RefusedInput, match=r"a\.safetensors: was trained with labels of CLIP ViT-B/16; .* ViT-B/32"):
        load(path, labels=labels_of("x", "y", clip="ViT-B/32"))
    assert load(path, labels=labels_of("x", "y", clip="")).label_names == ("x", "y")


def test_swapped_labels_are_exported(path, sets, tmp_path):
    run = CliRunner().invoke(export.cli.app, [str(path), "--labels", sets("b"), "-o", str(tmp_path / "out.nir")])
    assert run.exit_code == 0, run.output
    graph = nir.read(tmp_path / "out.nir")
    assert '["ship", "frog", "deer"]' in json.dumps(graph.metadata).replace('\\"', '"')
    outputs = [n for n in graph.nodes.values() if isinstance(n, nir.Output)]
    assert [list(n.input_type["input"]) for n in outputs] == [[3]]


def test_the_command_cuts_and_merges_sets(command, sets, tmp_path):
    result = command("deer", "dog", "--from", sets("a"), "--from", sets("b"), "--key", "wild")
    assert result.exit_code == 0, result.output
    assert "out.npz:wild: 2 names, vectors of 8, CLIP ViT-B/16" in result.output
    found = load_labels(str(tmp_path / "out.npz"))
    np.testing.assert_allclose(found.vectors, labels_of("a", "b", vectors=VECTORS[[5, 1]]).unit(), rtol=1e-6)
    assert command("--from", sets("a"), "--from", sets("b")).exit_code == 0
    assert load_labels(str(tmp_path / "out.npz")).names == ("cat", "dog", "ship", "frog", "deer")


def test_the_command_reads_names_from_a_file(command, sets, tmp_path):
    (tmp_path / "names.txt").write_text("dog\n\n cat \n")
    assert command("--names-file", tmp_path / "names.txt", "--from", sets("a")).exit_code == 0
    assert load_labels(str(tmp_path / "out.npz")).names == ("dog", "cat")


def test_the_command_refuses_what_it_cannot_make(command, sets, tmp_path):
    refused(command("cat", "dog"), "--clip or --from")
    refused(command("cat", "dog", "--clip", "x", "--from", sets("a")), "--clip or --from")
    refused(command("cat", "dog", "--from", sets("a"), "--template", "{}"), "with --clip only")
    refused(command("cat", "horse", "--from", sets("a")), "no class 'horse'", "cat, dog, ship")
    refused(command("cat", "--from", sets("a")), "expected two or more")
    refused(command("cat", "cat", "--from", sets("a")), "all different")
    refused(command("--from", sets("none")), "sets.npz", "'none' not found")
    refused(command("--from", sets("a"), "--from", sets("old_vitb32")), "ViT-B/32", "ViT-B/16")
    refused(command("--from", sets("a"), "--from", sets("narrow")), "width 5", "expected 8")
    refused(command("--from", sets("a"), "--from", sets("same")), "one vector twice, of 'cat' and 'Cat'")
    refused(command("--names-file", tmp_path / "none.txt", "--from", sets("a")), "none.txt", "not a readable text file")
    assert not (tmp_path / "out.npz").exists()
    assert CliRunner().invoke(app, ["--from", sets("a"), "-o", str(tmp_path / "out.txt")]).exit_code == 2


def test_without_transformers_one_sentence_says_so(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(command("cat", "dog", "--clip", "openai/clip-vit-base-patch16"), "transformers, which is not installed")


def test_the_command_embeds_names_with_a_clip(command, clip, tmp_path):
    import transformers

    result = command("cat", "dog", "--clip", clip, "--template", "a {}.", "--template", "{}", "--clip-name", "ViT-B/16")
    assert result.exit_code == 0, result.output
    found = load_labels(str(tmp_path / "out.npz"))
    assert (found.names, found.clip) == (("cat", "dog"), "ViT-B/16")
    model, tokenizer = (k.from_pretrained(clip) for k in (transformers.CLIPModel, transformers.CLIPTokenizer))
    mean = torch.zeros(8)
    for sentence in ("a dog.", "dog"):  # one by one: padding must not matter
        pooled = model.text_model(**tokenizer([sentence], return_tensors="pt")).pooler_output
        mean += torch.nn.functional.normalize(model.text_projection(pooled).detach()[0], dim=0)
    np.testing.assert_allclose(found.vectors[1], torch.nn.functional.normalize(mean, dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "merges.txt"])
def test_a_clip_folder_with_a_file_missing_is_refused(command, clip, missing):
    (clip / missing).unlink()
    (clip / "tokenizer.json").unlink()
    refused(command("cat", "dog", "--clip", clip), "clip", f"{missing}")


def test_a_clip_with_tensors_missing_is_refused(command, clip):
    from safetensors.torch import load_file, save_file

    tensors = load_file(clip / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, clip / "model.safetensors", metadata={"format": "pt"})
    refused(command("cat", "dog", "--clip", clip), "text_projection.weight is missing")
