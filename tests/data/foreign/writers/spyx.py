"""Spyx 1.0.0, with nir 1.0.8, jax 0.10.2 and flax 0.12.8."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from spyx import nn
from spyx.nir import to_nir

from writers import inputs, keep, weights

RNGS = nnx.Rngs(0)


def linear(seed, inside, outside, use_bias=True):
    module = nnx.Linear(inside, outside, use_bias=use_bias, rngs=RNGS)
    module.kernel[...] = jnp.asarray(weights(seed, inside, outside))
    if use_bias:
        module.bias[...] = jnp.asarray(weights(seed + 1, outside))
    return module


def write(folder):
    def run(name, net, outside, *shape):
        frames = inputs(*shape)
        # It has channels last, and writes NIR's, which are first.
        x = jnp.asarray(np.moveaxis(frames, 2, -1))
        outputs, _ = nn.run(net, x, net.initial_state(len(frames)), batch_major=True)
        graph = to_nir(net, {"input": np.array(shape)}, {"output": np.array([outside])}, dt=1)
        keep(folder, f"spyx_{name}", graph, frames, outputs, dt=1.0)

    convolution = nnx.Conv(2, 4, (3, 3), padding="VALID", strides=(1, 1), rngs=RNGS)
    convolution.kernel[...] = jnp.asarray(weights(0, 3, 3, 2, 4))
    convolution.bias[...] = jnp.asarray(weights(1, 4))
    # One place is left to flatten: its order of the others is not NIR's, and it doesn't permute the weights behind.
    pool = nn.SumPool((4, 4), (4, 4), "VALID")
    readout = [linear(2, 4, 3), linear(4, 3, 2, use_bias=False)]
    run("conv", Stateless(convolution, pool, nn.Flatten(), *readout), 2, 2, 6, 6)
    run(
        "neurons",
        nn.Sequential(
            linear(0, 6, 5),
            nn.LIF((5,), beta=0.5, threshold=0.3001, rngs=RNGS),
            linear(2, 5, 4, use_bias=False),
            nn.CuBaLIF((4,), alpha=0.5, beta=0.75, threshold=0.1001, rngs=RNGS),
            linear(4, 4, 3),
            nn.IF((3,), threshold=0.7001),
        ),
        3, 6,
    )  # fmt: skip
    parallel = nn.PSU_LIF((5,), beta=0.5, threshold=0.3001, rngs=RNGS)
    run("parallel", nn.Sequential(linear(0, 6, 5), parallel), 5, 6)
    recurrent = nn.RLIF((5,), beta=0.5, threshold=0.1001, rngs=RNGS)
    recurrent.recurrent_w[...] = jnp.asarray(weights(7, 5, 5))
    run("recurrent", nn.Sequential(linear(0, 6, 5), recurrent), 5, 6)


class Stateless(nnx.Sequential):
    """`spyx.nn.Sequential` without a neuron, which `run` scans over time all the same."""

    def __call__(self, x, state):
        for layer in self.layers:
            x = layer(x)
        return x, state

    def initial_state(self, batch_size):
        return ()
