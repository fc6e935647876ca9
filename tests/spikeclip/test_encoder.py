import pytest
import torch
from spikingjelly.activation_based import layer, neuron

from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder, SpikeClip, fold_readout
from spikeclip.layers import SpikingConv
from spikeclip.neurons import And, TokenSum, lif


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(7)) * 4 - 2


def outputs_of(encoder, images, kinds):
    """Outputs of all modules of these kinds, by path, in one pass."""
    found = {}
    handles = [
        module.register_forward_hook(lambda m, i, out, name=name: found.__setitem__(name, out))
        for name, module in encoder.named_modules()
        if isinstance(module, kinds)
    ]
    encoder(images)
    for handle in handles:
        handle.remove()
    return found


def test_shapes_time_first_channels_before_rows(make_encoder, images):
    encoder = make_encoder(width=16, depth=2, time_steps=3)
    outputs = outputs_of(encoder, images, (neuron.LIFNode, And, TokenSum))
    assert outputs["stem.layers.0.lif"].shape == (3, 3, 2, 16, 16)
    assert outputs["block.1.attn.sum"].shape == (3, 3, 16, 1, 1)
    assert outputs["block.1.mlp.hidden.lif"].shape == (3, 3, 64, 4, 4)
    assert outputs["lif"].shape == (3, 3, 16, 4, 4)
    assert encoder(images).shape == (3, 8)


def test_every_synapse_but_the_first_sees_spikes_only(make_encoder, images):
    encoder = make_encoder(depth=2)
    seen = {}
    for name, module in encoder.named_modules():
        if isinstance(module, layer.Conv2d):
            module.register_forward_hook(lambda m, inputs, out, name=name: seen.__setitem__(name, inputs[0]))
    encoder(images)
    assert len(seen) == 5 + 2 * 6
    for name, x in seen.items():
        if name != "stem.layers.0.synapse.conv":
            assert set(x.unique().tolist()) == {0.0, 1.0}, name


def test_a_call_leaves_nothing_behind_for_the_next(make_encoder, images):
    encoder = make_encoder()
    first = encoder(images)
    encoder(torch.ones_like(images))
    torch.testing.assert_close(encoder(images), first, rtol=0, atol=0)


def test_images_of_a_batch_do_not_touch_each_other(make_encoder, images):
    encoder = make_encoder()
    together = outputs_of(encoder, images, neuron.LIFNode)["lif"]
    alone = outputs_of(encoder, images[1:2], neuron.LIFNode)["lif"]
    torch.testing.assert_close(together[:, 1:2], alone, rtol=0, atol=0)


def test_time_steps_can_be_overridden(make_encoder, images):
    encoder = make_encoder(time_steps=4)
    features = encoder.features(images, time_steps=1)
    assert set((features * 16).unique().tolist()) <= set(range(17))  # one step of 4 × 4 tokens
    assert not torch.equal(features, encoder.features(images))


def test_lif_is_the_equation():
    config = SpikeClipConfig(tau=4.0, v_threshold=0.75)
    x = torch.rand(20, 5, generator=torch.Generator().manual_seed(1)) * 2
    spikes, v = [], torch.zeros(5)
    for current in x:
        v = v + (current - v) / 4
        fired = v >= 0.75
        v = torch.where(fired, 0.0, v)
        spikes.append(fired.float())
    expected = torch.stack(spikes)
    assert 0 < expected.mean() < 1
    torch.testing.assert_close(lif(config)(x), expected, rtol=0, atol=0)


def test_and_and_token_sum():
    a, b = torch.tensor([0.0, 0, 1, 1]), torch.tensor([0.0, 1, 0, 1])
    assert And()(a, b).tolist() == [0, 0, 0, 1]
    x = torch.ones(2, 1, 3, 4, 5)
    x[:, :, 1] = 0
    assert TokenSum(0.5)(x).squeeze().tolist() == [[10, 0, 10], [10, 0, 10]]


def test_pooling_spikes_is_or(make_encoder, images):
    config = SpikeClipConfig(width=16, depth=1, image_size=16)
    torch.manual_seed(0)
    pooled = SpikingConv(config, 3, 4, kernel_size=3, pool=True).eval()
    spikes = pooled.lif(pooled.synapse(images.unsqueeze(0))).detach()
    pooled.lif.reset()
    padded = torch.nn.functional.pad(spikes[0], (1, 1, 1, 1)).bool()
    either = torch.zeros(3, 4, 8, 8, dtype=torch.bool)
    for row in range(3):
        for column in range(3):
            either |= padded[:, :, row : row + 15 : 2, column : column + 15 : 2]
    assert 0 < either.float().mean() < 1
    torch.testing.assert_close(pooled(images.unsqueeze(0))[0], either.float(), rtol=0, atol=0)


def test_folded_readout_scores_as_head_and_directions(make_encoder, images):
    encoder = make_encoder()
    directions = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    model = SpikeClip(encoder, fold_readout(encoder, directions), tuple("abcde"))
    # Sums of at most 16 + 8 products of order 1, in another order.
    torch.testing.assert_close(model(images), encoder(images) @ directions.T, rtol=1e-5, atol=1e-5)


def test_gradients_reach_every_parameter(images):
    torch.manual_seed(0)
    encoder = Encoder(SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8)).train()
    encoder(images).square().sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without
    assert all(p.grad.any() for name, p in encoder.named_parameters() if name.startswith("stem"))
