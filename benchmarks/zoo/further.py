"""Further questions to a network of the zoo: other people's counts of it, and Loihi 2's integers and cores."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from neurobench.metrics.utils.layers import single_layer_MACs
from numpy.typing import NDArray
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch import Tensor, nn

import energy
from export.frontend.door import PreparedModule
from export.frontend.recording import made_in, rest, watched
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.placement import place


def on_the_chip(graph: Graph, frames: NDArray[np.float32]) -> dict[str, Any]:
    """Cores that the graph takes in Loihi 2's integers, or why it doesn't get there."""
    try:
        whole, _ = quantise(graph, frames, "layer")
        placed = place(whole)
    except RefusedInput as error:
        return {"chip": f"refused: {error}"}
    return {"chip": len(placed.cores)}


@torch.no_grad()
def other_counts(prepared: PreparedModule, graph: Graph, trace: Trace, frames: NDArray[np.float32]) -> dict[str, Any]:
    """How many layers that read one population have the SOPs that SpikingJelly and NeuroBench find in the module.

    Both tell spikes by their values, so that sums of spikes, and means over time, are none to them.  A node that fuses
    several of the module's layers is compared with their sum.
    """
    counts = energy.count(graph, trace, frames=frames)
    found = _counted(prepared, frames)
    compared: dict[str, tuple[int, ...]] = {}
    for name, layer in counts.layers.items():
        parts = name.split("+")
        sources = [source.source for source in layer.spiking_sources]
        if layer.real_sources or len(sources) != 1 or sources[0] not in counts.populations:
            continue
        if not all(part in found for part in parts):
            continue
        compared[name] = (layer.sops, *(sum(found[part][i] for part in parts) for i in range(2)))
    different = {name: figures for name, figures in compared.items() if len(set(figures)) > 1}
    return {"layers_counted": len(compared), "counted_otherwise": different}


def _counted(prepared: PreparedModule, frames: NDArray[np.float32]) -> dict[str, tuple[int, int]]:
    """SpikingJelly's and NeuroBench's SOPs of each convolution and matrix of the module that reads 0 and 1, by path."""
    module = prepared.module
    calls: dict[str, list[Tensor]] = {}
    layers = {path: m for path, m in module.named_modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)}
    handles = [
        layer.register_forward_pre_hook(lambda _, args, path=path: calls.setdefault(path, []).append(args[0]))
        for path, layer in layers.items()
    ]
    counter = SynOpCounter()
    rest(module)
    dtype = next(p.dtype for p in module.parameters())
    with DispatchCounterMode([counter]), watched(module, prepared.places, dtype), made_in(dtype):
        module(prepared.inputs.tensor(frames, dtype))
    for handle in handles:
        handle.remove()
    scopes = {scope.partition(".")[2]: sum(ops.values()) for scope, ops in counter.get_counts().items()}
    spikes = {path: inputs for path, inputs in calls.items() if all(((x == 0) | (x == 1)).all() for x in inputs)}
    return {path: (scopes.get(path, 0), _effective(layers[path], inputs)) for path, inputs in spikes.items()}


def _effective(layer: nn.Module, inputs: list[Tensor]) -> int:
    """NeuroBench's, in float64, of a layer without a weight of zero, which it takes for a missing synapse."""
    bare: Any = deepcopy(layer).double()
    bare.step_mode = "s"
    bare.weight[bare.weight == 0] = 1
    bare.bias = None
    kind = {nn.Conv1d: 3, nn.Conv2d: 4}
    rank = next((rank for each, rank in kind.items() if isinstance(layer, each)), 2)
    return sum(int(single_layer_MACs(x.double().reshape(-1, *x.shape[x.ndim - rank + 1 :]), bare)[0]) for x in inputs)
