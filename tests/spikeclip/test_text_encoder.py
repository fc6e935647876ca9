"""The text encoder against its equations, written out once more in float64, and its checkpoints, ours and published."""

import argparse
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from spikeclip.checkpoint import load
from spikeclip.errors import RefusedInput
from spikeclip.text_checkpoint import TextCheckpoint, load_text, save_text
from spikeclip.text_config import TextEncoderConfig
from spikeclip.text_encoder import SpikingTextEncoder, start_from_clip

SMALL = TextEncoderConfig(vocabulary=12, positions=9, token_width=6, tokens=5, hidden_width=7, embedding_width=3)


def random_state(config, seed=0):
    """A state dict of the published `Language_Encoder`, with embeddings on both sides of the threshold."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    inputs = config.tokens * config.token_width
    return {
        "weights_tensor": torch.tensor([math.log(0.1 * 2**t) for t in range(config.time_steps)]).reshape(1, -1, 1),
        "clip_embedding.token_embedding.weight": 2 * normal(config.vocabulary, config.token_width),
        "clip_embedding.position_embedding.weight": normal(config.positions, config.token_width),
        "fc1.weight": normal(config.hidden_width, inputs),
        "fc1.bias": normal(config.hidden_width),
        "fc2.weight": normal(config.embedding_width, config.hidden_width),
        "fc2.bias": normal(config.embedding_width),
    }


def oracle(state, sentence):
    """One sentence, one neuron after the other, in Python's floats."""
    state = {name: tensor.double().tolist() for name, tensor in state.items()}
    token, position = (state[f"clip_embedding.{name}_embedding.weight"] for name in ("token", "position"))
    x = [e + p for i, number in enumerate(sentence) for e, p in zip(token[number], position[i], strict=True)]
    membranes, hidden = [0.0] * len(x), [0.0] * len(state["fc1.bias"])
    total = [0.0] * len(state["fc2.bias"])

    def fire(membranes, inputs):
        spikes = []
        for i, current in enumerate(inputs):
            v = membranes[i] + (current - membranes[i]) / 2
            spikes.append(v >= 1)
            membranes[i] = 0.0 if v >= 1 else v
        return spikes

    def linear(name, spikes):
        rows = zip(state[f"{name}.weight"], state[f"{name}.bias"], strict=True)
        return [math.fsum([bias, *(w for w, s in zip(row, spikes, strict=True) if s)]) for row, bias in rows]

    for (w,) in state["weights_tensor"][0]:
        out = linear("fc2", fire(hidden, linear("fc1", fire(membranes, x))))
        total = [a + w * b for a, b in zip(total, out, strict=True)]
    return total


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 6),
    sentences=st.lists(st.lists(st.integers(0, 11), min_size=5, max_size=5), min_size=1, max_size=3),
)
def test_the_encoder_is_its_equations(seed, steps, sentences):
    config = replace(SMALL, time_steps=steps)
    state = random_state(config, seed)
    model = SpikingTextEncoder(config).double()
    model.load_state_dict(state)  # the published names and shapes
    found = model(torch.tensor(sentences))
    expected = torch.tensor([oracle(state, sentence) for sentence in sentences], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(torch.tensor(sentences)), found, rtol=0, atol=0)  # membranes start at rest


@pytest.mark.parametrize(("current", "expected"), [(2.0, 4), (math.nextafter(2.0, 0), 2)])
def test_a_membrane_at_its_threshold_fires(current, expected):
    # 2 brings a membrane at rest to 1 in one step; a little less takes two steps of the four.
    config = TextEncoderConfig(1, 1, 1, 1, 1, 1, time_steps=4)
    model = SpikingTextEncoder(config).double()
    weights = {"token_embedding": current, "position_embedding": 0.0}
    with torch.no_grad():
        for name, value in weights.items():
            getattr(model.clip_embedding, name).weight.fill_(value)
        for layer, bias in ((model.fc1, 0), (model.fc2, 0)):
            layer.weight.fill_(2)
            layer.bias.fill_(bias)
        model.weights_tensor.fill_(1)
    assert model(torch.tensor([[0]])).item() == 2 * expected


def test_the_defaults_are_the_published_sizes():
    config = TextEncoderConfig()
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in SpikingTextEncoder(config).state_dict().items()}
    assert shapes == {
        "weights_tensor": (1, 4, 1),
        "clip_embedding.token_embedding.weight": (49408, 512),
        "clip_embedding.position_embedding.weight": (77, 512),
        "fc1.weight": (2048, 20 * 512),
        "fc1.bias": (2048,),
        "fc2.weight": (512, 2048),
        "fc2.bias": (512,),
    }
    weights = SpikingTextEncoder(SMALL).weights_tensor.flatten().tolist()
    assert weights == pytest.approx([-2.3026, -1.6094, -0.9163, -0.2231], abs=1e-4)


def test_gradients_reach_every_parameter_even_where_nothing_fires():
    torch.manual_seed(0)
    model = SpikingTextEncoder(SMALL)
    tables = [0.02 * torch.randn(12, 6), 0.01 * torch.randn(9, 6)]
    start_from_clip(model, *tables)
    tokens = torch.arange(10).view(2, 5)
    embedding = model(tokens)
    assert torch.equal(embedding[0], embedding[1])  # CLIP's own tables are far below the threshold: no spikes
    embedding.sum().backward()
    assert model.clip_embedding.token_embedding.weight.grad[:10].abs().min() > 0
    assert model.fc1.bias.grad.abs().min() > 0
    torch.testing.assert_close(model.clip_embedding.token_embedding.weight, tables[0])


def test_tables_of_another_width_are_refused():
    with pytest.raises(RefusedInput, match=r"token embeddings are \[12, 8\]; expected \[12, 6\]"):
        start_from_clip(SpikingTextEncoder(SMALL), torch.zeros(12, 8), torch.zeros(9, 8))


@pytest.fixture
def checkpoint():
    model = SpikingTextEncoder(SMALL).eval().requires_grad_(False)
    model.load_state_dict(random_state(SMALL))
    return TextCheckpoint(model, {"clip": "ViT-B/16"})


def test_a_checkpoint_is_read_as_it_was_written(checkpoint, tmp_path):
    path = tmp_path / "text.safetensors"
    save_text(checkpoint, path)
    found = load_text(path)
    assert (found.config, found.card, found.path) == (SMALL, {"clip": "ViT-B/16"}, path)
    for name, tensor in checkpoint.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor)
    tokens = torch.arange(10).view(2, 5)
    assert torch.equal(found.model(tokens), checkpoint.model(tokens))
    assert not found.model.training
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_published_checkpoint_is_read(tmp_path, prefix, wrapped):
    state = random_state(SMALL)
    stored = {prefix + name: tensor for name, tensor in state.items()}
    stored[f"{prefix}clip_embedding.position_ids"] = torch.arange(9).view(1, -1)  # as older transformers has it
    content = {"state_dict": stored, "epoch": 3, "args": argparse.Namespace(lr=5e-3)} if wrapped else stored
    torch.save(content, tmp_path / "text.pth.tar")
    found = load_text(tmp_path / "text.pth.tar")
    assert (found.config, found.card) == (SMALL, {"published": "Language_Encoder"})
    sentence = [3, 1, 4, 1, 5]
    expected = torch.tensor([oracle(state, sentence)], dtype=torch.float64)
    torch.testing.assert_close(found.model(torch.tensor([sentence])).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("fc1.weight", None, "fc1.weight is missing"),
        ("fc1.weight", torch.zeros(7, 5), r"tokens is 0; expected a positive integer"),
        ("fc1.weight", torch.zeros(7, 31), r"fc1.weight has the shape \[7, 31\], expected \[7, 30\]"),
        ("fc1.weight", torch.zeros(7, 60), "9 positions for 10 tokens"),
        ("fc2.weight", torch.zeros(3, 8), r"fc2.weight has the shape \[3, 8\], expected \[3, 7\]"),
        ("fc2.bias", torch.full((3,), math.nan), "fc2.bias holds values that are not finite"),
        ("weights_tensor", torch.zeros(4), r"weights_tensor has the shape \[4\]; expected 3 dimensions"),
        ("ln1.weight", torch.zeros(7), "ln1.weight is unknown"),
    ],
)
def test_a_published_file_of_another_model_is_refused(tmp_path, name, tensor, words):
    state = {**random_state(SMALL), name: tensor}
    torch.save({key: t for key, t in state.items() if t is not None}, tmp_path / "text.pth")
    with pytest.raises(RefusedInput, match=rf"text\.pth: .*{words}"):
        load_text(tmp_path / "text.pth")


def test_a_file_that_would_execute_code_is_refused(tmp_path):
    torch.save({"state_dict": print}, tmp_path / "text.pth")
    with pytest.raises(RefusedInput, match=r"text\.pth: not readable as a PyTorch file of tensors"):
        load_text(tmp_path / "text.pth")


def test_files_of_another_kind_are_refused(checkpoint, tmp_path):
    with pytest.raises(RefusedInput, match=r"nowhere\.safetensors: no such file"):
        load_text(tmp_path / "nowhere.safetensors")
    with pytest.raises(RefusedInput, match=r"is no text encoder \(spikeclip-checkpoint\)"):
        load_text(load("spike-driven-small").path)
    save_text(checkpoint, tmp_path / "text.safetensors")
    with pytest.raises(RefusedInput, match=r"text\.safetensors: its metadata has no label_names"):
        load(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(RefusedInput, match=r"other\.safetensors: no SpikeCLIP metadata"):
        load_text(tmp_path / "other.safetensors")


@pytest.mark.parametrize("change", [{"tokens": 10}, {"hidden_width": 0}, {"tau": 1.0}, {"v_threshold": math.inf}])
def test_sizes_that_make_no_encoder_are_refused(change):
    with pytest.raises(RefusedInput, match="expected"):
        replace(SMALL, **change)


@pytest.mark.parametrize("change", [{"depth": 4}, {"tokens": None}])
def test_a_configuration_with_other_keys_is_refused(change):
    values = {key: value for key, value in {**SMALL.to_dict(), **change}.items() if value is not None}
    with pytest.raises(RefusedInput, match=f"unknown or missing {next(iter(change))}"):
        TextEncoderConfig.from_dict(values)
