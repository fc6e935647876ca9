"""The maximum of spikes over neighbouring tokens and channels, as Spike-Driven-Transformer takes it of event data.

Tokens are the positions of a map `[C, H, W]`, row by row, so that a token's neighbour may lie in the next row.  A
convolution counts the spikes all the same: o tokens further is either 0 rows and o columns, or 1 row and o - W columns,
and of two such taps only one ever lies on the map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Relay, Weighted, Window
from export.frontend.signals import ONE, Signal, Term


def max_over_tokens(
    context: Context, x: Signal, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Signal | None:
    """The maximum over windows of `[..., heads, tokens, channels]`; None where the last three are no heads of a map.

    Args:
        context: the graph in the making.
        x: five dimensions, the first two of times and images.
        size: of windows, over tokens and over channels.
        stride: of them.
        padding: of them.

    Raises:
        RefusedInput: currents, or windows that leave fewer tokens or channels than there are.
    """
    term = x.terms[0]
    shape = context.nodes[term.node].shape
    heads, tokens, width = x.shape[2:]
    if len(x.terms) > 1 or len(shape) != 3 or (heads * width, tokens) != (shape[0], shape[1] * shape[2]):
        return None
    moments, element = context.rows(term, 2)
    if not torch.equal(element, torch.arange(element.numel()).view(heads, width, tokens).transpose(1, 2)):
        return None
    if not context.spiking(x):
        raise context.refused("takes the maximum of currents over tokens; expected spikes")
    if list(stride) != [1, 1] or [2 * p + 1 for p in padding] != list(size):
        raise context.refused(f"pools tokens with windows {list(size)}, stride {list(stride)}; expected as many left")
    kernel, window = _counting(heads, width, shape[2], padding[0], padding[1])
    counts = Weighted(kernel, torch.zeros(len(kernel), dtype=torch.float64), window, fixed=True)
    key = ("tokens", term.node, heads, *size)
    summed = context.add(context.label("count"), counts, shape, (term.node,), key)
    index = context.add(context.label("max"), Relay(), shape, (summed,), (*key, "max"))
    code = context.encode(index, moments, element).reshape(x.shape)
    return Signal(x.shape, (Term(index, code, ONE),))


def _counting(heads: int, width: int, columns: int, tokens: int, channels: int) -> tuple[Tensor, Window]:
    """The kernel that counts spikes up to so many tokens and channels away, within a head, and its window."""
    place = torch.arange(width)
    near = ((place[:, None] - place).abs() <= channels).double()
    mixed = torch.kron(torch.eye(heads, dtype=torch.float64), near)
    reach = max(tokens // columns + 1, columns - 1)  # square: NIR infers other shapes behind kernels that are not
    taps = torch.zeros(2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    for offset in range(-tokens, tokens + 1):
        row, column = divmod(offset, columns)
        taps[reach + row, reach + column] = 1
        if column:
            taps[reach + row + 1, reach + column - columns] = 1
    return mixed[:, :, None, None] * taps, Window(padding=(reach, reach))
