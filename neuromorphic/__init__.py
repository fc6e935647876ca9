"""A NIR graph on Loihi-class hardware: validated, executed in numpy and in Lava, every spike compared.  No torch.

What a name needs is loaded at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neuromorphic.errors import RefusedInput, SimulationFailed

if TYPE_CHECKING:
    from neuromorphic.execution.membranes import membranes
    from neuromorphic.ir import plots
    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.parity import ParityReport, compare
    from neuromorphic.ir.trace import SpikeTrain, Trace
    from neuromorphic.lava.simulation import simulate
    from neuromorphic.loihi2.quantise import quantise
    from neuromorphic.placement.report import Placement, place
    from neuromorphic.reading.build import from_nir
    from neuromorphic.reading.frames import encode
    from neuromorphic.reading.read import read_graph

__all__ = [
    "Graph",
    "ParityReport",
    "Placement",
    "RefusedInput",
    "SimulationFailed",
    "SpikeTrain",
    "Trace",
    "compare",
    "encode",
    "from_nir",
    "membranes",
    "place",
    "plots",
    "quantise",
    "read_graph",
    "simulate",
]

_ROOMS = {
    "Graph": "ir.graph",
    "ParityReport": "ir.parity",
    "Placement": "placement.report",
    "SpikeTrain": "ir.trace",
    "Trace": "ir.trace",
    "compare": "ir.parity",
    "encode": "reading.frames",
    "from_nir": "reading.build",
    "membranes": "execution.membranes",
    "place": "placement.report",
    "plots": "ir",
    "quantise": "loihi2.quantise",
    "read_graph": "reading.read",
    "simulate": "lava.simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"neuromorphic.{_ROOMS[name]}"), name)
