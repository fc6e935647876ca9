"""A graph described: its nodes with shapes, parameters and latencies, its totals, what is proven of it, a picture.

What a name needs is loaded at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuromorphic.inspection.drawing import draw
    from neuromorphic.inspection.report import Inspection, NodeReport, inspect

__all__ = ["Inspection", "NodeReport", "draw", "inspect"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "drawing" if name == "draw" else "report"
    return getattr(import_module(f"neuromorphic.inspection.{home}"), name)
