"""Describes a graph: nodes with shapes, parameters and latencies, totals, the proof of its arithmetic, and a picture.

The modules of these names are loaded at their first use.
"""

from typing import TYPE_CHECKING

from neuromorphic.lazy import loader

if TYPE_CHECKING:
    from neuromorphic.inspection.drawing import draw
    from neuromorphic.inspection.report import Inspection, NodeReport, inspect

__all__ = ["Inspection", "NodeReport", "draw", "inspect"]

_HOMES = {"Inspection": "report", "NodeReport": "report", "draw": "drawing", "inspect": "report"}

__getattr__ = loader(__name__, _HOMES)
