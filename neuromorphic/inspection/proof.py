"""Whether a graph computes without rounding: the claim of its file, and the proof from its weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuromorphic.analysis.rounding import proven
from neuromorphic.errors import RefusedInput
from neuromorphic.inspection.report import Proof
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.certificate import certify_widths
from neuromorphic.loihi2.file import integer_graph


def find_proof(graph: Graph, *, prove: bool) -> Proof:
    """The claim of a graph's file on its arithmetic, and with `prove` the proof from its weights."""
    claimed = _claim(graph)
    if not prove:
        return Proof(claimed, None, "not asked for")
    integers = integer_graph(graph)
    if integers is not None:
        return Proof(claimed, certify_widths(integers).to_dict())
    try:
        with np.errstate(divide="raise", invalid="raise"):
            found = proven(graph)
    except (ArithmeticError, ValueError) as error:  # numbers beyond the range of the proof
        return Proof(claimed, None, str(error))
    if found is None:
        return Proof(claimed, None, "the file doesn't say what its frames are")
    return Proof(claimed, found.to_dict())


def _claim(graph: Graph) -> Mapping[str, Any] | None:
    """The exporter's certificate; None where the file has none.

    Raises:
        RefusedInput: it has the form of no certificate.
    """
    claim: Any = graph.metadata.certificate
    if claim == {}:
        return None
    nodes = claim.get("nodes") if isinstance(claim, Mapping) else None
    if not isinstance(nodes, Mapping) or not all(isinstance(n, Mapping) and "exact" in n for n in nodes.values()):
        raise RefusedInput(f"{graph.source}: metadata certificate is no certificate; expected nodes, each exact or not")
    return dict(claim)
