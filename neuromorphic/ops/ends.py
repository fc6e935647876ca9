"""The ends of a graph: its inputs and its outputs."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import nir
import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ops.operation import Operation
from neuromorphic.ops.types import Conventions, Interval, Shape, Shapes, Typed


class End(Operation):
    """`y = x`, in the same time step: where frames enter, or outputs leave."""

    def steps_before(self, spikes: bool) -> int:
        return 0

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        return x

    def grid(self, bits: int | None, steps: int) -> int | None:
        return bits

    def products(self, shapes: Shapes) -> int:
        return prod(shapes.input)

    def refusal(self, reads_currents: bool) -> str:
        return ""


@final
@dataclass(frozen=True)
class Source(End):
    """`y = frame`: an input of the graph, one frame per time step."""

    nir_types: ClassVar = (nir.Input,)

    @classmethod
    def read(cls, node: nir.Input, shape: Shape, where: str, given: Conventions) -> Typed:
        return Typed.elementwise(cls(), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.Input | None = None) -> nir.Input:
        return nir.Input(np.array(shapes.output)) if like is None else like


@final
@dataclass(frozen=True)
class Sink(End):
    """`y = x`: an output of the graph, the sum of what its sources send."""

    nir_types: ClassVar = (nir.Output,)

    @classmethod
    def read(cls, node: nir.Output, shape: Shape, where: str, given: Conventions) -> Typed:
        """The output; its declared shape is checked before (`reading.parameters.declared_shape`).

        Rockpool declares the axes of its sample data for images and time, too, as ones in front of the shape.
        """
        declared = tuple(int(n) for n in np.atleast_1d(node.output_type["output"]))
        batch = len(declared) - len(shape)
        if declared != (1,) * batch + shape:
            raise RefusedInput(f"{where} declares the shape {list(declared)}; its input has {list(shape)}")
        return Typed.elementwise(cls(), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.Output | None = None) -> nir.Output:
        return nir.Output(np.array(shapes.output)) if like is None else like
