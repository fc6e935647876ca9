"""Shards: the same results whoever computes them, however often they were begun, and whatever was finished before."""

import contextlib
import gc
import json
import os
import socket
import subprocess

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic.cluster import sharded as engine
from neuromorphic.cluster.finished import MANIFEST
from neuromorphic.cluster.jobs import Submitted, job_queue
from neuromorphic.cluster.places import Jobs, Local, Scheduler, parse
from neuromorphic.cluster.sharded import Sharing, sharded
from neuromorphic.errors import RefusedInput, SimulationFailed
from tests.neuromorphic.cluster.tasks import MARKS, Imported, Summing, die, refuse

SHARDS = [slice(0, 3), slice(3, 5), slice(5, 6), slice(6, 10), slice(10, 11)]
NUMBERS = np.arange(11)
EXPECTED = [(int(NUMBERS[part].sum()), np.sqrt(NUMBERS[part])) for part in SHARDS]


@pytest.fixture(scope="module", autouse=True)
def patient():
    """Dask gives up on a worker that a busy machine takes half a minute to start; these don't decide by the clock."""
    import dask
    import distributed  # noqa: F401  # its settings come with it, and stay only if they come before the block

    with dask.config.set({f"distributed.comm.timeouts.{each}": "1200s" for each in ("connect", "tcp")}):
        yield


def ran(sharing=None, task=None, told=None, **more):
    progress = (lambda *done: told.append(done)) if told is not None else (lambda *done: None)
    return sharded(
        task or Summing(), lambda number, part: NUMBERS[part], SHARDS, sharing, progress=progress, **more
    )  # fmt: skip


def check(found):
    assert [total for total, _ in found] == [total for total, _ in EXPECTED]
    for (_, one), (_, other) in zip(found, EXPECTED, strict=True):
        assert one.tobytes() == other.tobytes()


def test_shards_run_here_in_their_order_and_progress_is_told():
    told = []
    check(ran(told=told))
    assert told == [(0, 11), (3, 11), (5, 11), (6, 11), (10, 11), (11, 11)]


@settings(max_examples=20)
@given(st.sets(st.integers(0, 4)))
def test_only_what_is_not_finished_runs_again(tmp_path_factory, lost):
    folder = tmp_path_factory.mktemp("resume") / "run"
    check(ran(Sharing(None, folder)))
    for shard in lost:
        (folder / f"{shard:05d}.npz").unlink()
    begun = []

    def task(numbers, progress):
        begun.append(int(numbers[0]))
        return Summing()(numbers, progress)

    check(ran(Sharing(None, folder), task))
    assert begun == [SHARDS[shard].start for shard in sorted(lost)]


def test_a_run_that_ended_early_goes_on_where_it_was(tmp_path):
    def task(numbers, progress):
        if numbers[0] == 6:
            raise KeyboardInterrupt
        return Summing()(numbers, progress)

    sharing, told = Sharing(None, tmp_path), []
    with pytest.raises(KeyboardInterrupt):
        ran(sharing, task)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.npz", "00001.npz", "00002.npz", MANIFEST]
    check(ran(sharing, told=told))
    assert told == [(6, 11), (10, 11), (11, 11)]


def test_a_result_whose_files_are_gone_is_made_again(tmp_path):
    check(ran(Sharing(None, tmp_path)))
    begun = []
    ran(Sharing(None, tmp_path), lambda numbers, _: begun.append(int(numbers[0])), stands=lambda number, _: number != 3)
    assert begun == [6]


def test_a_folder_of_another_run_is_refused_by_what_differs(tmp_path):
    ran(Sharing(None, tmp_path), run=lambda: {"graph": "a", "data": "b"})
    with pytest.raises(RefusedInput, match="'data' is 'b' there and 'c' here"):
        ran(Sharing(None, tmp_path), run=lambda: {"graph": "a", "data": "c"})
    with pytest.raises(RefusedInput, match="'target' is None there"):
        ran(Sharing(None, tmp_path), run=lambda: {"graph": "a", "data": "b", "target": 1})
    with pytest.raises(RefusedInput, match="'data' is 'b' there and None here"):
        ran(Sharing(None, tmp_path), run=lambda: {"graph": "a"})


def test_a_folder_of_other_code_is_refused(tmp_path):
    ran(Sharing(None, tmp_path))
    path = tmp_path / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "version of spikeclip": "0" * 64}))
    with pytest.raises(RefusedInput, match="version of spikeclip"):
        ran(Sharing(None, tmp_path))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RefusedInput, match="expected a new or an empty folder"):
        ran(Sharing(None, tmp_path))
    with pytest.raises(RefusedInput, match="expected a new or an empty folder"):
        ran(Sharing(None, tmp_path / "thesis.tex"))
    with pytest.raises(RefusedInput, match="can't be made"):
        ran(Sharing(None, tmp_path / "thesis.tex" / "run"))


@pytest.mark.parametrize("name", [MANIFEST, "00002.npz"])
def test_a_damaged_file_is_refused_by_name(tmp_path, name):
    ran(Sharing(None, tmp_path))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])
    with pytest.raises(RefusedInput, match=f"{name}: not a readable"):
        ran(Sharing(None, tmp_path))


def test_a_manifest_without_end_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(RefusedInput, match=f"{MANIFEST}: not a readable"):
        ran(Sharing(None, tmp_path))


def test_a_result_of_another_run_is_refused_by_name(tmp_path):
    for run in ("one", "other"):
        ran(Sharing(None, tmp_path / run), run=lambda run=run: {"data": run})
    (tmp_path / "other" / "00003.npz").replace(tmp_path / "one" / "00003.npz")
    with pytest.raises(RefusedInput, match=r"00003\.npz: the result of a shard of another run; delete it"):
        ran(Sharing(None, tmp_path / "one"), run=lambda: {"data": "one"})


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("local:3", Local(3)),
        ("tcp://10.0.0.1:8786", Scheduler("tcp://10.0.0.1:8786")),
        ("tls://host:1", Scheduler("tls://host:1")),
    ],
)
def test_places_are_read(spec, place):
    assert parse(spec) == place


def test_local_takes_all_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 2, 5})
    assert parse("local") == Local(3)


@pytest.mark.parametrize(
    "spec",
    ["", "locall", "local:0", "local:two", "local:-1", "tcp://host", "tcp://:1", "tcp://host:x", "slurm", "a.yml:0"],
)
def test_other_places_are_refused(spec):
    with pytest.raises(RefusedInput, match="expected"):
        parse(spec)


def test_a_file_of_dask_jobqueue_is_read(tmp_path):
    path = tmp_path / "cpu.yaml"
    path.write_text("jobqueue:\n  slurm:\n    cores: 32\n    job-extra-directives: ['--exclusive']\n")
    expected = {"cores": 32, "job-extra-directives": ["--exclusive"]}
    assert parse(f"{path}:40") == Jobs(path, "slurm", expected, 40)
    assert parse(str(path)).jobs == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "jobqueue: 3",
        "jobqueue: {pbs: {}}",
        "jobqueue: {slurm: 3}",
        "jobqueue: {slurm: {}, local: {}}",
        "a: [",
        "\0",
    ],
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(RefusedInput, match=r"odd\.yaml"):
        parse(str(path))
    with pytest.raises(RefusedInput, match=r"none\.yaml"):
        parse(str(tmp_path / "none.yaml"))


def test_nobody_at_an_address_is_said(monkeypatch):
    monkeypatch.setattr("neuromorphic.cluster.places.PATIENCE", 1)
    with pytest.raises(RefusedInput, match=r"tcp://127\.0\.0\.1:1: no dask scheduler answers"):
        ran(Sharing(Scheduler("tcp://127.0.0.1:1"), None))


@pytest.fixture
def marks(tmp_path, monkeypatch):
    monkeypatch.setenv(MARKS, str(tmp_path))
    return tmp_path


def test_a_dead_workers_shards_run_again_and_finished_ones_do_not(marks, tmp_path):
    check(ran(Sharing(Local(2), tmp_path / "run"), Summing(deadly=(3, 10))))
    assert {path.name for path in marks.iterdir()} == {"3", "10", "run"}
    check(ran(Sharing(Local(2), tmp_path / "run"), die))  # nothing is left to do, and nobody is asked


@pytest.mark.slow
def test_processes_that_start_ahead_have_what_they_need_and_end_with_the_block():
    with Sharing(Local(2), None).started(["this"]) as sharing:
        check(ran(sharing, Imported("this")))
        check(ran(sharing))  # as of the several runs of a command
    with pytest.raises(KeyError), Sharing(Local(1), None).started():
        raise KeyError
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_what_dask_fails_to_close_is_closed_again(monkeypatch):
    from distributed import LocalCluster, Status

    really, called = LocalCluster.close, []

    def close(cluster, timeout=None):
        called.append(cluster.status)
        if len(called) == 1:
            cluster.status = Status.closing
            raise AssertionError("can only join a started process")
        return really(cluster, timeout)

    monkeypatch.setattr(LocalCluster, "close", close)
    check(ran(Sharing(Local(1), None)))
    assert called[:2] == [Status.running, Status.failed]


def test_a_scheduler_elsewhere_is_not_asked_ahead():
    with Sharing(Scheduler("tcp://127.0.0.1:1"), None).started() as sharing:
        assert sharing.place == Scheduler("tcp://127.0.0.1:1")


@pytest.mark.slow
def test_another_dask_on_this_machine_disturbs_nobody():
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody has it already
            stack.enter_context(socket.create_server(("", 8787)))
        check(ran(Sharing(Local(1), None)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(marks, workers):
    check(ran(Sharing(Local(workers), None), Summing(deadly=(0, 6))))


@pytest.mark.slow
def test_what_a_shard_raises_is_raised_here():
    with pytest.raises(ValueError, match="no shard from"):
        ran(Sharing(Local(1), None), refuse)


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_ends_the_run(monkeypatch):
    monkeypatch.setattr("neuromorphic.cluster.places.DEATHS", 1)
    with pytest.raises(SimulationFailed, match=r"images 0 to 2: 2 workers died|images 3 to 4: 2 workers died"):
        ran(Sharing(Local(1), None), die)


@pytest.mark.slow
def test_a_running_scheduler_is_used_and_stays():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster:
        for _ in range(2):
            check(ran(Sharing(Scheduler(cluster.scheduler_address), None)))


@pytest.mark.slow
def test_workers_of_other_code_are_refused(monkeypatch):
    monkeypatch.setattr(engine, "versions", lambda: {"spikeclip": "0" * 64})
    with pytest.raises(RefusedInput, match="a worker of the cluster has spikeclip"):
        ran(Sharing(Local(1), None))


# dask-jobqueue leaves the processes of its trial jobs to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_jobs_of_a_batch_system_are_started_as_its_file_says(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(f"jobqueue:\n  local:\n    cores: 1\n    memory: 1GB\n    log-directory: {tmp_path}\n")
    check(ran(Sharing(parse(f"{path}:2"), None)))


def test_a_slurm_job_asks_for_what_its_file_says(tmp_path):
    path = tmp_path / "cpu.yaml"
    path.write_text("jobqueue:\n  slurm:\n    cores: 32\n    processes: 32\n    memory: 64GB\n    queue: long\n")
    with job_queue(path, "slurm", parse(str(path)).settings) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p long" in script
    assert "#SBATCH --cpus-per-task=32" in script
    assert "--nworkers 32" in script


# What dask-jobqueue refuses is half made, and complains when it is collected: here, and not in a later test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_lacks_what_jobs_need_is_refused(tmp_path):
    path = tmp_path / "cpu.yaml"
    path.write_text("jobqueue:\n  slurm:\n    cores: 32\n")

    def refused():
        with (
            pytest.raises(RefusedInput, match=r"cpu\.yaml: jobqueue\.slurm is refused"),
            job_queue(path, "slurm", parse(str(path)).settings),
        ):
            pass

    refused()
    gc.collect()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A SLURM of shell scripts: each command is one, and writes down what it was called with."""
    path = tmp_path / "cpu.yaml"
    path.write_text(
        f"jobqueue:\n  slurm:\n    cores: 1\n    memory: 1GB\n    interface: lo\n    log-directory: {tmp_path}\n"
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("neuromorphic.cluster.places.PATIENCE", 0.1)

    def command(name, script):
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.called\n{script}\n')
        file.chmod(0o755)

    command("scancel", "")
    command.place = parse(f"{path}:1")
    command.called = lambda name: (tmp_path / f"{name}.called").read_text().split()
    return command


def test_a_batch_system_that_takes_no_job_is_quoted(slurm, capfd):
    slurm("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1")
    with pytest.raises(RefusedInput, match=r"cpu\.yaml: slurm takes no job \(sbatch: error: invalid partition\)"):
        ran(Sharing(slurm.place, None))
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_whose_jobs_have_all_ended_ends_too(slurm, caplog, tmp_path):
    slurm("sbatch", "echo Submitted batch job 17")
    # The queue has the job twice, then not, as after a time limit; another job of this user's stays.
    slurm("squeue", f"echo 170; test $(wc -l < {tmp_path}/squeue.called) -gt 2 || echo 17")
    with pytest.raises(SimulationFailed, match=r"1 job of slurm \(17\): all ended before the run did"):
        ran(Sharing(slurm.place, None))
    assert [record.getMessage() for record in caplog.records] == ["no worker of 1 job of slurm (17); waiting"] * 2
    assert slurm.called("scancel") == ["17"]


def test_a_queue_that_does_not_answer_ends_no_run(slurm):
    slurm("squeue", "exit 1")
    assert not Submitted("slurm", frozenset({"17"})).ended()


def test_jobs_on_this_machine_end_with_their_processes():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        job = Submitted("local", frozenset({str(process.pid)}))
        assert not job.ended()
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert job.ended()
    assert job.ended()
