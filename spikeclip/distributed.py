"""Training in several processes, as `torchrun` starts them: each has its share of every batch.

Gradients are averaged by PyTorch's DistributedDataParallel, statistics of batch normalisation by `SynchronisedNorm`, so
that W processes compute what one would with the same batches, but for the order of additions.  Without `torchrun`
every function here is that of one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

PATIENCE = timedelta(hours=2)
"""The longest time that processes wait for the first one, which alone measures accuracy and writes files."""


def processes() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process; 0 measures and writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share(count: int) -> slice:
    """The share of this process in the `count` images of a batch."""
    part = count // processes()
    return slice(rank() * part, (rank() + 1) * part)


def wait_for_all() -> None:
    """Return when every process is here."""
    if processes() > 1:
        distributed.barrier()


@contextmanager
def started_by_torchrun(device: str) -> Iterator[str]:
    """Join the processes that `torchrun` started, if it did: by NCCL on CUDA, by Gloo on the CPU.

    Yields:
        The device of this process: `cuda` becomes `cuda:N`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


class _Mean(torch.autograd.Function):
    """`mean_r x_r` over the processes r.

    The gradient is the same mean, of the processes' gradients: DistributedDataParallel averages what follows from it,
    and the loss is the mean of theirs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _mean(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _mean(grads[0])


def _mean(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total / processes()


def mean_of_all(x: Tensor) -> Tensor:
    """`mean_r x_r` over the processes r, differentiable; `x` itself where there is one."""
    return _Mean.apply(x) if processes() > 1 else x


class SynchronisedNorm(nn.BatchNorm2d):
    """`γ (x - mean) / sqrt(var + eps) + β` with mean and variance over the batches of all processes.

    PyTorch's SyncBatchNorm has no CPU implementation. Parameters and buffers are those of `nn.BatchNorm2d`.

    Shapes: float `[B, C, H, W]` or `[T, B, C, H, W]` to the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        maps = x.flatten(0, -4)
        if not self.training:
            return super().forward(maps).view_as(x)
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        mean = mean_of_all(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = mean_of_all(centred.square().mean((0, 2, 3)))
        self._follow(mean.detach(), variance.detach(), processes() * wide[:, 0].numel())
        factor = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * factor[:, None, None] + self.bias[:, None, None]).to(x.dtype).view_as(x)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def synchronise(model: nn.Module) -> None:
    """Replace every batch normalisation in `model` by a `SynchronisedNorm` with the same tensors, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                norm = SynchronisedNorm(child.num_features, child.eps, child.momentum)
                norm.weight, norm.bias = child.weight, child.bias
                for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                    setattr(norm, buffer, getattr(child, buffer))
                norm.train(child.training)
                setattr(module, name, norm)
