"""Random spiking modules: layers, neurons, layouts, residuals, gates and attention as people write them, by a seed."""

import random
from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from tests.export.frontend import written_out


def neurons(draw: random.Random, library: bool = False) -> nn.Module:
    """LIF with a tau of 2 or 4, or IF, both with either reset; thresholds on and off the dyadic grid.

    Some are written out in plain PyTorch, unless they shall be a library's.
    """
    if draw.random() < 0.2 and not library:
        return draw.choice([written_out.TimeFirst, written_out.SoftIf, written_out.LateSoft])()
    common = {"v_threshold": draw.choice([0.5, 1.0, 0.7]), "v_reset": draw.choice([0.0, 0.0, None]), "step_mode": "m"}
    if draw.random() < 0.25:
        return neuron.IFNode(**common)
    return neuron.LIFNode(tau=draw.choice([2.0, 4.0]), decay_input=draw.random() < 0.7, **common)


class ConvNorm(nn.Module):
    """Convolution, normalisation, neurons; times and images merged around it or not."""

    def __init__(self, draw: random.Random, channels: int, out: int, fires: bool = True, library: bool = False) -> None:
        super().__init__()
        self.merged = draw.random() < 0.5
        mode = "s" if self.merged else "m"
        size = draw.choice([1, 3])
        groups = draw.choice([1, 1, 2])
        self.conv = layer.Conv2d(
            channels, out, size, padding=size // 2, groups=groups, bias=draw.random() < 0.5, step_mode=mode
        )
        self.norm = layer.BatchNorm2d(out, step_mode=mode) if draw.random() < 0.8 else nn.Identity()
        self.lif = neurons(draw, library) if fires else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            steps = x.shape[0]
            return self.lif(self.norm(self.conv(x.flatten(0, 1))).unflatten(0, (steps, -1)))
        return self.lif(self.norm(self.conv(x)))


class Residual(nn.Module):
    """Spikes and a branch of spikes: their sum (graded), AND, or AND-NOT; or an analog shortcut around neurons."""

    def __init__(self, draw: random.Random, channels: int, graded: bool = False) -> None:
        super().__init__()
        self.kind = draw.choice(["sum", "analog"] if graded else ["sum", "and", "iand", "analog"])
        self.branch = ConvNorm(draw, channels, channels, fires=self.kind != "analog")
        self.join = neurons(draw) if self.kind == "analog" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        match self.kind:
            case "sum" | "analog":
                return self.join(x + y)
            case "and":
                return x * y
            case _:
                return x * (1 - y)


class Pooling(nn.Module):
    """A maximum of spikes, or an average."""

    def __init__(self, draw: random.Random, channels: int) -> None:
        super().__init__()
        self.pool = draw.choice([layer.MaxPool2d, layer.AvgPool2d])(2, step_mode="m")
        self.next = ConvNorm(draw, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.next(self.pool(x))


class Attention(nn.Module):
    """Self-attention of spikes: Q, K and V by one matrix or three convolutions; products in any order."""

    def __init__(self, draw: random.Random, channels: int) -> None:
        super().__init__()
        self.heads, self.scale = draw.choice([1, 2]), draw.choice([0.25, 0.125])
        self.kind = draw.choice(["linear", "conv", "einsum"])
        self.first = draw.choice(["qk", "kv"])
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(3))
        self.norm = nn.BatchNorm1d(3 * channels)
        self.lifs = nn.ModuleList(neuron.LIFNode(step_mode="m") for _ in range(3))
        self.lif = neuron.LIFNode(step_mode="m")
        self.out = neuron.LIFNode(v_threshold=0.5, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        steps, images, channels, height, width = x.shape
        if self.kind == "conv":
            flat = x.flatten(0, 1)
            q, k, v = (
                lif(norm(conv(flat)).reshape(x.shape)).flatten(3).reshape(steps, images, self.heads, -1, height * width)
                for conv, norm, lif in zip(self.convs, self.norms, self.lifs, strict=True)
            )
            q, k, v = (z.transpose(-1, -2) for z in (q, k, v))
        else:
            tokens = x.flatten(3).transpose(-1, -2)
            z = self.norm(self.qkv(tokens).flatten(0, 1).transpose(1, 2)).transpose(1, 2)
            z = self.lif(z.reshape(steps, images, height * width, 3 * channels))
            z = z.reshape(steps, images, height * width, 3, self.heads, channels // self.heads)
            q, k, v = z.permute(3, 0, 1, 4, 2, 5)
        if self.kind == "einsum":
            a = torch.einsum("tbhnd,tbhmd->tbhnm", q, k) @ v
        elif self.first == "qk":
            a = (q @ k.transpose(-2, -1)) @ v
        else:
            a = q @ (k.transpose(-2, -1) @ v)
        a = (a * self.scale).transpose(-1, -2).reshape(steps, images, channels, height, width)
        return self.out(a)


BLOCKS: tuple[Callable[[random.Random, int], nn.Module], ...] = (
    Residual,
    Pooling,
    Attention,
    lambda d, c: ConvNorm(d, c, c),
)


class Drawn(nn.Module):
    """A network of the grammar: images that it presents T times, or frames `[T, B, C, H, W]`; a head, and a vote."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        self.steps, self.timed = draw.choice([1, 2, 4, 5]), draw.random() < 0.3
        channels = draw.choice([4, 8])
        self.channels_in = 2
        self.stem = ConvNorm(draw, self.channels_in, channels, library=True)
        self.blocks = nn.Sequential()
        for _ in range(draw.randint(1, 3)):
            before = self.blocks[-1] if self.blocks else None
            block = draw.choice(BLOCKS)
            graded = isinstance(before, Residual) and before.kind == "sum"  # no gate has a word for sums of spikes
            self.blocks.append(Residual(draw, channels, graded) if block is Residual else block(draw, channels))
        self.head = nn.Linear(channels, 5)
        self.vote = draw.choice(["mean", "sum", "none", "weights"])
        self.last = neurons(draw) if draw.random() < 0.3 else nn.Identity()
        self.weights = nn.Parameter(torch.tensor([0.25 * (i + 1) for i in range(self.steps)]))

    def forward(self, x: Tensor) -> Tensor:
        functional.reset_net(self)
        x = x if self.timed else x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        y = self.last(self.head(self.blocks(self.stem(x)).flatten(3).mean(-1)))
        match self.vote:
            case "mean":
                return y.mean(0)
            case "sum":
                return y.sum(0)
            case "weights":
                return torch.einsum("t,tbc->bc", self.weights, y)
            case _:
                return y
