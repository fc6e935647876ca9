"""One netx file in lava-dl's own reader, in Lava's fixed point: `python -m benchmarks.netx.lava_dl NET X.npy OUT.npz`.

X.npy holds the frames, int `[N, T, *shape]`, in the order of the file's shapes; they are shown back to back, and every
layer is reset when a new one arrives at it.  OUT.npz gets `spikes.K`, `u.K` and `v.K` of every layer with neurons,
`[N, T, *shape]`.
"""

import sys
from types import ModuleType
from typing import Any

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source


def _stubbed() -> Any:
    """lava-dl's reader without its training library, of which it needs a function for resonators only."""
    for name in ("lava.lib.dl.slayer", "lava.lib.dl.slayer.neuron", "lava.lib.dl.slayer.neuron.rf"):
        sys.modules[name] = ModuleType(name)
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = None  # type: ignore[attr-defined]
    from lava.lib.dl.netx import hdf5

    return hdf5


def run(path: str, frames: np.ndarray) -> dict[str, np.ndarray]:
    """The run of every layer: spikes, u and v by layer, `[N, T, *shape]`."""
    hdf5 = _stubbed()
    images, steps, *_ = frames.shape
    graded = 8 if set(np.unique(frames)) - {0, 1} else 0
    reads_currents = "input" in str(hdf5.NetDict(path)["layer"][0]["type"])
    first = 0 if reads_currents else 1  # a matrix takes a step, which frames that reach neurons don't
    net = hdf5.Network(path, reset_interval=steps, reset_offset=first, input_message_bits=graded)
    total, depth = images * steps, len(net.layers) + first
    source = Source(data=_reversed(np.moveaxis(frames.reshape(total, *frames.shape[2:]), 0, -1)))
    source.s_out.connect(net.in_layer.neuron.a_in if reads_currents else net.inp)
    sinks = [Sink(shape=layer.neuron.s_out.shape, buffer=total + depth) for layer in net.layers]
    for layer, sink in zip(net.layers, sinks, strict=True):
        layer.neuron.s_out.connect(sink.a_in)
    held: dict[str, list[np.ndarray]] = {f"{key}.{k}": [] for k in range(len(net.layers)) for key in ("u", "v")}
    for _ in range(total + depth):
        net.run(condition=RunSteps(num_steps=1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        for k, layer in enumerate(net.layers):
            held[f"u.{k}"].append(layer.neuron.u.get().copy())
            held[f"v.{k}"].append(layer.neuron.v.get().copy())
    whole = {name: np.stack(values, -1) for name, values in held.items()}
    whole |= {f"spikes.{k}": sink.data.get() for k, sink in enumerate(sinks)}
    net.stop()
    found = {}
    for name, values in whole.items():
        late = first + int(name.partition(".")[2])
        kept = np.moveaxis(_reversed(values)[..., late : late + total], -1, 0)
        found[name] = kept.reshape(images, steps, *kept.shape[1:])
    return found


def _reversed(values: np.ndarray) -> np.ndarray:
    """`[W, H, C, T]` of `[C, H, W, T]`, and the other way round: Lava's order of maps."""
    return values.transpose(*reversed(range(values.ndim - 1)), -1)


if __name__ == "__main__":
    np.savez_compressed(sys.argv[3], **run(sys.argv[1], np.load(sys.argv[2])))
