"""Counts times prices: a ledger of what each layer takes on a device, under one scheme.

`energy[n] = Σ_entries amount[n] · price(entry)`.  It is linear in every price, so that what one of them does to a
verdict can be solved for; and it is linear in the spikes, but for the part that doesn't depend on them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from energy.counts import AnnCounts, OperationCounts
from energy.document import Part, Scheme
from energy.prices import Device
from energy.traffic import Access, Reuse, ann_accesses, snn_accesses, width
from neuromorphic.ir.graph import Graph

T = TypeVar("T")

TITLES: Mapping[Scheme, str] = {
    "papers": "SOPs, additions of attention and MACs only, as most publications count",
    "operations": "all operations: also neuron updates, biases, additions and comparisons; no memory",
    "ideal_reuse": "all operations, and memory that moves every datum once per image (a lower bound)",
    "no_reuse": "all operations, and memory that fetches the operands of each (an upper bound)",
    "chip": "what the chip's published figures cover: synaptic operations, neuron updates, spikes within a tile",
}

REUSE: Mapping[Scheme, Reuse] = {"ideal_reuse": "ideal_reuse", "no_reuse": "no_reuse"}


@dataclass(frozen=True)
class Entry:
    """One line of a ledger.

    Attributes:
        layer: name of the node or of the twin's layer.
        part: of the energy.
        price: operation or memory of the device.
        amount: float64 `[images]` or `[1]`: operations, or accesses of the memory's width.
        driven: whether it is proportional to spikes.
    """

    layer: str
    part: Part
    price: str
    amount: NDArray[np.float64]
    driven: bool


def schemes(device: Device) -> tuple[Scheme, ...]:
    """The schemes under which a device has prices."""
    if device.chip:
        return ("chip",)
    return ("papers", "operations", "ideal_reuse", "no_reuse") if device.memories else ("papers", "operations")


def snn_ledger(graph: Graph, counts: OperationCounts, device: Device, scheme: Scheme) -> list[Entry]:
    """The ledger of the encoder on a device, under one scheme."""
    if scheme == "chip":
        return _chip(counts)
    entries: list[Entry] = []
    images = counts.images
    for name, layer in counts.layers.items():
        entries.append(Entry(name, "synapses", "add", _per_image(layer.per_step), True))
        if layer.attention is not None:
            entries.append(Entry(name, "attention", "add", _per_image(layer.attention.per_step), True))
        entries += _macs(name, np.asarray(layer.macs_per_image, np.float64))
    if scheme != "papers":
        for name, additions in counts.additions_per_node.items():
            entries.append(Entry(name, "additions", "add", _same(additions.total / images), False))
        for name, compared in counts.comparisons_per_node.items():
            entries.append(Entry(name, "comparisons", "add", _same(compared / images), False))
        for name, neurons in counts.neurons.items():
            updates = neurons.updates / images
            entries.append(Entry(name, "updates", "state_add", _same(neurons.additions * updates), False))
            entries.append(Entry(name, "updates", "state_multiply", _same(neurons.multiplications * updates), False))
    if scheme in REUSE:
        entries += _memory(snn_accesses(graph, counts, REUSE[scheme]), device)
    return [entry for entry in entries if entry.amount.any()]


def ann_ledger(ann: AnnCounts, device: Device, scheme: Scheme) -> list[Entry]:
    """The ledger of the ANN twin on a device that is no chip; with memory it needs the shapes of all layers."""
    entries: list[Entry] = []
    for name, layer in ann.layers.items():
        entries += _macs(name, _same(layer.macs / ann.images))
        if scheme != "papers" and layer.shapes is not None and layer.shapes.biases:
            entries.append(Entry(name, "additions", "add", _same(layer.shapes.outputs), False))
    if scheme in REUSE:
        entries += _memory(ann_accesses(ann, REUSE[scheme]), device)
    return [entry for entry in entries if entry.amount.any()]


def unpriced(counts: OperationCounts, scheme: Scheme) -> dict[str, int]:
    """Counts, over all images, that the scheme has no price for."""
    if scheme == "papers":
        updates, macs, attention = counts.neuron_updates, 0, 0
    elif scheme == "chip":
        updates, macs, attention = 0, counts.macs, counts.attention.coincidences
    else:
        return {}
    found = {
        "macs": macs,
        "attention": attention,
        "neuron_updates": updates,
        "additions": counts.additions.total,
        "comparisons": counts.comparisons,
    }
    return {name: count for name, count in found.items() if count}


def energies(entries: Iterable[Entry], device: Device, images: int) -> NDArray[np.float64]:
    """Picojoules of each image: float64 `[images]`."""
    total = np.zeros(images)
    for entry in entries:
        total += entry.amount * device.figure(entry.price).value
    return total


def mean(entry: Entry, device: Device) -> float:
    """Picojoules of one entry, mean over the images."""
    return float(entry.amount.mean()) * device.figure(entry.price).value


def by_part(entries: Iterable[Entry], device: Device) -> dict[Part, float]:
    """Mean picojoules per image by part, in the order in which they appear."""
    return _by(entries, device, lambda entry: entry.part)


def by_layer(entries: Iterable[Entry], device: Device) -> dict[str, dict[Part, float]]:
    """Mean picojoules per image by layer and part."""
    layers: dict[str, list[Entry]] = {}
    for entry in entries:
        layers.setdefault(entry.layer, []).append(entry)
    return {layer: by_part(own, device) for layer, own in layers.items()}


def by_price(entries: Iterable[Entry], device: Device) -> dict[str, float]:
    """Mean picojoules per image by price."""
    return _by(entries, device, lambda entry: entry.price)


def _by(entries: Iterable[Entry], device: Device, key: Callable[[Entry], T]) -> dict[T, float]:
    found: dict[T, float] = {}
    for entry in entries:
        found[key(entry)] = found.get(key(entry), 0.0) + mean(entry, device)
    return found


def _macs(layer: str, macs: NDArray[np.float64]) -> list[Entry]:
    return [Entry(layer, "macs", price, macs, False) for price in ("add", "multiply")]


def _memory(accesses: list[Access], device: Device) -> list[Entry]:
    """Price accesses to memory: each array lies in the smallest that holds it, and accesses are of full width."""
    if device.widths is None:
        raise ValueError(f"{device.name} has no memories")
    entries = []
    for access in accesses:
        memory = device.memory(access.bytes_held(device.widths))
        per_element = width(access.part, device.widths) / device.memories[memory].bit_width
        entries.append(Entry(access.layer, access.part, memory, np.asarray(access.moved * per_element), access.driven))
    return entries


def _chip(counts: OperationCounts) -> list[Entry]:
    entries: list[Entry] = []
    for name, layer in counts.layers.items():
        entries.append(Entry(name, "synapses", "sop", _per_image(layer.per_step), True))
    for name, neurons in counts.neurons.items():
        needed = _per_image(neurons.needed)
        every = neurons.updates / counts.images
        entries.append(Entry(name, "updates", "update_active", needed, False))
        entries.append(Entry(name, "updates", "update_inactive", every - needed, False))
    for name, population in counts.populations.items():
        entries.append(Entry(name, "spikes", "spike", _per_image(population.per_step), True))
    return [entry for entry in entries if entry.amount.any()]


def _same(amount: float) -> NDArray[np.float64]:
    return np.array([amount], np.float64)


def _per_image(per_step: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(per_step.sum(1), np.float64)
