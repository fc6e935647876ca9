"""What a run starts from: an encoder with a stem of other sizes, grown so that it computes the same at first."""

from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based import neuron

from spikeclip.checkpoint import Checkpoint
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import SpikeClip
from spikeclip.errors import RefusedInput
from spikeclip.fine_tuning import FineTuning, grown
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe
from spikeclip.training import train

RECIPE = Recipe(schedule=((2, 1),), batch_size=8)


def start(encoder, quantized=False):
    model = SpikeClip(encoder, torch.nn.Linear(encoder.config.width, 2), ("dark", "bright"))
    return FineTuning(Checkpoint(model, Preprocessing(encoder.config.image_size)), quantized)


def spikes(encoder, images, channels):
    """Spikes of every population, of its first channels where `channels` names it; and the features."""
    found = {}
    for name, module in encoder.named_modules():
        if isinstance(module, neuron.LIFNode):
            n = channels.get(name)
            module.register_forward_hook(lambda m, i, out, name=name, n=n: found.__setitem__(name, out[:, :, :n]))
    return found, encoder.features(images)


@pytest.mark.parametrize("channels", [(2, 4, 8, 16), (3, 4, 8, 16), (5, 9, 8, 40), (2, 4, 8, 17)])
def test_a_grown_encoder_computes_the_same_at_first(make_encoder, channels):
    old = make_encoder(time_steps=3, depth=2).double()
    made = grown(old.float(), replace(old.config, stem_channels=channels)).eval().double()
    old.double()
    assert [part.lif is not None for part in made.stem.layers] == [True] * 4
    images = torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4 - 2
    first = {f"stem.layers.{i}.lif": n for i, n in enumerate(old.config.stem_widths[:4])}
    (before, features), (after, same) = spikes(old, images, first), spikes(made, images, first)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(train.any() for train in before.values())
    torch.testing.assert_close(features, same)


def test_what_is_new_learns(make_encoder):
    old = make_encoder(time_steps=1)
    made = grown(old, replace(old.config, stem_channels=(2, 4, 12, 16))).train()
    made(torch.rand(8, 3, 16, 16) * 4 - 2).square().sum().backward()
    read = made.stem.layers[3].synapse.conv.weight.grad
    assert read[:, 8:].abs().min(0).values.max() > 0


def test_other_pools_and_time_steps_keep_the_weights(make_encoder):
    old = make_encoder(time_steps=4)
    made = start(old).encoder(replace(old.config, stem_pools=(1, 2), time_steps=1))
    assert (made.config.stem_pools, made.config.time_steps) == ((1, 2), 1)
    assert all(torch.equal(tensor, old.state_dict()[name]) for name, tensor in made.state_dict().items())
    assert all(p.requires_grad for p in made.parameters())
    made.stem.tokens.conv.weight.data.zero_()
    assert old.stem.tokens.conv.weight.any()


@pytest.mark.parametrize(
    ("changes", "quantized", "sentence"),
    [
        ({"depth": 2}, False, "its depth is not the run's"),
        ({"width": 24, "tau": 3.0}, False, "its width, tau is not the run's"),
        ({"stem_channels": (2, 3, 8, 16)}, False, r"has \(2, 4, 8, 16, 16\) channels; expected at most .*\(2, 3,"),
        ({"stem_pools": (2, 3)}, True, "its stem_pools is not the run's"),
    ],
)
def test_what_a_stem_can_not_be_grown_to_is_refused(make_encoder, changes, quantized, sentence):
    old = make_encoder()
    with pytest.raises(RefusedInput, match=sentence):
        start(old, quantized).check(replace(old.config, **changes), Preprocessing(16), RECIPE)


def test_a_published_encoder_is_not_grown(make_encoder):
    paper = make_encoder(architecture="paper", heads=2)
    with pytest.raises(RefusedInput, match="its time_steps is not the run's"):
        start(paper).check(replace(paper.config, time_steps=2), Preprocessing(16), RECIPE)


def test_a_run_from_a_narrower_stem_trains_and_says_where_it_began(make_encoder, task, labels, tmp_path):
    begin = start(make_encoder(time_steps=4))
    config = SpikeClipConfig(
        width=16,
        depth=1,
        image_size=16,
        embedding_width=8,
        time_steps=2,
        stem_pools=(2, 3),
        stem_channels=(4, 4, 8, 16),
    )
    made = train(config, RECIPE, Preprocessing(16), task, task, labels, tmp_path / "a.safetensors", start=begin)
    assert made.config == config
    assert made.card["start"] == begin.to_dict()
    assert made.card["config"]["stem_channels"] == [4, 4, 8, 16]
