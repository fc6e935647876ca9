import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from spikeclip import checkpoint
from spikeclip.checkpoint import Checkpoint, load, save
from spikeclip.encoder import SpikeClip
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing


@pytest.fixture
def made(make_encoder):
    encoder = make_encoder()
    torch.manual_seed(3)
    model = SpikeClip(encoder, nn.Linear(16, 2), ("cat", "dog")).eval()
    return Checkpoint(model, Preprocessing(image_size=16), {"test": {"accuracy": 0.5}})


@pytest.fixture
def path(made, tmp_path):
    save(made, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def contents(path):
    """Tensors and metadata of a checkpoint file, to be changed."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["spikeclip"])  # noqa: SIM118


def rewrite(path, tensors, metadata):
    save_file(tensors, path, metadata={"spikeclip": json.dumps(metadata)})


def test_what_is_loaded_computes_what_was_saved(made, path):
    found = load(path)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(found.model(images), made.model(images), rtol=0, atol=0)
    assert (found.config, found.preprocessing, found.card) == (made.config, made.preprocessing, made.card)
    assert (found.label_names, found.path) == (("cat", "dog"), path)
    assert not found.model.training
    assert list(path.parent.iterdir()) == [path]


def test_preprocessing_for_another_encoder_is_refused(made):
    with pytest.raises(RefusedInput, match="makes 3 channels of 32 pixels; expected the encoder's 3 of 16"):
        Checkpoint(made.model, Preprocessing(image_size=32))


def test_a_shipped_checkpoint_is_found_by_name(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "shipped", lambda: {"named": path})
    assert load("named").path == path
    with pytest.raises(RefusedInput, match=r"'other': no such file, and none of that name .*those that do: named"):
        load("other")


def test_every_shipped_checkpoint_loads():
    for name in checkpoint.shipped():
        assert 0 < load(name).card["test"]["accuracy"] <= 1


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RefusedInput, match=r"a\.safetensors: not a readable \.safetensors file"):
        load(path)


def test_tensors_of_another_program_are_refused(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(RefusedInput, match=r"a\.safetensors: no SpikeCLIP metadata"):
        load(tmp_path / "a.safetensors")


def test_weight_that_is_not_finite_is_refused_by_name(path):
    tensors, metadata = contents(path)
    tensors["encoder.block.0.mlp.hidden.synapse.conv.weight"][3, 1] = float("nan")
    rewrite(path, tensors, metadata)
    with pytest.raises(RefusedInput, match=r"encoder\.block\.0\.mlp\.hidden\.synapse\.conv\.weight holds values"):
        load(path)


def test_tensors_of_another_architecture_are_refused(path):
    tensors, metadata = contents(path)
    rewrite(path, {**tensors, "encoder.text.weight": torch.ones(1)}, metadata)
    with pytest.raises(RefusedInput, match=r"encoder\.text\.weight is not in this architecture"):
        load(path)
    rewrite(path, {name: t for name, t in tensors.items() if name != "encoder.head.bias"}, metadata)
    with pytest.raises(RefusedInput, match=r"encoder\.head\.bias is missing"):
        load(path)
    rewrite(path, tensors, {**metadata, "config": {**metadata["config"], "width": 24}})
    with pytest.raises(RefusedInput, match=r"has the shape \[.*\]; expected \[.*\]"):
        load(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format_version": 99}, "checkpoint format 99; expected 1"),
        ({"config": 3}, "its metadata has no config"),
        ({"card": None}, "its metadata has no card"),
        ({"label_names": "cat"}, "its metadata has no label_names"),
        ({"label_names": ["cat"]}, r"readout.weight has the shape .*; expected"),
        ({"preprocessing": {"image_size": 16}}, "preprocessing"),
        ({"preprocessing": Preprocessing(image_size=32).to_dict()}, "of 32 pixels; expected the encoder's 3 of 16"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(path, change, sentence):
    tensors, metadata = contents(path)
    rewrite(path, tensors, {**metadata, **change})
    with pytest.raises(RefusedInput, match=rf"a\.safetensors: .*{sentence}"):
        load(path)


@pytest.mark.parametrize(("field", "value"), [("tau", "2"), ("depth", 0), ("time_steps", None)])
def test_configuration_out_of_range_is_refused_with_the_file(path, field, value):
    tensors, metadata = contents(path)
    metadata["config"][field] = value
    rewrite(path, tensors, metadata)
    with pytest.raises(RefusedInput, match=rf"a\.safetensors: {field} is"):
        load(path)


def test_metadata_that_is_not_json_is_refused(path):
    tensors, _ = contents(path)
    save_file(tensors, path, metadata={"spikeclip": "{"})
    with pytest.raises(RefusedInput, match="its metadata is not JSON"):
        load(path)


@pytest.mark.parametrize("name", ["spike-driven-small", "paper-small"])
def test_a_checkpoint_from_before_there_were_stems_is_written_again_as_it_was(name, tmp_path):
    old = checkpoint.shipped()[name]
    tensors, metadata = contents(old)
    assert "stem_pools" not in metadata["config"]
    save(load(name), tmp_path / "again.safetensors")
    again, told = contents(tmp_path / "again.safetensors")
    assert json.dumps(told) == json.dumps(metadata)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[each], tensors[each]) for each in tensors)


def test_a_stem_of_its_own_is_read_back(make_encoder, tmp_path):
    encoder = make_encoder(stem_pools=(1, 3), stem_channels=(3, 5, 7, 9))
    model = SpikeClip(encoder, nn.Linear(16, 2), ("cat", "dog")).eval()
    save(Checkpoint(model, Preprocessing(image_size=16)), tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").config == encoder.config
