"""Runs graphs of NIR on Loihi-class hardware: validates them, executes them in numpy and in Lava, and compares spikes.

It needs no torch.  The modules of these names are loaded at their first use.  Modules that have moved are also found by
their old names, with a `DeprecationWarning`.
"""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from neuromorphic.errors import RefusedInput, SimulationFailed
from neuromorphic.lazy import loader

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

_HOMES = {
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

__getattr__ = loader(__name__, _HOMES)

_MOVED = {
    "neuromorphic.frames": "neuromorphic.reading.frames",
    "neuromorphic.graph": "neuromorphic.ir.graph",
    "neuromorphic.lava_import": "neuromorphic.lava.imports",
    "neuromorphic.metadata": "neuromorphic.ir.metadata",
    "neuromorphic.nodes": "neuromorphic.ops.extensions",
    "neuromorphic.parity": "neuromorphic.ir.parity",
    "neuromorphic.read": "neuromorphic.reading.read",
    "neuromorphic.reference": "neuromorphic.execution.reference",
    "neuromorphic.simulation": "neuromorphic.lava.simulation",
    "neuromorphic.trace": "neuromorphic.ir.trace",
}


class _Moved(MetaPathFinder, Loader):
    """Imports modules by their old names: each gets all names of the module that it has become."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in _MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make an empty one."""

    def exec_module(self, module: ModuleType) -> None:
        new = _MOVED[module.__name__]
        warnings.warn(f"{module.__name__} has moved to {new}", DeprecationWarning, stacklevel=2)
        vars(module).update(vars(import_module(new)), __name__=module.__name__, __spec__=module.__spec__)


sys.meta_path.append(_Moved())
