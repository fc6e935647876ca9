"""The readout: the nodes between the last neurons, or the residual stream, and the output; and what the host adds."""

from dataclasses import dataclass

import nir
import numpy as np

from export.lower import Lowering, Value
from spikeclip.encoder import SpikeClip
from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class Readout:
    """`scores = Σ_t w_t y_t + b`, by the host, in float64, of the outputs y.

    Attributes:
        tokens: positions N that the graph sums over; its weight is divided by that number.
        time_weights: w, one per time step.
        bias: b, one per class; empty where the graph adds it.
    """

    tokens: int
    time_weights: tuple[float, ...]
    bias: tuple[float, ...]


def add_readout(lowering: Lowering, last: Value, model: SpikeClip) -> Readout:
    """Add `y = R / N Σ_tokens x + r` and the output: the mean over tokens as a sum, since sums are exact.

    In `spike-driven`, x are the spikes of the last neurons, and scores are the mean of y over time.  In `paper`, x is
    the residual stream and r = 0: the bias is added once, to the sum over time with the learned weights.

    Raises:
        RefusedInput: the encoder returns something else, or of another shape than the readout reads.
    """
    published = model.encoder.config.architecture == "paper"
    channels, height, width = last.shape
    if not published and not lowering.spiking(last):
        raise RefusedInput(f"the encoder returns {' + '.join(last.sources)}; expected the spikes of one population")
    if model.readout.in_features != channels or height != width:
        raise RefusedInput(
            f"the readout reads {model.readout.in_features} channels; the encoder returns {list(last.shape)}"
        )
    window, classes, tokens = np.array([height, width]), model.readout.out_features, height * width
    total = lowering.add("readout.sum", nir.SumPool2d(window, window, np.array([0, 0])), (channels, 1, 1), last)
    flat = nir.Flatten({"input": np.array([channels, 1, 1])}, start_dim=0, end_dim=-1)
    weight = (model.readout.weight.detach().double().numpy() / tokens).astype(np.float32)
    bias = model.readout.bias.detach().numpy().astype(np.float32)
    affine = nir.Affine(weight, np.zeros_like(bias) if published else bias)
    counts = lowering.add("readout.flatten", flat, (channels, 1, 1), total)
    scores = lowering.add("readout", affine, (classes, 1, 1), counts)
    lowering.add("output", nir.Output(np.array([classes])), (classes, 1, 1), scores)
    if not published:
        return Readout(tokens, (1 / lowering.time_steps,) * lowering.time_steps, ())
    weights = model.encoder.time_weights.detach().double().tolist()
    return Readout(tokens, tuple(weights), tuple(bias.astype(np.float64).tolist()))
