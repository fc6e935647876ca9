"""The recorder writes the spikes of every population, and the outputs, to files, aligned to the images."""

from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neuromorphic.lava.ports import in_port


class RecorderProcess(AbstractProcess):
    """At step t, port p receives step `(t - latency) mod T` of the images `(t - latency) // T`.

    Args:
        shapes: of the messages, per port.
        spiking: whether a port carries spikes, per port.
        latencies: of the nodes that send, per port.
        spike_files: a `.npy` per port, uint8 `[N, T, ceil(n / 8)]`, for its packed spikes; None for ports of currents.
        output_ports: per output, the ports whose messages it sums.
        output_files: a `.npy` per output, float64 `[N, T, *output shape]`; it starts with the sum of the biases.
        batch: images at a time.
    """

    def __init__(
        self,
        *,
        shapes: tuple[tuple[int, ...], ...],
        spiking: tuple[bool, ...],
        latencies: tuple[int, ...],
        spike_files: tuple[Path | None, ...],
        output_ports: tuple[tuple[int, ...], ...],
        output_files: tuple[Path, ...],
        batch: int,
    ) -> None:
        super().__init__(
            spiking=spiking,
            latencies=latencies,
            spike_files=spike_files,
            output_ports=output_ports,
            output_files=output_files,
            batch=batch,
        )
        for index, shape in enumerate(shapes):
            setattr(self, in_port(spiking[index], index), InPort(shape=shape))


@implements(proc=RecorderProcess, protocol=LoihiProtocol)
@requires(CPU)
class RecorderModel(PyLoihiProcessModel):
    """Packs and writes messages, without a delay line: each port knows to which step of an image a message belongs."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.batch, self.latencies, self.output_ports = params["batch"], params["latencies"], params["output_ports"]
        self.names = tuple(in_port(spiking, index) for index, spiking in enumerate(params["spiking"]))
        self.files = [None if path is None else np.load(path, mmap_mode="r+") for path in params["spike_files"]]
        self.outputs = [np.load(path, mmap_mode="r+") for path in params["output_files"]]

    def run_spk(self) -> None:
        images, time_steps = self.outputs[0].shape[:2]
        for index, name in enumerate(self.names):
            data = getattr(self, name).recv()
            slot, step = divmod(self.time_step - 1 - self.latencies[index], time_steps)
            first = slot * self.batch
            if not 0 <= first < images:
                continue  # an answer to no image: before the first or after the last
            here = slice(first, min(first + self.batch, images))
            by_image = data.reshape(self.batch, -1)[: here.stop - first]
            if (file := self.files[index]) is not None:
                file[here, step] = np.packbits(by_image != 0, axis=1)
            for sent, ports in zip(self.outputs, self.output_ports, strict=True):
                for _ in range(ports.count(index)):
                    sent[here, step] += by_image.reshape(-1, *sent.shape[2:])
