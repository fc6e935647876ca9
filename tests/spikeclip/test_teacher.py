"""Teachers: the twin's checkpoint, CLIP from a folder (where transformers is installed), and the cache of features."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spikeclip.checkpoint import load
from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing
from spikeclip.published import CLIP_MEAN, CLIP_STD
from spikeclip.teacher import TwinTeacher, cached_features, load_teacher
from spikeclip.twin import AnnTwin
from spikeclip.twin_checkpoint import TwinCheckpoint, load_twin, save_twin

CONFIG = SpikeClipConfig(width=16, depth=1, heads=2, image_size=16, embedding_width=8)


@pytest.fixture
def twin():
    torch.manual_seed(0)
    model = AnnTwin(CONFIG)
    model(torch.randn(8, 3, 16, 16))  # statistics that aren't the initial ones
    model = model.eval().requires_grad_(False)
    return TwinCheckpoint(model, CONFIG, Preprocessing(16), ("dark", "bright"), 7.5, True, {"test": None})


def test_a_twins_checkpoint_is_read_as_it_was_written(twin, tmp_path):
    save_twin(twin, tmp_path / "a.safetensors")
    found = load_twin(tmp_path / "a.safetensors")
    assert replace(found, model=twin.model, path=None) == twin
    assert json.loads((tmp_path / "a.json").read_text()) == {"test": None}
    for name, tensor in twin.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor)


def test_a_twin_with_preprocessing_for_another_encoder_is_refused(twin):
    with pytest.raises(RefusedInput, match="makes 3 channels of 32 pixels; expected the encoder's 3 of 16"):
        replace(twin, preprocessing=Preprocessing(32))


@pytest.mark.parametrize("centred", [True, False])
def test_the_twins_logits_are_its_cosines(twin, task, labels, tmp_path, centred):
    save_twin(replace(twin, centred=centred), tmp_path / "a.safetensors")
    teacher = load_teacher(str(tmp_path / "a.safetensors"))
    images = task.images[:5]
    features = twin.model(torch.from_numpy(twin.preprocessing(images))).numpy()
    # Batches of other sizes are summed in another order by some processors' libraries.
    np.testing.assert_allclose(teacher.image_features(images), features, rtol=0, atol=1e-6)
    vectors = labels.directions() if centred else labels.unit()
    for row, feature in zip(teacher.logits(images, labels), features, strict=True):
        np.testing.assert_allclose(row, 7.5 * vectors @ feature / np.linalg.norm(feature), rtol=1e-5)


def test_the_shipped_twin_is_found_by_its_name():
    teacher = load_teacher("twin-small")
    found = load_twin("twin-small")
    assert teacher.name.endswith("twin-small.safetensors")
    assert found.card["test"]["accuracy"] > 0.89
    assert len(found.label_names) == 10


def test_files_of_the_other_kind_are_refused(twin, tmp_path):
    save_twin(twin, tmp_path / "a.safetensors")
    with pytest.raises(RefusedInput, match=r"a\.safetensors.*another model"):
        load(tmp_path / "a.safetensors")
    shipped = load("spike-driven-small")
    with pytest.raises(RefusedInput, match=r"is no twin .*expected one of spikeclip-train --twin"):
        load_teacher(str(shipped.path))
    with pytest.raises(RefusedInput, match=r"nowhere\.safetensors: no such file"):
        load_teacher("nowhere.safetensors")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(RefusedInput, match=r"a\.txt: expected a twin's checkpoint"):
        load_teacher(str(tmp_path / "a.txt"))


def test_features_are_kept_and_not_computed_again(twin, task, tmp_path, monkeypatch):
    teacher, cache = TwinTeacher(twin), tmp_path / "features.npz"
    first = cached_features(teacher, task, cache, batch_size=7)
    np.testing.assert_allclose(first, teacher.image_features(task.images), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(teacher, "image_features", None)
    np.testing.assert_array_equal(cached_features(teacher, task, cache), first)
    with pytest.raises(RefusedInput, match="of other images or another teacher"):
        cached_features(teacher, replace(task, images=255 - task.images), cache)
    other = TwinTeacher(replace(twin, model=AnnTwin(CONFIG)))
    with pytest.raises(RefusedInput, match="of other images or another teacher"):
        cached_features(other, task, cache)
    cache.write_bytes(cache.read_bytes()[:100])
    with pytest.raises(RefusedInput, match=r"not a readable \.npz file"):
        cached_features(teacher, task, cache)
    with pytest.raises(RefusedInput, match="its folder does not exist"):
        cached_features(teacher, task, tmp_path / "nowhere" / "features.npz")


@pytest.mark.parametrize(
    ("files", "words"), [([], "has no config.json"), (["config.json"], "has no model.safetensors or .*; expected")]
)
def test_a_clip_folder_with_missing_files_is_refused(tmp_path, files, words):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(RefusedInput, match=words):
        load_teacher(str(tmp_path))


def test_a_missing_transformers_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RefusedInput, match="'some/clip': reading it takes the package transformers, which"):
        load_teacher("some/clip")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A random CLIP in a folder, as transformers saves one."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 20, "bos_token_id": 1, "eos_token_id": 3},
        vision_config={**sizes, "image_size": 24, "patch_size": 8},
        projection_dim=8,
    )
    folder = tmp_path_factory.mktemp("clip")
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


def test_clip_sees_images_as_clip_does(clip_folder, task, labels):
    transformers = pytest.importorskip("transformers")
    model = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    teacher = load_teacher(str(clip_folder))
    assert (teacher.embedding_width, round(teacher.scale, 3)) == (8, round(model.logit_scale.exp().item(), 3))
    images = np.full(
        (2, 16, 16, 3), [[[[200, 100, 50]]], [[[0, 255, 30]]]], np.uint8
    )  # plain: resizing changes nothing
    pixels = (images[:, :1, :1] - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    x = torch.from_numpy(pixels).float().permute(0, 3, 1, 2).expand(2, 3, 24, 24)
    with torch.no_grad():
        output = model(pixel_values=x, input_ids=torch.tensor([[1, 2, 3]]))
    features = teacher.image_features(images)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, output.image_embeds.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(teacher.logits(images, labels), teacher.scale * unit @ labels.unit().T, rtol=1e-4)
    assert not np.allclose(*teacher.image_features(task.images[:2]))
    assert teacher.to_dict() == load_teacher(str(clip_folder)).to_dict()


@pytest.mark.parametrize(
    ("broken", "words"),
    [("config.json", "its config.json is no readable JSON"), ("model.safetensors", "holds no readable CLIP")],
)
def test_a_folder_with_a_broken_file_is_refused(clip_folder, tmp_path, broken, words):
    for name in ("config.json", "model.safetensors"):
        content = (clip_folder / name).read_bytes()
        (tmp_path / name).write_bytes(content[:40] if name == broken else content)
    with pytest.raises(RefusedInput, match=words):
        load_teacher(str(tmp_path))


def test_a_folder_that_lacks_a_tensor_is_refused(clip_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((clip_folder / "config.json").read_bytes())
    tensors = load_file(clip_folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RefusedInput, match=r"tensor visual_projection\.weight is missing"):
        load_teacher(str(tmp_path))
