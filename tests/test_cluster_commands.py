"""Commands that share their images out say and write the same, to the byte, as where one process runs them all."""

import json
from types import SimpleNamespace

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import energy.cli
import export.accuracy
import export.cli
import neuromorphic.cli
import spikeclip.eval_cli
import spikeclip.evaluation
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.trace import Trace
from neuromorphic.ir.trace_shards import file_of
from neuromorphic.runs import cli_shards, streaming
from tests.neuromorphic.cluster.deadly import DeadlySimulation
from tests.neuromorphic.cluster.tasks import MARKS
from tests.neuromorphic.execution.test_several_inputs import EARS, EYES, FILE
from tests.neuromorphic.graphs import chain, lif, metadata

pytestmark = pytest.mark.usefixtures("prepared_once")


@pytest.fixture(scope="module")
def place(published_files, tmp_path_factory):
    """A small random encoder and labelled images, with the arguments of each command but for its files."""
    folder = tmp_path_factory.mktemp("place")
    graph, checkpoint = published_files / "a.nir", [published_files / "a.pth", "--heads", "4"]
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 32, 32, 3), np.uint8), rng.integers(0, 10, 8)
    np.savez(folder / "images.npz", images=images, labels=labels)
    shown = ["--images", folder / "images.npz"]
    integers = ["--precision", "loihi2", "--calibrate", "samples", "--calibration-images", 2]
    compared = ["--check", *checkpoint, "--backend", "fast"]
    commands = {
        "simulate": (neuromorphic.cli.app, [graph, *shown, *integers, *compared]),
        "floats": (neuromorphic.cli.app, [graph, *shown, "--backend", "fast"]),
        "energy": (energy.cli.app, [graph, *shown]),
        "eval": (spikeclip.eval_cli.app, ["spike-driven-small", *shown]),
        "export": (export.cli.app, ["spike-driven-small", "--test", folder / "images.npz"]),
    }
    return SimpleNamespace(folder=folder, commands=commands)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(streaming, "SOME", 3)
    monkeypatch.setattr(spikeclip.evaluation, "BATCH_SIZE", 2)
    monkeypatch.setattr(spikeclip.evaluation, "SHARD", 4)
    monkeypatch.setattr(export.accuracy, "SHARD", 4)


def result(place, command, folder, *more, code=0):
    """What a command says, without the names of its files, and its JSON."""
    folder.mkdir(exist_ok=True)
    app, arguments = place.commands[command]
    model = ["-o", folder / "model.nir"] if command == "export" else []
    done = CliRunner().invoke(app, [*map(str, [*arguments, *model, "--json", folder / "run.json", *more])])
    assert done.exit_code == code, done.output
    if code:
        return done.stderr
    lines = [line.rstrip() for line in done.stdout.replace(str(folder), "FOLDER").splitlines()]
    said = [line for line in lines if not line.startswith("wrote ")]
    return said, (folder / "run.json").read_text().replace(str(folder), "FOLDER")


@pytest.mark.parametrize("command", ["simulate", "energy", "eval", pytest.param("export", marks=pytest.mark.slow)])
def test_a_resumed_run_says_the_same_and_runs_nothing_twice(place, tmp_path, monkeypatch, command):
    expected = result(place, command, tmp_path / "plain")
    kept = tmp_path / "kept"
    assert result(place, command, tmp_path / "first", "--resume", kept) == expected
    finished = sorted(kept.rglob("*.npz"))
    assert len(finished) == {"simulate": 3, "energy": 3, "eval": 2, "export": 2}[command]
    before = {path: path.stat().st_mtime_ns for path in finished}
    finished[-1].unlink()
    assert result(place, command, tmp_path / "second", "--resume", kept) == expected
    changed = [path for path in finished if path.stat().st_mtime_ns != before[path]]
    assert changed == [finished[-1]]


def test_a_trace_in_shards_is_the_trace_of_one_file(place, tmp_path):
    result(place, "floats", tmp_path / "plain", "-o", tmp_path / "plain.h5")
    apart = tmp_path / "apart.h5"
    again = ("floats", tmp_path / "plain", "-o", apart, "--resume", tmp_path / "kept")
    result(place, *again)
    assert Trace.read(apart) == Trace.read(tmp_path / "plain.h5")
    file_of(apart, 1).unlink()
    result(place, *again)  # the shard whose file is gone runs again
    assert Trace.read(apart, slice(2, 7)) == Trace.read(tmp_path / "plain.h5", slice(2, 7))


@pytest.mark.parametrize("command", ["simulate", "energy"])
def test_a_graph_of_several_inputs_is_shared_out(tmp_path, command):
    """Each shard has its samples of every input: https://github.com/neuromorphs/NIRTorch/issues/30."""
    nir.write(tmp_path / "two.nir", FILE)
    words = [tmp_path / "two.nir"]
    for name, values in (("image", EYES), ("sound", EARS)):
        np.save(tmp_path / f"{name}.npy", values)
        words += ["--frames", f"{name}={tmp_path / name}.npy"]
        words += ["--calibrate", f"{name}={tmp_path / name}.npy"] if command == "simulate" else []
    app, more = neuromorphic.cli.app, ["--backend", "reference", "--precision", "loihi2"]
    if command == "energy":
        app, more = energy.cli.app, ["--input-kind", "spikes"]
    here = SimpleNamespace(commands={command: (app, [*words, *more])})
    expected = result(here, command, tmp_path / "run")
    kept = tmp_path / "kept"
    assert result(here, command, tmp_path / "run", "--resume", kept) == expected
    assert len(list(kept.rglob("*.npz"))) > 1


def test_another_run_does_not_go_on_from_these_shards(place, tmp_path):
    kept = tmp_path / "kept"
    result(place, "energy", tmp_path, "--resume", kept)
    assert "holds shards of another run: 'frames'" in result(
        place, "energy", tmp_path, "--limit", 7, "--resume", kept, code=2
    )
    assert "holds shards of another run: 'command'" in result(place, "floats", tmp_path, "--resume", kept, code=2)


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"time_steps": 2}, "'time_steps'"), ({"readout": {"time_weights": [1, 1, 1], "bias": [0.5]}}, "'readout'")],
)
def test_another_reading_of_the_same_graph_does_not_go_on_from_its_shards(tmp_path, changed, says):
    """T and what the host makes of outputs are no part of a graph's fingerprint."""
    np.save(tmp_path / "frames.npy", np.ones((2, 4), np.float32))
    graph = chain({"lif": lif((4,)), "sum": nir.Linear(np.ones((1, 4), np.float32))}, (4,), (1,))
    words = [tmp_path / "net.nir", "--frames", tmp_path / "frames.npy"]
    here = SimpleNamespace(commands={"energy": (energy.cli.app, words)})
    for more, code in (({}, 0), (changed, 2)):
        graph.metadata = metadata(**{"time_steps": 3, **more})
        nir.write(tmp_path / "net.nir", graph)
        said = result(here, "energy", tmp_path / "run", "--resume", tmp_path / "kept", code=code)
    assert f"holds shards of another run: {says}" in said


def test_a_disk_that_fills_up_leaves_no_index_and_the_shard_runs_again(place, tmp_path, monkeypatch):
    calls = []

    def reserve(stored, size):
        calls.append(size)
        if len(calls) == 2:
            raise RefusedInput("no space left on the device")

    monkeypatch.setattr("neuromorphic.ir.trace.reserve", reserve)
    run = ("floats", tmp_path / "run", "-o", tmp_path / "run.h5", "--resume", tmp_path / "kept")
    assert "no space left" in result(place, *run, code=2)
    assert not (tmp_path / "run.h5").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["images"] == 8
    result(place, *run)
    assert Trace.read(tmp_path / "run.h5").images == 8
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("command", "more", "words"),
    [
        ("simulate", ["--cluster", "slurm"], "--cluster slurm: expected local"),
        ("energy", ["--cluster", "local:0"], "nobody to work"),
        ("eval", ["--cluster", "local:1", "--device", "cuda"], "checkpoints on CPUs"),
    ],
)
def test_what_can_not_be_shared_out_is_refused(place, tmp_path, command, more, words):
    assert words in result(place, command, tmp_path, *more, code=2)


def test_export_without_images_to_test_on_is_refused(tmp_path):
    arguments = ["spike-driven-small", "-o", str(tmp_path / "a.nir"), "--resume", str(tmp_path / "kept")]
    done = CliRunner().invoke(export.cli.app, arguments)
    assert done.exit_code == 2
    assert "expected --test" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_no_byte(place, tmp_path, workers):
    cluster = ("--cluster", f"local:{workers}")
    expected = result(place, "simulate", tmp_path / "plain", "-o", tmp_path / "plain.h5", "--html", tmp_path / "a.html")
    files = ("-o", tmp_path / "apart.h5", "--html", tmp_path / "b.html")
    assert result(place, "simulate", tmp_path / "shared", *files, *cluster) == expected
    assert Trace.read(tmp_path / "apart.h5") == Trace.read(tmp_path / "plain.h5")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.slow
def test_a_worker_that_dies_changes_no_byte(place, tmp_path, monkeypatch):
    monkeypatch.setenv(MARKS, str(tmp_path))
    expected = result(place, "simulate", tmp_path / "plain")
    monkeypatch.setattr(cli_shards, "Simulation", DeadlySimulation)
    assert result(place, "simulate", tmp_path / "shared", "--cluster", "local:2") == expected
    assert (tmp_path / "simulation").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["energy", "eval", "export"])
def test_other_commands_share_out_too(place, tmp_path, command):
    expected = result(place, command, tmp_path / "plain")
    assert result(place, command, tmp_path / "shared", "--cluster", "local:2") == expected


@pytest.mark.slow
def test_lava_runs_on_workers(place, tmp_path):
    more = ("--limit", 5, "--backend", "lava")
    expected = result(place, "simulate", tmp_path / "plain", *more)
    assert result(place, "simulate", tmp_path / "shared", *more, "--cluster", "local:1") == expected
