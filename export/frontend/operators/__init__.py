"""Lowerings of ATen operators: one file per family, each with a table of what lowers which operator.

A lowering is a function of the context and of the call's arguments, of which signals are symbolic, to what the call
returns.  An operator without one is refused by name, with the path of the module that calls it.
"""

from collections.abc import Callable
from typing import Any

from export.frontend.operators import (
    arithmetic,
    gates,
    layout,
    neurons,
    normalisation,
    pooling,
    products,
    sums,
    weights,
)

LOWERINGS: dict[Any, Callable[..., Any]] = {
    **layout.TABLE,
    **arithmetic.TABLE,
    **gates.TABLE,
    **sums.TABLE,
    **pooling.TABLE,
    **weights.TABLE,
    **normalisation.TABLE,
    **products.TABLE,
    **neurons.TABLE,
}
"""The lowering of each operator that has one."""
