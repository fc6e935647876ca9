"""Small networks as tutorials and students write them: event CSNN, loops over time, einops, ann2snn, snnTorch."""

from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn


class CSNN(nn.Module):
    """SpikingJelly's tutorial: two convolutions, two matrices, neurons behind each; events `[T, B, 2, 32, 32]`."""

    def __init__(self, spiking: Any = neuron.IFNode, channels: int = 8, **settings: Any) -> None:
        super().__init__()

        def fire() -> nn.Module:
            made: nn.Module = spiking(surrogate_function=surrogate.ATan(), **settings)
            return made

        def block(inputs: int) -> list[nn.Module]:
            conv = layer.Conv2d(inputs, channels, 3, padding=1, bias=False)
            return [conv, layer.BatchNorm2d(channels), fire(), layer.MaxPool2d(2, 2)]

        self.net = nn.Sequential(
            *block(2),
            *block(channels),
            layer.Flatten(),
            layer.Linear(channels * 64, 32, bias=False),
            fire(),
            layer.Linear(32, 10, bias=False),
            fire(),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        votes: Tensor = self.net(x).mean(0)
        return votes


class SingleStep(nn.Module):
    """Step mode s with the loop outside of the layers, as in SpikingJelly's first example."""

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self.steps = steps
        self.net = nn.Sequential(
            layer.Conv2d(3, 8, 3, padding=1),
            layer.BatchNorm2d(8),
            neuron.LIFNode(tau=2.0),
            layer.AvgPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(8 * 64, 10),
            neuron.LIFNode(tau=2.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(())
        for _ in range(self.steps):
            total = total + self.net(x)
        return total / self.steps


class Einops(nn.Module):
    """Tokens and heads by einops, products by einsum, a residual of spikes."""

    def __init__(self, steps: int = 4, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.steps, self.heads = steps, heads
        self.patch, self.norm, self.lif = (
            nn.Conv2d(3, width, 4, 4),
            nn.BatchNorm2d(width),
            neuron.LIFNode(step_mode="m"),
        )
        self.qkv, self.qkv_norm = nn.Linear(width, 3 * width, bias=False), nn.BatchNorm1d(3 * width)
        self.qkv_lif, self.out = neuron.LIFNode(step_mode="m"), neuron.LIFNode(step_mode="m", v_threshold=0.5)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        from einops import rearrange, repeat

        x = repeat(x, "b c h w -> t b c h w", t=self.steps)
        y = self.norm(self.patch(rearrange(x, "t b c h w -> (t b) c h w")))
        y = self.lif(rearrange(y, "(t b) c h w -> t b (h w) c", t=self.steps))
        z = self.qkv_norm(rearrange(self.qkv(y), "t b n c -> (t b) c n"))
        z = self.qkv_lif(rearrange(z, "(t b) c n -> t b n c", t=self.steps))
        q, k, v = rearrange(z, "t b n (s h d) -> s t b h n d", s=3, h=self.heads)
        a = torch.einsum("tbhnd,tbhmd->tbhnm", q, k) @ v * 0.25
        y = y + self.out(rearrange(a, "t b h n d -> t b n (h d)"))
        scores: Tensor = self.head(y.mean(2)).mean(0)
        return scores


class SnnTorchLoop(nn.Module):
    """snnTorch's tutorial: a loop over time inside forward, states passed from step to step."""

    def __init__(self, steps: int = 4, reset: str = "subtract") -> None:
        super().__init__()
        import snntorch

        self.steps = steps
        self.conv1, self.lif1 = nn.Conv2d(3, 12, 5), snntorch.Leaky(beta=0.5, reset_mechanism=reset)
        self.conv2, self.lif2 = nn.Conv2d(12, 16, 5), snntorch.Leaky(beta=0.9, reset_mechanism=reset)
        self.fc, self.lif3 = nn.Linear(16 * 25, 10), snntorch.Leaky(beta=0.95, reset_mechanism=reset)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        v1, v2, v3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        spikes = []
        for _ in range(self.steps):
            s, v1 = self.lif1(self.pool(self.conv1(x)), v1)
            s, v2 = self.lif2(self.pool(self.conv2(s)), v2)
            s, v3 = self.lif3(self.fc(s.flatten(1)), v3)
            spikes.append(s)
        return torch.stack(spikes)


class _Loop(nn.Module):
    def __init__(self, net: nn.Module, steps: int) -> None:
        super().__init__()
        self.net, self.steps = net, steps

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(())
        for _ in range(self.steps):
            total = total + self.net(x)
        return total


def converted() -> nn.Module:
    """A ReLU network that SpikingJelly's ann2snn made spike: IF with soft resets between scalings."""
    from spikingjelly.activation_based import ann2snn
    from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2)]
    parts += [nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2)]
    ann = nn.Sequential(*parts, nn.Flatten(), nn.Linear(16 * 16, 10)).eval()
    data = [(torch.rand(8, 3, 16, 16), torch.zeros(8)) for _ in range(2)]
    return _Loop(ann2snn.FXConverter(RateCodingRecipe(dataloader=data, mode="max")).convert(ann), 16)
