import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call

import export
from spikeclip.checkpoint import load
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput
from spikeclip.fine_tuning import FineTuning
from spikeclip.preprocess import Preprocessing
from spikeclip.quantized import freeze_statistics, round_weights, rounded_weights
from spikeclip.recipe import Recipe
from spikeclip.training import train

SPIKE_DRIVEN = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8, time_steps=2)
PAPER = replace(SPIKE_DRIVEN, architecture="paper", heads=2, attention_scale=0.125)
RESIDUAL = ("stem.tokens", "block.0.attn.proj", "block.0.mlp.proj")


def random_encoder(config=SPIKE_DRIVEN, seed=0):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        encoder = Encoder(config)
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.3, 3).mul_(torch.randn_like(module.weight).sign())
                module.running_mean.normal_()
                module.running_var.uniform_(-6, 3).exp_()
    return encoder


def folded(encoder, name):
    """The convolution's weights in float64 as the chip gets them: times gamma / sqrt(variance + eps)."""
    part = encoder.get_submodule(name)
    scale = part.bn.weight.double() / (part.bn.running_var.double() + part.bn.eps).sqrt()
    return (part.conv.weight.double() * scale[:, None, None, None]).detach().numpy()


def streams(encoder):
    names = [name.removesuffix(".bn") for name, m in encoder.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    return [list(RESIDUAL)] + [[name] for name in names if name not in RESIDUAL]


@pytest.mark.parametrize("config", [SPIKE_DRIVEN, PAPER])
def test_weights_are_8_bit_integers_times_powers_of_two_of_one_unit_per_stream(config):
    encoder = random_encoder(config)
    before = {name: folded(encoder, name) for stream in streams(encoder) for name in stream}
    round_weights(encoder)
    exponents = set()
    for stream in streams(encoder):
        most = max(np.abs(before[name]).max() for name in stream)
        for name in stream:
            was, now = before[name], folded(encoder, name)
            exponent = max(-1, np.ceil(np.log2(np.abs(was).max() / most)))
            step = most / 127 * 2**exponent
            integers = now / step
            np.testing.assert_allclose(integers, np.round(integers), atol=1e-4)
            assert np.abs(integers).max() < 127.01
            np.testing.assert_allclose(now, was, atol=0.5001 * step)
            exponents.add(exponent)
    assert exponents <= {0, -1}


@pytest.mark.parametrize("config", [SPIKE_DRIVEN, PAPER])
@pytest.mark.parametrize("seed", range(3))
def test_rounding_what_is_rounded_changes_the_last_bits_alone(config, seed):
    encoder = random_encoder(config, seed)
    round_weights(encoder)
    for name, weight in rounded_weights(encoder).items():
        torch.testing.assert_close(weight, encoder.get_parameter(name), rtol=1e-5, atol=1e-6)


def test_a_channel_that_normalisation_zeroes_stays_as_it_is():
    encoder = random_encoder()
    part = encoder.get_submodule("block.0.mlp.hidden.synapse")
    with torch.no_grad():
        part.bn.weight[3] = 0
        part.conv.weight[5] = 0
    weight = rounded_weights(encoder)["block.0.mlp.hidden.synapse.conv.weight"]
    assert torch.isfinite(weight).all()
    assert torch.equal(weight[3], part.conv.weight[3])
    assert not weight[5].any()


def test_a_forward_pass_with_rounded_weights_is_that_of_the_rounded_encoder_and_has_gradients():
    encoder = random_encoder()
    encoder.train()
    freeze_statistics(encoder)
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32))
    embedding = functional_call(encoder, rounded_weights(encoder), (images,))
    embedding.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert encoder.get_parameter("stem.layers.0.synapse.conv.weight").grad.any()
    before = encoder(images)
    round_weights(encoder)
    assert torch.equal(encoder(images), embedding)
    assert not torch.equal(before, embedding)


@pytest.fixture(scope="module")
def trained(task, labels, tmp_path_factory):
    """A checkpoint of a short training, to start from."""
    recipe = Recipe(schedule=((1, 2), (2, 2)), batch_size=8, learning_rate=1e-2, ema=0.5)
    out = tmp_path_factory.mktemp("trained") / "a.safetensors"
    return train(SPIKE_DRIVEN, recipe, Preprocessing(image_size=16), task, None, labels, out)


FINE = Recipe(schedule=((2, 4),), batch_size=8, learning_rate=3e-3, ema=0.5)


def fine_tune(trained, task, labels, out, recipe=FINE, config=SPIKE_DRIVEN, **more):
    start = FineTuning(trained, quantized=True)
    return train(config, recipe, Preprocessing(image_size=16), task, task, labels, out, start=start, **more)


@pytest.fixture(scope="module")
def fine(trained, task, labels, tmp_path_factory):
    """A fine-tuning to its end: the weights that it started from, its path, and what it returned."""
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    out = tmp_path_factory.mktemp("fine") / "b.safetensors"
    return before, out, fine_tune(trained, task, labels, out)


def test_fine_tuning_learns(fine):
    _, out, checkpoint = fine
    losses = [json.loads(line)["loss"] for line in out.with_name("b.safetensors.log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    assert checkpoint.card["test"]["accuracy"] > 0.9
    assert checkpoint.card["start"]["checkpoint"] == "a.safetensors"
    assert checkpoint.card["start"]["quantized"] is True


def test_fine_tuning_writes_rounded_weights_and_leaves_the_statistics(fine, trained):
    before, _, checkpoint = fine
    encoder, after = checkpoint.model.encoder, checkpoint.model.state_dict()
    for name, weight in rounded_weights(encoder).items():
        torch.testing.assert_close(weight, encoder.get_parameter(name), rtol=1e-5, atol=1e-6)
        assert not torch.equal(after[f"encoder.{name}"], before[f"encoder.{name}"])
    assert all(torch.equal(after[name], before[name]) for name in after if "running" in name)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.model.state_dict().items())


def test_the_exported_graph_has_the_rounded_weights(fine):
    _, _, checkpoint = fine
    graph = export.prepare(checkpoint).graph
    for stream in streams(checkpoint.model.encoder):
        most = max(np.abs(graph.nodes[f"{name}.conv"].weight).max() for name in stream)
        for name in stream:
            weight = graph.nodes[f"{name}.conv"].weight
            step = most / 127 * 2.0 ** max(-1, np.ceil(np.log2(0.999 * np.abs(weight).max() / most)))
            np.testing.assert_allclose(weight / step, np.round(weight / step), atol=0.02)


def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(fine, trained, task, labels, tmp_path):
    def stop(done, total, text):
        if text.startswith("epoch 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(trained, task, labels, tmp_path / "b.safetensors", progress=stop)
    resumed = fine_tune(trained, task, labels, tmp_path / "b.safetensors").model.state_dict()
    whole = fine[2].model.state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_run_that_does_not_fit_its_start_is_refused(trained, task, labels, tmp_path):
    out = tmp_path / "b.safetensors"
    with pytest.raises(RefusedInput, match=r"precision bf16 rounds weights .*; expected float32"):
        fine_tune(trained, task, labels, out, replace(FINE, precision="bf16"))
    with pytest.raises(RefusedInput, match=r"a\.safetensors: its depth is not the run's; expected the same"):
        fine_tune(trained, task, labels, out, config=replace(SPIKE_DRIVEN, depth=2))
    assert not list(tmp_path.iterdir())


def test_the_state_of_a_run_from_another_start_is_refused(trained, task, labels, tmp_path):
    out = tmp_path / "b.safetensors"

    def stop(done, total, text):
        if text.startswith("epoch 2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(trained, task, labels, out, progress=stop)
    assert load(out).card["epochs_done"] == 1
    with pytest.raises(RefusedInput, match="is of a run with another"):
        train(
            SPIKE_DRIVEN, FINE, Preprocessing(image_size=16), task, task, labels, out, start=FineTuning(trained, False)
        )
