"""From NIR's neurons to operations in time steps: forward Euler at dt (docs/primitives.md).

`tau dv/dt = (v_leak - v) + R I` becomes `v += dt / tau (v_leak + R I - v)`, and `dv/dt = R I` becomes `v += dt R I`.
Every function takes the node, the shape of its input, where it stands (for messages) and dt in seconds.
"""

import nir
import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ops.operations import (
    CubaLi,
    CubaLif,
    Delay,
    Floats,
    If,
    Integrator,
    Li,
    Lif,
    Operation,
    Shape,
    Threshold,
)
from neuromorphic.ops.quantities import decay, delay_steps, per_neuron

Converted = tuple[Operation, Shape]


def convert_lif(node: nir.LIF, shape: Shape, where: str, dt: float) -> Converted:
    """`LIF`."""
    values = per_neuron(node, ("tau", "r", "v_leak", "v_threshold", "v_reset"), shape, where)
    _check_threshold(values, where)
    leak, reset = values["v_leak"], values["v_reset"]
    return Lif(decay(values["tau"], dt, "tau", where), values["r"], values["v_threshold"], leak, reset), shape


def convert_if(node: nir.IF, shape: Shape, where: str, dt: float) -> Converted:
    """`IF`."""
    values = per_neuron(node, ("r", "v_threshold", "v_reset"), shape, where)
    _check_threshold(values, where)
    return If(_gain(values["r"], dt), values["v_threshold"], values["v_reset"]), shape


def convert_cuba_lif(node: nir.CubaLIF, shape: Shape, where: str, dt: float) -> Converted:
    """`CubaLIF`."""
    keys = ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in")
    values = per_neuron(node, keys, shape, where)
    _check_threshold(values, where)
    synapse = decay(values["tau_syn"], dt, "tau_syn", where)
    membrane = decay(values["tau_mem"], dt, "tau_mem", where)
    rest = (values["v_leak"], values["v_threshold"], values["v_reset"])
    return CubaLif(synapse, values["w_in"], membrane, values["r"], *rest), shape


def convert_threshold(node: nir.Threshold, shape: Shape, where: str, dt: float) -> Converted:
    """`Threshold`."""
    return Threshold(per_neuron(node, ("threshold",), shape, where)["threshold"]), shape


def convert_integrator(node: nir.I, shape: Shape, where: str, dt: float) -> Converted:
    """`I`."""
    return Integrator(_gain(per_neuron(node, ("r",), shape, where)["r"], dt)), shape


def convert_li(node: nir.LI, shape: Shape, where: str, dt: float) -> Converted:
    """`LI`."""
    values = per_neuron(node, ("tau", "r", "v_leak"), shape, where)
    return Li(decay(values["tau"], dt, "tau", where), values["r"], values["v_leak"]), shape


def convert_cuba_li(node: nir.CubaLI, shape: Shape, where: str, dt: float) -> Converted:
    """`CubaLI`."""
    values = per_neuron(node, ("tau_syn", "tau_mem", "r", "v_leak", "w_in"), shape, where)
    synapse = decay(values["tau_syn"], dt, "tau_syn", where)
    membrane = decay(values["tau_mem"], dt, "tau_mem", where)
    return CubaLi(synapse, values["w_in"], membrane, values["r"], values["v_leak"]), shape


def convert_delay(node: nir.Delay, shape: Shape, where: str, dt: float) -> Converted:
    """`Delay`."""
    steps = delay_steps(node.delay, dt, where)
    if steps.size != 1 and steps.shape != shape:
        raise RefusedInput(f"{where}: delay has the shape {list(steps.shape)}; expected {list(shape)}")
    return Delay(np.broadcast_to(steps.reshape(()) if steps.size == 1 else steps, shape)), shape


def _gain(r: Floats, dt: float) -> Floats:
    """`dt r`, in float32: 1e-4 times 1e4 is exactly 1 there."""
    return np.asarray(np.float32(dt) * r)


def _check_threshold(values: dict[str, Floats], where: str) -> None:
    if (values["v_threshold"] < values["v_reset"]).any():
        threshold, reset = values["v_threshold"].min(), values["v_reset"].max()
        raise RefusedInput(f"{where}: v_threshold is {threshold}; expected v_reset = {reset} or more")
