"""From a graph in the chip's integers to an ONNX model of integer operators alone; needs no torch."""

from export.onnx.integers.model import build, refusals, save

__all__ = ["build", "refusals", "save"]
