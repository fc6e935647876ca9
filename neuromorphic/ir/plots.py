"""Plots of a run with matplotlib: spikes of one image, rates of populations, membranes of chosen neurons.

Every function draws into `axes`, or into new ones, and returns them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, meant

if TYPE_CHECKING:
    from neuromorphic.ir.trace import Trace

NEURONS = 200
"""Neurons of a population that a raster shows, at most; of larger populations, evenly spaced ones."""


def raster(trace: "Trace", image: int = 0, nodes: Sequence[str] | None = None, axes: Any = None) -> Any:
    """Every spike of one image: time steps to the right, neurons upwards, a band for each population.

    Args:
        trace: of a run.
        image: counted from 0.
        nodes: populations to show, the first one lowest; all of them by default.
        axes: of matplotlib.

    Raises:
        RefusedInput: the trace has no such image or population.
    """
    if not 0 <= image < trace.images:
        raise RefusedInput(f"image {image}; the trace has images 0 to {trace.images - 1}")
    axes = _axes(axes)
    base = 0
    ticks: list[tuple[float, str]] = []
    for name in chosen(trace, nodes):
        spikes = trace.spikes[name].unpack(image, image + 1)[0].reshape(trace.time_steps, -1)
        every = -(-spikes.shape[1] // NEURONS)
        steps, neurons = np.nonzero(spikes[:, ::every])
        axes.hlines(base + neurons, steps - 0.4, steps + 0.4, colors=f"C{len(ticks)}", linewidths=0.8)
        height = -(-spikes.shape[1] // every)
        ticks.append((base + height / 2, name if every == 1 else f"{name} (1 in {every})"))
        base += height + max(1, height // 20)
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    axes.set_xticks(range(trace.time_steps))
    axes.set(xlabel="time step", xlim=(-0.5, trace.time_steps - 0.5), title=f"spikes of image {image}")
    return axes


def rates(traces: "Sequence[Trace]", labels: Sequence[str], axes: Any = None) -> Any:
    """Spikes per neuron and time step of every population, a bar for each run.

    Args:
        traces: of the same populations, as in floats and in integers.
        labels: what to call each run.
        axes: of matplotlib.

    Raises:
        RefusedInput: the traces are of different graphs.
    """
    names = list(traces[0].spikes)
    for trace in traces[1:]:
        if set(trace.spikes) != set(names):
            odd = sorted(set(trace.spikes) ^ set(names))
            raise RefusedInput(f"traces of different graphs: only one of them has {', '.join(odd[:4])}")
    axes = _axes(axes)
    height = 0.8 / len(traces)
    for i, (trace, label) in enumerate(zip(traces, labels, strict=True)):
        axes.barh(np.arange(len(names)) + i * height, [trace.rate(name) for name in names], height, label=label)
    axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names)
    axes.invert_yaxis()
    axes.set(xlabel="spikes per neuron and time step")
    if len(traces) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(traces))
    return axes


def membranes(
    values: NDArray[np.float64], neurons: Sequence[tuple[int, ...]], threshold: float | None = None, axes: Any = None
) -> Any:
    """V of chosen neurons after every time step of one image, as a line for each.

    Args:
        values: float64 `[T, *shape]`, as `execution.membranes` returns them for each image.
        neurons: indices into `shape`, as (channel, row, column).
        threshold: drawn as a line.
        axes: of matplotlib.
    """
    axes = _axes(axes)
    for index in neurons:
        line = [float(value[index]) for value in values]
        axes.plot(line, marker="o", label=str(list(index)))
    if threshold is not None:
        axes.axhline(threshold, linestyle="--", color="grey", label="threshold")
    axes.set_xticks(range(len(values)))
    axes.set(xlabel="time step", ylabel="v after the step")
    axes.legend(title="neuron")
    return axes


def chosen(trace: "Trace", nodes: Sequence[str] | None) -> Sequence[str]:
    """Names of populations: those given, or all of the trace.

    Raises:
        RefusedInput: the trace has no population of a name.
    """
    for name in nodes or ():
        if name not in trace.spikes:
            raise RefusedInput(f"no population {name!r} in the trace{meant(name, trace.spikes)}")
    return list(trace.spikes) if nodes is None else nodes


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise RefusedInput("plots need matplotlib; expected pip install 'spikeclip[plot]' before") from error
    return pyplot.subplots(layout="constrained")[1]
