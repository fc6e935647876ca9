"""The synapses of a placement one by one, in plain Python, from the equations of the nodes."""

from itertools import product

from neuromorphic.ops import Affine, Conv2d, Scale


def synapses(projection, population):
    """Pairs (index in the flattened sender, index in the flattened population), one per synapse."""
    node = projection.node
    match projection.kind:
        case "identity":
            return [(i, i) for i in range(population.neurons)]
        case "products":
            return list(_products(node))
        case "sums":
            return list(_sums(node))
        case "queries":
            return list(_queries(node))
    match node.operation:
        case Conv2d() as conv:
            return list(_convolution(node, conv))
        case Scale():
            return [(i, i) for i in range(population.neurons)]
        case Affine(weight=weight):
            return list(product(range(weight.shape[1]), range(weight.shape[0])))
        case pool:
            return list(_windows(node, pool))


def _taps(node, kernel, stride, padding, dilation):
    """(output row, output column, input row, input column) per tap on the map."""
    _, height, width = node.input_shape
    for i, j in product(*map(range, node.shape[1:])):
        for m, n in product(*map(range, kernel)):
            y, x = i * stride[0] - padding[0] + dilation[0] * m, j * stride[1] - padding[1] + dilation[1] * n
            if 0 <= y < height and 0 <= x < width:
                yield i, j, y, x


def _convolution(node, conv):
    for i, j, y, x in _taps(node, conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation):
        for o, c in product(range(node.shape[0]), range(node.input_shape[0])):
            if o * conv.groups // node.shape[0] == c * conv.groups // node.input_shape[0]:
                yield _flat(node.input_shape, c, y, x), _flat(node.shape, o, i, j)


def _windows(node, pool):
    for i, j, y, x in _taps(node, pool.kernel_size, pool.stride, pool.padding, (1, 1)):
        for c in range(node.shape[0]):
            yield _flat(node.input_shape, c, y, x), _flat(node.shape, c, i, j)


def _attention(node):
    channels, height, width = node.shape
    heads = node.operation.heads
    return channels, heads, channels // heads, height * width


def _products(node):
    """A sum per channel of V (its channel) and channel of K's head (its row)."""
    channels, heads, d, tokens = _attention(node)
    for h, i, j, m in product(range(heads), range(d), range(d), range(tokens)):
        total = (h * d + j) * d + i
        yield (channels + h * d + i) * tokens + m, total
        yield (2 * channels + h * d + j) * tokens + m, total


def _sums(node):
    _, heads, d, tokens = _attention(node)
    for h, i, j, n in product(range(heads), range(d), range(d), range(tokens)):
        yield (h * d + j) * d + i, (h * d + j) * tokens + n


def _queries(node):
    _, heads, d, tokens = _attention(node)
    for h, i, j, n in product(range(heads), range(d), range(d), range(tokens)):
        yield (h * d + i) * tokens + n, (h * d + j) * tokens + n


def _flat(shape, c, y, x):
    return (c * shape[1] + y) * shape[2] + x
