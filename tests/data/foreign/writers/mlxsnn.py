"""mlx-snn 0.5.0, with nir 1.0.8 and mlx 0.32.4 on a CPU."""

import mlx.core as mx
import mlxsnn
import numpy as np
from mlx import nn

from writers import STEPS, inputs, keep, weights

DT = 1e-4


def linear(seed, inside, outside, bias=True):
    module = nn.Linear(inside, outside, bias=bias)
    module.weight = mx.array(weights(seed, outside, inside))
    if bias:
        module.bias = mx.array(weights(seed + 1, outside))
    return module


def write(folder):
    def run(name, layers, dt):
        frames, outputs = inputs(6), []
        states = [None] * len(layers)
        for t in range(STEPS):
            x = mx.array(frames[:, t])
            for i, layer in enumerate(layers):
                if isinstance(layer, nn.Linear):
                    x = layer(x)
                    continue
                x, states[i] = layer(x, states[i] or layer.init_state(*x.shape))
            outputs.append(np.array(x))
        graph = mlxsnn.export_to_nir([(f"n{i}", layer) for i, layer in enumerate(layers)], dt=DT)
        keep(folder, f"mlxsnn_{name}", graph, frames, np.stack(outputs, 1), dt)

    def leaky(threshold):
        return mlxsnn.Leaky(beta=0.5, threshold=threshold, reset_mechanism="zero")

    run("leaky", [linear(0, 6, 5), leaky(0.3001), linear(2, 5, 3, bias=False), leaky(0.1001)], DT)
    # r = 1, and its input is not multiplied by dt.
    run("if", [linear(0, 6, 5), mlxsnn.IF(threshold=0.7001, reset_mechanism="zero")], 1.0)
    synaptic = mlxsnn.Synaptic(alpha=0.5, beta=0.75, threshold=0.8001, reset_mechanism="zero")
    run("synaptic", [linear(0, 6, 5), synaptic], DT)
