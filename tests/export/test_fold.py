import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import layer, neuron

from export.capture import capture
from export.convert import KNOWN
from export.fold import fold_batch_norm, fold_token_scale
from spikeclip.neurons import TokenSum
from tests.export.encoders import Custom, conv, lif


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_a_folded_normalisation_computes_the_same(bias, affine):
    torch.manual_seed(0)
    norm = layer.BatchNorm2d(4, affine=affine, step_mode="m")
    norm.running_mean.uniform_(-2, 2)
    norm.running_var.uniform_(0.1, 3)
    if affine:
        torch.nn.init.uniform_(norm.weight, -2, 2)
        torch.nn.init.uniform_(norm.bias, -2, 2)
    encoder = Custom(lambda m, x: m.norm(m.conv(x)), conv=conv(3, 4, bias=bias), norm=norm).eval()
    traced = capture(encoder, "tokens", KNOWN)
    fold_batch_norm(traced)
    assert not any(isinstance(module, layer.BatchNorm2d) for module in traced.modules())
    frames = torch.randn(2, 3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(traced(frames), encoder.tokens(frames), rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(scale=st.sampled_from([0.125, 0.5, 2.0]), decay_input=st.booleans(), seed=st.integers(0, 1000))
def test_a_folded_scale_fires_the_same(scale, decay_input, seed):
    encoder = Custom(
        lambda m, x: m.lif(m.sum(x)), sum=TokenSum(scale), lif=lif(decay_input=decay_input, v_threshold=3.0)
    )
    traced = capture(encoder, "tokens", KNOWN)
    fold_token_scale(traced)
    assert traced.get_submodule("sum").scale == 1
    spikes = (torch.rand(6, 2, 5, 4, 4, generator=torch.Generator().manual_seed(seed)) < 0.4).float()
    assert torch.equal(traced(spikes), encoder.tokens(spikes))
    assert isinstance(traced.get_submodule("lif"), neuron.LIFNode)
