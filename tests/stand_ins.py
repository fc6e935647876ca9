"""What README and docs name and don't make themselves, small: data sets, checkpoints, other people's files, a SLURM."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nir
import numpy as np
import torch
from PIL import Image

import spikeclip
from export import prepare, write
from spikeclip.checkpoint import load
from spikeclip.text_checkpoint import TextCheckpoint, save_text
from spikeclip.text_config import TextEncoderConfig
from spikeclip.text_encoder import SpikingTextEncoder
from tests.neuromorphic.graphs import small_net
from tests.neuromorphic.reading.netx import files as netx
from tests.neuromorphic.reading.test_events import aedat, atis
from tests.spikeclip.published import random_state

ROOT = Path(__file__).parent.parent

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RELATED = ("airliner", "minivan", "robin", "tabby", "impala", "beagle", "bullfrog", "sorrel", "liner", "garbage_truck")


_THEIR_TRAINED_NETWORK = """
import numpy, torch
from benchmarks.trained.networks import SEWResNet, frames
torch.manual_seed(0)
torch.save(SEWResNet().state_dict(), "sew.pt")
pixels = numpy.random.default_rng(0).integers(0, 256, (2, 2, 32, 32, 3), numpy.uint8)
numpy.save("training.npy", frames(pixels[0]))
numpy.save("test.npy", frames(pixels[1]))
"""


def fill(place: Path, page: str) -> None:
    """Put into the folder `place` what the page of that name takes."""
    random = np.random.default_rng(0)
    shutil.copytree(ROOT / "docs" / "examples", place / "docs" / "examples")
    _cifar(place / "data", random)
    (place / "DIR").symlink_to("data")
    (place / "photos").mkdir()
    Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(place / "photos" / "one.png")
    _labels(place / "embeddings.npz", random, cifar10=CIFAR, coco=["cat", "person", "bicycle"], imagenet=RELATED)
    _labels(place / "names.npz", random, coco=["cat", "person", "bicycle"], imagenet=RELATED, related=RELATED)
    _labels(place / "FILE.npz", random, KEY=CIFAR)
    state = random_state(16, 1, 64, embedding=512)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, place / "model_best.pth.tar")
    _their_graph(place, random)
    _their_events(place, random)
    _their_module(place, random)
    write(prepare(load("spike-driven-small")).graph, place / "model.nir")
    (place / "scripts").symlink_to(ROOT / "scripts")
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / "spikeclip").symlink_to(Path(sys.executable).with_name("spikeclip"))
    if page in ("training", "evaluation"):
        _their_clip(place, random)
    if page == "evaluation":
        sizes = TextEncoderConfig(CLIP_TOKENS, token_width=16, hidden_width=64, v_threshold=1e-3)  # untrained, it fires
        save_text(TextCheckpoint(SpikingTextEncoder(sizes), {}), place / "text.safetensors")
    if page == "cluster":
        _slurm(place)
    if page == "public_files":
        (place / "CLONES" / "theirs").mkdir(parents=True)
        shutil.copy(place / "theirs.nir", place / "CLONES" / "theirs")
    if page == "energy":
        spikeclip.run(place / "model.nir", images="samples", limit=2, backend="fast").write(place / "run.h5")
    device = (ROOT / "energy" / "devices" / "45nm-int8.toml").read_text()
    (place / "my.toml").write_text(device.replace('"45nm-int8"', '"mine"'))
    if page == "deploy":
        netx.write(place / "network.net", *(netx.dense(2 * random.integers(-20, 21, n)) for n in ((9, 12), (4, 9))))
        np.save(place / "spikes.npy", random.integers(0, 2, (3, 8, 12)).astype(np.float32))
        # In a process of its own: the benchmark replaces torchvision, among others.
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", _THEIR_TRAINED_NETWORK], cwd=place, env=environment, check=True)


def _cifar(folder: Path, random: np.random.Generator) -> None:
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records = random.integers(0, 256, (4, 3073), np.uint8)
        records[:, 0] = random.permutation(10)[:4]
        records.tofile(place / name)
    (place / "batches.meta.txt").write_text("\n".join(CIFAR) + "\n")


def _labels(path: Path, random: np.random.Generator, **sets: Iterable[str]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for key, names in sets.items():
        arrays[f"{key}__names"] = np.array(list(names))
        arrays[key] = random.normal(size=(len(arrays[f"{key}__names"]), 512)).astype(np.float32)
    np.savez(path, **arrays)


def _their_graph(place: Path, random: np.random.Generator) -> None:
    theirs = small_net()
    theirs.metadata.clear()  # other libraries write none
    nir.write(place / "theirs.nir", theirs)
    np.save(place / "spikes.npy", (random.random((2, 4, 2, 6, 6)) < 0.3).astype(np.float32))


def _their_events(place: Path, random: np.random.Generator) -> None:
    for digit in "03":
        folder = place / "N-MNIST" / "Test" / digit
        folder.mkdir(parents=True)
        (folder / "00001.bin").write_bytes(atis([(*random.integers(0, 6, 2), i % 2, 900 * i) for i in range(5)]))
    (place / "DvsGesture").mkdir()
    events = [(*random.integers(0, 6, 2), i % 2, 10 * i, 1) for i in range(20)]
    (place / "DvsGesture" / "user24_led.aedat").write_bytes(aedat((0, events)))
    rows = "class,startTime_usec,endTime_usec\n5,0,100\n2,100,200\n"
    (place / "DvsGesture" / "user24_led_labels.csv").write_text(rows)
    (place / "DvsGesture" / "trials_to_test.txt").write_text("user24_led.aedat\n")


def _their_module(place: Path, random: np.random.Generator) -> None:
    """The module that docs/frontend.md shows, its weights, and frames."""
    found = re.search(r"^    # mine\.py\n((?:    .*\n|\n)+)", (ROOT / "docs" / "frontend.md").read_text(), re.MULTILINE)
    assert found is not None
    source = re.sub(r"^    ", "", found[1], flags=re.MULTILINE)
    names: dict[str, object] = {}
    exec(source, names)
    make = names["make"]
    assert callable(make)
    torch.manual_seed(0)
    state = {key: value for key, value in make().state_dict().items() if isinstance(value, torch.Tensor)}
    for name in ("mine.py", "mynet.py"):
        (place / name).write_text(source)
    torch.save(state, place / "best.pth")
    np.save(place / "frames.npy", random.integers(-64, 65, (2, 3, 32, 32)).astype(np.float32) / 64)


def _their_clip(place: Path, random: np.random.Generator) -> None:
    """A CLIP in the place of the one on the hub, names for a text encoder, and few images."""
    write_clip(place / "openai" / "clip-vit-base-patch16", embedding=512)
    (place / "words.txt").write_text("cat\ndog\nship\n")
    (place / "others.txt").write_text("truck\nhorse\n")
    np.savez(place / "FEW.npz", images=random.integers(0, 256, (4, 32, 32, 3), np.uint8), labels=np.arange(4))


LETTERS = [chr(i) for i in range(33, 127)]
CLIP_TOKENS = 2 * len(LETTERS) + 2
"""Letters within a word and at its end, the start and the end of a sentence."""


def write_clip(folder: Path, embedding: int) -> None:
    """A random CLIP of 16 channels, as transformers saves it; its tokens are letters."""
    import transformers

    folder.mkdir(parents=True)
    vocabulary = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    n = len(vocabulary)
    text = {**sizes, "vocab_size": n, "bos_token_id": n - 2, "eos_token_id": n - 1, "pad_token_id": n - 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=embedding
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)


def _slurm(place: Path) -> None:
    """The jobs' file that the page shows, for one core, and a SLURM of shell scripts that starts the first job."""
    page = (ROOT / "docs" / "cluster.md").read_text()
    found = re.search(r"^    jobqueue:\n      slurm:\n(?:        .*\n)+", page, re.MULTILINE)
    assert found is not None
    shown = re.sub(r"^    ", "", found[0], flags=re.MULTILINE)
    for key, small in (("cores", "1"), ("processes", "1"), ("memory", "1GB"), ("interface", "lo")):
        shown, changed = re.subn(rf"\b{key}: .*", f"{key}: {small}", shown)
        assert changed == 1
    (place / "cpu.yaml").write_text(shown)
    (place / "bin").mkdir()
    for name, script in {
        "sbatch": 'mkdir job 2>/dev/null && sh "$1" > job/log 2>&1 &\necho $$ >> jobs\necho Submitted batch job $$',
        "squeue": "cat jobs",
        "scancel": "",
    }.items():
        (place / "bin" / name).write_text(f"#!/bin/sh\ncd {place}\n{script}\n")
        (place / "bin" / name).chmod(0o755)
