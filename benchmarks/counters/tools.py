"""Other people's counters, each asked for what it can say of one forward pass, as sums over the batch.

A tool is a function of a model and its frames that returns a `Found`.  What it needs is imported where it runs: none of
these packages is a dependency (`make counters` installs them apart).
"""

import copy
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass

import torch
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Found:
    """Operations that a counter reports; None where it has no such figure.

    Attributes:
        dense: multiply-accumulates as if no value were a spike.
        macs: of what it takes for real values.
        sops: of what it takes for spikes.
    """

    dense: float | None = None
    macs: float | None = None
    sops: float | None = None


Tool = Callable[[nn.Module, Tensor], Found]


def torch_flops(model: nn.Module, frames: Tensor) -> Found:
    """PyTorch's `FlopCounterMode`, two FLOPs per MAC."""
    with FlopCounterMode(display=False) as counter:
        model(frames)
    return Found(dense=counter.get_total_flops() // 2)


def spikingjelly(model: nn.Module, frames: Tensor) -> Found:
    """SpikingJelly's `MACCounter` and `SynOpCounter`."""
    macs, sops = MACCounter(), SynOpCounter()
    with torch.backends.nnpack.flags(enabled=False), DispatchCounterMode([macs, sops]):
        model(frames)
    return Found(macs=macs.get_total(), sops=sops.get_total())


def neurobench(model: nn.Module, frames: Tensor) -> Found:
    """NeuroBench's `SynapticOperations`: `Dense`, `Effective_MACs` and `Effective_ACs`."""
    from neurobench.metrics.workload.synaptic_operations import SynapticOperations
    from neurobench.models import TorchModel

    wrapped = TorchModel(model)
    wrapped.register_hooks()
    metric = SynapticOperations()
    metric(wrapped, wrapped(frames), (frames, None))
    wrapped.cleanup_hooks()
    return Found(dense=metric.total_synops, macs=metric.MAC, sops=metric.AC)


def neurobench_float64(model: nn.Module, frames: Tensor) -> Found:
    """The same with all values in float64: its counts are sums of floating-point numbers."""
    return neurobench(model.double(), frames.double())


def syops(model: nn.Module, frames: Tensor) -> Found:
    """Total, MACs and ACs of syops."""
    for name in ("IFNode", "LIFNode", "ParametricLIFNode"):  # what it imports of SpikingJelly has a new name there
        setattr(neuron, f"MultiStep{name}", getattr(neuron, name))
    from syops.engine import get_syops_pytorch

    batches = [(frames, None)]
    (total, sops, macs, _), _ = get_syops_pytorch(model, None, batches, print_per_layer_stat=False)
    return Found(*(len(frames) * float(n) for n in (total, macs, sops)))


def thop(model: nn.Module, frames: Tensor) -> Found:
    """MACs of thop's `profile`."""
    from thop import profile

    return Found(dense=profile(model, (frames,), verbose=False)[0])


def ptflops(model: nn.Module, frames: Tensor) -> Found:
    """MACs of ptflops with its default backend, which hooks into modules."""
    from ptflops.pytorch_engine import get_flops_pytorch

    macs, _ = get_flops_pytorch(model, (), print_per_layer_stat=False, input_constructor=lambda _: frames)
    return Found(dense=len(frames) * macs)


def ptflops_aten(model: nn.Module, frames: Tensor) -> Found:
    """MACs of ptflops with its backend that sees operators."""
    from ptflops.aten_engine import get_flops_aten

    macs, _ = get_flops_aten(model, (), print_per_layer_stat=False, input_constructor=lambda _: frames)
    return Found(dense=macs)


def torchinfo(model: nn.Module, frames: Tensor) -> Found:
    """Multiplications and additions of torchinfo."""
    from torchinfo import summary

    return Found(dense=summary(model, input_data=frames, verbose=0).total_mult_adds)


def calflops(model: nn.Module, frames: Tensor) -> Found:
    """MACs of calflops."""
    from calflops import calculate_flops

    _, macs, _ = calculate_flops(model, args=[frames], print_results=False, output_as_string=False)
    return Found(dense=macs)


TOOLS: dict[str, Tool] = {
    "torch FlopCounterMode / 2": torch_flops,
    "SpikingJelly": spikingjelly,
    "NeuroBench": neurobench,
    "NeuroBench in float64": neurobench_float64,
    "syops": syops,
    "thop": thop,
    "ptflops": ptflops,
    "ptflops, aten": ptflops_aten,
    "torchinfo": torchinfo,
    "calflops": calflops,
}


def ask(tool: Tool, model: nn.Module, frames: Tensor) -> Found | str:
    """The tool's figures of the model, or why it has none; it works on a copy, since tools leave hooks behind."""
    try:
        with torch.no_grad(), redirect_stdout(io.StringIO()):
            return tool(copy.deepcopy(model), frames.clone())
    except ImportError as error:
        return f"not run: {error}"
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"fails: {type(error).__name__}: {error}"
