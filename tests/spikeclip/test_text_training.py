"""The text encoder learns a small random CLIP's text features, goes on where it was cut off, and then stands for it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from typer.testing import CliRunner

import spikeclip.labels_cli
import spikeclip.text_cli
from spikeclip.checkpoint import Checkpoint, load, save
from spikeclip.clip_text import ClipText
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder, SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.labels import load_labels
from spikeclip.preprocess import Preprocessing
from spikeclip.text_checkpoint import TextCheckpoint, load_text, save_text
from spikeclip.text_config import TextEncoderConfig
from spikeclip.text_encoder import SpikingTextEncoder
from spikeclip.text_training import TEXT_RECIPES, measure, read_by, train_text

NAMES = ("cat", "dog", "ship", "frog", "deer", "bird", "car", "truck", "horse", "plane", "sea_lion", "ox")
RECIPE = replace(TEXT_RECIPES["short"], schedule=((1, 10), (4, 50)), batch_size=6, learning_rate=2e-2)


class CutOff(Exception):
    """What stands for a power failure."""


def cut_off_in(epoch):
    def progress(done, total, text):
        if text.startswith(f"epoch {epoch}/"):
            raise CutOff

    return progress


@pytest.fixture
def teacher(clip):
    return ClipText(str(clip))


@pytest.fixture
def sentences(teacher):
    return read_by(teacher, [f"a {name}." for name in NAMES])


@pytest.fixture
def train(teacher, sentences, tmp_path):
    """A function that trains in a recipe."""

    def run(recipe=RECIPE, out="text.safetensors", **more):
        return train_text(teacher, recipe, more.pop("train_set", sentences), None, tmp_path / out, **more)

    return run


def log(out):
    return [json.loads(line) for line in out.with_name(out.name + ".log.jsonl").read_text().splitlines()]


def test_sentences_are_read_as_clip_reads_them(clip, teacher, sentences):
    import transformers

    model, tokenizer = (k.from_pretrained(clip) for k in (transformers.CLIPModel, transformers.CLIPTokenizer))
    long = read_by(teacher, ["short", "a very long sentence of more than twenty letters", "short"])
    assert long.texts == ("short", "a very long sentence of more than twenty letters")  # each once
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    letters = tokenizer.get_vocab()
    word = [start, *(letters[c] for c in "shor"), letters["t</w>"]]
    assert long.tokens[0].tolist() == word + [end] * (20 - len(word))
    assert long.tokens[1, [0, -1]].tolist() == [start, end]
    assert end not in long.tokens[1, :-1]
    for tokens, feature in zip(long.tokens, long.features, strict=True):
        pooled = model.text_model(input_ids=torch.from_numpy(tokens[None])).pooler_output
        np.testing.assert_allclose(feature, model.text_projection(pooled).detach()[0], rtol=1e-4, atol=1e-5)


def test_it_learns_what_clip_says(train, sentences, tmp_path):
    found = train(save_every=7)
    lines = log(tmp_path / "text.safetensors")
    assert [line["epoch"] for line in lines] == list(range(1, 61))
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]
    measured = found.card["train"]
    with torch.no_grad():
        embeddings = F.normalize(found.model(torch.from_numpy(sentences.tokens)), dim=1)
    cosines = embeddings @ F.normalize(torch.from_numpy(sentences.features), dim=1).T
    assert measured["cosine"] == pytest.approx(cosines.diag().mean().item(), abs=1e-6)
    assert measured["nearest"] == (cosines.argmax(1) == torch.arange(12)).double().mean().item()
    assert measured["nearest"] > 0.7  # chance is 1 / 12
    unit = sentences.features / np.sqrt((sentences.features**2).sum(1, keepdims=True))
    best = unit.mean(0) / np.sqrt((unit.mean(0) ** 2).sum())  # of all embeddings that are the same for every sentence
    assert measured["constant"] == pytest.approx(float((unit @ best).mean()), abs=1e-6)
    assert 1 - measured["cosine"] < 0.5 * (1 - measured["constant"])
    assert lines[-1]["train_nearest"] == measured["nearest"]
    assert [line["epoch"] for line in lines if "train_nearest" in line] == [*range(7, 60, 7), 60]
    assert not (tmp_path / "text.safetensors.resume").exists()


def test_a_resumed_run_gives_the_same_weights_to_the_bit(train, tmp_path):
    through = train(out="through.safetensors", save_every=60)
    with pytest.raises(CutOff):
        train(save_every=4, progress=cut_off_in(30))
    assert load_text(tmp_path / "text.safetensors").card["epochs_done"] == 28
    epochs = []
    again = train(save_every=4, progress=lambda d, t, text: epochs.append(int(text.split()[1].split("/")[0])))
    assert (min(epochs), max(epochs)) == (29, 60)
    assert [line["epoch"] for line in log(tmp_path / "text.safetensors")] == list(range(1, 61))
    expected = through.model.state_dict()
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 1e-3}])
def test_the_state_of_another_run_is_refused(train, tmp_path, change):
    with pytest.raises(CutOff):
        train(progress=cut_off_in(2))
    with pytest.raises(RefusedInput, match=r"text\.safetensors\.resume: is of a run with another"):
        train(replace(RECIPE, **change))


def test_the_state_of_a_run_on_other_sentences_is_refused(train, teacher):
    with pytest.raises(CutOff):
        train(progress=cut_off_in(2))
    with pytest.raises(RefusedInput, match="is of a run with another"):
        train(train_set=read_by(teacher, NAMES))


@pytest.mark.parametrize(("recipe", "more"), [(replace(RECIPE, stage="classify"), {}), (RECIPE, {"save_every": 0})])
def test_what_is_no_alignment_is_refused(train, recipe, more):
    with pytest.raises(RefusedInput, match="a text encoder is aligned to CLIP"):
        train(recipe, **more)


def test_the_published_recipe():
    """Facts of `alignment_text.sh`: Adam with AMSGrad, a half cosine over 2000 epochs, batches of 1024."""
    recipe = TEXT_RECIPES["published"]
    assert (recipe.schedule, recipe.batch_size, recipe.amsgrad) == (((4, 2000),), 1024, True)
    assert [recipe.learning_rate_at(x) for x in (0, 0.5, 1)] == pytest.approx([5e-3, 2.75e-3, 5e-4])
    assert (recipe.weight_decay, recipe.ema) == (0, 0)


def test_measuring_more_than_one_batch_changes_nothing(teacher, monkeypatch):
    sentences = read_by(teacher, NAMES)
    torch.manual_seed(0)
    model = SpikingTextEncoder(TextEncoderConfig(190, 77, 16, 20, 8, 8))
    with torch.no_grad():
        model.clip_embedding.token_embedding.weight.mul_(3)
    whole = measure(model, sentences)
    monkeypatch.setattr("spikeclip.text_training.EMBEDDING_BATCH", 5)
    assert measure(model, sentences) == pytest.approx(whole, abs=1e-6)


@pytest.fixture
def train_command(clip, tmp_path):
    def run(*arguments, **changes):
        options = {"clip": clip, "output": tmp_path / "text.safetensors", "schedule": "4x30", **changes}
        given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return CliRunner().invoke(spikeclip.text_cli.app, [*map(str, arguments), *given])

    return run


@pytest.fixture
def label_command(clip, tmp_path):
    def run(*arguments):
        given = [*arguments, "--clip", clip, "-o", tmp_path / "labels.npz"]
        return CliRunner().invoke(spikeclip.labels_cli.app, [str(each) for each in given])

    return run


def refused(result, *words):
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.split())
    assert said.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert all(word in said for word in words), said


def test_the_command_trains_on_names_files_and_label_sets(train_command, label_command, tmp_path):
    assert label_command("cat", "dog").exit_code == 0
    (tmp_path / "more.txt").write_text("ship\n\nsea_lion\n")
    (tmp_path / "test.txt").write_text("deer\nfrog\nox\n")
    result = train_command(
        "frog", "--template", "a {}.", "--template", "{}",
        **{"names-file": tmp_path / "more.txt", "labels": tmp_path / "labels.npz", "test-names": tmp_path / "test.txt"},
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    card = load_text(tmp_path / "text.safetensors").card
    assert (card["train"]["sentences"], card["test"]["sentences"]) == (10, 6)
    assert card["clip"] == "clip"
    assert card["recipe"]["schedule"] == [[4, 30]]
    assert f"text.safetensors: train: 10 sentences, cosine {card['train']['cosine']:.4f}" in result.output
    assert json.loads((tmp_path / "text.json").read_text()) == card


def test_it_is_used_in_place_of_clips_own(train_command, label_command, clip, tmp_path):
    """Labels by spikes are the encoder's embeddings, near CLIP's, and fit an image encoder's readout."""
    changes = {"learning-rate": 2e-2, "schedule": "4x60", "batch-size": 6}
    assert train_command(*NAMES, "--template", "a {}.", **changes).exit_code == 0
    names = ("cat", "sea_lion", "truck")
    assert label_command(*names, "--template", "a {}.").exit_code == 0
    by_clip = load_labels(str(tmp_path / "labels.npz"))
    (clip / "model.safetensors").unlink()  # the tokenizer is all that is read
    result = label_command(*names, "--template", "a {}.", "--text-encoder", tmp_path / "text.safetensors")
    assert result.exit_code == 0, result.output
    by_spikes = load_labels(str(tmp_path / "labels.npz"))
    assert (by_spikes.names, by_spikes.clip) == (names, by_clip.clip)
    cosines = by_spikes.vectors @ by_clip.vectors.T
    assert cosines.argmax(1).tolist() == [0, 1, 2]

    import transformers

    tokens = transformers.CLIPTokenizer.from_pretrained(clip)(
        ["a sea lion."], max_length=20, padding="max_length", return_tensors="pt"
    )["input_ids"]
    expected = F.normalize(load_text(tmp_path / "text.safetensors").model(tokens), dim=1)[0]
    np.testing.assert_allclose(by_spikes.vectors[1], expected, rtol=1e-5, atol=1e-6)

    config = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8)
    torch.manual_seed(0)
    encoder = Encoder(config)
    model = SpikeClip(encoder, fold_readout(encoder, torch.ones(2, 8)), ("a", "b")).eval()
    save(Checkpoint(model, Preprocessing(16), {"clip": by_clip.clip}), tmp_path / "image.safetensors")
    assert load(tmp_path / "image.safetensors", labels=by_spikes).label_names == names


def test_a_published_encoder_makes_labels_too(label_command, clip, tmp_path):
    table = load_file(clip / "model.safetensors")["text_model.embeddings.token_embedding.weight"]
    torch.manual_seed(0)
    model = SpikingTextEncoder(TextEncoderConfig(len(table), 77, table.shape[1], 20, 64, 8))
    for weight in (model.clip_embedding.token_embedding.weight, model.fc1.weight):
        weight.data.mul_(5)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "text.pth")
    result = label_command("cat", "dog", "--text-encoder", tmp_path / "text.pth")
    assert result.exit_code == 0, result.output
    assert load_labels(str(tmp_path / "labels.npz")).clip == "clip"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip": "."}, ["CLIP '.'", "has no config.json"]),
        ({"output": "nowhere/text.safetensors"}, ["nowhere/text.safetensors", "folder does not exist"]),
        ({"output": "text.npz"}, ["text.npz", "ends in .safetensors"]),
        ({"recipe": "long"}, ["'long'", "expected one of published, short"]),
        ({"schedule": "many"}, ["'many'", "expected STEPSxEPOCHS"]),
        ({"names-file": "nowhere.txt"}, ["nowhere.txt", "not a readable text file"]),
        ({"labels": "nowhere.npz"}, ["nowhere.npz", "no such file"]),
        ({"template": "a photo"}, ["'a photo'", "expected one {}"]),
        ({"learning-rate": 1e-9}, ["final learning rate 0.0005"]),
        ({"device": "tpu"}, ["'tpu'"]),
    ],
)
def test_bad_input_to_training_is_refused(train_command, tmp_path, changes, words):
    refused(train_command("cat", "dog", **changes), *words)
    assert not list(tmp_path.glob("text*"))


def test_a_wrong_clip_is_refused_in_our_words(train_command, clip, tmp_path):
    (tmp_path / "a.txt").write_text("cat")
    refused(train_command("cat", "dog", clip=tmp_path / "a.txt"), "a.txt", "is a file; expected the folder of a CLIP")
    (clip / "model.safetensors").write_bytes(b"no tensors")
    result = train_command("cat", "dog")
    refused(result, "holds no readable CLIP; expected a CLIP that transformers saved")
    assert "header" not in result.output
    (clip / "config.json").write_text("{")
    refused(train_command("cat", "dog"), "its config.json is no readable JSON")


def test_names_that_are_no_text_are_refused(train_command, tmp_path):
    (tmp_path / "names.txt").write_bytes(b"caf\xe9\n")
    refused(train_command(**{"names-file": tmp_path / "names.txt"}), "names.txt", "expected one in UTF-8")


def test_too_few_names_are_refused(train_command, tmp_path):
    refused(train_command(), "no names to train on", "expected NAMES, --names-file or --labels")
    refused(train_command("cat", "cat"), "sentences are a photo of a cat.;", "expected two or more")
    (tmp_path / "test.txt").write_text("\n")
    refused(train_command("cat", "dog", **{"test-names": tmp_path / "test.txt"}), "sentences are none")


def test_bad_text_encoders_are_refused(label_command, clip, tmp_path):
    text, sizes = tmp_path / "text.safetensors", TextEncoderConfig(190, 77, 16, 20, 8, 8)
    refused(label_command("cat", "dog", "--text-encoder", text), "text.safetensors", "no such file")
    shipped = load("spike-driven-small").path
    refused(label_command("cat", "dog", "--text-encoder", shipped), "is no text encoder")
    save_text(TextCheckpoint(SpikingTextEncoder(sizes), {"tokenizer": "0"}), text)
    refused(label_command("cat", "dog", "--text-encoder", text), "text.safetensors", "is another one")
    save_text(TextCheckpoint(SpikingTextEncoder(replace(sizes, vocabulary=50)), {}), text)
    refused(label_command("cat", "dog", "--text-encoder", text), "embeds 50 tokens", "has 190")
    (clip / "merges.txt").unlink(missing_ok=True)
    (clip / "tokenizer.json").unlink()
    refused(label_command("cat", "dog", "--text-encoder", text), "tokenizer.json or vocab.json and merges.txt")
    result = CliRunner().invoke(
        spikeclip.labels_cli.app, ["cat", "--from", "a.npz", "--text-encoder", str(text), "-o", str(tmp_path / "l.npz")]
    )
    refused(result, "--text-encoder", "expected them with --clip only")
