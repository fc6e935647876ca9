"""A task that a tiny encoder learns in seconds, bright images against dark ones; and a random CLIP."""

import json

import numpy as np
import pytest
import torch

from spikeclip.data import ImageSet
from spikeclip.labels import LabelSet


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
    """A random CLIP of 16 channels in a folder, as transformers saves it; its tokens are letters."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "clip"
    folder.mkdir()
    letters = [chr(i) for i in range(33, 127)]
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    n = len(vocabulary)
    text = {**sizes, "vocab_size": n, "bos_token_id": n - 2, "eos_token_id": n - 1, "pad_token_id": n - 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=8
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder
