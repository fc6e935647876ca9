"""A NIR graph on Loihi-class hardware: validated, executed in numpy and in Lava, every spike compared.  No torch."""

from neuromorphic.errors import RefusedInput, SimulationFailed
from neuromorphic.frames import encode
from neuromorphic.graph import Graph, from_nir
from neuromorphic.parity import ParityReport, compare
from neuromorphic.read import read_graph
from neuromorphic.simulation import simulate
from neuromorphic.trace import SpikeTrain, Trace

__all__ = [
    "Graph",
    "ParityReport",
    "RefusedInput",
    "SimulationFailed",
    "SpikeTrain",
    "Trace",
    "compare",
    "encode",
    "from_nir",
    "read_graph",
    "simulate",
]
