"""The fused models of a graph's layers without Lava's runtime: one after the other, step by step, in this process."""

import numpy as np

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
from neuromorphic.analysis.exactness import doubles
from neuromorphic.analysis.schedule import schedule
from neuromorphic.lava.layers import layers
from neuromorphic.lava.ports import in_port
from neuromorphic.lava.processes.layer import FusedModel


class Wire:
    """A port: keeps the last message."""

    def __init__(self):
        self.message = None

    def send(self, data):
        self.message = data.copy()

    def recv(self):
        return self.message.copy()


def run(graph, frames):
    """Spikes and membranes of every population at every step, `[N, T, *shape]` by node name: bool and float64.

    Args:
        graph: validated.
        frames: float32 `[N, *input shape]`; images run side by side.
    """
    timing, wide = schedule(graph), doubles(graph)
    steps, parts = graph.metadata.time_steps, layers(graph)
    wires = {name: Wire() for name in graph.nodes}
    models = [_model(layer, wires, wide, steps, len(frames)) for layer in parts]
    spikes = {node.name: np.zeros((len(frames), steps, *node.shape), np.bool_) for node in graph.populations}
    membranes = {name: np.zeros(train.shape) for name, train in spikes.items()}
    for now in range(steps + timing.depth):
        wires[graph.input].send(frames)
        for layer, model in zip(parts, models, strict=True):
            model.time_step = now + 1  # Lava counts from 1
            model.run_spk()
            step = now - layer.latency
            if layer.head.spiking and 0 <= step < steps:
                spikes[layer.head.name][:, step] = wires[layer.head.name].message
                membranes[layer.head.name][:, step] = model.neurons.v
    return spikes, membranes


def _model(layer, wires, wide, steps, batch):
    model_type = type("Model", (FusedModel,), {"dtype": np.float32})
    if any(member.node.name in wide for member in layer.members):
        model_type.dtype = np.float64
    model = model_type({"layer": layer, "lead": (batch,), "time_steps": steps, "membranes": None, "compiled": False})
    for index, source in enumerate(layer.sources):
        setattr(model, in_port(source.spiking, index), wires[source.name])
    model.out = wires[layer.head.name]
    return model
