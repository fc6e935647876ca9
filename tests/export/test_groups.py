"""An exported file declares the groups of its convolutions: of ordinary weights, those that the values show too."""

import json

import pytest
import torch
from torch import nn

import export
from neuromorphic.ops import Conv2d
from neuromorphic.reading.build import from_nir
from spikeclip.checkpoint import Checkpoint
from spikeclip.encoder import SpikeClip
from spikeclip.preprocess import Preprocessing


@pytest.mark.parametrize(
    ("sizes", "standard", "grouped"),
    [({}, False, True), ({"architecture": "paper", "heads": 2}, False, False),
     ({"architecture": "paper", "heads": 2}, True, True)],
)  # fmt: skip
def test_declared_groups_are_those_of_the_modules(make_encoder, sizes, standard, grouped):
    torch.manual_seed(3)
    model = SpikeClip(make_encoder(3, **sizes), nn.Linear(16, 5), tuple("abcde")).eval()
    made = export.prepare(Checkpoint(model, Preprocessing(image_size=16)), standard_nodes=standard).graph
    document = json.loads(made.metadata["spikeclip"])
    declared = document.pop("groups")
    assert bool(declared) == grouped
    found = {name: node.operation.groups for name, node in from_nir(made).nodes.items()
             if isinstance(node.operation, Conv2d)}  # fmt: skip
    assert declared == {name: groups for name, groups in found.items() if groups > 1}
    made.metadata = {"spikeclip": json.dumps(document)}  # as older files: groups by values
    older = from_nir(made)
    assert {name: older.nodes[name].operation.groups for name in found} == found
