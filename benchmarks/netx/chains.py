"""Chains of random integers, of everything that a netx file can hold."""

from collections.abc import Iterator

import numpy as np

from neuromorphic.reading.netx.layers import Conv, Dense, Flatten, Input, Layer, Neuron

STEPS = 24


def chains(seed: int = 0) -> Iterator[tuple[str, tuple[Layer, ...], np.ndarray]]:
    """Name, layers and frames `[N, T, *shape]` of each.

    Two images where Lava keeps them apart; one where spikes under way, in delays and loops, would reach the next.
    """
    draw = np.random.default_rng(seed)

    def even(*shape: int, most: int = 40) -> np.ndarray:
        return 2 * draw.integers(-most, most + 1, shape)

    def neuron(current: int = 4096, membrane: int = 1024, threshold: int = 60) -> Neuron:
        return Neuron(current, membrane, threshold)

    def spikes(*shape: int, images: int = 2) -> np.ndarray:
        return (draw.random((images, STEPS, *shape)) < 0.3).astype(np.int64)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int64)

    yield (
        "dense",
        (Dense(even(16, 20), even(16, most=9), neuron()), Dense(even(5, 16), zeros(5), neuron(4096, 0, 200))),
        spikes(20),
    )
    yield (
        "currents that last",
        (Dense(even(16, 20), zeros(16), neuron(512, 1024)), Dense(even(9, 16), even(9, most=9), neuron(2048, 409))),
        spikes(20),
    )
    yield (
        "recurrent",
        (
            Dense(even(12, 10), zeros(12), neuron(), None, even(12, 12, most=10)),
            Dense(even(6, 12), zeros(6), neuron(1024, 100, 300)),
        ),
        spikes(10, images=1),
    )
    yield (
        "delays",
        (
            Dense(even(12, 10), zeros(12), neuron(), np.broadcast_to(draw.integers(0, 7, (1, 10)), (12, 10))),
            Dense(even(8, 12), zeros(8), neuron(), np.broadcast_to(draw.integers(0, 5, (8, 1)), (8, 12))),
            Dense(even(6, 8), zeros(6), neuron(), np.full((6, 8), 3)),
        ),
        spikes(10, images=1),
    )
    yield (
        "convolutions",
        (
            Input((2, 9, 11), neuron(4096, 512, 40)),
            Conv(even(6, 2, 3, 3, most=9), even(6, most=3), neuron(), (6, 5, 6), (2, 2), (1, 1), (1, 1), 1),
            Conv(even(4, 3, 3, 2), zeros(4), neuron(4096, 2048), (4, 3, 4), (1, 1), (1, 0), (2, 2), 2),
            Flatten(),
            Dense(even(7, 48), even(7, most=9), neuron(1000, 1000)),
            Dense(even(3, 7), zeros(3), None),
        ),
        draw.integers(-20, 60, (2, STEPS, 2, 9, 11)),
    )
