"""The fused models of a graph's layers without Lava's runtime, each in a thread, joined by channels as Lava's are.

A channel holds two messages, and who reads an empty one waits: layers that wait for each other hang here as they would
there.
"""

import threading
from collections import deque

import numpy as np

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.schedule import schedule
from neuromorphic.lava.layers import layers
from neuromorphic.lava.ports import in_port
from neuromorphic.lava.processes.layer import FusedModel


class Stuck(Exception):
    """All threads wait for each other."""


class Waiting:
    """Lets threads wait, and tells them when nothing that any of them waits for can ever come.

    Args:
        threads: that send or receive.
    """

    def __init__(self, threads):
        self.lock = threading.Lock()
        self.threads, self.waiting, self.stuck = threads, {}, False

    def until(self, changed, ready):
        """Wait until `ready()`, which only a change that `changed` is told of can make true; the lock is held."""
        self.waiting[threading.get_ident()] = changed, ready
        self.look()
        while not ready():
            if self.stuck:
                raise Stuck
            changed.wait()
        del self.waiting[threading.get_ident()]

    def ended(self):
        """A thread is over."""
        with self.lock:
            self.threads -= 1
            self.look()

    def look(self):
        if len(self.waiting) == self.threads and not any(ready() for _, ready in self.waiting.values()):
            self.stuck = True
            for changed, _ in self.waiting.values():
                changed.notify_all()


class Channel:
    """One reader's end of a port; holds two messages."""

    def __init__(self, waiting):
        self.waiting, self.messages = waiting, deque()
        self.changed = threading.Condition(waiting.lock)

    def recv(self):
        with self.changed:
            self.waiting.until(self.changed, lambda: self.messages)
            self.changed.notify_all()
            return self.messages.popleft()

    def put(self, data):
        with self.changed:
            self.waiting.until(self.changed, lambda: len(self.messages) < 2)
            self.changed.notify_all()
            self.messages.append(data)


class Port:
    """An out-port: a channel to every reader."""

    def __init__(self, waiting):
        self.waiting, self.channels = waiting, []

    def channel(self):
        self.channels.append(Channel(self.waiting))
        return self.channels[-1]

    def send(self, data):
        for channel in self.channels:
            channel.put(data.copy())


def run(graph, frames):
    """Spikes of every population and the output of images back to back, `[N, T, *shape]`: bool by name, and float64.

    Args:
        graph: validated.
        frames: float32 `[N, T, *input shape]`.
    """
    timing, (images, steps) = schedule(graph), frames.shape[:2]
    total = images * steps + timing.depth
    parts = layers(graph)
    waiting = Waiting(len(parts) + 1)
    ports = {name: Port(waiting) for name in graph.nodes}
    models = [_model(layer, ports, steps) for layer in parts]
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
        finally:
            waiting.ended()

    threads = [threading.Thread(target=work, args=(model,), daemon=True) for model in models]
    for thread in threads:
        thread.start()
    spikes = {node.name: np.zeros((images, steps, *node.shape), np.bool_) for node in graph.populations}
    output = np.zeros((images, steps, *graph.nodes[graph.output].shape)) + biases(graph)[graph.output]
    try:
        for now in range(total):
            ports[graph.input].send(frames[min(now // steps, images - 1), now % steps][None])
            for name, tap in taps.items():
                message = tap.recv()[0]
                image, step = divmod(now - timing.latency[name], steps)
                if 0 <= image < images and name in spikes:
                    spikes[name][image, step] = message
                if 0 <= image < images and name in read:
                    output[image, step] += read.count(name) * message.reshape(output.shape[2:])
    except Stuck as stuck:
        raise next((error for error in failures if not isinstance(error, Stuck)), stuck) from stuck
    finally:
        waiting.ended()
    for thread in threads:
        thread.join()
    assert not failures
    return spikes, output


def _model(layer, ports, steps):
    model_type = type("Model", (FusedModel,), {"dtype": np.float64})
    model = model_type({"layer": layer, "lead": (1,), "time_steps": steps, "membranes": None, "compiled": False})
    for index, source in enumerate(layer.sources):
        setattr(model, in_port(source.spiking, index), ports[source.name].channel())
    model.out = ports[layer.head.name]
    return model
