"""The published `Vision_Encoder` (arXiv 2310.06488) once more, equation by equation, and random checkpoints of it.

Written against the paper and the names of the published tensors, without a look at `spikeclip`: one time step after the
other, one head after the other, `(Q Kᵀ) V` in that order, batch normalisation as a formula.
"""

import math

import torch
import torch.nn.functional as F


def random_state(width, depth, hidden, time_steps=4, channels=3, embedding=512, seed=0):
    """A state dict of the published class with random weights and randomised statistics of batch normalisation."""
    rng = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return torch.rand(*shape, generator=rng, dtype=torch.float32) * (high - low) + low

    state = {"weights_tensor": torch.tensor([math.log(0.1 * 2**t) for t in range(time_steps)]).reshape(1, -1, 1)}

    def layer(name, inputs, out, kernel, bias=False, centre=1.0):
        area = math.prod(kernel)
        bound = math.sqrt(6 / (inputs * area))
        state[f"{name}_conv.weight"] = uniform(-bound, bound, out, inputs, *kernel)
        if bias:
            state[f"{name}_conv.bias"] = uniform(-0.3, 0.3, out)
        sign = torch.where(uniform(0, 1, out) < 0.2, -1.0, 1.0)  # trained scales are negative now and then
        state[f"{name}_bn.weight"] = sign * uniform(0.6, 1.4, out)
        state[f"{name}_bn.bias"] = uniform(centre - 0.5, centre + 0.5, out)
        state[f"{name}_bn.running_mean"] = uniform(-0.2, 0.2, out)
        state[f"{name}_bn.running_var"] = uniform(0.2, 1.5, out)
        state[f"{name}_bn.num_batches_tracked"] = torch.tensor(17)

    widths = [channels, width // 8, width // 4, width // 2, width, width]
    for i in range(5):
        layer(f"patch_embed.block{i}", widths[i], widths[i + 1], (3, 3))
    likely = 2.0 if time_steps == 1 else 0.8  # a neuron at rest fires at once at 2
    for i in range(depth):
        for part in ("q", "k", "v"):
            layer(f"block.{i}.attn.{part}", width, width, (1,), centre=likely)
        layer(f"block.{i}.attn.proj", width, width, (1,), bias=True, centre=0.0)
        layer(f"block.{i}.mlp.mlp1", width, hidden, (1, 1), bias=True)
        layer(f"block.{i}.mlp.mlp2", hidden, width, (1, 1), bias=True, centre=0.0)
    state["proj.weight"], state["proj.bias"] = uniform(-0.1, 0.1, embedding, width), uniform(-0.1, 0.1, embedding)
    return state


class Oracle:
    """Runs a state dict on images; `spikes` holds every neuron's spikes of every step: `[T, B, C, tokens]` or a map."""

    def __init__(self, state, heads):
        self.state = {name: t.double() for name, t in state.items()}
        self.heads = heads
        self.spikes = {}

    def __call__(self, images):
        weights = self.state["weights_tensor"][0, :, 0]
        membranes, total = {}, 0
        self.spikes = {}
        for w in weights:
            x = self._step(images.double(), membranes)
            total = total + w * x.mean(2)
        return total @ self.state["proj.weight"].T + self.state["proj.bias"]

    def _step(self, x, membranes):
        x = self._fire("stem0", self._layer("patch_embed.block0", x), membranes)
        x = self._fire("stem1", self._layer("patch_embed.block1", x), membranes)
        for i in (2, 3):
            x = F.max_pool2d(self._layer(f"patch_embed.block{i}", x), 3, 2, 1)
            x = self._fire(f"stem{i}", x, membranes)
        x = self._layer("patch_embed.block4", x).flatten(2)
        for i in range(sum(name.endswith("q_conv.weight") for name in self.state)):
            x = x + self._attention(f"block.{i}.attn", x, membranes)
            hidden = self._layer(f"block.{i}.mlp.mlp1", self._fire(f"mlp_in{i}", x, membranes))
            x = x + self._layer(f"block.{i}.mlp.mlp2", self._fire(f"mlp_hidden{i}", hidden, membranes))
        return x

    def _attention(self, name, x, membranes):
        s = self._fire(f"{name}.in", x, membranes)
        q, k, v = (self._fire(f"{name}.{p}", self._layer(f"{name}.{p}", s), membranes) for p in ("q", "k", "v"))
        out = torch.zeros_like(v)
        d = v.shape[1] // self.heads
        for h in range(self.heads):
            rows = slice(h * d, (h + 1) * d)
            scores = q[:, rows].transpose(1, 2) @ k[:, rows]  # [B, N, N]
            out[:, rows] = 0.125 * (scores @ v[:, rows].transpose(1, 2)).transpose(1, 2)
        return self._layer(f"{name}.proj", self._fire(f"{name}.out", out, membranes, threshold=0.5))

    def _layer(self, name, x):
        """Convolution and batch normalisation."""
        kernel, bias = self.state[f"{name}_conv.weight"], self.state.get(f"{name}_conv.bias")
        if kernel.ndim == 4 and kernel.shape[-1] == 3:
            y = F.conv2d(x, kernel, bias, padding=1)
        else:
            y = torch.einsum("oc,bcn->bon", kernel.flatten(1), x)
            y = y if bias is None else y + bias[:, None]
        column = (-1,) + (1,) * (y.ndim - 2)
        gamma, beta, mean, variance = (
            self.state[f"{name}_bn.{what}"].view(column) for what in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    def _fire(self, name, x, membranes, threshold=1.0):
        v = membranes.get(name, torch.zeros_like(x))
        v = v + (x - v) / 2
        spike = (v >= threshold).double()
        membranes[name] = v * (1 - spike)
        self.spikes.setdefault(name, []).append(spike)
        return spike
