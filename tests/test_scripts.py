"""What the scripts decide by themselves: fronts, points out of measured files, and a run on a GPU in pieces."""

import argparse
import ast
import importlib.util
import io
import json
import os
import signal
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import nir
import pytest
import typer

from benchmarks import ablation
from benchmarks.mutations import __main__ as mutations
from scripts import pareto, train_on_gpu
from tests.neuromorphic.graphs import small_net

ROOT = Path(__file__).parent.parent
OURS = ("energy", "export", "neuromorphic", "scripts", "spikeclip", "tests")


@pytest.mark.parametrize("folder", ["benchmarks", "scripts"])
def test_what_is_imported_of_ours_is_there(folder):
    """No other test imports most of these files."""
    missing = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
                module = importlib.import_module(node.module)
                missing += [
                    f"{path.relative_to(ROOT)}: {node.module}.{name.name}"
                    for name in node.names
                    if not _holds(module, name.name)
                ]
    assert not missing


def test_counting_is_timed(tmp_path):
    from benchmarks.energy import main

    nir.write(tmp_path / "model.nir", small_net())
    with suppress(typer.Exit):  # a bar may be missed here
        main(tmp_path / "model.nir", rounds=1, images=20, json_path=tmp_path / "energy.json")
    document = json.loads((tmp_path / "energy.json").read_text())
    assert document["memory"]["images"] == 20
    assert document["time"]["ratio"] > 1


def test_a_changed_file_whose_tests_wait_for_ever_is_out_of_time(monkeypatch):
    monkeypatch.setattr(mutations, "PATIENCE", 0.3)
    for command, expected in (("sleep infinity", -signal.SIGXCPU), ("exit 1", 1)):
        with subprocess.Popen(["sh", "-c", command]) as process:
            assert os.waitstatus_to_exitcode(mutations._ended(process.pid)) == expected


def _holds(module, name):
    return hasattr(module, name) or (
        hasattr(module, "__path__") and importlib.util.find_spec(f"{module.__name__}.{name}")
    )


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 80)], [(1, 80)]),
        ([(2, 90), (1, 80), (3, 85)], [(1, 80), (2, 90)]),
        ([(1, 80), (1, 90), (2, 90)], [(1, 90)]),
    ],
)
def test_the_front_has_what_nothing_beats(points, expected):
    assert pareto.front(points) == expected


def write(folder, name, exact=True):
    device = {"ideal_reuse": {"energy": {"mean": 3.0}, "comparisons": [
        {"ann_device": "45nm-fp32", "ann_energy": 9.0}, {"ann_device": "45nm-int8", "ann_energy": 6.0},
    ]}}  # fmt: skip
    files = {
        "export": {
            "accuracy": {"images": 50, "original": 41, "exported": 40},
            "certificate": {"exact": exact},
            "extensions": ["SpikingSelfAttention"] if name == "two" else [],
        },
        "cores": {"cores": 52},
        "energy": {
            "images": 10,
            "time_steps": 2,
            "snn": {"sops": 30, "macs": 5},
            "ann": {"macs": 100},
            "devices": {"45nm-int8": {"accounts": device}},
        },
    }
    for what, document in files.items():
        (folder / f"{name}.{what}.json").write_text(json.dumps(document))


def test_a_point_is_read_from_what_was_measured_and_drawn(tmp_path, capsys):
    folder = tmp_path / "pareto"
    folder.mkdir()
    write(folder, "one")
    write(folder, "two")
    names = ["some/one.safetensors", "two"]
    found = argparse.Namespace(checkpoints=names, test="cifar10:DIR:test", limit=4, backend="fast", output=folder)
    pareto.main(found)
    one, two = json.loads((tmp_path / "pareto.json").read_text())["points"]
    assert one == {
        "name": "one", "architecture": "spike-driven", "time_steps": 2, "accuracy": 0.8, "before": 0.82, "tested": 50,
        "counted": 10, "sops_per_mac": 0.3, "macs_per_mac": 0.05, "energy": 3.0, "twin_energy": 6.0, "cores": 52,
    }  # fmt: skip
    assert two == {**one, "name": "two", "architecture": "paper"}
    picture = (tmp_path / "pareto.svg").read_text()
    assert all(word in picture for word in ("0.30, T = 2", "52 cores", "two"))
    assert "0.500 of the twin's energy" in capsys.readouterr().out


def test_a_checkpoint_that_is_not_exact_makes_no_point(tmp_path):
    write(tmp_path, "one", exact=False)
    with pytest.raises(SystemExit, match="one: not exact in every node"):
        pareto.measure("one", "images.npz", 4, "lava", tmp_path)


def test_variants_of_the_ablation_differ_from_its_base_in_one_thing():
    base, *others = ablation.VARIANTS
    assert not base.sizes
    assert not base.settings
    for variant in others:
        assert len(variant.settings) <= 1
        assert bool(variant.sizes) != bool(variant.settings)
        assert (variant.config(), variant.recipe(3, 1)) != (base.config(), base.recipe(3, 1))


def test_the_table_of_the_ablation_has_a_row_per_variant_with_all_seeds():
    one = {
        "variant": "base",
        "seed": 0,
        "cost": 1.0,
        "epochs": 9,
        "steps": 702,
        "accuracy": 0.4512,
        "sops_per_mac": 0.2,
    }
    other = one | {"variant": "T = 2", "cost": 2.04, "epochs": 4, "steps": 312}
    _, _, *rows = ablation.table([one, other, one | {"seed": 1, "accuracy": 0.44, "sops_per_mac": 0.1}]).splitlines()
    assert rows == [
        "| base | 45.1%, 44.0% | 0.200, 0.100 | 1.00 | 9 | 702 |",
        "| T = 2 | 45.1% | 0.200 | 2.04 | 4 | 312 |",
    ]


class Ended:
    """A process that has ended, or one that never does."""

    def __init__(self, code):
        self.returncode = code

    def poll(self):
        return self.returncode

    def kill(self):
        self.returncode = -9

    def wait(self):
        return self.returncode


@pytest.fixture
def on_gpu(tmp_path, monkeypatch):
    """A function that runs the script; `outcomes` are what its commands return, None of one that doesn't end."""
    told = []

    def run(*outcomes, **changes):
        left = list(outcomes)

        def called(command, stdout, stderr):
            told.append(command)
            return Ended(left.pop(0))

        monkeypatch.setattr(subprocess, "Popen", called)
        settings = {
            "data": "cifar10:DIR", "test": None, "labels": "l.npz:k", "minutes": 0.0, "runs": tmp_path / "runs",
            "results": None, "batch_size": 8, "save_every": 5, "limit": None, "epochs_divided_by": 20,
        }  # fmt: skip
        return train_on_gpu.main(argparse.Namespace(**{**settings, **changes})), told

    return run


def option(command, name):
    return command[command.index(name) + 1]


def test_the_teacher_is_trained_first_and_every_encoder_by_it(on_gpu, tmp_path):
    code, told = on_gpu(0, 0, 0, 0)
    assert code == 0
    assert [option(command, "-o") for command in told] == [
        str(tmp_path / "runs" / f"{name}.safetensors") for name in ("teacher", *train_on_gpu.ENCODERS)
    ]
    assert "--twin" in told[0]
    assert {option(command, "--teacher") for command in told[1:]} == {option(told[0], "-o")}


def test_a_rehearsal_keeps_the_time_steps_and_has_an_epoch_at_least_of_each():
    assert train_on_gpu.divided("1x80,4x10", 40) == "1x2,4x1"


def test_it_goes_on_with_what_is_unfinished(on_gpu, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in ("teacher", *train_on_gpu.ENCODERS):
        (runs / f"{name}.safetensors").write_bytes(b"")
    (runs / "paper-medium.safetensors.resume").write_bytes(b"")
    code, told = on_gpu(0)
    assert (code, len(told)) == (0, 1)
    assert option(told[0], "-o") == str(runs / "paper-medium.safetensors")


def test_minutes_that_are_over_end_what_runs(on_gpu, capsys):
    assert on_gpu(0, 0, None, 0)[0] == 1
    assert "paper-medium.safetensors: its minutes are over; the same command goes on" in capsys.readouterr().out


def test_encoders_are_not_begun_without_their_teacher(on_gpu, capsys):
    code, told = on_gpu(2)
    assert (code, len(told)) == (1, 1)
    assert "teacher.safetensors: failed, 2; see" in capsys.readouterr().out


def test_results_come_in_parts_that_make_the_archive(on_gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(train_on_gpu, "LARGEST_PART", 1000)
    runs, results = tmp_path / "runs", tmp_path / "results"
    runs.mkdir()
    results.mkdir()
    (runs / "paper-medium.safetensors").write_bytes(bytes(range(250)) * 10)
    (runs / "paper-medium.safetensors.resume").write_bytes(b"state")
    (runs / "paper-medium.json").write_bytes(b"{}")
    on_gpu(0, 0, 0, 0, results=results)
    parts = sorted(results.iterdir(), key=lambda part: int(part.name.removeprefix("results.tar.part")))
    assert all(part.stat().st_size == 1000 for part in parts[:-1])
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as tar:
        assert tar.extractfile("paper-medium.safetensors").read() == bytes(range(250)) * 10
        assert {"paper-medium.json", "paper-medium.out"} <= {*tar.getnames()}
        assert "paper-medium.safetensors.resume" not in tar.getnames()


@pytest.mark.parametrize("name", ["pipeline", "architecture"])
def test_pictures_are_those_that_their_scripts_draw(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    script = importlib.import_module(f"draw_{name}")
    assert script.OUT.read_text() == script.drawing()
