"""jaxpike 0.1.4, with nir 1.0.8, jax 0.10.2 and equinox 0.13."""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
from jaxpike import LIF, Dense, LeakyIntegrator, LinearLIF, Sequential
from jaxpike.conv import Conv2d, Flatten, Pool2d
from jaxpike.nir import to_nir

from writers import STEPS, inputs, keep, weights

DT = 1e-3
KEY = jax.random.key(0)


def with_weights(layer, seed):
    layer = equinox.tree_at(lambda m: m.weight, layer, jnp.asarray(weights(seed, *layer.weight.shape)))
    if layer.bias is None:
        return layer
    return equinox.tree_at(lambda m: m.bias, layer, jnp.asarray(weights(seed + 1, *layer.bias.shape)))


def dense(seed, inside, outside, use_bias=True):
    return with_weights(Dense(inside, outside, key=KEY, use_bias=use_bias), seed)


def write(folder):
    def run(name, net, *shape):
        frames = inputs(*shape)
        x = jnp.asarray(np.moveaxis(frames, 2, -1))  # channels last; NIR's are first
        state, outputs = net.init_state(x[:, 0].shape), []
        for t in range(STEPS):
            state, y = net(state, x[:, t])
            outputs.append(y)
        graph = to_nir(net, (1, *x.shape[2:]), dt_seconds=DT)
        keep(folder, f"jaxpike_{name}", graph, frames, jnp.stack(outputs, 1), DT)

    conv = with_weights(Conv2d(2, 4, 3, key=KEY, padding="SAME"), 0)
    run("conv", Sequential(conv, Pool2d(2, mode="avg"), Flatten(), dense(2, 36, 3)), 2, 6, 6)
    run(
        "neurons",
        Sequential(
            dense(0, 6, 5),
            LIF(tau=2.0, threshold=0.3001, reset="zero"),
            dense(2, 5, 4, use_bias=False),
            LinearLIF(tau=2.0, threshold=0.1001),
            dense(4, 4, 3),
            LeakyIntegrator(tau=4.0),
        ),
        6,
    )
