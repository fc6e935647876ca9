"""Names and types of ports: uint8 for spikes; floats, or integers, for currents and frames.

Lava wants exactly the ports of a process declared on the class of its model, but layers differ in how many they read.
So the run configuration declares them on a subclass that it makes for the process.
"""

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.process import AbstractProcess


def in_port(spiking: bool, index: int) -> str:
    """The name of a process's in-port."""
    return f"{'spikes' if spiking else 'currents'}_{index}"


def with_ports(
    model: type[PyLoihiProcessModel], process: AbstractProcess, dtype: type, spiking: bool
) -> type[PyLoihiProcessModel]:
    """A subclass of `model` that declares the ports of `process`.

    Args:
        model: what to specialise; the subclass has `dtype` as an attribute too.
        process: with in-ports named by `in_port`, and at most one out-port.
        dtype: the type of currents and frames.
        spiking: whether spikes leave the process.
    """
    declared: dict[str, Any] = {"dtype": dtype}
    for port in process.in_ports:
        declared[port.name] = LavaPyType(PyInPort.VEC_DENSE, np.uint8 if port.name.startswith("spikes") else dtype)
    for port in process.out_ports:
        declared[port.name] = LavaPyType(PyOutPort.VEC_DENSE, np.uint8 if spiking else dtype)
    return type(model.__name__, (model,), declared)
