"""A child that raises, hangs or is killed: a clear error within the limit, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from neuromorphic.errors import SimulationFailed
from neuromorphic.lava import keeper, simulation
from neuromorphic.lava.job import Job
from neuromorphic.lava.runner import guarded_folder, run_group
from neuromorphic.lava.simulation import simulate
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import small_net

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc"),
    pytest.mark.alone,
]

ROOT = Path(__file__).resolve().parents[3]
MARK = "SPIKECLIP_TEST_RUN"

SABOTAGE = """
import os, signal, sys, time
import neuromorphic.lava.child
from neuromorphic.lava.processes.layer import FusedModel

healthy = FusedModel.run_spk

def run_spk(self):
    if self.time_step == 6 and self.layer.head.name == {where!r}:
        {what}
    healthy(self)

FusedModel.run_spk = run_spk
neuromorphic.lava.child.main()
"""


START = """
import os, signal
from multiprocessing.process import BaseProcess
import neuromorphic.lava.child

healthy, count = BaseProcess.start, 0

def start(self):
    global count
    healthy(self)
    count += 1
    if count == {number}:
        os.kill(self.pid, signal.{how})

BaseProcess.start = start
neuromorphic.lava.child.main()
"""


def living(status):
    """Whether a process lives on: one that SIGKILL waits for takes its time on a busy machine, but is over."""
    lines = dict(line.split(":", 1) for line in status.splitlines())
    pending = int(lines["SigPnd"], 16) | int(lines["ShdPnd"], 16)
    return lines["State"].split()[0] not in "ZX" and not pending >> signal.SIGKILL - 1 & 1


def processes(mark):
    """Living processes that were started with this mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "status").read_text(errors="replace")
            if living(status) and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def segments():
    """Shared memory that no living process maps: what a run that is over has leaked."""
    mapped = set()
    for entry in Path("/proc").glob("[0-9]*/maps"):
        try:
            mapped.update(line.split(maxsplit=5)[-1] for line in entry.read_text().splitlines() if "/dev/shm/" in line)
        except OSError:
            continue
    return {str(path) for path in Path("/dev/shm").glob("psm_*")} - mapped


@pytest.fixture
def mark(tmp_path):
    """Afterwards, nothing with this mark may live, and nothing may lie in shared memory that did not before."""
    before = segments()
    yield str(tmp_path)
    assert processes(str(tmp_path)) == []
    assert segments() <= before


def sabotaged(tmp_path, what, where="lif2"):
    """A command that runs a small net in Lava and does `what` in the sixth step of a layer."""
    return job_of(tmp_path, SABOTAGE.format(what=what, where=where))


def job_of(tmp_path, program):
    """A command that gives a small net to a `program` beside which Lava's child process runs."""
    graph = from_nir(small_net())
    frames = np.ones((4, 1, *graph.nodes[graph.input].shape), np.float32)
    folder = Path(tempfile.mkdtemp(prefix=keeper.PREFIX, dir=tmp_path))
    Job(graph, frames, time_steps=4, batch=1, models="fused", doubles=()).write(folder)
    script = tmp_path / "sabotage.py"
    script.write_text(program)
    return [sys.executable, str(script), str(folder)]


def run_marked(command, mark, lines=None, **limits):
    environment = {MARK: mark, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        run_group(command, [].append if lines is None else lines.append, environment=environment, **limits)
    finally:
        if (folder := Path(command[-1])).is_dir():
            keeper.remove(folder)


@pytest.mark.parametrize(
    ("what", "where", "message"),
    [
        ("raise ValueError('boom')", "lif", "boom"),
        ("raise ValueError('boom')", "lif2", "boom"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "lif", "exit code -9"),
        ("os.kill(os.getppid(), signal.SIGKILL)", "lif", "ended by SIGKILL"),
        ("os.killpg(0, signal.SIGKILL)", "lif", "ended by SIGKILL"),
        ("os.killpg(0, signal.SIGTERM)", "lif", "ended by SIGTERM"),
    ],
)
def test_a_death_in_the_group_is_an_error_at_once(tmp_path, mark, what, where, message):
    with pytest.raises(SimulationFailed, match=message):
        run_marked(sabotaged(tmp_path, what, where), mark)


@pytest.mark.parametrize(
    ("number", "how"),
    [(1, "SIGKILL"), (2, "SIGTERM"), (6, "SIGSEGV")],
    ids=["shared memory's", "the first", "the last"],
)
def test_a_death_while_lava_starts_is_an_error_long_before_the_limit(tmp_path, mark, number, how):
    with pytest.raises(SimulationFailed) as raised:
        run_marked(job_of(tmp_path, START.format(number=number, how=how)), mark)
    assert "made no step" not in str(raised.value)


def test_a_layer_that_hangs_is_an_error_after_the_limit(tmp_path, mark):
    with pytest.raises(SimulationFailed, match="made no step for 2 s"):
        run_marked(sabotaged(tmp_path, "time.sleep(600)"), mark, silence=2)


def test_the_whole_time_can_be_limited(mark):
    with pytest.raises(SimulationFailed, match="took more than 1 s"):
        run_marked([sys.executable, "-c", "import os, time; os.fork(); time.sleep(600)"], mark, timeout=1)


def test_a_command_that_ignores_sigterm_is_killed(tmp_path, mark, monkeypatch):
    monkeypatch.setattr(keeper, "GRACE", 0.5)
    script = tmp_path / "stubborn.py"
    script.write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork()\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )

    class Heard(Exception):
        pass

    def hear(line):
        raise Heard(line)

    with pytest.raises(Heard, match="ready"):  # not before: it has to ignore the signal by then
        run_group([sys.executable, str(script)], hear, environment={MARK: mark})


def test_children_that_outlive_their_parent_are_ended(tmp_path, mark):
    script = tmp_path / "orphan.py"
    script.write_text("import os, time\nif os.fork() == 0:\n    time.sleep(600)\nprint('done', flush=True)\n")
    lines = []
    run_marked([sys.executable, str(script)], mark, lines)
    assert lines == ["done"]


def test_the_message_holds_the_last_words(mark):
    with pytest.raises(SimulationFailed, match=r"exit code 3.*\n.*no more"):
        run_marked([sys.executable, "-c", "import sys; sys.stderr.write('no more'); sys.exit(3)"], mark)


def test_an_error_of_the_caller_leaves_nothing_behind(mark, monkeypatch):
    monkeypatch.setenv(MARK, mark)

    def interrupt(done, total):
        raise KeyboardInterrupt

    graph = from_nir(small_net())
    with pytest.raises(KeyboardInterrupt):
        simulate(graph, np.ones((1, 2, 6, 6), np.float32), progress=interrupt)


CALLER = """
import os, signal, sys, time
import numpy as np
from neuromorphic.lava import job, simulation
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import small_net

def stop(*ignored, **options):
    print("there", flush=True)
    time.sleep(600)

def run(**options):
    return simulation.simulate(from_nir(small_net()), np.ones((1, 2, 6, 6), np.float32), **options)

"""


@pytest.mark.parametrize(
    ("where", "how"),
    [
        pytest.param("job._create = stop\nrun()", "SIGKILL", id="the job is written"),
        pytest.param("simulation.run_group = stop\nrun()", "SIGTERM", id="before the child"),
        pytest.param(
            "Popen = simulation.run_group.__globals__['subprocess'].Popen\n"
            "start = Popen.__init__\n"
            "Popen.__init__ = lambda self, command, **options: ("
            "start(self, command, **options), 'neuromorphic.lava.child' in command and stop())[0]\n"
            "run()",
            "SIGKILL",
            id="the child has just started",
        ),
        pytest.param("run(progress=stop)", "SIGKILL", id="it runs"),
        pytest.param("simulation.Job.traces = stop\nrun()", "SIGTERM", id="results are read"),
    ],
)
def test_a_killed_parent_leaves_nothing_behind(mark, where, how):
    with tempfile.TemporaryDirectory() as name:  # pytest's own are too long for the name of a socket
        environment = {**os.environ, MARK: mark, "TMPDIR": name, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            [sys.executable, "-c", CALLER + where], stdout=subprocess.PIPE, env=environment
        ) as parent:
            assert parent.stdout.readline() == b"there\n"
            assert list(Path(name).iterdir())
            parent.send_signal(signal.Signals[how])
        while processes(mark):  # pytest's own limit ends it, were it for ever
            time.sleep(0.1)
        assert list(Path(name).iterdir()) == []


def test_the_child_is_found_by_a_name_that_stays(monkeypatch):
    """Whoever watches processes (`pgrep -f`) knows this word, and the folder beside it."""
    seen = []

    def caught(command, *more, **options):
        seen.extend(command)
        raise SimulationFailed("caught")

    monkeypatch.setattr(simulation, "run_group", caught)
    with pytest.raises(SimulationFailed, match="caught"):
        simulate(from_nir(small_net()), np.ones((1, 2, 6, 6), np.float32))
    assert seen[-1] == "neuromorphic.child"
    assert "spikeclip-" in seen[-2]


def test_a_killed_keeper_is_made_up_for(monkeypatch, mark, tmp_path):
    monkeypatch.setenv(MARK, mark)
    with guarded_folder() as place:
        (pid,) = processes(mark)
        os.kill(pid, signal.SIGKILL)
        (place.folder / "frames").write_text("some")
        run_group([sys.executable, "-c", "pass"], print, guard=place.guard)
    assert not place.folder.exists()


def test_a_keeper_that_nobody_hears_leaves_no_folder(tmp_path):
    """As of a command that is interrupted while its keeper starts."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-I", "-S", keeper.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE, env={"TMPDIR": str(tmp_path)}
    ) as process:
        os.close(write)
        assert process.communicate()[1] == b""
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_a_folder_is_said(monkeypatch):
    monkeypatch.setattr(keeper, "__file__", "/nowhere/keeper.py")
    with pytest.raises(SimulationFailed, match=r"no folder can be made(.|\n)*No such file"), guarded_folder():
        pass


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("OSError: [Errno 24] Too many open files", r"ulimit -n"),
        ("OSError: [Errno 27] File too large", r"ulimit -f"),
        ("OSError: [Errno 28] No space left on device", r"no room left in /dev/shm or in the folder for temporary"),
        ("a process of Lava ended with exit code -7", r"no room left in /dev/shm \(SIGBUS\)"),
        ("OSError: [Errno 12] Cannot allocate memory", "no memory left"),
        ("MemoryError", "no memory left"),
        ("RuntimeError: can't start new thread", "no further thread"),
    ],
)
def test_what_the_system_refused_is_said_in_one_sentence(words, why):
    program = f"import sys; print('Traceback (most recent call last):\\n', {words!r}, file=sys.stderr); sys.exit(1)"
    with pytest.raises(SimulationFailed, match=f"^Lava failed: [^\n]*{why}[^\n]*$"):
        run_group((sys.executable, "-c", program), print)


def test_no_room_for_the_input_of_lava_is_said_with_its_folder(tmp_path, monkeypatch):
    def full(job, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Job, "write", full)
    graph = from_nir(small_net())
    with pytest.raises(SimulationFailed, match=r"spikeclip-\w+: Lava's input can't be written there \(No space"):
        simulate(graph, np.ones((1, 4, *graph.nodes[graph.input].shape), np.float32))


def test_an_array_of_which_the_system_took_only_a_part_is_an_error(tmp_path, monkeypatch):
    """As under a limit of a file's size, of which numpy says nothing."""
    healthy = np.save

    def cut(path, array):
        healthy(path, array)
        os.truncate(path, Path(path).stat().st_size - 1)

    graph = from_nir(small_net())
    frames = np.ones((1, 4, *graph.nodes[graph.input].shape), np.float32)
    monkeypatch.setattr(np, "save", cut)
    with pytest.raises(SimulationFailed, match="Lava's input can't be written there"):
        simulate(graph, frames)
