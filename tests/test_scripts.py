"""What the scripts decide by themselves: fronts, points out of measured files, and a run on a GPU in pieces."""

import argparse
import json
import subprocess

import pytest

from scripts import pareto, train_on_gpu


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
        },
        "cores": {"cores": 52},
        "energy": {
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
    found = argparse.Namespace(checkpoints=["some/one.safetensors"], test="cifar10:DIR:test", limit=4, output=folder)
    pareto.main(found)
    (point,) = json.loads((tmp_path / "pareto.json").read_text())["points"]
    assert point == {
        "name": "one", "time_steps": 2, "accuracy": 0.8, "before": 0.82, "sops_per_mac": 0.3, "macs_per_mac": 0.05,
        "energy": 3.0, "twin_energy": 6.0, "cores": 52,
    }  # fmt: skip
    assert "T = 2, 52 cores" in (tmp_path / "pareto.svg").read_text()
    assert "0.500 of the twin's energy" in capsys.readouterr().out


def test_a_checkpoint_that_is_not_exact_makes_no_point(tmp_path):
    write(tmp_path, "one", exact=False)
    with pytest.raises(SystemExit, match="one: not exact in every node"):
        pareto.measure("one", "images.npz", 4, tmp_path)


@pytest.fixture
def on_gpu(tmp_path, monkeypatch):
    """A function that runs the script; `outcomes` are what its commands return, or the error that they raise."""
    told = []

    def run(*outcomes, **changes):
        left = list(outcomes)

        def called(command, timeout, check):
            told.append(command)
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return argparse.Namespace(returncode=outcome)

        monkeypatch.setattr(subprocess, "run", called)
        settings = {
            "data": "cifar10:DIR", "test": None, "labels": "l.npz:k", "minutes": 1.0, "runs": tmp_path / "runs",
            "results": None, "batch_size": 8, "save_every": 5, "limit": None, "epochs_divided_by": 20,
        }  # fmt: skip
        return train_on_gpu.main(argparse.Namespace(**{**settings, **changes})), told

    return run


def test_both_stages_are_trained_in_order(on_gpu, tmp_path):
    code, told = on_gpu(0, 0)
    assert code == 0
    assert ["--twin" in command for command in told] == [True, False]
    assert told[1][told[1].index("--schedule") + 1] == "1x4,4x1"
    assert told[1][told[1].index("--teacher") + 1] == told[0][-1] == str(tmp_path / "runs" / "twin.safetensors")


def test_it_goes_on_with_what_is_unfinished(on_gpu, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in ("twin.safetensors", "encoder.safetensors", "encoder.safetensors.resume"):
        (runs / name).write_bytes(b"")
    code, told = on_gpu(0)
    assert (code, len(told)) == (0, 1)
    assert told[0][-1] == str(runs / "encoder.safetensors")


def test_minutes_that_are_over_and_commands_that_fail_end_it(on_gpu, capsys):
    assert on_gpu(subprocess.TimeoutExpired("train", 60))[0] == 1
    assert "the same command goes on" in capsys.readouterr().out
    assert on_gpu(0, 2)[0] == 2


def test_results_come_in_parts_that_make_the_file(on_gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(train_on_gpu, "LARGEST_PART", 10)
    runs, results = tmp_path / "runs", tmp_path / "results"
    runs.mkdir()
    results.mkdir()
    (runs / "encoder.safetensors").write_bytes(bytes(range(25)))
    (runs / "encoder.json").write_bytes(b"{}")
    (runs / "twin.safetensors").write_bytes(b"twin")
    assert on_gpu(results=results)[0] == 0
    parts = sorted(results.glob("encoder.safetensors.part*"))
    assert [len(part.read_bytes()) for part in parts] == [10, 10, 5]
    assert b"".join(part.read_bytes() for part in parts) == bytes(range(25))
    assert {file.name for file in results.iterdir()} >= {"encoder.json", "twin.safetensors"}
