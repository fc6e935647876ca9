"""A graph described: its nodes with shapes, parameters and latencies, its totals, what is proven of it, a picture."""

from neuromorphic.inspection.drawing import draw
from neuromorphic.inspection.report import Inspection, NodeReport, inspect

__all__ = ["Inspection", "NodeReport", "draw", "inspect"]
