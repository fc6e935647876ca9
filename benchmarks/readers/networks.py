"""Other people's readers: what each makes of a NIR graph, run step by step with every population's output kept.

A reader is a function of a `nir.NIRGraph` that returns a `Network`.  What it needs is imported where it runs: only
SpikingJelly is a dependency of this project (`make readers` installs the others apart).
"""

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import DEFAULT_DT
from neuromorphic.ir.trace import SpikeTrain, Trace


@dataclass(frozen=True)
class Network:
    """A graph as a reader made it.

    Attributes:
        module: called with (x, state of the step before or None); returns (y, state).
        batched: whether x has an axis for images before those of the graph's input.
        rest: brings back to rest what isn't part of `state`.
    """

    module: nn.Module
    batched: bool
    rest: Callable[[], None] = lambda: None


Reader = Callable[[nir.NIRGraph], Network]


def spikingjelly(graph: nir.NIRGraph) -> Network:
    """SpikingJelly's `import_from_nir`."""
    from spikingjelly.activation_based import nir_exchange

    return Network(nir_exchange.import_from_nir(graph, dt=DEFAULT_DT), batched=True)


def snntorch(graph: nir.NIRGraph) -> Network:
    """The `import_from_nir` of snnTorch, whose neurons keep their membranes, and whose `Flatten` knows no batch."""
    from snntorch import Leaky
    from snntorch.import_nir import import_from_nir

    module = import_from_nir(graph)
    neurons = [m for m in module.modules() if isinstance(m, Leaky)]

    def rest() -> None:
        for neuron in neurons:
            neuron.reset_mem()

    return Network(module, batched=False, rest=rest)


def norse(graph: nir.NIRGraph) -> Network:
    """Norse's `from_nir`, as it comes."""
    from norse.torch import from_nir

    return Network(from_nir(graph, ignore_warnings=True, dt=DEFAULT_DT), batched=False)


def norse_in_order(graph: nir.NIRGraph) -> Network:
    """Norse's `from_nir`, whose nodes are then put in topological order: nirtorch visits them depth first.

    A node of which two branches come together runs when the first of them has: without the other's input in the first
    step, and with what it sent in the step before in every other (nirtorch 2.6, `graph_utils.trace_execution`).
    """
    network = norse(graph)
    before = {name: [source for source, reader in graph.edges if reader == name] for name in graph.nodes}
    rank = {module_name(name): i for i, name in enumerate(TopologicalSorter(before).static_order())}
    network.module.execution_order.sort(key=lambda node: rank[node.name])
    return network


READERS: dict[str, Reader] = {
    "SpikingJelly": spikingjelly,
    "snnTorch": snntorch,
    "Norse": norse,
    "Norse, in order": norse_in_order,
}


def module_name(node: str) -> str:
    """The name of a node's module in nirtorch."""
    return node.replace(".", "_")


@torch.no_grad()
def run(network: Network, graph: Graph, frames: NDArray[np.float32]) -> Trace:
    """The trace of `network`, image by image from rest, each frame presented for T steps.

    Args:
        network: of the graph.
        graph: its validated view, for populations and T.
        frames: float32 `[N, *input shape]`.
    """
    kept: dict[str, list[NDArray[np.bool_]]] = {node.name: [] for node in graph.populations}
    modules = dict(network.module.named_modules())
    for name, outputs in kept.items():
        modules[module_name(name)].register_forward_hook(_keep(outputs))
    found = []
    for frame in frames:
        x, state = torch.from_numpy(frame[None] if network.batched else frame), None
        network.rest()
        for _ in range(graph.metadata.time_steps):
            y, state = network.module(x, state)
            found.append(_output(y, graph.nodes[graph.output].shape))
    lead = (len(frames), graph.metadata.time_steps)
    spikes = {
        name: SpikeTrain.pack(np.stack(outputs).reshape(*lead, *graph.nodes[name].shape))
        for name, outputs in kept.items()
    }
    outputs = np.stack(found).reshape(*lead, *found[0].shape)
    return Trace("reader", "float", spikes, outputs, graph.metadata.readout)


def _output(y: Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An output in its shape; not a number where it is another node's: Norse returns that of the last to run."""
    return y.numpy().reshape(shape) if y.numel() == prod(shape) else np.full(shape, np.nan, np.float32)


def _keep(outputs: list[NDArray[np.bool_]]) -> Callable[[nn.Module, Any, Any], None]:
    """A forward hook that keeps spikes; modules with a state return (spikes, state)."""

    def hook(module: nn.Module, args: Any, result: Tensor | Sequence[Any]) -> None:
        spikes = result if isinstance(result, Tensor) else result[0]
        outputs.append(spikes.numpy() != 0)

    return hook


def ask(reader: Reader, path: Path, graph: Graph, frames: NDArray[np.float32]) -> Trace | str:
    """The trace of what a reader makes of the file at `path`, or its own error and where it raised that."""
    try:
        # snnTorch prints, and nirtorch warns that what Norse calls is deprecated.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return run(reader(nir.read(path)), graph, frames)
    except ModuleNotFoundError as error:
        return f"not run: {error}"
    except Exception as error:  # other people's code raises whatever it likes, AssertionError included
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = "/".join(Path(place.filename).parts[-3:])
        words = str(error).strip() or place.line
        return f"{type(error).__name__}: {words} ({where}:{place.lineno})"
