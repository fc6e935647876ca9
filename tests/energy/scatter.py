"""Operations counted one by one in plain Python: every spike along every synapse, every term of attention.

Written without a look at `energy`: it reads NIR's own nodes, not the validated graph.
"""

from itertools import product

import nir
import numpy as np


def arrivals(node, spikes):
    """Number of synapses of `node` that the spikes, bool `[C, H, W]` or `[n]`, arrive at."""
    places = np.argwhere(spikes).tolist()
    if isinstance(node, nir.Conv2d):
        return sum(_taps_met(node, spikes.shape, c, y, x) for c, y, x in places)
    if isinstance(node, nir.SumPool2d):
        return sum(_windows_met(node, spikes.shape, y, x) for _, y, x in places)
    if isinstance(node, nir.Affine | nir.Linear):
        return len(places) * node.weight.shape[0]
    assert isinstance(node, nir.LIF)
    return len(places)


def _outputs(size, kernel, stride, padding, dilation):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _taps_met(node, shape, channel, y, x):
    out_channels, _, kh, kw = node.weight.shape
    (sh, sw), (ph, pw), (dh, dw) = node.stride, node.padding, node.dilation
    connected = _connected(node.weight)
    met = 0
    for i in range(_outputs(shape[1], kh, sh, ph, dh)):
        for j in range(_outputs(shape[2], kw, sw, pw, dw)):
            for m in range(kh):
                for n in range(kw):
                    if i * sh - ph + dh * m == y and j * sw - pw + dw * n == x:
                        met += sum((o, channel) in connected for o in range(out_channels))
    return met


def _connected(weight):
    """Pairs (out, in) in one group, of the most groups whose blocks hold all non-zero weights, and some each."""
    out_channels, in_channels = weight.shape[:2]
    pairs = [(o, c) for o in range(out_channels) for c in range(in_channels)]
    used = {pair for pair in pairs if np.any(weight[pair])}
    for groups in range(min(out_channels, in_channels), 0, -1):
        if out_channels % groups or in_channels % groups:
            continue
        block = {(o, c): (o * groups // out_channels, c * groups // in_channels) for o, c in pairs}
        if {block[pair] for pair in used} == {(g, g) for g in range(groups)}:
            return {pair for pair in pairs if block[pair][0] == block[pair][1]}
    return set(pairs)


def _windows_met(node, shape, y, x):
    (kh, kw), (sh, sw), (ph, pw) = node.kernel_size, node.stride, node.padding
    met = 0
    for i in range(_outputs(shape[1], kh, sh, ph, 1)):
        for j in range(_outputs(shape[2], kw, sw, pw, 1)):
            met += 0 <= y - (i * sh - ph) < kh and 0 <= x - (j * sw - pw) < kw
    return met


def attention_terms(spikes, heads):
    """Of one image and step, bool `[3 D, H, W]`: coincidences and one-sided of both products, and all terms of one."""
    q, k, v = spikes.reshape(3, heads, -1, spikes[0].size).tolist()
    width, tokens = len(q[0]), range(spikes[0].size)
    found = np.zeros(5, int)
    for h, i, j in product(range(heads), range(width), range(width)):
        total = 0
        for m in tokens:
            found += (k[h][i][m] and v[h][j][m], k[h][i][m], 0, 0, 1)
            total += k[h][i][m] * v[h][j][m]
        for n in tokens:
            found += (0, 0, q[h][i][n] and total != 0, q[h][i][n], 0)
    return found
