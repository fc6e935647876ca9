"""Damage to the bytes of a file: flipped bits, odd values, parts that are cut out, put in, swapped or missing."""

import random
from collections.abc import Callable

ODD = (0, 1, 127, 128, 255)


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] = rng.choice((*ODD, rng.randrange(256)))


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randrange(1, 64))


def _cut(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 64)]


def _swap(rng: random.Random, data: bytearray) -> None:
    size = min(rng.choice((8, 16, 64, 512)), len(data) // 2)
    a, b = (rng.randrange(len(data) - size) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


DAMAGES: tuple[Callable[[random.Random, bytearray], None], ...] = (_flip, _flip, _set, _insert, _cut, _swap, _truncate)


def damaged(data: bytes, seed: int) -> bytes:
    """`data` with one damage, the same for the same seed."""
    rng = random.Random(seed)
    result = bytearray(data)
    rng.choice(DAMAGES)(rng, result)
    return bytes(result)
