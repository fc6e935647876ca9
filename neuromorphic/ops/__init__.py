"""Operations: one class each, with its equation, its nodes in NIR, shapes, kernels, bounds and counts.

`READERS` says as which operation each type of NIR's nodes is read.  To add an operation, write its class and enter it
here, in `AnyOperation` and in `READERS`; mypy then names what it lacks, in the class and in every `match`.
"""

from collections.abc import Mapping
from typing import Any

from neuromorphic.ops.attention import SelfAttention
from neuromorphic.ops.convolution import Conv2d
from neuromorphic.ops.delay import Delay, DelayLine
from neuromorphic.ops.ends import Sink, Source
from neuromorphic.ops.linear import Affine, Scale
from neuromorphic.ops.loihi import LoihiLif
from neuromorphic.ops.membranes import CubaLi, Integrator, Li
from neuromorphic.ops.neuron_roles import ChipPopulation, Membranes, Neurons, Population
from neuromorphic.ops.neurons import CubaLif, If, Lif, Threshold
from neuromorphic.ops.operation import Fixed, Linear, Nonlinear, Operation, Stateless, Weighted
from neuromorphic.ops.pooling import MaxPool2d, SumPool2d
from neuromorphic.ops.soft_resets import SoftIf, SoftLif
from neuromorphic.ops.types import (
    Array,
    Conventions,
    Float32,
    Float64,
    Int32,
    Int64,
    Interval,
    Kernel,
    Mask,
    NeuronKernel,
    Overflows,
    Shape,
    Shapes,
    State,
    Sums,
    Typed,
)

__all__ = [
    "READERS",
    "Affine",
    "AnyOperation",
    "Array",
    "ChipPopulation",
    "Conv2d",
    "Conventions",
    "CubaLi",
    "CubaLif",
    "Delay",
    "DelayLine",
    "Fixed",
    "Float32",
    "Float64",
    "If",
    "Int32",
    "Int64",
    "Integrator",
    "Interval",
    "Kernel",
    "Li",
    "Lif",
    "Linear",
    "LoihiLif",
    "Mask",
    "MaxPool2d",
    "Membranes",
    "NeuronKernel",
    "Neurons",
    "Nonlinear",
    "Operation",
    "Overflows",
    "Population",
    "Scale",
    "SelfAttention",
    "Shape",
    "Shapes",
    "Sink",
    "SoftIf",
    "SoftLif",
    "Source",
    "State",
    "Stateless",
    "SumPool2d",
    "Sums",
    "Threshold",
    "Typed",
    "Weighted",
]

AnyOperation = (
    Source
    | Sink
    | Delay
    | Affine
    | Scale
    | Conv2d
    | SumPool2d
    | MaxPool2d
    | SelfAttention
    | Lif
    | If
    | CubaLif
    | Threshold
    | SoftLif
    | SoftIf
    | LoihiLif
    | Integrator
    | Li
    | CubaLi
)
"""Every operation of a node; a `match` over it ends in `assert_never`."""


def _readers(*operations: type[Operation]) -> Mapping[type[Any], type[Operation]]:
    """The operation of each type of NIR's nodes; mypy takes only operations that have all methods."""
    return {kind: operation for operation in operations for kind in operation.nir_types}


READERS = _readers(
    Source,
    Sink,
    Delay,
    Affine,
    Scale,
    Conv2d,
    SumPool2d,
    MaxPool2d,
    SelfAttention,
    Lif,
    If,
    CubaLif,
    Threshold,
    SoftLif,
    SoftIf,
    LoihiLif,
    Integrator,
    Li,
    CubaLi,
)
"""By type of NIR's nodes, the operation as which it is read."""
