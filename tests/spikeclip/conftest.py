"""A task that a tiny encoder learns in seconds, bright images against dark ones; and a random CLIP."""

import numpy as np
import pytest

from spikeclip.data import ImageSet
from spikeclip.labels import LabelSet
from tests.stand_ins import write_clip


@pytest.fixture(scope="session")
def task() -> ImageSet:
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = rng.integers(0, 64, (48, 16, 16, 3)) + 150 * labels[:, None, None, None]
    names = tuple(f"image/{i}" for i in range(48))
    return ImageSet(images.astype(np.uint8), names, labels.astype(np.int64), ("dark", "bright"), "made")


@pytest.fixture(scope="session")
def labels() -> LabelSet:
    vectors = np.random.default_rng(1).normal(size=(2, 8)) + 3  # CLIP's vectors share a direction as well
    return LabelSet(("bright", "dark"), vectors.astype(np.float32))


@pytest.fixture
def clip(tmp_path):
    """A random CLIP of 16 channels in a folder."""
    pytest.importorskip("transformers")
    write_clip(tmp_path / "clip", embedding=8)
    return tmp_path / "clip"
