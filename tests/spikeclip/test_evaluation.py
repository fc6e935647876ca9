import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from spikeclip.candidates import expanded, own, unseen
from spikeclip.checkpoint import Checkpoint, load, save
from spikeclip.data import load_images
from spikeclip.encoder import SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.eval_cli import app
from spikeclip.evaluation import rank, run, score
from spikeclip.labels import LabelSet
from spikeclip.preprocess import Preprocessing

RNG = np.random.default_rng(0)
CLASSES = ("cat", "dog", "ship")
OWN = LabelSet(CLASSES, RNG.normal(size=(3, 8)).astype(np.float32) + 1, "ViT-B/16")
FOREIGN = LabelSet(("fish", "dog", "tree", "lamp"), RNG.normal(size=(4, 8)).astype(np.float32) + 1)
RELATED = LabelSet(("tabby", "beagle", "liner"), OWN.vectors + 0.1 * RNG.normal(size=(3, 8)).astype(np.float32))


def cosines(embeddings, vectors, centre):
    """Written out: each embedding's cosine with each unit vector less the centre."""
    unit = [v / np.sqrt(v @ v) for v in vectors.astype(np.float64)]
    table = np.zeros((len(embeddings), len(unit)))
    for (i, j), _ in np.ndenumerate(table):
        e, v = embeddings[i].astype(np.float64), unit[j] - centre
        table[i, j] = e @ v / np.sqrt((e @ e) * (v @ v))
    return table


def mean_of(vectors):
    return sum(v / np.sqrt(v @ v) for v in vectors.astype(np.float64)) / len(vectors)


def test_ranks_count_what_is_ahead_and_ties_go_to_the_earlier():
    scores = np.array([[3, 3, 1, 0], [3, 3, 1, 0], [0, 1, 2, 9], [5, 4, 3, 2]], np.float32)
    found = rank(scores, np.array([0, 1, 2, 2]), CLASSES, (*CLASSES, "fish"))
    assert found.ranks.tolist() == [0, 1, 1, 2]
    assert found.predictions.tolist() == [0, 0, 3, 0]
    assert found.accuracy == 0.25
    assert found.top5 is None
    assert found.confusion.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]]
    assert found.foreign == 1


def test_top5_is_a_place_among_the_first_five():
    scores = np.tile(np.arange(7, 0, -1, dtype=np.float32), (3, 1))
    classes = tuple("abcdefg")
    found = rank(scores, np.array([0, 4, 5]), classes, classes)
    assert found.top5 == pytest.approx(2 / 3)
    assert found.accuracy == pytest.approx(1 / 3)


def test_a_result_tells_each_class_and_what_took_images():
    scores = np.array([[1, 0, 0, 2, 3], [1, 0, 0, 2, 3], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], np.float32)
    found = rank(scores, np.array([0, 0, 1, 1]), CLASSES, (*CLASSES, "fish", "tree")).to_dict()
    assert found["per_class"]["dog"] == {"scored_as": "dog", "images": 2, "accuracy": 0.5}
    assert found["per_class"]["ship"] == {"scored_as": "ship", "images": 0, "accuracy": None}
    assert found["most_taken"] == {"tree": 2, "fish": 1}
    assert list(found["most_taken"]) == ["tree", "fish"]
    assert json.loads(json.dumps(found)) == found


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(RefusedInput, match="a score is not finite"):
        rank(np.array([[1, np.nan, 0]], np.float32), np.array([0]), CLASSES, CLASSES)


@pytest.mark.parametrize("cosine", ["plain", "centred"])
@pytest.mark.parametrize("kind", ["own", "expanded", "unseen"])
def test_candidates_are_compared_by_cosine(kind, cosine):
    candidates = {"own": own(OWN), "expanded": expanded(OWN, FOREIGN), "unseen": unseen(CLASSES, RELATED)}[kind]
    vectors = {
        "own": OWN.vectors,
        "expanded": np.concatenate([OWN.vectors, FOREIGN.vectors[[0, 2, 3]]]),  # dog is a class
        "unseen": RELATED.vectors,
    }[kind]
    embeddings = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    truth = np.arange(60) % 3
    found = score(embeddings, truth, candidates, CLASSES, cosine)
    centre = 0 if cosine == "plain" else mean_of(vectors[:3])
    expected = cosines(embeddings, vectors, centre)
    assert found.predictions.tolist() == expected.argmax(1).tolist()
    assert len(found.names) == len(vectors)
    ahead = [(row > row[i]).sum() for row, i in zip(expected, truth, strict=True)]
    assert found.ranks.tolist() == ahead


def test_candidates_that_cannot_be_are_refused():
    with pytest.raises(RefusedInput, match="no name that the classes don't have"):
        expanded(OWN, OWN)
    with pytest.raises(RefusedInput, match=r"are of CLIP ViT-B/32; expected ViT-B/16"):
        expanded(OWN, LabelSet(FOREIGN.names, FOREIGN.vectors, "ViT-B/32"))
    with pytest.raises(RefusedInput, match="4 names replace the classes' by order; expected 3"):
        unseen(CLASSES, FOREIGN)
    with pytest.raises(RefusedInput, match="'dog' is a class's own name"):
        unseen(CLASSES, LabelSet(("a", "dog", "c"), FOREIGN.vectors[:3]))
    with pytest.raises(RefusedInput, match=r"embeddings have width 4; the label vectors of cat, \.\.\. have 8"):
        score(np.ones((2, 4), np.float32), np.array([0, 1]), own(OWN), CLASSES, "plain")


@pytest.fixture
def place(make_encoder, tmp_path):
    """A folder with a checkpoint of the classes in another order, images and label sets."""
    encoder = make_encoder()
    other = OWN.ordered(("ship", "cat", "dog"))
    readout = fold_readout(encoder, torch.from_numpy(other.directions()))
    model = SpikeClip(encoder, readout, other.names).eval()
    save(Checkpoint(model, Preprocessing(image_size=16), {"clip": "ViT-B/16"}), tmp_path / "a.safetensors")
    images = np.random.default_rng(2).integers(0, 256, (70, 16, 16, 3), np.uint8)  # more than one batch
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(70) % 3, label_names=CLASSES)
    sets = {"own": OWN, "foreign": FOREIGN, "related": RELATED, "vitb32": FOREIGN}
    arrays = {key: labels.vectors for key, labels in sets.items()}
    np.savez(tmp_path / "sets.npz", **arrays, **{f"{key}__names": labels.names for key, labels in sets.items()})
    return tmp_path


@pytest.fixture
def command(place):
    """A function that runs spikeclip-eval there; `@` is the file of label sets."""

    def run(*arguments, images="images.npz", model="a.safetensors"):
        given = [str(a).replace("@", f"{place / 'sets.npz'}:") for a in arguments]
        model = place / model if model.endswith("tensors") else model
        return CliRunner().invoke(app, [str(model), "--images", str(place / images), "--device", "cpu", *given])

    return run


def refused(result, *words):
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.split())
    assert said.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert all(word in said for word in words), said


def rows_of(result, path):
    assert result.exit_code == 0, result.output
    document = json.loads(path.read_text())
    return {(row["kind"], row["label_set"], row["cosine"]): row for row in document["rows"]}


def test_the_readout_and_its_own_labels_agree(command, place):
    path = place / "out.json"
    by_readout = rows_of(command("--json", path), path)["snn", "own", "centred"]
    by_labels = rows_of(command("--json", path, "--labels", "@own"), path)["snn", "own", "centred"]
    assert by_readout == by_labels
    checkpoint = load(place / "a.safetensors")
    images = np.load(place / "images.npz")
    scores = checkpoint.model(torch.from_numpy(checkpoint.preprocessing(images["images"])))
    names = [checkpoint.label_names[i] for i in scores.argmax(1)]
    right = sum(name == CLASSES[label] for name, label in zip(names, images["labels"], strict=True))
    assert by_readout["accuracy"] == right / 70
    assert sum(map(sum, by_readout["confusion"])) == 70


def test_a_table_of_all_label_sets_and_a_picture(command, place):
    path = place / "out.json"
    options = ["--labels", "@own", "--extend", "@foreign", "--replace", "@related"]
    ways = ["--cosine", "centred", "--cosine", "plain"]
    result = command(*options, *ways, "--json", path, "--confusion", place / "out.png")
    rows = rows_of(result, path)
    assert set(rows) == {("snn", k, c) for k in ("own", "expanded", "unseen") for c in ("centred", "plain")}
    assert rows["snn", "expanded", "plain"]["candidates"] == 6
    assert [len(row) for row in rows["snn", "expanded", "plain"]["confusion"]] == [4, 4, 4]
    assert rows["snn", "unseen", "plain"]["per_class"]["cat"]["scored_as"] == "tabby"
    assert all(f"{row['accuracy']:.2%}" in result.output for row in rows.values())
    with Image.open(place / "out.png") as picture:
        assert picture.width > picture.height > 100


def test_unseen_names_need_no_vectors_of_the_classes(command, place):
    path = place / "out.json"
    assert set(rows_of(command("--replace", "@related", "--json", path), path)) == {
        ("snn", "own", "centred"), ("snn", "unseen", "centred"),
    }  # fmt: skip


def test_the_same_evaluation_draws_the_same_file(command, place):
    pictures = []
    for name in ("a.svg", "b.svg"):
        assert command("--confusion", place / name).exit_code == 0
        pictures.append((place / name).read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].count(b"prefers-color-scheme: dark") == 1


class Perfect:
    """A teacher whose embedding is the label vector of the class that the first pixel names."""

    def __init__(self, cosine):
        self.cosine, self.resize = cosine, "antialiased"

    def image_features(self, images):
        return OWN.vectors[images[:, 0, 0, 0]]


def test_twin_and_teacher_stand_beside(command, place, monkeypatch):
    module = types.ModuleType("spikeclip.teacher")
    asked = []
    cosines = {"twin.safetensors": "centred", "clip": "plain"}
    module.load_teacher = lambda spec, device: asked.append((spec, device)) or Perfect(cosines[spec])
    monkeypatch.setitem(sys.modules, "spikeclip.teacher", module)
    images = np.zeros((6, 16, 16, 3), np.uint8)
    images[:, 0, 0, 0] = [0, 1, 2, 0, 1, 0]
    np.savez(place / "marked.npz", images=images, labels=[0, 1, 2, 0, 1, 1], label_names=CLASSES)
    path = place / "out.json"
    options = ["--labels", "@own", "--twin", "twin.safetensors", "--teacher", "clip", "--json", path]
    rows = rows_of(command(*options, images="marked.npz"), path)
    assert asked == [("twin.safetensors", "cpu"), ("clip", "cpu")]
    assert rows["teacher", "own", "plain"]["accuracy"] == pytest.approx(5 / 6)
    assert set(rows) == {("snn", "own", "centred"), ("twin", "own", "centred"), ("teacher", "own", "plain")}


def test_names_come_from_the_labels_where_images_have_none(command, place):
    found = np.load(place / "images.npz")
    np.savez(place / "bare.npz", images=found["images"], labels=found["labels"])
    path = place / "out.json"
    rows = rows_of(command("--labels", "@own", "--json", path, images="bare.npz"), path)
    assert list(rows["snn", "own", "centred"]["per_class"]) == list(CLASSES)


def test_names_in_another_spelling_are_the_same_classes(command, place):
    found, path = np.load(place / "images.npz"), place / "out.json"
    spelled = ("CAT", " dog", "Ship")
    np.savez(place / "spelled.npz", images=found["images"], labels=found["labels"], label_names=spelled)
    for options in ([], ["--labels", "@own"]):
        plain = rows_of(command(*options, "--json", path), path)["snn", "own", "centred"]
        other = rows_of(command(*options, "--json", path, images="spelled.npz"), path)["snn", "own", "centred"]
        assert (other["accuracy"], other["confusion"]) == (plain["accuracy"], plain["confusion"])
        assert list(other["per_class"]) == list(spelled)


def test_a_class_that_the_labels_lack_is_a_candidate_of_the_foreign_ones(command, place):
    found, path = np.load(place / "images.npz"), place / "out.json"
    classes = ("cat", "tree", "ship")
    np.savez(place / "trees.npz", images=found["images"], labels=found["labels"], label_names=classes)
    rows = rows_of(command("--labels", "@own", "--extend", "@foreign", "--json", path, images="trees.npz"), path)
    expected = LabelSet(classes, np.stack([OWN.vectors[0], FOREIGN.vectors[2], OWN.vectors[2]]))
    checkpoint = load(place / "a.safetensors")
    embeddings, _ = run(checkpoint, load_images(str(place / "trees.npz"), 16))
    result = score(embeddings, found["labels"], own(expected), classes, "centred")
    assert rows["snn", "own", "centred"]["confusion"] == result.confusion.tolist()
    refused(command("--labels", "@own", images="trees.npz"), "no class 'tree'")


def test_what_is_assumed_of_labels_without_names_is_said(command, place):
    found, path = np.load(place / "images.npz"), place / "out.json"
    np.savez(place / "bare.npz", images=found["images"], labels=found["labels"])
    result = command("--labels", "@own", "--json", path, images="bare.npz")
    sentence = "labels are taken to be the model's class numbers (0 is cat, 1 is dog): the images come without names"
    assert json.loads(path.read_text())["assumed"] == [f"{sentence} of classes"]
    assert f"assumed: {sentence}" in result.output
    command("--json", path)
    assert json.loads(path.read_text())["assumed"] == []


def test_candidates_are_not_foreign_in_another_spelling():
    other = LabelSet(("Dog", "sea_horse"), FOREIGN.vectors[:2])
    assert expanded(OWN, other).labels.names == ("cat", "dog", "ship", "sea_horse")
    with pytest.raises(RefusedInput, match="'SHIP' is a class's own name"):
        unseen(CLASSES, LabelSet(("a", "b", "SHIP"), FOREIGN.vectors[:3]))


def test_bad_input_is_refused_in_one_sentence(command, place):
    found = np.load(place / "images.npz")
    np.savez(place / "unlabelled.npz", images=found["images"])
    np.savez(place / "cows.npz", images=found["images"], labels=found["labels"], label_names=("cat", "dog", "cow"))
    np.savez(place / "narrow.npz", own=OWN.vectors[:, :5], own__names=CLASSES)
    refused(command(images="unlabelled.npz"), "unlabelled.npz", "no labels to measure accuracy with")
    refused(command(images="cows.npz"), "a.safetensors", "no class 'cow'", "expected --labels")
    refused(command("--labels", "@own", images="cows.npz"), "no class 'cow'", "cat, dog, ship")
    refused(command("--labels", f"{place / 'narrow.npz'}:own"), "a.safetensors", "8 dimensions", "5")
    refused(command("--labels", "@none"), "sets.npz", "'none' not found")
    refused(command("--labels", "@vitb32", images="unlabelled.npz"), "no labels")
    refused(command("--replace", "@vitb32"), "4 names", "expected 3")
    refused(command("--extend", "@foreign"), "expected --labels")
    refused(command("--cosine", "plain"), "expected --labels")
    refused(command("--confusion", place / "a.txt"), "a.txt", "ends in .png")
    refused(command("--json", place / "none" / "a.json"), "a.json", "folder does not exist")
    refused(command(model="nothing"), "'nothing'", "no such file")


def test_labels_of_another_clip_are_refused(command, place):
    vectors = RNG.normal(size=(3, 8))
    np.savez(place / "other.npz", own_vitb32=vectors, own_vitb32__names=CLASSES)
    refused(command("--labels", place / "other.npz"), "a.safetensors", "ViT-B/16", "ViT-B/32")
    refused(command("--labels", "@own", "--extend", "@vitb32"), "a.safetensors", "ViT-B/16", "ViT-B/32")


def test_an_empty_class_folder_is_refused(command, place):
    for name in ("cat", "dog", "ship"):
        (place / "photos" / name).mkdir(parents=True)
    for name in ("cat", "ship"):
        Image.new("RGB", (16, 16)).save(place / "photos" / name / "a.png")
    refused(command(images="photos"), "dog: no images in this class folder")
