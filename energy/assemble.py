"""From counts and prices to the document: one account per device and scheme, one comparison per device of the twin."""

from collections.abc import Sequence

import numpy as np

from energy import pricing
from energy.counts import AnnCounts, OperationCounts
from energy.distribution import distribution
from energy.document import (
    FORMAT,
    FORMAT_VERSION,
    Account,
    Comparison,
    DeviceReport,
    Document,
    Provenance,
    Scheme,
    Traffic,
    Traffics,
)
from energy.layers import break_even_rates
from energy.limits import not_counted, notes
from energy.prices import Device, Widths
from energy.statistics import break_even, sensitivity
from energy.traffic import Access, ann_accesses, snn_accesses, width
from energy.verdict import decide, sentence
from neuromorphic.ir.graph import Graph


def assemble(
    graph: Graph,
    counts: OperationCounts,
    devices: Sequence[Device],
    origin: Provenance,
    producer: str = "reference",
    precision: str = "float",
) -> Document:
    """The whole report.

    Args:
        graph: that was counted.
        counts: of a run of it.
        devices: to price it on, each also for its twin where that is fair (`fair`).
        origin: where model and images come from.
        producer: what ran: `reference`, `lava` or `torch`.
        precision: of that run.
    """
    return Document(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        model=graph.source,
        producer=producer,
        precision=precision,
        images=counts.images,
        time_steps=counts.time_steps,
        snn=counts,
        ann=counts.ann,
        devices={device.name: _report(graph, counts, device, devices) for device in devices},
        not_counted=not_counted(graph, counts),
        notes=notes(counts, devices),
        provenance=origin,
    )


def fair(ours: Device, theirs: Device) -> bool:
    """Whether the encoder on `ours` may be compared with a twin on `theirs`.

    Both are bare operations of one technology, and the twin's weights are no wider than the encoder's: a wider twin
    would flatter it, a narrower one is the hard comparison.
    """
    if ours.chip or theirs.chip or ours.technology != theirs.technology:
        return False
    if ours.name == theirs.name:
        return True
    return ours.widths is not None and theirs.widths is not None and theirs.widths.weight < ours.widths.weight


def _report(graph: Graph, counts: OperationCounts, device: Device, devices: Sequence[Device]) -> DeviceReport:
    ann = counts.ann
    traffic = ann_traffic = None
    if device.widths is not None:
        traffic = Traffics(
            ideal_reuse=_traffic(snn_accesses(graph, counts, "ideal_reuse"), device.widths, counts.images),
            no_reuse=_traffic(snn_accesses(graph, counts, "no_reuse"), device.widths, counts.images),
        )
    if device.widths is not None and ann is not None and ann.shaped:
        ann_traffic = Traffics(
            ideal_reuse=_traffic(ann_accesses(ann, "ideal_reuse"), device.widths, counts.images),
            no_reuse=_traffic(ann_accesses(ann, "no_reuse"), device.widths, counts.images),
        )
    twins = [other for other in devices if fair(device, other)]
    return DeviceReport(
        device=device,
        traffic=traffic,
        ann_traffic=ann_traffic,
        accounts={scheme: _account(graph, counts, device, scheme, twins) for scheme in pricing.schemes(device)},
    )


def _traffic(accesses: list[Access], widths: Widths, images: int) -> Traffic:
    moved = dict.fromkeys(("weights", "states", "spikes", "activations"), 0)
    for access in accesses:
        moved[access.part] += int(np.broadcast_to(access.moved, images).sum()) * (width(access.part, widths) // 8)
    return Traffic(**moved)


def _account(graph: Graph, counts: OperationCounts, device: Device, scheme: Scheme, twins: Sequence[Device]) -> Account:
    ledger = pricing.snn_ledger(graph, counts, device, scheme)
    comparisons = []
    if counts.ann is not None and counts.ann.macs and (counts.ann.shaped or scheme == "papers"):
        for twin in twins:
            if scheme in pricing.schemes(twin):
                comparisons.append(_compare(ledger, counts, counts.ann, (device, twin), scheme))
    return Account(
        title=pricing.TITLES[scheme],
        energy=distribution(pricing.energies(ledger, device, counts.images)),
        parts=pricing.by_part(ledger, device),
        layers=pricing.by_layer(ledger, device),
        unpriced=pricing.unpriced(counts, scheme),
        break_even_rates=break_even_rates(graph, counts, device, scheme),
        comparisons=comparisons,
    )


def _compare(
    ledger: list[pricing.Entry],
    counts: OperationCounts,
    ann: AnnCounts,
    devices: tuple[Device, Device],
    scheme: Scheme,
) -> Comparison:
    ours, theirs = devices
    twin = pricing.ann_ledger(ann, theirs, scheme)
    cost = float(pricing.energies(twin, theirs, 1)[0])
    ratio = distribution(np.asarray(pricing.energies(ledger, ours, counts.images) / cost))
    prices = sensitivity(pricing.by_price(ledger, ours), ours, pricing.by_price(twin, theirs), theirs)
    verdict, reasons = decide(ratio, prices)
    dense = sum(layer.dense for layer in counts.layers.values())
    rate = counts.sops / dense if dense else None
    driven = sum(pricing.mean(entry, ours) for entry in ledger if entry.driven)
    fixed = sum(pricing.mean(entry, ours) for entry in ledger if not entry.driven)
    even = break_even(fixed, driven, rate, cost)
    return Comparison(
        ann_device=theirs.name,
        same_precision=ours.precision == theirs.precision,
        ann_energy=cost,
        ann_parts=pricing.by_part(twin, theirs),
        ann_layers=pricing.by_layer(twin, theirs),
        ratio=ratio,
        verdict=verdict,
        reasons=reasons,
        sentence=sentence(verdict, reasons, scheme, devices, ratio, rate, even),
        rate=rate,
        fixed=fixed,
        proportional=driven,
        break_even_rate=even,
        sensitivity=prices,
    )
