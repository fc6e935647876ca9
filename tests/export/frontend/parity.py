"""Parity of a user's module: its graph, executed by the reference, against its own forward."""

import numpy as np
import torch
from torch import nn

from export.frontend.door import PreparedModule, to_nir
from export.frontend.parity import compare_module
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import ParityReport
from neuromorphic.reading.build import from_nir


def report(prepared: PreparedModule, images: int = 3, seed: int = 0) -> ParityReport:
    return report_on(prepared, prepared.inputs.random(images, prepared.time_steps, seed))


def report_on(prepared: PreparedModule, frames: np.ndarray) -> ParityReport:
    trace = run(from_nir(prepared.graph), frames)
    return compare_module(prepared, trace, prepared.record(frames, batch=2))


def assert_same(prepared: PreparedModule, images: int = 3, seed: int = 0) -> ParityReport:
    found = report(prepared, images, seed)
    assert found.mismatches == 0, found.first_mismatch
    assert found.spikes_compared > 0
    assert found.output_difference < 1e-6  # a trace rounds outputs to float32 once
    return found


def prepare(net: nn.Module, *shape: int, time_steps: int = 4, **settings: object) -> PreparedModule:
    """The graph of a module for two images of a shape, or for an example of the whole shape where axes are named."""
    example = torch.zeros(shape if "axes" in settings else (2, *shape))
    return to_nir(net.eval(), example, time_steps=time_steps, **{"bounds": (-2.0, 2.0), **settings})


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    """A module whose normalisations are as wild as trained ones, with offsets that make neurons fire."""
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
            part.running_mean.normal_(0, 0.3, generator=generator)
            part.running_var.uniform_(0.05, 0.4, generator=generator)
            if part.weight is not None:
                nn.init.uniform_(part.weight, 0.6, 1.6, generator=generator)
                nn.init.uniform_(part.bias, -0.1, 0.9, generator=generator)
    return net.eval()


def rates(prepared: PreparedModule, images: int = 3, seed: int = 0) -> dict[str, float]:
    """The share of spikes of every population."""
    recorded = prepared.record(prepared.inputs.random(images, prepared.time_steps, seed))
    return {
        name: train.count() / (train.neurons * float(np.prod(train.bits.shape[:2])))
        for name, train in recorded.spikes.items()
    }
