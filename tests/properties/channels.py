"""The fused models of a graph's layers without Lava's runtime, each in a thread, joined by channels as Lava's are.

A channel holds two messages, and who reads an empty one waits: layers that wait for each other hang here as they would
there.
"""

import queue
import threading

import numpy as np

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.schedule import schedule
from neuromorphic.lava.layers import layers
from neuromorphic.lava.ports import in_port
from neuromorphic.lava.processes.layer import FusedModel

PATIENCE = 20.0
"""Seconds after which a message that does not come never will."""


class Channel:
    """One reader's end of a port."""

    def __init__(self):
        self.messages = queue.Queue(maxsize=2)

    def recv(self):
        return self.messages.get(timeout=PATIENCE)


class Port:
    """An out-port: a channel to every reader."""

    def __init__(self):
        self.channels = []

    def channel(self):
        self.channels.append(Channel())
        return self.channels[-1]

    def send(self, data):
        for channel in self.channels:
            channel.messages.put(data.copy(), timeout=PATIENCE)


def run(graph, frames):
    """Spikes of every population and the output of images back to back, `[N, T, *shape]`: bool by name, and float64.

    Args:
        graph: validated.
        frames: float32 `[N, T, *input shape]`.
    """
    timing, (images, steps) = schedule(graph), frames.shape[:2]
    total = images * steps + timing.depth
    ports = {name: Port() for name in graph.nodes}
    models = [_model(layer, ports, steps) for layer in layers(graph)]
    read = graph.nodes[graph.output].sources
    taps = {name: ports[name].channel() for name in {*(node.name for node in graph.populations), *read}}
    failures = []

    def work(model):
        try:
            for now in range(total):
                model.time_step = now + 1  # Lava counts from 1
                model.run_spk()
        except Exception as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(model,), daemon=True) for model in models]
    for thread in threads:
        thread.start()
    spikes = {node.name: np.zeros((images, steps, *node.shape), np.bool_) for node in graph.populations}
    output = np.zeros((images, steps, *graph.nodes[graph.output].shape)) + biases(graph)[graph.output]
    for now in range(total):
        ports[graph.input].send(frames[min(now // steps, images - 1), now % steps][None])
        for name, tap in taps.items():
            message = tap.recv()[0]
            image, step = divmod(now - timing.latency[name], steps)
            if 0 <= image < images and name in spikes:
                spikes[name][image, step] = message
            if 0 <= image < images and name in read:
                output[image, step] += read.count(name) * message.reshape(output.shape[2:])
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    return spikes, output


def _model(layer, ports, steps):
    model_type = type("Model", (FusedModel,), {"dtype": np.float64})
    model = model_type({"layer": layer, "lead": (1,), "time_steps": steps, "membranes": None})
    for index, source in enumerate(layer.sources):
        setattr(model, in_port(source.spiking, index), ports[source.name].channel())
    model.out = ports[layer.head.name]
    return model
