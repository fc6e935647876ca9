"""From a graph in the chip's integers to an ONNX model of integer operators alone; needs no torch.

`supported.refusals` says why a graph has no such model, and needs no onnx either; `model` builds it.
"""
