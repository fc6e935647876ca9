"""Effective operations: at synapses whose weight isn't zero, where what arrives isn't; NeuroBench counts these.

`Σ_f [x_f ≠ 0] · |{o : w[o, f] ≠ 0}|`, of convolutions and matrices; taps on the padding are no synapses.
"""

import numpy as np

from energy.counts import Effective
from energy.events import Events, arriving
from energy.updates import macs_needed
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace
from neuromorphic.ops import Affine, Conv2d, Int64, Linear, Shapes


def effective(graph: Graph, trace: Trace, events: Events) -> Effective:
    """The effective operations of a run: additions of spikes, and multiply-accumulates of everything else."""
    evaluations = trace.images * trace.time_steps
    fan_outs = {
        node.name: nonzero_fan_out(node.operation, node.shapes)
        for node in graph.nodes.values()
        if isinstance(node.operation, Affine | Conv2d)
    }
    driven = macs_needed(graph, trace, events, fan_outs)
    macs = acs = dense = 0
    for name, fan_out in fan_outs.items():
        node = graph.nodes[name]
        arrived, real = arriving(graph, node)
        for arrival in arrived:
            if events.single(arrival.sender):
                acs += int(events.carried(arrival, fan_out.reshape(-1)).sum())
            else:
                macs += int(events.carried(arrival, fan_out.reshape(-1), once=True).sum())
        if real:
            macs += int(driven[name].sum()) if name in driven else int(fan_out.sum()) * evaluations
        dense += int(node.of(Linear).fan_out(node.shapes).sum()) * evaluations
    return Effective(macs=macs, acs=acs, dense=dense)


def nonzero_fan_out(operation: Affine | Conv2d, shapes: Shapes) -> Int64:
    """Synapses with a weight other than 0 that leave each element: int64 `[*input shape]`."""
    if isinstance(operation, Affine):
        return np.asarray((operation.weight != 0).sum(0))
    rows, columns = (  # how often tap m sees y, and tap n sees x
        (at[..., None] == np.arange(size)).sum(0)
        for at, size in zip(operation.windows.taps(shapes.output), shapes.input[1:], strict=True)
    )
    existing = (operation.weight != 0).reshape(operation.groups, -1, *operation.weight.shape[1:]).sum(1)
    by_channel = existing.reshape(-1, *operation.windows.kernel)  # how many outputs each channel has at each tap
    return np.asarray(np.einsum("cmn,my,nx->cyx", by_channel, rows, columns))
