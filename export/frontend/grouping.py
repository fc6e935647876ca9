"""Groups of convolutions, for the metadata: NIR holds grouped kernels as block-diagonal ones."""

import nir
from torch import nn

from export.frontend.lowering import Lowering
from export.frontend.nodes import Weighted
from neuromorphic.reading.grouping import block_diagonal_groups


def groups_of(lowering: Lowering, module: nn.Module) -> dict[str, int]:
    """The number of groups of each convolution that has more than one, by node.

    A convolution of the module has the groups that the module declares, whatever its weights are; a kernel that stands
    for a sum has the groups that it was made with.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    found: dict[str, int] = {}
    for index, name in lowering.names.items():
        operation = lowering.context.nodes[index].operation
        if not isinstance(operation, Weighted) or not isinstance(lowering.nodes.get(name), nir.Conv2d):
            continue
        declared = {
            len(piece.columns) // parameters[piece.weight].shape[1] for piece in operation.pieces if piece.weight
        }
        if len(declared) == 1 and len(operation.pieces) == 1:
            found[name] = declared.pop()
    made = {name for name, node in lowering.nodes.items() if isinstance(node, nir.Conv2d)} - _of_module(lowering)
    # In the graph's order: a set's differs from process to process, and the same export has to be the same file.
    found |= {name: block_diagonal_groups(lowering.nodes[name].weight) for name in lowering.nodes if name in made}
    return {name: groups for name, groups in found.items() if groups > 1}


def _of_module(lowering: Lowering) -> set[str]:
    """Names of the nodes whose weights are some of the module's."""
    nodes = lowering.context.nodes
    weighted = ((name, nodes[index].operation) for index, name in lowering.names.items())
    return {
        name
        for name, operation in weighted
        if isinstance(operation, Weighted) and any(p.weight for p in operation.pieces)
    }
