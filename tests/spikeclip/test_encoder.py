import pytest
import torch
from spikingjelly.activation_based import layer, neuron

from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder, SpikeClip, fold_readout
from spikeclip.layers import SpikingConv
from spikeclip.neurons import And, SpikingSelfAttention, TokenSum, lif


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


@pytest.mark.parametrize(
    ("pools", "sizes"), [((1, 2), (8, 4, 4, 4)), ((2, 3), (16, 8, 4, 4)), ((3, 4), (16, 16, 8, 4))]
)
def test_the_stem_halves_behind_the_convolutions_that_it_is_told(make_encoder, images, pools, sizes):
    widths = (3, 5, 7, 9)
    encoder = make_encoder(stem_pools=pools, stem_channels=widths)
    found = {}
    for i, part in enumerate(encoder.stem.layers):
        part.register_forward_hook(lambda m, x, out, i=i: found.__setitem__(i, tuple(out.shape)))
    encoder(images)
    assert found == {i: (4, 3, width, size, size) for i, (width, size) in enumerate(zip(widths, sizes, strict=True))}


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
    pooled = SpikingConv(config, 3, 4, kernel_size=3, pool="spikes").eval()
    spikes = pooled.lif(pooled.synapse(images.unsqueeze(0))).detach()
    pooled.lif.reset()
    padded = torch.nn.functional.pad(spikes[0], (1, 1, 1, 1)).bool()
    either = torch.zeros(3, 4, 8, 8, dtype=torch.bool)
    for row in range(3):
        for column in range(3):
            either |= padded[:, :, row : row + 15 : 2, column : column + 15 : 2]
    assert 0 < either.float().mean() < 1
    torch.testing.assert_close(pooled(images.unsqueeze(0))[0], either.float(), rtol=0, atol=0)


def test_pooling_currents_comes_before_the_neuron(images):
    config = SpikeClipConfig(architecture="paper", width=16, depth=1, heads=2, image_size=16)
    torch.manual_seed(0)
    pooled = SpikingConv(config, 3, 4, kernel_size=3, pool="currents").eval()
    currents = pooled.synapse(images.unsqueeze(0)).detach()
    padded = torch.nn.functional.pad(currents[0], (1, 1, 1, 1), value=-1e9)
    largest = padded.unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))
    assert (largest < 0).any(), "zeros of a padding would win against currents that are all negative"
    expected = (largest / config.tau >= 1).float()
    assert 0 < expected.mean() < 1
    torch.testing.assert_close(pooled(images.unsqueeze(0))[0], expected, rtol=0, atol=0)


def test_self_attention_is_the_equation():
    """`scale · Σ_m (q_n · k_m) v_m` for each head, token by token, channel by channel."""
    rng = torch.Generator().manual_seed(0)
    qkv = (torch.rand(2, 1, 18, 3, 2, generator=rng) < 0.6).float()
    out = SpikingSelfAttention(heads=3, scale=0.125)(qkv)
    assert out.shape == (2, 1, 6, 3, 2)
    for step in range(2):
        q, k, v = qkv[step, 0].reshape(3, 6, 6).tolist()
        for channel in range(6):
            head = range(channel // 2 * 2, channel // 2 * 2 + 2)
            for n in range(6):
                seen = sum(sum(q[i][n] * k[i][m] for i in head) * v[channel][m] for m in range(6))
                assert out[step, 0, channel, n // 2, n % 2] == 0.125 * seen


def test_self_attention_counts_exactly_under_autocast():
    module = SpikingSelfAttention(heads=1, scale=0.125)
    qkv = torch.ones(1, 1, 3 * 19, 7, 9)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(qkv.bfloat16())
    assert set(out.unique().tolist()) == {19 * 63 / 8}  # 1197 is no bfloat16


def test_the_paper_encoder_reads_out_a_weighted_sum_over_time(make_encoder, images):
    encoder = make_encoder(architecture="paper", heads=2, time_steps=4)
    torch.testing.assert_close(encoder.time_weights.exp(), torch.tensor([0.1, 0.2, 0.4, 0.8]))
    encoder.time_weights.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    first = encoder.features(images)
    torch.testing.assert_close(first, encoder.features(images, time_steps=1))  # the same sum of weights
    encoder.time_weights.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert not torch.equal(first, encoder.features(images))


def test_folded_readout_scores_as_head_and_directions(make_encoder, images):
    encoder = make_encoder()
    directions = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    model = SpikeClip(encoder, fold_readout(encoder, directions), tuple("abcde"))
    # Sums of at most 16 + 8 products of order 1, in another order.
    torch.testing.assert_close(model(images), encoder(images) @ directions.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["spike-driven", "paper"])
def test_gradients_reach_every_parameter(images, architecture):
    torch.manual_seed(0)
    config = SpikeClipConfig(architecture, width=16, depth=1, heads=2, image_size=16, embedding_width=8)
    encoder = Encoder(config).train()
    encoder(images).square().sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without
    assert all(p.grad.any() for name, p in encoder.named_parameters() if name.startswith("stem"))
