"""Published checkpoints: the encoder equals the published equations, and a file that doesn't fit is refused."""

import argparse
import datetime
import pickle
import re

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron

import spikeclip
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput, first_line
from spikeclip.labels import LabelSet
from spikeclip.published import describe, find_config, load_published, map_state, published_shapes
from tests.spikeclip.published import Oracle, random_state

SIZES = [
    # width, depth, hidden, heads, T, image, channels, embedding
    (48, 1, 192, 12, 4, 16, 3, 512),
    (64, 2, 256, 8, 4, 16, 3, 32),
    (100, 1, 250, 5, 3, 12, 3, 8),
    (32, 3, 96, 1, 6, 24, 1, 16),
    (24, 1, 61, 2, 1, 32, 2, 7),
    (96, 1, 384, 8, 4, 36, 3, 512),
]


def build(sizes, seed=0):
    width, depth, hidden, heads, steps, image, channels, embedding = sizes
    state = random_state(width, depth, hidden, steps, channels, embedding, seed)
    config = find_config(state, "a.pth", heads, image)
    encoder = Encoder(config)
    encoder.load_state_dict(map_state(state, config))
    return state, encoder.eval().requires_grad_(False)


def spikes_of(encoder, images):
    found = {}
    handles = [
        module.register_forward_hook(lambda m, i, out, name=name: found.__setitem__(name, out))
        for name, module in encoder.named_modules()
        if isinstance(module, neuron.LIFNode)
    ]
    embedding = encoder(images)
    for handle in handles:
        handle.remove()
    return embedding, {name: out.flatten(3) for name, out in found.items()}


def published_names(depth):
    """Our populations and the oracle's, which has Q, K and V apart."""
    names = {f"stem.layers.{i}.lif": (f"stem{i}",) for i in range(4)}
    for i in range(depth):
        attn = f"block.{i}.attn"
        names[f"{attn}.lif"] = (f"{attn}.in",)
        names[f"{attn}.qkv.lif"] = (f"{attn}.q", f"{attn}.k", f"{attn}.v")
        names[f"{attn}.out"] = (f"{attn}.out",)
        names[f"block.{i}.mlp.lif"] = (f"mlp_in{i}",)
        names[f"block.{i}.mlp.hidden.lif"] = (f"mlp_hidden{i}",)
    return names


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_spike_and_the_embedding_equal_the_published_equations(sizes):
    state, encoder = build(sizes)
    images = torch.randn(3, sizes[6], sizes[5], sizes[5], generator=torch.Generator().manual_seed(1))
    oracle = Oracle(state, sizes[3])
    expected = oracle(images)
    # In double precision no spike hangs on the order of a sum.
    embedding, spikes = spikes_of(encoder.double(), images.double())
    names = published_names(sizes[1])
    assert set(names) == set(spikes)
    for name, theirs in names.items():
        steps = torch.cat([torch.stack(oracle.spikes[part]).flatten(3) for part in theirs], dim=2)
        assert torch.equal(spikes[name], steps), name
        assert 0 < steps.mean() < 1, f"{name} is silent or always on, which proves nothing"
    torch.testing.assert_close(embedding, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("heads", [8, 12])
def test_full_size_equals_the_published_equations(heads):
    sizes = (384, 4, 1536, heads, 4, 32, 3, 512)
    state, encoder = build(sizes)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    oracle = Oracle(state, heads)
    expected = oracle(images)
    embedding, spikes = spikes_of(encoder.double(), images.double())
    for name, theirs in published_names(4).items():
        steps = torch.cat([torch.stack(oracle.spikes[part]).flatten(3) for part in theirs], dim=2)
        assert torch.equal(spikes[name], steps), name
        assert 0 < steps.mean() < 1, name
    torch.testing.assert_close(embedding, expected, rtol=1e-9, atol=1e-9)
    assert sum(p.numel() for p in encoder.parameters()) == 9_513_396


@pytest.fixture
def state():
    return random_state(16, 1, 64, embedding=8)


@pytest.fixture
def path(state, tmp_path):
    file = tmp_path / "model_best.pth.tar"
    # What timm's CheckpointSaver writes of a model under DistributedDataParallel.
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "arch": "x", "state_dict": wrapped, "args": argparse.Namespace(lr=0.1)}, file)
    return file


def test_a_published_file_is_loaded_with_its_head_as_readout(path, state):
    found = spikeclip.load(path, heads=4)
    assert (found.config.architecture, found.config.heads, found.config.mlp_ratio) == ("paper", 4, 4)
    assert found.label_names == ()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(found.model(images), found.model.encoder(images), rtol=0, atol=0)
    assert found.preprocessing.mean[0] == pytest.approx(122.77, abs=0.01)
    assert "width 16, blocks 1, heads 4 of 4 channels" in found.card["published"]


def test_prefix_and_wrapping_do_not_matter(path, state, tmp_path):
    torch.save(state, tmp_path / "bare.pt")
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    one, other = (spikeclip.load(p, heads=2).model(images) for p in (path, tmp_path / "bare.pt"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_labels_are_folded_into_the_readout_as_cosines(path):
    vectors = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    labelled = spikeclip.load(path, heads=4, labels=LabelSet(("a", "b", "c"), vectors))
    images = torch.randn(2, 3, 32, 32)
    embedding = labelled.model.encoder(images)
    cosines = torch.cosine_similarity(embedding[:, None], torch.from_numpy(vectors)[None], dim=2)
    expected = cosines * embedding.norm(dim=1, keepdim=True)
    torch.testing.assert_close(labelled.model(images), expected, rtol=1e-4, atol=1e-5)
    assert labelled.label_names == ("a", "b", "c")


def test_labels_of_another_width_are_refused(path):
    labels = LabelSet(("a", "b"), np.eye(2, 16, dtype=np.float32))
    with pytest.raises(RefusedInput, match="embeds in 8 dimensions; the label vectors have 16"):
        spikeclip.load(path, heads=4, labels=labels)


def test_the_number_of_heads_has_to_be_given_and_to_fit(path):
    with pytest.raises(RefusedInput, match=r"model_best\.pth\.tar: .*expected --heads N"):
        spikeclip.load(path)
    with pytest.raises(RefusedInput, match=r"model_best\.pth\.tar: width 16 is not divisible by heads 3"):
        spikeclip.load(path, heads=3)


def test_options_of_published_files_are_refused_with_others():
    name = next(iter(spikeclip.checkpoint.shipped()))
    with pytest.raises(RefusedInput, match="holds its own sizes; expected --heads with a published"):
        spikeclip.load(name, heads=8)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("block.0.attn.q_bn.weight"), r"block\.0\.attn\.q_bn\.weight is missing"),
        (lambda s: s.update(extra=torch.ones(1)), "extra is unknown"),
        (
            lambda s: s.update({"block.0.attn.v_conv.weight": torch.ones(16, 8, 1)}),
            r"v_conv\.weight has the shape \[16, 8, 1\], expected \[16, 16, 1\]",
        ),
        (lambda s: s["proj.bias"].fill_(float("nan")), r"proj\.bias holds values that are not finite"),
        (lambda s: s.pop("weights_tensor"), "tensor weights_tensor is missing; expected 3 dimensions"),
        (lambda s: s.update({"proj.weight": torch.ones(3)}), r"tensor proj\.weight has the shape \[3\]; expected 2"),
        (lambda s: s.pop("patch_embed.block0_conv.weight"), r"patch_embed\.block0_conv\.weight is missing"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(state, tmp_path, change, sentence):
    change(state)
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(RefusedInput, match=rf"a\.pth: .*{sentence}"):
        spikeclip.load(tmp_path / "a.pth", heads=4)


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        (lambda w: w.to_sparse(), "'proj.weight' is sparse"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "'proj.weight' is quantised"),
        (lambda w: w.to("meta"), "'proj.weight' is without numbers"),
        (lambda w: w + 1j * w, "'proj.weight' is complex"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_tensors_that_are_no_arrays_of_real_numbers_are_refused(state, tmp_path, odd, sentence):
    torch.save({**state, "proj.weight": odd(state["proj.weight"])}, tmp_path / "odd.pth")
    with pytest.raises(RefusedInput, match=sentence):
        load_published(tmp_path / "odd.pth", 2, 16)


def test_a_name_with_and_without_its_prefix_is_refused(state, tmp_path):
    torch.save({**state, "module.proj.weight": 2 * state["proj.weight"]}, tmp_path / "twice.pth")
    with pytest.raises(RefusedInput, match=r"'module.proj.weight' stands there without module\. too"):
        load_published(tmp_path / "twice.pth", 2, 16)


def test_more_time_steps_than_the_readout_has_weights_for_are_refused(state, tmp_path):
    torch.save({**state, "weights_tensor": torch.ones(1, 1100, 1)}, tmp_path / "long.pth")
    with pytest.raises(RefusedInput, match="time_steps is 1100; expected at most 1000"):
        load_published(tmp_path / "long.pth", 2, 16)


def test_many_wrong_tensors_are_counted(state, tmp_path):
    torch.save({f"visual.{n}" if "attn" in n else n: t for n, t in state.items()}, tmp_path / "a.pth")
    with pytest.raises(RefusedInput, match="; and 37 more"):
        spikeclip.load(tmp_path / "a.pth", heads=4)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x04N."])
def test_unreadable_files_are_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(RefusedInput, match=r"a\.pth: not readable as a PyTorch file"):
        spikeclip.load(tmp_path / "a.pth", heads=4)


class Payload:
    """Unpickling it would run a command."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_nothing_in_a_file_is_executed(state, tmp_path):
    torch.save({"state_dict": state, "args": Payload()}, tmp_path / "a.pth")
    with pytest.raises(RefusedInput, match="not readable as a PyTorch file of tensors"):
        spikeclip.load(tmp_path / "a.pth", heads=4)


@pytest.mark.parametrize("content", [[torch.ones(2)], {"state_dict": {}}, {"state_dict": {"epoch": 3}}, torch.ones(2)])
def test_files_without_a_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(RefusedInput, match="holds no state_dict of tensors"):
        load_published(tmp_path / "a.pth", 4)


def test_the_published_shapes_are_those_of_the_published_class():
    state = random_state(40, 2, 100, 4)
    config = find_config(state, "a.pth", 5, 32)
    shapes = {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert published_shapes(config) == shapes
    assert re.search(r"MLP of 100, T = 4, 32×32 pixels, embedding of 512, [\d,]+ parameters", describe(config))


class Whole(torch.nn.Module):
    """A model that somebody saved as it is."""


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (torch.nn.Sequential(torch.nn.Linear(2, 2)), "torch.nn.modules.container.Sequential"),
        ({"epoch": 3, "model": Whole()}, f"{__name__}.Whole"),
        ({"state_dict": {"a": torch.ones(1)}, "when": datetime.date(2024, 5, 1)}, "datetime.date"),
    ],
)
def test_a_pickled_object_is_refused_by_name_with_what_to_save_instead(tmp_path, content, named, old_format):
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(RefusedInput) as caught:
        spikeclip.load(tmp_path / "a.pth", heads=4)
    assert str(caught.value) == (
        f"{tmp_path / 'a.pth'}: not readable as a PyTorch file of tensors: it holds {named}, which takes executing "
        "code from the file; expected what torch.save(model.state_dict(), FILE) writes where the model was made"
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_and_a_plain_pickle_are_refused_likewise(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "a.pt"))
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"weights": [1.0]}))
    for name, what in (("a.pt", "a TorchScript program"), ("b.pth", "pickled objects")):
        with pytest.raises(RefusedInput, match=rf"{name}: .*it holds {what}.*model\.state_dict\(\)"):
            spikeclip.load(tmp_path / name, heads=4)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\x1b[1mWeights only\x1b[0m load\nmore", "Weights only load"),
        ("\x1b[38;5;196mred\x1b[K", "red"),
        ("\x1b[0m\n", "ValueError"),
    ],
)
def test_what_a_library_says_is_quoted_without_codes_for_terminals(text, line):
    assert first_line(ValueError(text)) == line


def doubled(state):
    return {name: 2 * tensor if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("entries", "taken", "said"),
    [
        (["state_dict", "state_dict_ema"], 1, "weights: state_dict; not its state_dict_ema"),  # timm's CheckpointSaver
        (["model", "model_ema"], 1, "weights: model; not its model_ema"),  # timm's and DeiT's main.py
        (["ema", "model"], 1, "weights: model; not its ema"),  # DiT, YOLO
        (["state_dict_ema"], 2, "weights: state_dict_ema (averaged, EMA)"),
    ],
)
def test_which_of_weights_and_their_average_is_taken_is_said(state, tmp_path, entries, taken, said):
    content = {key: doubled(state) if "ema" in key else state for key in entries}
    torch.save({**content, "epoch": 7, "optimizer": {"state": {}, "param_groups": []}}, tmp_path / "last.pth.tar")
    found = spikeclip.load(tmp_path / "last.pth.tar", heads=2)
    assert found.card["published"].endswith(said)
    torch.testing.assert_close(found.model.encoder.head.weight, taken * state["proj.weight"], rtol=0, atol=0)


@pytest.mark.parametrize("entry", ["model", "net", "model_state_dict"])
def test_a_single_set_of_weights_needs_no_word(state, tmp_path, entry):
    torch.save({entry: {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 7}, tmp_path / "a.pth")
    assert "weights:" not in spikeclip.load(tmp_path / "a.pth", heads=2).card["published"]
