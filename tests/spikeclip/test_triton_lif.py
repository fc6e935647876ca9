"""The Triton kernels of the fused neuron against PyTorch's passes, on a GPU or in Triton's interpreter."""

import os

import pytest
import torch

from spikeclip import fused_lif

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and not os.environ.get("TRITON_INTERPRET"):
    pytest.skip("no CUDA device; TRITON_INTERPRET=1 runs the kernels on the CPU", allow_module_level=True)
triton_lif = pytest.importorskip("spikeclip.triton_lif", reason="Triton is not installed")


def maps(steps, shape, layout):
    """Currents whose multiples of 1/8 hit thresholds exactly, and gradients by their spikes, in that layout."""
    generator = torch.Generator().manual_seed(steps)
    x = torch.randint(-16, 32, (steps, *shape), generator=generator) / 8
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.5, x, x + torch.rand(x.shape, generator=generator))
    d = torch.randn(x.shape, generator=generator)
    if layout == "channels last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])
    if layout == "channels last twice":
        x, d = (y.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, y.shape[:2]) for y in (x, d))
    if layout == "with gaps":
        x = torch.stack([x, x], -1)[..., 0]
    return x.to(DEVICE), d.to(DEVICE)


@pytest.mark.parametrize("layout", ["as declared", "channels last", "channels last twice", "with gaps"])
@pytest.mark.parametrize(
    ("steps", "shape"), [(1, (2, 3, 4, 5)), (4, (2, 3, 4, 5)), (3, (2, 300, 5, 1)), (2, (7,)), (2, (1,))]
)
@pytest.mark.parametrize(("tau", "threshold", "alpha"), [(2.0, 1.0, 2.0), (1.25, 0.5, 5.0)])
def test_spikes_are_the_same_bits_and_gradients_the_same_numbers(steps, shape, layout, tau, threshold, alpha):
    if layout.startswith("channels") and len(shape) < 4:
        layout = "as declared"
    x, d = maps(steps, shape, layout)
    h, spikes = fused_lif.charge(x, tau, threshold)
    found, fired = triton_lif.charge(x, tau, threshold)
    assert torch.equal(fired, spikes)
    torch.testing.assert_close(found, h, rtol=1e-6, atol=1e-6)
    expected = fused_lif.gradient(d, h, spikes, tau, threshold, alpha)
    torch.testing.assert_close(
        triton_lif.gradient(d, found, fired, tau, threshold, alpha), expected, rtol=1e-5, atol=1e-6
    )


def test_half_precision_keeps_its_dtype_and_decides_in_float32():
    x, d = (y.to(torch.bfloat16) for y in maps(4, (2, 3, 4, 5), "as declared"))
    h, spikes = triton_lif.charge(x, 2.0, 1.0)
    assert h.dtype == spikes.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), fused_lif.charge(x.float(), 2.0, 1.0)[1])
    expected = fused_lif.gradient(d.float(), h.float(), spikes.float(), 2.0, 1.0, 2.0)
    found = triton_lif.gradient(d, h, spikes, 2.0, 1.0, 2.0)
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
