"""Products of three matrices of spikes, as users write attention: heads and maps of all sizes; what is no attention."""

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from neuromorphic.ops.extensions import SpikingSelfAttention
from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare, rates

HEADS = {"one": (1, 4), "two": (2, 3), "of one channel": (3, 1)}


class Attending(nn.Module):
    """`scale Q Kᵀ V` of heads of some channels, with a token in each row, or one in each column."""

    def __init__(
        self, heads: int, width: int, columns: bool = False, change=lambda q, k, v: (q, k, v), back=lambda y: y
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads, self.width, self.columns, self.change, self.back = heads, width, columns, change, back
        self.q, self.k, self.v = (nn.Conv2d(2, heads * width, 1) for _ in range(3))
        for conv in (self.q, self.k, self.v):
            nn.init.constant_(conv.bias, 0.2)
        self.fires = nn.ModuleList(neuron.LIFNode(step_mode="m", v_threshold=0.5) for _ in range(3))
        self.out = neuron.LIFNode(step_mode="m", v_threshold=0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, images, width = *x.shape[:2], x.shape[-1]
        parts = []
        for conv, lif in zip((self.q, self.k, self.v), self.fires, strict=True):
            y = lif(4 * conv(x.flatten(0, 1)).unflatten(0, (steps, images)))
            parts.append(y.flatten(3).unflatten(2, (self.heads, self.width)))  # T B heads channels tokens
        if not self.columns:
            parts = [part.transpose(-1, -2) for part in parts]
        q, k, v = self.change(*parts)
        y = v @ (k.transpose(-1, -2) @ q) if self.columns else (q @ k.transpose(-1, -2)) @ v
        y = y if self.columns else y.transpose(-1, -2)
        return self.out(0.5 * self.back(y.flatten(2, 3)).unflatten(-1, (-1, width)))


def prepared(net: nn.Module, height: int = 2, width: int = 3):
    return prepare(net, 4, 2, 2, height, width, axes="TBCHW", input_kind="spikes", bounds=None)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize(("height", "width"), [(2, 3), (3, 1)])
@pytest.mark.parametrize("name", HEADS)
def test_attention_of_some_heads_is_one_node(name, height, width, columns):
    heads, channels = HEADS[name]
    found = prepared(Attending(heads, channels, columns), height, width)
    assert_same(found, images=8)
    (node,) = (node for node in found.graph.nodes.values() if isinstance(node, SpikingSelfAttention))
    assert node.heads == heads
    assert 0.02 < rates(found, images=8)["out"] < 0.98


def test_tokens_may_come_in_another_order():
    """The result has the order of Q; that of K and V is the same, since sums go over both."""
    for change, back in (
        (lambda q, k, v: (q.flip(-2), k, v), lambda y: y.flip(-1)),
        (lambda q, k, v: (q, k.flip(-2), v.flip(-2)), lambda y: y),
    ):
        assert_same(prepared(Attending(2, 3, change=change, back=back)), images=8)


WRONG = {
    "K's tokens in another order than V's": lambda q, k, v: (q, k.flip(-2), v),
    "V's tokens in another order than K's": lambda q, k, v: (q, k, v.flip(-2)),
    "some of Q's tokens": lambda q, k, v: (q[..., :3, :], k, v),
    "a token of Q twice": lambda q, k, v: (q[..., [0, 1, 2, 3, 4, 4], :], k, v),
    "some of K's and V's tokens": lambda q, k, v: (q, k[..., :3, :], v[..., :3, :]),
    "tokens of K that differ by channel": lambda q, k, v: (q, torch.cat([k[..., :1], k[..., 1:].flip(-2)], -1), v),
    "tokens of V that differ by channel": lambda q, k, v: (q, k, torch.cat([v[..., :1], v[..., 1:].flip(-2)], -1)),
    "tokens of Q that differ by channel": lambda q, k, v: (torch.cat([q[..., :1], q[..., 1:].flip(-2)], -1), k, v),
    "tokens of V that differ by head": lambda q, k, v: (q, k, torch.cat([v[:, :, :1], v[:, :, 1:].flip(-2)], 2)),
    "tokens of K that differ by head": lambda q, k, v: (q, torch.cat([k[:, :, :1], k[:, :, 1:].flip(-2)], 2), v),
    "tokens of Q that differ by head": lambda q, k, v: (torch.cat([q[:, :, :1], q[:, :, 1:].flip(-2)], 2), k, v),
    "channels of K that differ by token": lambda q, k, v: (
        q,
        torch.cat([k[..., :1, :], k[..., 1:, :].flip(-1)], -2),
        v,
    ),
    "channels of V that differ by token": lambda q, k, v: (
        q,
        k,
        torch.cat([v[..., :1, :], v[..., 1:, :].flip(-1)], -2),
    ),
    "channels of Q that differ by token": lambda q, k, v: (
        torch.cat([q[..., :1, :], q[..., 1:, :].flip(-1)], -2),
        k,
        v,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_products_of_three_matrices_are_refused(name):
    with pytest.raises(RefusedInput, match=r"other than Q Kᵀ V over all tokens|layout|in another order"):
        prepared(Attending(2, 3, change=WRONG[name]))


def test_another_width_of_v_is_refused():
    with pytest.raises(RefusedInput, match="with 3 channels of Q and 2 of V in each head"):
        prepared(Attending(2, 3, change=lambda q, k, v: (q, k, v[..., :2])))
