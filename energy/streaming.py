"""Counting while the reference runs, or while a trace is read: memory for one batch, whatever the number of images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy.attention import AttentionCounts, ProductCounts
from energy.counting import count
from energy.counts import (
    Additions,
    AnnCounts,
    LayerCounts,
    NeuronCounts,
    OperationCounts,
    PopulationCounts,
    SourceCounts,
)
from neuromorphic.execution.frames import per_step
from neuromorphic.execution.reference import run
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace


def count_running(
    graph: Graph,
    frames: NDArray[np.float32],
    time_steps: int | None = None,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OperationCounts:
    """`count` of the numpy reference's run, some images at a time: each batch's trace is counted and dropped.

    Args:
        graph: a validated graph.
        frames: float32 `[N, *input shape]`, or one frame per step.
        time_steps: T, where neither the frames nor the file say.
        batch: images side by side.
        progress: told (images done, images in all).

    Raises:
        RefusedInput: as `reference.run` and `count` do.
    """
    frames = per_step(graph, frames, time_steps)
    parts = []
    for start in range(0, len(frames), batch):
        progress(start, len(frames))
        parts.append(count(graph, run(graph, frames[start : start + batch])))
    progress(len(frames), len(frames))
    return joined(parts)


def count_stored(
    graph: Graph, path: Path, batch: int = 256, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[OperationCounts, Trace]:
    """`count` of the trace in `path`, some images at a time; and the trace of the first of them, for what ran.

    Args:
        graph: that the trace is of.
        path: a trace of `spikeclip-simulate`.
        batch: images that are read at a time.
        progress: told (images done, images in all as far as they are known).

    Raises:
        RefusedInput: as `Trace.read` and `count` do.
    """
    first = Trace.read(path, slice(0, batch))
    parts, done, trace = [count(graph, first)], first.images, first
    while trace.images == batch:
        progress(done, done + batch)
        trace = Trace.read(path, slice(done, done + batch))
        done += trace.images
        if trace.images:
            parts.append(count(graph, trace))
    progress(done, done)
    return joined(parts), first


def joined(parts: Sequence[OperationCounts]) -> OperationCounts:
    """The counts of all images of `parts`, in that order; each is of the same graph and T."""
    first = parts[0]
    layers = {name: _layers([part.layers[name] for part in parts]) for name in first.layers}
    return OperationCounts(
        images=sum(part.images for part in parts),
        time_steps=first.time_steps,
        layers=layers,
        populations={name: _populations([part.populations[name] for part in parts]) for name in first.populations},
        membranes={name: _neurons([part.membranes[name] for part in parts]) for name in first.membranes},
        spikes_read={name: _read([part.spikes_read[name] for part in parts]) for name in first.spikes_read},
        additions_of={name: _additions([part.additions_of[name] for part in parts]) for name in first.additions_of},
        comparisons_of={name: sum(part.comparisons_of[name] for part in parts) for name in first.comparisons_of},
        ann=_twins([part.ann for part in parts if part.ann is not None]),
    )


def _layers(parts: Sequence[LayerCounts]) -> LayerCounts:
    first = parts[0]
    attention = [part.attention for part in parts if part.attention is not None]
    return replace(
        first,
        spiking=tuple(_sources(sources) for sources in zip(*(part.spiking for part in parts), strict=True)),
        macs=sum(part.macs for part in parts),
        macs_once=sum(part.macs_once for part in parts),
        macs_summed=sum(part.macs_summed for part in parts),
        attention=_attention(attention) if attention else None,
    )


def _sources(parts: Sequence[SourceCounts]) -> SourceCounts:
    return SourceCounts(
        source=parts[0].source,
        spikes=sum(part.spikes for part in parts),
        updates=sum(part.updates for part in parts),
        per_step=np.concatenate([part.per_step for part in parts]),
        under_way=sum(part.under_way for part in parts),
        dense=sum(part.dense for part in parts),
        dense_padded=sum(part.dense_padded for part in parts),
    )


def _attention(parts: Sequence[AttentionCounts]) -> AttentionCounts:
    return AttentionCounts(
        source=parts[0].source,
        spikes=sum(part.spikes for part in parts),
        updates=sum(part.updates for part in parts),
        sums=_products([part.sums for part in parts]),
        outputs=_products([part.outputs for part in parts]),
        dense_scores_first=sum(part.dense_scores_first for part in parts),
    )


def _products(parts: Sequence[ProductCounts]) -> ProductCounts:
    return ProductCounts(
        coincidences=np.concatenate([part.coincidences for part in parts]),
        one_sided=np.concatenate([part.one_sided for part in parts]),
        dense=sum(part.dense for part in parts),
    )


def _populations(parts: Sequence[PopulationCounts]) -> PopulationCounts:
    return replace(
        parts[0],
        spikes=np.concatenate([part.spikes for part in parts]),
        needed=np.concatenate([part.needed for part in parts]),
    )


def _neurons(parts: Sequence[NeuronCounts]) -> NeuronCounts:
    return replace(parts[0], needed=np.concatenate([part.needed for part in parts]))


def _read(parts: Sequence[tuple[NDArray[np.int64], ...]]) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.concatenate(images) for images in zip(*parts, strict=True))


def _additions(parts: Sequence[Additions]) -> Additions:
    return Additions(
        bias=sum(part.bias for part in parts),
        pooling=sum(part.pooling for part in parts),
        fan_in=sum(part.fan_in for part in parts),
    )


def _twins(parts: Sequence[AnnCounts]) -> AnnCounts | None:
    if not parts:
        return None
    layers = {
        name: replace(layer, macs=sum(part.layers[name].macs for part in parts))
        for name, layer in parts[0].layers.items()
    }
    return replace(parts[0], images=sum(part.images for part in parts), layers=layers)
