"""The commands on what the reader lets pass, and on damaged images, label sets and checkpoints."""

import random
import re

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import energy.cli
import neuromorphic.cli
import spikeclip
import spikeclip.errors
from neuromorphic.errors import RefusedInput
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from spikeclip.data import load_images
from spikeclip.labels import load_labels
from tests.fuzz.damage import damaged
from tests.fuzz.hostile import CHANGES, metadata, move, write_changed, write_good

COPIES = 120
"""Damaged copies of every input beside the graph."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("commands") / "good.nir"
    write_good(path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3), np.uint8)
    np.savez(path, images=pixels, labels=np.array([0, 2]), label_names=np.array(["[/a]", "b", "c"]))
    return path


def invoke(app, *arguments):
    """The exit code, and for a refusal what was said; a traceback or a second line fails."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 2), result.output
    if result.exit_code == 2:
        assert re.fullmatch(r"error: .+\n", result.stderr), result.stderr
    return result.exit_code


def commands(path, images):
    out = path.parent
    simulated = [path, "--images", images, "--backend", "reference", "-o", out / "run.h5", "--json", out / "run.json"]
    return {
        invoke(neuromorphic.cli.app, *simulated, "--placement", out / "cores.json"),
        invoke(neuromorphic.cli.app, *simulated, "--precision", "loihi2", "--calibrate", images),
        invoke(energy.cli.app, path, "--images", images, "--json", out / "energy.json", "--html", out / "energy.html"),
    }


SURVIVORS = {
    "names in markup": move("node/nodes/readout", "node/nodes/[/bold]"),
    "labels in markup": metadata(label_names=["[/bold]", "[red]", ""]),
    "name in Greek": CHANGES["name in Greek"],
    "half a step": metadata(dt=0.5),
    "no preprocessing": metadata(preprocessing=None),
    "a certificate of nonsense": metadata(certificate={"nodes": {"lif": {"exact": "x", "limit": []}}}),
    "a twin of large layers": metadata(
        twin={"parameters": 2**47, "layers": [{"name": "[/x]", "kind": "<b>", "macs": 2**47}]}
    ),
    "a scheme that fits nothing": metadata(
        loihi2={
            "granularity": "layer", "input_scale": 1e-300, "units": {"lif": 1e300}, "exponents": {"conv": [4000]},
            "clipping": {}, "bias_exponents": {"lif": -1}, "populations": {}, "calibration": {},
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SURVIVORS)
def test_what_is_read_runs_or_is_refused(name, good, images, tmp_path):
    path = tmp_path / "changed.nir"
    write_changed(good, SURVIVORS[name], path)
    if name.startswith("names"):  # the edges still say the old name
        path.write_bytes(good.read_bytes())
        graph = nir.read(path)
        graph.nodes["[/bold]"] = graph.nodes.pop("readout")
        graph.edges = [tuple(end.replace("readout", "[/bold]") for end in edge) for edge in graph.edges]
        nir.write(path, graph)
    assert commands(path, images) <= {0, 2}


@pytest.mark.slow
def test_hostile_files_that_are_read_pass_the_commands(good, images, tmp_path):
    path, survivors = tmp_path / "changed.nir", 0
    for change in list(CHANGES.values())[::4]:
        write_changed(good, change, path)
        try:
            read_graph(path)
        except RefusedInput:
            continue
        survivors += 1
        invoke(neuromorphic.cli.app, path, "--images", images, "--backend", "reference", "--json", tmp_path / "a.json")
        invoke(energy.cli.app, path, "--images", images)
    assert survivors > 3


def refused_or_taken(read, path, data, copies=COPIES):
    """`read()` on damaged copies of `data` at `path`: how many were refused; anything else that is raised fails."""
    refused = 0
    for seed in range(copies):
        path.write_bytes(damaged(data, seed))
        said = refusal(read)
        if said is not None:
            refused += 1
            assert str(path) in said
            assert "\n" not in said
            assert len(said) < 1000
    return refused


def refusal(read):
    """The sentence that `read()` refuses with, or None."""
    try:
        read()
    except spikeclip.errors.RefusedInput as error:
        return str(error)
    return None


def test_damaged_image_archives(images, tmp_path):
    path = tmp_path / "images.npz"
    assert refused_or_taken(lambda: load_images(str(path), 3), path, images.read_bytes()) > 0


def test_damaged_label_sets(tmp_path):
    path = tmp_path / "labels.npz"
    np.savez(path, a=np.eye(3), a__names=np.array(["x", "y", "z"]), a__clip=np.array("ViT-B/16"))
    assert refused_or_taken(lambda: load_labels(str(path)), path, path.read_bytes()) > 0


def test_damaged_binary_files(tmp_path):
    path = tmp_path / "test_batch.bin"
    data = np.random.default_rng(0).integers(0, 10, (3, 3073), np.uint8).tobytes()
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij"))

    def read():
        try:
            return load_images(f"cifar10:{tmp_path}", 8)
        except spikeclip.errors.RefusedInput as error:  # of a label: names the folder
            raise spikeclip.errors.RefusedInput(f"{error} ({path})") from error

    assert refused_or_taken(read, path, data) > 0


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of what it finds in a file
def test_damaged_checkpoints(make_encoder, tmp_path):
    from tests.export.encoders import checkpoint

    path = tmp_path / "model.safetensors"
    spikeclip.checkpoint.save(checkpoint(make_encoder(width=8, image_size=8, embedding_width=4), 8), path)
    data = path.read_bytes()
    rng = random.Random(0)
    header = int.from_bytes(data[:8], "little")
    assert refused_or_taken(lambda: spikeclip.load(path), path, data, 30) > 0
    # Most of the file are weights: the header is what a damage shows in.
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 4))):
            changed[rng.randrange(8 + header)] = rng.choice((*range(32, 127), 0, 255))
        path.write_bytes(changed)
        said = refusal(lambda: spikeclip.load(path))
        assert said is None or said.startswith(str(path))


@pytest.mark.filterwarnings("ignore")
def test_damaged_published_checkpoints(tmp_path):
    import torch

    from tests.spikeclip.published import random_state

    path = tmp_path / "model.pth"
    torch.save({"state_dict": random_state(8, 1, 32, embedding=4)}, path)
    assert refused_or_taken(lambda: spikeclip.load(path, heads=2), path, path.read_bytes(), 60) > 0


def test_label_names_of_another_number_are_refused(good):
    graph = nir.read(good)
    graph.metadata["spikeclip"] = graph.metadata["spikeclip"].replace('["a", "b", "c"]', '["a", "b"]')
    with pytest.raises(RefusedInput, match="2 label_names; its output has 3"):
        from_nir(graph, "FILE")
