"""What several tests share: tiny encoders with statistics as after training, and CIFAR-10 where it is."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests import drawn

if TYPE_CHECKING:  # torch takes 3 s to load, which whoever hands tests out to others, or needs none, is spared
    from export import Prepared
    from spikeclip.checkpoint import Checkpoint
    from spikeclip.data import ImageSet
    from spikeclip.encoder import Encoder

os.environ["OMP_NUM_THREADS"] = "1"  # bit-identical sums from run to run, and no contention with Lava's processes

drawn.register()
settings.load_profile(drawn.FEW)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from the half a million objects of modules and tests, which stay to the end.

    It would look through them again and again; and every page of theirs that it writes to is copied in processes that
    share them, as the copy that reads a file first does (`rehearsal`).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def without_rehearsal() -> Iterator[None]:
    """Files are read without a rehearsal in a copy of this process, which all of its modules make slow to copy.

    What damaged files do is up to `tests.fuzz`, which has it back; commands that tests start have it too.
    """
    from neuromorphic.reading import read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "rehearse", lambda work, path: None)
        yield


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., Encoder]:
    """A factory of seeded random encoders in evaluation mode, tiny unless fields of the configuration say otherwise."""
    import torch

    from spikeclip.config import SpikeClipConfig
    from spikeclip.encoder import Encoder

    def make(seed: int = 0, **sizes: int) -> Encoder:
        config = SpikeClipConfig(**{"width": 16, "depth": 1, "image_size": 16, "embedding_width": 8, **sizes})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = Encoder(config)
            for name, module in encoder.named_modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    # Fresh statistics (mean 0, variance 1) would make folding BatchNorm trivial.
                    module.running_mean.uniform_(-0.2, 0.2)
                    module.running_var.uniform_(0.3, 1.5)
                    torch.nn.init.uniform_(module.weight, 0.6, 1.4)
                    # Currents near the threshold, so that no population is silent or always on; what a branch adds to
                    # them is as often negative.
                    centre = 0.0 if name.endswith("proj.bn") else 1.0
                    torch.nn.init.uniform_(module.bias, centre - 0.5, centre + 0.5)
        return encoder.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def published_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random checkpoint of the published layout, `a.pth` of 4 heads, and its graph, `a.nir`."""
    import torch

    import export
    from spikeclip.checkpoint import load
    from tests.spikeclip.published import random_state

    folder = tmp_path_factory.mktemp("published")
    torch.save({"state_dict": random_state(16, 1, 64, embedding=8)}, folder / "a.pth")
    export.write(export.prepare(load(folder / "a.pth", heads=4)).graph, folder / "a.nir")
    return folder


@pytest.fixture(scope="module")
def prepared_once() -> Iterator[None]:
    """What commands compare with (`--check`): each checkpoint's file is prepared once, however many runs read it."""
    from export import checking

    prepare, kept = checking.prepare, {}

    def once(checkpoint: Checkpoint, *more: Any) -> Prepared:
        key = (checkpoint.path, *more)
        if key not in kept:
            kept[key] = prepare(checkpoint, *more)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "prepare", once)
        yield


@pytest.fixture(scope="session")
def photographs() -> Callable[[int, int], ImageSet]:
    """`photographs(size, n)`: n CIFAR-10 test images where `SPIKECLIP_CIFAR10` names its folder, else the samples."""
    from spikeclip.data import load_images

    folder = os.environ.get("SPIKECLIP_CIFAR10")
    spec = f"cifar10:{folder}:test" if folder else "samples"
    return lambda size, n: load_images(spec, size, n)
