"""What a conversion says to people, of documents written by hand."""

import pytest

from export.summary import table

NODE = {"exact": True, "bits_needed": 9, "limit": 24, "reason": ""}
DOCUMENT = {
    "format": "nir",
    "graph": "m.nir",
    "bytes": 2_500_000,
    "nodes": 4,
    "edges": 3,
    "extensions": [],
    "neurons": 1234,
    "populations": 2,
    "weights": 5678,
    "time_steps": 4,
    "certificate": {"nodes": {"lif": NODE}},
    "accuracy": None,
}


def lines(**more) -> list[str]:
    found = table({**DOCUMENT, **more})
    return [f"{name}: {said}" for name, said in zip(*(column.cells for column in found.columns), strict=True)]


def parity(**outputs):
    compared = {"spikes_compared": 1000, "images": 3, "mismatches": 0}
    return {**compared, "outputs": {"differ": 0, "difference": 0.0, "tolerance": 1e-6, "largest": 2.0, **outputs}}


def test_a_graph_in_lines():
    assert lines()[:5] == [
        "graph: m.nir, 2.5 MB",
        "nodes: 4, 3 edges",
        "neurons: 1,234 in 2 populations",
        "weights: 5,678 not zero",
        "time steps: 4",
    ]
    assert "certificate: not exact in 1 of 2 nodes" in lines(
        certificate={"nodes": {"a": NODE, "b": {**NODE, "exact": False, "reason": "rounds"}}}
    )


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({}, False),
        ({"differ": 3, "difference": 1e-6}, False),
        ({"differ": 3, "difference": 2e-6}, True),
        ({"differ": 3, "difference": float("nan")}, True),
        ({"differ": 0, "difference": 2e-6}, False),
    ],
)
def test_outputs_that_differ_by_more_than_rounding_are_said(outputs, said):
    found = lines(parity=parity(**outputs))
    assert "parity: 1,000 spikes of 3 random inputs, your own forward against the graph: none different" in found
    assert any("differs by up to" in line for line in found) == said


def test_accuracy_in_points():
    found = lines(accuracy={"images": 200, "original": 150, "exported": 149, "points": -0.5})
    assert "accuracy: 75.00% before, 74.50% after (-0.50 points), 200 images" in found
