"""The ANN twin's layer table against its published size, and against PyTorch's own counter on a real forward pass."""

import json

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from spikeclip.config import SpikeClipConfig, preset
from spikeclip.twin import AnnTwin, twin_table


def total(table, *kinds):
    return sum(layer["macs"] for layer in table["layers"] if layer["kind"] in kinds)


def counted(twin, config):
    """MACs per module path that PyTorch counts in one forward pass of one image."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        twin(torch.zeros(1, config.image_channels, config.image_size, config.image_size))
    macs = {name.partition(".")[2]: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    return macs, counter.get_total_flops() // 2


def test_the_published_twin_has_its_published_size():
    table = twin_table(preset("paper-base"))
    assert table["parameters"] == 9_498_032
    assert total(table, "conv2d", "linear") == 921_649_152
    assert total(table, "matmul") == 12_582_912
    assert total(table, "conv2d", "linear", "matmul") == 934_232_064


@settings(max_examples=10, deadline=None)
@given(
    architecture=st.sampled_from(["spike-driven", "paper"]),
    width=st.sampled_from([8, 16, 24]),
    depth=st.integers(1, 2),
    heads=st.sampled_from([1, 2, 4]),
    mlp_ratio=st.integers(1, 4),
    image_size=st.sampled_from([4, 8, 12, 20]),
    channels=st.integers(1, 3),
    outputs=st.sampled_from([None, 10]),
    pools=st.sampled_from([(1, 2), (1, 4), (2, 3), (3, 4)]),
    stem=st.sampled_from([(), (3, 5, 9, 4)]),
)
def test_every_layer_equals_what_pytorch_counts(
    architecture, width, depth, heads, mlp_ratio, image_size, channels, outputs, pools, stem
):
    config = SpikeClipConfig(
        architecture, width, depth, heads, mlp_ratio, image_size=image_size, image_channels=channels,
        stem_pools=pools, stem_channels=stem,
    )  # fmt: skip
    twin = AnnTwin(config, outputs).eval()
    table = twin_table(config, outputs)
    macs, everything = counted(twin, config)
    for layer in table["layers"]:
        assert layer["macs"] == macs[layer["name"]], layer["name"]
    assert total(table, "conv2d", "linear", "matmul") == everything
    assert table["parameters"] == sum(p.numel() for p in twin.parameters())
    assert table["layers"][-1]["output"] == [1, outputs or config.embedding_width]


def test_the_weights_in_the_table_are_the_twins():
    config = preset("spike-driven-tiny")
    twin = AnnTwin(config)
    for layer in twin_table(config)["layers"]:
        if layer["weight"] is not None:
            assert list(twin.get_submodule(layer["name"]).weight.shape) == layer["weight"]


def test_both_architectures_have_the_same_twin_and_the_table_is_json():
    table = twin_table(preset("spike-driven-base"))
    assert table == twin_table(preset("paper-base"))
    assert json.loads(json.dumps(table)) == table


def test_attention_equals_pytorchs_own():
    torch.manual_seed(0)
    attention = AnnTwin(SpikeClipConfig(width=16, depth=1, heads=4)).block[0].attn
    x = torch.randn(2, 9, 16)
    own = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        own.in_proj_weight.copy_(torch.cat([attention.q.weight, attention.k.weight, attention.v.weight]))
        own.in_proj_bias.copy_(torch.cat([attention.q.bias, attention.k.bias, attention.v.bias]))
        own.out_proj.load_state_dict(attention.out.state_dict())
        torch.testing.assert_close(attention(x), own(x, x, x, need_weights=False)[0])


def test_heads_that_do_not_divide_the_width_change_no_count():
    odd, one = (twin_table(SpikeClipConfig(width=16, heads=heads)) for heads in (3, 1))
    assert odd == one
    assert total(odd, "matmul") == total(twin_table(SpikeClipConfig(width=16, heads=8)), "matmul")
