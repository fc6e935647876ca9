"""From a converted checkpoint, or an ANN twin, to an ONNX model of standard operators; torch loads at first use."""
