"""netx files written with h5py alone, and what they compute in integers, written apart from the code under test."""

import h5py
import numpy as np

NEURON = {"type": "CUBA", "iDecay": 4096, "vDecay": 1024, "vThMant": 25, "refDelay": 1, "gradedSpike": False}


def dense(weight, neuron=NEURON, **more):
    weight = np.asarray(weight, np.float32)
    return {"type": "dense", "shape": [len(weight)], "weight": weight, "neuron": neuron, **more}


def conv(weight, shape, neuron=NEURON, **more):
    settings = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return {
        "type": "conv",
        "shape": shape,
        "weight": np.asarray(weight, np.float32),
        "neuron": neuron,
        **settings,
        **more,
    }


def write(path, *layers):
    """`layers` as dictionaries; one within another is a group."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            for key, value in layer.items():
                for name, inner in value.items() if isinstance(value, dict) else [("", value)]:
                    where = f"layer/{number}/{key}" + (f"/{name}" if name else "")
                    if key == "type":
                        file.create_dataset(where, (1,), "S10", [inner.encode()])
                    else:
                        file[where] = inner
    return path


def decayed(x, decay):
    """`sign(x) floor(|x| (4096 - decay) / 4096)` in integers."""
    return np.sign(x) * ((np.abs(x) * (4096 - decay)) >> 12)


def population(currents, neuron, bias=0):
    """Spikes and v of currents int64 `[N, T, ...]`, by the recurrence."""
    u = v = np.zeros(currents[:, 0].shape, np.int64)
    spikes, membranes = [], []
    for t in range(currents.shape[1]):
        u = decayed(u, neuron["iDecay"]) + 64 * currents[:, t]
        v = decayed(v, neuron["vDecay"]) + u + 64 * np.asarray(bias, np.int64)
        fired = v > 64 * neuron["vThMant"]
        v = np.where(fired, 0, v)
        spikes.append(fired)
        membranes.append(v)
    return np.stack(spikes, 1), np.stack(membranes, 1)


def correlated(x, weight, stride, padding, dilation, groups):
    """The convolution of x int64 `[N, T, C, H, W]`, output by output."""
    out, per_group, kh, kw = weight.shape
    padded = np.pad(x, ((0, 0),) * 3 + ((padding[0],) * 2, (padding[1],) * 2))
    height = (padded.shape[3] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    width = (padded.shape[4] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((*x.shape[:2], out, height, width), np.int64)
    for o in range(out):
        first = o // (out // groups) * per_group
        for i in range(height):
            for j in range(width):
                rows = slice(i * stride[0], i * stride[0] + dilation[0] * (kh - 1) + 1, dilation[0])
                columns = slice(j * stride[1], j * stride[1] + dilation[1] * (kw - 1) + 1, dilation[1])
                window = padded[:, :, first : first + per_group, rows, columns]
                y[:, :, o, i, j] = (window * weight[o]).sum((2, 3, 4))
    return y
