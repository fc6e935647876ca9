"""Spikformer (Zhou et al., ICLR 2023, arXiv 2209.15425) and its published checkpoints, by the names of its tensors.

A checkpoint of the published code holds no sizes: width, depth and classes follow from the tensors' shapes; attention
heads, T and the size of images don't, and have to be said.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor, nn

from spikeclip.errors import RefusedInput
from spikeclip.published import check_state, find_shape

NAME = "Spikformer"
SCALE = 0.125
"""Of attention, whatever the width of a head."""


class Spikformer(nn.Module):
    """Images `[B, C, H, W]`, presented T times, to scores `[B, classes]`: their mean over time.

    Args:
        channels: C, of the images.
        width: of the tokens; a multiple of 8.
        depth: blocks.
        heads: of attention.
        hidden: width within an MLP.
        classes: outputs.
        time_steps: T.
    """

    def __init__(
        self, channels: int, width: int, depth: int, heads: int, hidden: int, classes: int, time_steps: int
    ) -> None:
        super().__init__()
        self.channels, self.time_steps = channels, time_steps
        self.patch_embed = Embedding(channels, (width // 8, width // 4, width // 2, width))
        self.block = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.patch_embed(x.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1))
        for block in self.block:
            y = block(y)
        scores: Tensor = self.head(y.mean(2).mean(0))
        return scores


class Embedding(nn.Module):
    """Maps `[T, B, C, H, W]` to tokens `[T, B, N, D]`: four convolutions, two pooled, and one that tells positions."""

    POOLED = (2, 3)

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = [f"proj_{{}}{i or ''}" for i in range(len(widths))]
        for name, (before, after) in zip(self.layers, pairwise((channels, *widths)), strict=True):
            self._add(name, before, after)
        self._add("rpe_{}", widths[-1], widths[-1])
        self.pool = nn.MaxPool2d(3, 2, 1)

    def _add(self, name: str, before: int, after: int) -> None:
        self.add_module(name.format("conv"), nn.Conv2d(before, after, 3, padding=1, bias=False))
        self.add_module(name.format("bn"), nn.BatchNorm2d(after))
        self.add_module(name.format("lif"), _lif())

    def forward(self, x: Tensor) -> Tensor:
        for i, name in enumerate(self.layers):
            x = self._fired(x, name)
            if i in self.POOLED:
                x = self.pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return (x + self._fired(x, "rpe_{}")).flatten(3).transpose(-1, -2)

    def _fired(self, x: Tensor, name: str) -> Tensor:
        conv, norm, lif = (self.get_submodule(name.format(part)) for part in ("conv", "bn", "lif"))
        spikes: Tensor = lif(norm(conv(x.flatten(0, 1))).unflatten(0, x.shape[:2]))
        return spikes


class Block(nn.Module):
    """Attention and an MLP, each with its spikes added to what it reads."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(width, heads), Perceptron(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        y: Tensor = x + self.mlp(x)
        return y


class TokenLayers(nn.Module):
    """Matrices at every token, each normalised and followed by neurons."""

    def add(self, name: str, before: int, after: int) -> None:
        """Add a layer."""
        self.add_module(f"{name}_linear", nn.Linear(before, after))
        self.add_module(f"{name}_bn", nn.BatchNorm1d(after))
        self.add_module(f"{name}_lif", _lif())

    def fired(self, x: Tensor, name: str) -> Tensor:
        """Spikes `[T, B, N, after]` of `[T, B, N, before]`."""
        linear, norm, lif = (self.get_submodule(f"{name}_{part}") for part in ("linear", "bn", "lif"))
        y = norm(linear(x.flatten(0, 1)).transpose(-1, -2)).transpose(-1, -2)
        spikes: Tensor = lif(y.unflatten(0, x.shape[:2]))
        return spikes


class Attention(TokenLayers):
    """`scale (Q Kᵀ) V` of spikes, head by head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        for name in ("q", "k", "v", "proj"):
            self.add(name, width, width)
        self.attn_lif = _lif(0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.fired(x, name).unflatten(-1, (self.heads, -1)).transpose(2, 3) for name in ("q", "k", "v"))
        y = (q @ k.transpose(-1, -2)) * SCALE @ v
        return self.fired(self.attn_lif(y.transpose(2, 3).flatten(3)), "proj")


class Perceptron(TokenLayers):
    """Two layers at every token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.add("fc1", width, hidden)
        self.add("fc2", hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fired(self.fired(x, "fc1"), "fc2")


def _lif(threshold: float = 1.0) -> LIFNode:
    return LIFNode(tau=2.0, v_threshold=threshold, step_mode="m")


def is_spikformer(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as those of Spikformer."""
    return {"patch_embed.rpe_conv.weight", "block.0.attn.q_linear.weight", "head.weight"} <= state.keys()


def load_spikformer(state: Mapping[str, Tensor], path: Path, heads: int | None, time_steps: int) -> Spikformer:
    """The network of a published checkpoint, in evaluation mode.

    Args:
        state: its tensors by name.
        path: of its file, for messages.
        heads: of attention: the published code passes 12 for CIFAR-10.
        time_steps: T.

    Raises:
        RefusedInput: `heads` is None or doesn't divide the width, or a tensor is missing, unknown, of another shape or
            not finite.
    """
    width, channels = (find_shape(state, f"patch_embed.{name}_conv.weight", 4, path, NAME) for name in ("rpe", "proj"))
    hidden = find_shape(state, "block.0.mlp.fc1_linear.weight", 2, path, NAME)[0]
    classes = find_shape(state, "head.weight", 2, path, NAME)[0]
    if heads is None or heads < 1 or width[0] % heads or width[0] % 8:
        raise RefusedInput(
            f"{path}: a published Spikformer of width {width[0]}, whose attention heads no tensor tells; expected "
            "--heads N, which divides it (the published code passes 12 for CIFAR-10)"
        )
    depth = 1 + max(int(found[1]) for name in state if (found := re.match(r"block\.(\d+)\.", name)))
    net = Spikformer(channels[1], width[0], depth, heads, hidden, classes, time_steps)
    # The published blocks hold two LayerNorms that their forward never calls.
    used = {name: tensor for name, tensor in state.items() if not re.fullmatch(r"block\.\d+\.norm[12]\.\w+", name)}
    shapes: dict[str, Any] = {name: tuple(t.shape) for name, t in net.state_dict().items() if t.ndim}
    check_state(used, shapes, path, NAME)
    net.load_state_dict({name: used.get(name, torch.tensor(0)) for name in net.state_dict()})
    return net.eval()
