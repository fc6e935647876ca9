"""A graph described: its nodes with shapes, parameters and latencies, its totals, what is proven of it, a picture.

What a name needs is loaded at its first use.
"""

from typing import TYPE_CHECKING

from neuromorphic.lazy import loader

if TYPE_CHECKING:
    from neuromorphic.inspection.drawing import draw
    from neuromorphic.inspection.report import Inspection, NodeReport, inspect

__all__ = ["Inspection", "NodeReport", "draw", "inspect"]

_HOMES = {"Inspection": "report", "NodeReport": "report", "draw": "drawing", "inspect": "report"}

__getattr__ = loader(__name__, _HOMES)
