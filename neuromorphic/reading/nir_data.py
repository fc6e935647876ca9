"""NIR's own data format (`nir.write_data` of nir 1.0.8): events of a graph's input, or its frames, one per step.

An event at the time s lies in step floor(s / dt).  A quotient that is an integer but for its last bits counts as one:
6e-4 / 1e-4 is 5.999... in floats, and step 6 here.
"""

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.hdf5 import MAX_BYTES, survey
from neuromorphic.ir.metadata import InputKind
from neuromorphic.reading.events.binning import WHOLE, nearly_whole
from neuromorphic.reading.events.spike_trains import holds_spike_trains


def is_nir_data(path: Path) -> bool:
    """Whether the file at `path` exists and is HDF5, but not one of spike trains (`events.spike_trains`)."""
    return path.is_file() and bool(h5py.is_hdf5(path)) and not holds_spike_trains(path)


def read_nir_data(graph: Graph, path: Path) -> tuple[NDArray[Any], InputKind | None]:
    """`x[n, t, f]`: the number of events (or the sum of their values) for neuron f of the input in step t of sample n.

    Args:
        graph: the file holds the data of its input node, by that name, or has a single node; its `dt` is the length of
            a time step.
        path: HDF5 of `nir.write_data`.

    Returns:
        `[N, T, *input shape]`, boolean where the file holds booleans, or events of which no two share a step; and their
        kind: spikes, counts of events, or None for other values.

    Raises:
        RefusedInput: another kind of HDF5, no such node, another number of neurons, another time step, or events
            outside the recording.
    """
    data = _observable(graph, path)
    neurons = int(np.prod(graph.nodes[graph.input].shape))
    if isinstance(data, nir.EventData):
        if data.n_neurons != neurons:
            raise RefusedInput(f"{path}: events of {data.n_neurons} neurons; {graph.source} reads {neurons}")
        found = _gridded(data, graph.metadata.dt, neurons, path)
    else:
        found = data.data
        if found.shape[-1] != neurons:
            raise RefusedInput(f"{path}: frames of {found.shape[-1]} neurons; {graph.source} reads {neurons}")
        if not np.isclose(data.dt, graph.metadata.dt, rtol=WHOLE, atol=0):
            raise RefusedInput(
                f"{path}: its time step is {data.dt:g} s; {graph.source} runs at {graph.metadata.dt:g} s (--dt)"
            )
    counted = isinstance(data, nir.EventData) and not isinstance(data, nir.ValuedEventData)
    kind: InputKind | None = "spikes" if found.dtype == np.bool_ else "counts" if counted else None
    return found.reshape(*found.shape[:2], *graph.nodes[graph.input].shape), kind


def _observable(graph: Graph, path: Path) -> "nir.EventData | nir.TimeGriddedData":
    """The observable of the graph's input in the file."""
    try:
        with h5py.File(path, "r") as file:
            survey(file, path)
            if file.attrs.get("__type__") != "NIRGraphData":
                raise RefusedInput(
                    f"{path}: HDF5, but not NIR's data format; expected .npy or a file of nir.write_data"
                )
        nodes = nir.read_data(str(path)).nodes
    except RefusedInput:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RefusedInput(f"{path}: not readable as NIR's data format ({shown(error)})") from error
    node = nodes.get(graph.input) or (next(iter(nodes.values())) if len(nodes) == 1 else None)
    if not isinstance(node, nir.NIRNodeData):
        names = ", ".join(map(shown, nodes)) or "none"
        raise RefusedInput(f"{path}: nodes {names}; expected {graph.input}, the input of {graph.source}")
    seen = node.observables
    name = "spikes" if "spikes" in seen else next(iter(seen), None)
    if name is None or (name != "spikes" and len(seen) > 1):
        names = ", ".join(map(shown, seen)) or "none"
        raise RefusedInput(f"{path}: observables {names} of its node; expected one, or one named spikes")
    return seen[name]


def _gridded(data: "nir.EventData", dt: float, neurons: int, path: Path) -> NDArray[Any]:
    """Events, added up in their time steps: `[N, T, neurons]`."""
    real = data.idx != -1
    times = data.time[real]
    if not np.isfinite(times).all() or not np.isfinite(data.t_max) or data.t_max <= 0:
        raise RefusedInput(f"{path}: times that are not finite; expected seconds from 0 to t_max, {data.t_max:g}")
    steps = int(np.ceil(nearly_whole(np.asarray(data.t_max / dt))))
    sample, step, neuron = np.nonzero(real)[0], np.floor(nearly_whole(times / dt)), data.idx[real]
    if len(step) and (step.min() < 0 or step.max() >= steps):
        raise RefusedInput(
            f"{path}: events from {times.min():g} to {times.max():g} s; expected 0 s to less than t_max, {data.t_max:g}"
        )
    if len(odd := neuron[(neuron < 0) | (neuron >= neurons)]):
        raise RefusedInput(f"{path}: event of neuron {odd[0]}; expected 0 to {neurons - 1}")
    if 8 * data.n_samples * steps * neurons > MAX_BYTES:
        raise RefusedInput(f"{path}: {steps} steps of {dt:g} s; expected frames of at most {MAX_BYTES} bytes")
    x = np.zeros((data.n_samples, steps, neurons))
    valued = isinstance(data, nir.ValuedEventData)
    np.add.at(x, (sample, step.astype(np.int64), neuron.astype(np.int64)), data.value[real] if valued else 1)
    return x if valued or x.max(initial=0) > 1 else x.astype(np.bool_)
