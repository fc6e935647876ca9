"""Which device computes, and how precisely."""

from typing import Literal

import torch

from spikeclip.errors import RefusedInput


def pick_device(name: str) -> str:
    """`auto` is CUDA where there is one, else the CPU.

    Raises:
        RefusedInput: the device isn't there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RefusedInput(f"device {name!r}: PyTorch sees no CUDA device here; expected 'cpu' or 'auto'")
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise RefusedInput(f"device {name!r} is unknown; expected 'auto', 'cpu' or 'cuda'")
    return name


def pick_precision(name: str, device: str) -> Literal["float32", "bf16"]:
    """`auto` is bf16 where the device multiplies it natively, else float32.

    Raises:
        RefusedInput: the name is neither.
    """
    if name not in ("auto", "float32", "bf16"):
        raise RefusedInput(f"precision {name!r} is unknown; expected 'auto', 'float32' or 'bf16'")
    if name != "auto":
        return "bf16" if name == "bf16" else "float32"
    native = torch.cuda.is_bf16_supported() if device.startswith("cuda") else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "float32"
