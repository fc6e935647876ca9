"""Documents of any size, with figures made up by formulas: what a report must be able to show."""

from energy.document import Document

OPERATIONS = ("add", "multiply", "state_add", "state_multiply")
CHIP = ("sop", "update_active", "update_inactive", "spike")


def document(*, layers=3, images=4, steps=4, twin=True, devices=("one", "two"), chip=True, name="layer.{}"):
    """A document of an encoder with so many layers and populations.

    Args:
        layers: of the encoder, and of its twin.
        images, steps: of the run.
        twin: whether the file describes an ANN twin.
        devices: names of those without a chip; each is compared with every one.
        chip: whether there is a chip too.
        name: of every node, with its number.
    """
    names = [name.format(index) for index in range(layers)]
    reports = {device: _device(device, names, images, devices if twin else ()) for device in devices}
    if chip:
        reports["chip"] = _chip(names, images)
    return Document.model_validate(
        {
            "format": "spikeclip-energy",
            "format_version": 4,
            "model": name.format("nir"),
            "producer": "reference",
            "precision": "float",
            "images": images,
            "time_steps": steps,
            "snn": _snn(names, images, steps),
            "input_kind": "real",
            "assumed": [name.format("assumption")],
            "accuracy": {"snn": 0.75, "ann": None},
            "ann": _ann(layers, names, images) if twin else None,
            "neurobench": {
                "footprint": 4,
                "connection_sparsity": 0.5,
                "activation_sparsity": 0.25,
                "synaptic_operations": {"Effective_MACs": 1.0, "Effective_ACs": 2.0, "Dense": 3.0},
            },
            "ann_devices": {},
            "devices": reports,
            "not_counted": [{"what": name.format("softmax"), "side": "ann", "why": "it has no MACs"}],
            "notes": [name.format("note")],
            "provenance": {
                "model_sha256": "0" * 64,
                "checkpoint_sha256": None,
                "data": {"spec": name.format("images"), "sha256": "1" * 64},
                "seed": 0,
                "versions": {"python": "3"},
                "command": ["spikeclip-energy", name.format("nir")],
            },
        }
    )


def _distribution(mean, images):
    spread = None if images == 1 else (mean * 0.9, mean * 1.1)
    return {
        "images": images,
        "mean": mean,
        "standard_deviation": None if images == 1 else mean * 0.1,
        "interval": spread,
        "minimum": mean * 0.8,
        "maximum": mean * 1.2,
        "percentiles": (mean * 0.8, mean, mean * 1.2),
    }


def _snn(names, images, steps):
    layers = {}
    for index, name in enumerate(names):
        real = index == 0
        sops = 0 if real else 100 * index * images
        layers[name] = {
            "kind": "conv2d",
            "sops": sops,
            "sops_per_step": [sops // steps] * steps,
            "sops_per_image": _distribution(sops / images, images),
            "dense": sops * 4,
            "dense_padded": sops * 5,
            "rate": None if real else 0.25,
            "macs": 500 * images if real else 0,
            "macs_once": 100 * images if real else 0,
            "macs_summed": 500 * images if real else 0,
            "macs_dense": 500 * images if real else 0,
            "attention": None,
            "spiking_sources": []
            if real
            else [{**_source(f"{names[index - 1]}.lif"), "sops": sops, "dense": sops * 4}],
            "real_sources": ["input"] if real else [],
        }
    if len(names) > 2:
        layers[names[-1]] |= {"kind": "attention", "sops": 0, "spiking_sources": [], "dense": 0, "dense_padded": 0}
        layers[names[-1]]["attention"] = {
            **{"source": f"{names[-2]}.lif", "spikes": 5, "products": {"KV": _terms(20 * images), "Q(KV)": _terms(0)}},
            **{"dense_scores_first": 90 * images, **_terms(20 * images)},
        }
    populations = {}
    for index, name in enumerate(names):
        # The first population is silent, the second one always fires.
        spikes = [
            0 if index == 0 else 8 * images if index == 1 else (index + step) % 8 * images for step in range(steps)
        ]
        populations[f"{name}.lif"] = {
            "neurons": 8,
            "updates": 8 * steps * images,
            "updates_needed": 5 * steps * images,
            "spikes": sum(spikes),
            "rate": sum(spikes) / (8 * steps * images),
            "spikes_per_step": spikes,
            "spikes_per_image": _distribution(sum(spikes) / images, images),
        }
    total = sum(layer["sops"] for layer in layers.values())
    return {
        "sops": total,
        "sops_under_way": 7 * images,
        "macs": 500 * images,
        "macs_once": 100 * images,
        "macs_summed": 500 * images,
        "macs_dense": 500 * images,
        "attention": {"dense_scores_first": 90 * images, **_terms(20 * images)},
        "neuron_updates": 8 * steps * images * len(names),
        "neuron_updates_needed": 5 * steps * images * len(names),
        "additions": {"bias": 3 * images, "pooling": 0, "fan_in": 0},
        "additions_per_node": {names[0]: {"bias": 3 * images, "pooling": 0, "fan_in": 0}},
        "comparisons": 0,
        "comparisons_per_node": {},
        "sops_per_image": _distribution(total / images, images),
        "attention_per_image": _distribution(20, images),
        "layers": layers,
        "populations": populations,
        "membranes": {names[0]: {"neurons": 8, "updates": 8 * steps * images, "updates_needed": 3 * images}},
    }


def _source(population):
    return {"source": population, "spikes": 5, "sops_under_way": 0, "rate": 0.25}


def _terms(count):
    return {"coincidences": count, "one_sided": 2 * count, "dense": 4 * count}


def _ann(layers, names, images):
    macs = 900 * layers * images
    return {"baseline": "twin", "macs": macs, "parameters": 70, "layers": _twin(names, images)}


def _twin(names, images):
    return {f"twin.{name}": {"kind": "linear", "macs": 900 * images, "additions": 9 * images} for name in names}


def _figure(value):
    return {
        "value": value,
        "unit": "pJ",
        "source": "A. Author, 2014, table 1",
        "process_node": "45 nm",
        "bit_width": 32,
        "grade": "estimated",
        "note": "",
    }


def _device(name, names, images, twins):
    widths = {"weight": 32, "activation": 32, "state": 32, "address": 32}
    device = {
        "format_version": 1,
        "name": name,
        "title": f"Device {name}",
        "technology": "45 nm",
        "precision": name,
        "chip": False,
        "widths": widths,
        "operations": {key: _figure(0.9) for key in OPERATIONS},
        "memories": {"SRAM": {**_figure(10), "capacity": None}},
    }
    moved = dict.fromkeys(("weights", "states", "spikes", "activations"), 1000 * images)
    traffic = {"ideal_reuse": moved, "no_reuse": {key: 9 * value for key, value in moved.items()}}
    accounts = {}
    for index, scheme in enumerate(("papers", "operations", "ideal_reuse", "no_reuse")):
        parts = {"synapses": 100.0, "macs": 40.0}
        if index:
            parts |= {"updates": 30.0, "additions": 5.0}
        if index > 1:
            parts |= {"weights": 900.0 * index, "states": 300.0 * index, "spikes": 50.0, "activations": 9.0}
        accounts[scheme] = {
            "title": f"account {scheme}",
            "energy": _distribution(sum(parts.values()), images),
            "parts": parts,
            "layers": {node: {part: value / len(names) for part, value in parts.items()} for node in names},
            "unpriced": {} if index else {"neuron_updates": 77 * images},
            "break_even_rates": {},
            "comparisons": [_comparison(twin, name, parts, names, images, index) for twin in twins],
        }
    return {"device": device, "traffic": traffic, "ann_traffic": traffic if twins else None, "accounts": accounts}


def _comparison(twin, name, parts, names, images, index):
    theirs = {"macs": 300.0, "weights": 1500.0} if index > 1 else {"macs": 300.0}
    ratio = sum(parts.values()) / sum(theirs.values())
    verdict = ("cheaper", "not cheaper", "undecided")[index % 3]
    return {
        "ann_device": twin,
        "same_precision": twin == name,
        "ann_energy": sum(theirs.values()),
        "ann_parts": theirs,
        "ann_layers": {f"twin.{node}": {part: value / len(names) for part, value in theirs.items()} for node in names},
        "ratio": _distribution(ratio, images),
        "verdict": verdict,
        "reasons": [],
        "sentence": f"{verdict} on {name}",
        "rate": 0.25,
        "fixed": sum(parts.values()) - 100.0,
        "proportional": 100.0,
        "break_even_rate": (None, 0.1, 3.0)[index % 3],
        "sensitivity": [
            {"device": name, "price": "add", "factor": None, "plausible": (0.5, 2.0), "flips": False},
            {"device": twin, "price": "multiply", "factor": 1.5, "plausible": (0.5, 2.0), "flips": True},
        ],
    }


def _chip(names, images):
    device = {
        "format_version": 1,
        "name": "chip",
        "title": "A chip",
        "technology": "chip",
        "precision": "int8",
        "chip": True,
        "operations": {key: _figure(24.0) for key in CHIP},
    }
    parts = {"synapses": 100.0, "updates": 30.0, "spikes": 50.0}
    account = {
        "title": "what the chip's figures cover",
        "energy": _distribution(180.0, images),
        "parts": parts,
        "layers": {node: {part: value / len(names) for part, value in parts.items()} for node in names},
        "unpriced": {"macs": 500 * images},
        "break_even_rates": {},
        "comparisons": [],
    }
    return {"device": device, "traffic": None, "ann_traffic": None, "accounts": {"chip": account}}
