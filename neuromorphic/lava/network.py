"""From a graph to a running network of Lava processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
import numpy as np
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.lif.process import LIFReset

from neuromorphic.analysis.schedule import Schedule, schedule
from neuromorphic.ir.inputs import of_inputs
from neuromorphic.lava.job import Job, Models, membrane_files, output_files, spike_files
from neuromorphic.lava.layers import Layer, layers
from neuromorphic.lava.membranes import MembraneFile
from neuromorphic.lava.ports import in_port, with_ports
from neuromorphic.lava.processes.delay import BorderModel, BorderProcess, DelayModel, DelayProcess
from neuromorphic.lava.processes.extension import ExtensionModel, ExtensionProcess
from neuromorphic.lava.processes.layer import (
    FusedModel,
    LayerProcess,
    compiled_kernel,
    compiled_layer,
    compiled_neurons,
)
from neuromorphic.lava.processes.recorder import RecorderModel, RecorderProcess
from neuromorphic.lava.processes.source import SourceModel, SourceProcess
from neuromorphic.lava.processes.stock import ConvModel, IntegerConvModel, IntegerNeuronModel, StockModel

CHANNEL_SLOTS = 2
"""Messages that a channel holds.  Every process takes part in every step, so that there is one at a time; with Lava's
default of 64, shared memory would hold 64 copies of every map."""


class _RunConfig(Loihi2SimCfg):
    """Our models for our processes; Lava's for its own, in floating point or in the chip's integers."""

    def __init__(self, models: Models, precision: str) -> None:
        self.integers = precision == "loihi2"
        super().__init__(select_tag="fixed_pt" if self.integers else "floating_pt")
        self.layer_model = StockModel if models == "stock" else FusedModel
        self.dtype = np.int32 if self.integers else np.float64

    def select(self, process: AbstractProcess, models: list[type[Any]]) -> type[Any]:
        match process:
            case LayerProcess() if self.layer_model is StockModel:
                return StockModel
            case LayerProcess():
                params = process.proc_params
                return with_ports(FusedModel, process, params["dtype"], params["layer"].head.spiking)
            case RecorderProcess():
                return with_ports(RecorderModel, process, np.float64, False)
            case SourceProcess():
                stock_integers = self.integers and self.layer_model is StockModel
                return with_ports(SourceModel, process, np.int32 if stock_integers else np.float32, False)
            case DelayProcess():
                return with_ports(DelayModel, process, self.dtype, False)
            case BorderProcess():
                return with_ports(BorderModel, process, self.dtype, False)
            case ExtensionProcess():
                return with_ports(ExtensionModel, process, self.dtype, False)
            case Conv():
                return IntegerConvModel if self.integers else ConvModel
            case LIFReset() if self.integers:
                return IntegerNeuronModel
            case _:
                model: type[Any] = super().select(process, models)
                return model


class Network:
    """A job's graph as connected Lava processes, which run in children of this process."""

    def __init__(self, job: Job, folder: Path) -> None:
        """Connect the processes; results go to the job's files in `folder`."""
        self.job = job
        self.timing = schedule(job.graph)
        self.recorder = _connect(job, self.timing, folder)

    @property
    def steps(self) -> int:
        """Steps that the whole job takes: T for each batch of images, and the depth once."""
        batches = -(-len(self.job.frames) // self.job.batch)
        return batches * self.job.time_steps + self.timing.depth

    def start(self) -> None:
        """Compile, and start the processes of Lava."""
        config = _RunConfig(self.job.models, self.job.graph.precision)
        with _models_found_once():
            self.recorder.create_runtime(config, compile_config={"pypy_channel_size": CHANNEL_SLOTS})

    def run(self, steps: int) -> None:
        """Go on by so many steps."""
        self.recorder.run(condition=RunSteps(num_steps=steps))

    def stop(self) -> None:
        """End the processes of Lava."""
        self.recorder.stop()


@contextmanager
def _models_found_once() -> Iterator[None]:
    """Let Lava look for the models of a class once; it would execute all files of the class's folder per process."""
    find = ProcGroupDiGraphs._find_proc_models
    known: dict[type[AbstractProcess], list[type[Any]]] = {}

    def found(proc: AbstractProcess) -> list[type[Any]]:
        if type(proc) not in known:
            known[type(proc)] = find(proc)
        return known[type(proc)]

    ProcGroupDiGraphs._find_proc_models = staticmethod(found)
    try:
        yield
    finally:
        ProcGroupDiGraphs._find_proc_models = staticmethod(find)


def _connect(job: Job, timing: Schedule, folder: Path) -> RecorderProcess:
    graph, batch, time_steps = job.graph, job.batch, job.time_steps
    lead = (batch,) if job.models == "fused" else ()
    out: dict[str, Any] = {
        name: SourceProcess(frames=frames, time_steps=time_steps, batch=batch, lead=lead).out
        for name, frames in of_inputs(graph, job.frames).items()
    }
    parts = layers(graph)
    membranes = {
        name: MembraneFile(path, time_steps, timing.latency[name], batch)
        for name, path in membrane_files(folder, graph).items()
    }
    processes = [
        LayerProcess(
            layer=layer,
            time_steps=time_steps,
            lead=lead,
            dtype=_dtype(layer, job),
            membranes=membranes.get(layer.head.name),
            compiled=job.compiled,
        )
        for layer in parts
    ]
    if job.compiled:
        _load(processes)
    for layer, process in zip(parts, processes, strict=True):
        out[layer.head.name] = process.out
    for layer, process in zip(parts, processes, strict=True):
        for index, before in enumerate(layer.sources):
            out[before.name].connect(getattr(process, in_port(before.spiking, index)))
    files = dict(zip((node.name for node in graph.populations), spike_files(folder, graph), strict=True))
    outputs = output_files(folder, graph)
    read = [graph.nodes[name].sources for name in outputs]
    recorded = list(dict.fromkeys([*files, *chain.from_iterable(read)]))
    nodes = [graph.nodes[name] for name in recorded]
    recorder = RecorderProcess(
        shapes=tuple((*lead, *node.shape) for node in nodes),
        spiking=tuple(node.spiking for node in nodes),
        latencies=tuple(timing.latency[name] for name in recorded),
        spike_files=tuple(files.get(name) for name in recorded),
        output_ports=tuple(tuple(recorded.index(name) for name in sources) for sources in read),
        output_files=tuple(outputs.values()),
        batch=batch,
    )
    for index, node in enumerate(nodes):
        out[node.name].connect(getattr(recorder, in_port(node.spiking, index)))
    return recorder


def _load(processes: list[LayerProcess]) -> None:
    """Compile or load kernels here, once, instead of in every process of Lava after the fork."""
    for process in processes:
        layer, dtype = process.proc_params["layer"], process.proc_params["dtype"]
        if (fused := compiled_layer(layer, 1, dtype)) is not None:
            fused(np.zeros((1, *layer.members[0].node.input_shape), np.uint8))
            continue
        for member in layer.members:
            if (compute := compiled_kernel(layer, member, dtype)) is not None:
                compute(np.zeros((1, *member.node.input_shape), np.uint8))
        if (neurons := compiled_neurons(layer, 1, dtype)) is not None:
            neurons(np.zeros((1, *layer.head.shape), dtype))


def _dtype(layer: Layer, job: Job) -> type:
    """A layer's type of numbers: float32 if that is proven exact for all its nodes; int32 for Lava's own integers."""
    if job.models == "stock" and job.graph.precision == "loihi2":
        return np.int32
    return np.float64 if any(member.node.name in job.doubles for member in layer.members) else np.float32
