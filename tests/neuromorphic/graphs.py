"""Small NIR graphs for tests, written by hand."""

import json
from itertools import pairwise

import nir
import numpy as np

from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention

DT = 1e-4


def lif(shape, threshold=1.0, tau=2.0, r=1.0, v_reset=0.0):
    """A LIF population that fires at `v > threshold`; tau in time steps."""

    def full(value):
        return np.full(shape, value, np.float32)

    return nir.LIF(
        tau=full(tau) * np.float32(DT), r=full(r), v_leak=full(0), v_threshold=full(threshold), v_reset=full(v_reset)
    )


def conv(weight, bias=None, stride=1, padding=0, hw=None):
    weight = np.asarray(weight, np.float32)
    bias = np.zeros(len(weight), np.float32) if bias is None else np.asarray(bias, np.float32)
    return nir.Conv2d(
        input_shape=hw,
        weight=weight,
        stride=(stride, stride),
        padding=(padding, padding),
        dilation=(1, 1),
        groups=1,
        bias=bias,
    )


def max_pool(shape, kernel=(3, 3), stride=(2, 2), padding=(1, 1)):
    return MaxPool2d(np.array(shape), np.array(kernel), np.array(stride), np.array(padding))


def attention(shape, heads=1, scale=1.0):
    return SpikingSelfAttention(np.array(shape), heads, scale)


def metadata(time_steps=4, **more):
    return {"spikeclip": json.dumps({"format_version": 1, "dt": DT, "time_steps": time_steps, **more})}


def chain(nodes, shape, out_shape, time_steps=4, **more):
    """input -> nodes in the order given -> output."""
    every = {"input": nir.Input(np.array(shape)), **nodes, "output": nir.Output(np.array(out_shape))}
    names = list(every)
    return nir.NIRGraph(every, list(pairwise(names)), metadata=metadata(time_steps, **more), type_check=False)


def one_neuron(threshold=1.0, **parameters):
    """One LIF neuron that reads a single number."""
    return chain({"lif": lif((1,), threshold, **parameters)}, (1,), (1,))


def small_net(seed=0, time_steps=4):
    """Convolution, LIF, pooling, LIF, readout on a 2×6×6 input; weights on multiples of 2^-8."""
    rng = np.random.default_rng(seed)

    def snapped(*shape):
        return np.round(rng.normal(size=shape) * 256) / 256

    return chain(
        {
            "conv": conv(snapped(4, 2, 3, 3), snapped(4), padding=1, hw=(6, 6)),
            "lif": lif((4, 6, 6), 0.5),
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "lif2": lif((4, 3, 3), 1.0),
            "flat": nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
            "readout": nir.Affine(snapped(5, 36).astype(np.float32), snapped(5).astype(np.float32)),
        },
        (2, 6, 6),
        (5,),
        time_steps,
    )
