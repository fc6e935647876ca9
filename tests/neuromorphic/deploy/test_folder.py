"""Folders for Lava alone: run by themselves, every spike and v compared; and what can't be deployed is named."""

import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import neuromorphic.deploy.cli
from neuromorphic.deploy.folder import FILES, check_own_folder, counted, write_folder
from neuromorphic.deploy.plan import plan
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.execution.frames import per_step
from tests.neuromorphic.deploy.graphs import branching, quantised, with_maximum
from tests.neuromorphic.reading.netx.files import dense, write


def deployed(folder, graph, frames):
    shown = per_step(graph, frames)
    planned, trace = plan(graph), run_in_batches(graph, shown)
    write_folder(folder, graph, planned, shown, trace)
    return planned, trace, shown


def run(folder, *arguments):
    """`network.py` in a process that finds none of our packages: exit code, and what it says."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    (folder.parent / "sitecustomize.py").write_text(
        "import sys\n"
        "class Closed:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('neuromorphic', 'spikeclip', 'export', 'energy', 'torch', 'nir'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Closed())\n"
    )
    environment["PYTHONPATH"] = str(folder.parent)
    command = [sys.executable, str(folder / "network.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_a_folder_runs_by_itself_and_every_spike_and_v_is_as_ours(tmp_path, quick):
    graph, frames = quantised(*branching())
    planned, trace, _ = deployed(tmp_path / "loihi", graph, frames[:2])
    assert np.load(tmp_path / "loihi" / "expected.npz")["time_weights"].tolist() == [1 / 4] * 4
    kinds = {synapses.kind for population in planned.populations for synapses in population.synapses}
    assert kinds == {"Conv", "Dense", "Sparse"}
    assert [relay.name for population in planned.populations for relay in population.relays] == ["a after 1"]
    assert {s.wait for population in planned.populations for s in population.synapses} == {0, 2}  # of frames
    code, said = run(tmp_path / "loihi", "--sim", *quick)
    assert code == 0, said
    neurons = sum(train.neurons for train in trace.spikes.values())
    assert f"2 images: {2 * 5 * neurons:,} spikes and final v compared, 0 differ" in said
    assert "outputs: 0 of 24 differ" in said


ADAPTERS = """
import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

class Adapter(AbstractProcess):
    def __init__(self, shape, num_message_bits=0):
        super().__init__(shape=shape)
        self.inp, self.out = InPort(shape=shape), OutPort(shape=shape)

@implements(proc=Adapter, protocol=LoihiProtocol)
@requires(CPU)
class AdapterModel(PyLoihiProcessModel):
    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    kept = 0

    def run_spk(self):
        self.out.send(np.zeros(self.out.shape, np.int32) + self.kept)
        self.kept = self.inp.recv()

PyToN3ConvAdapter = PyToNxAdapter = NxToPyAdapter = Adapter
"""


def test_the_way_to_the_chip_puts_adapters_in_place_and_finds_their_steps(tmp_path):
    # Lava's models stand in for the chip, and adapters that take a step each for Intel's.
    stub = tmp_path / "lava" / "proc" / "embedded_io"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("from lava.proc.embedded_io import spike\n")
    (stub / "spike.py").write_text(ADAPTERS)
    graph, frames = quantised(*branching())
    deployed(tmp_path / "loihi", graph, frames[:2])
    program = tmp_path / "loihi" / "network.py"
    chip, stand_in = "Loihi2HwCfg()", 'Loihi2SimCfg(select_tag="fixed_pt")'
    assert program.read_text().count(chip) == 1
    program.write_text(program.read_text().replace(chip, stand_in))
    code, said = run(tmp_path / "loihi", "--hw", "--late", "1")
    assert code == 0, said
    assert "e: 0 of 40 spikes differ; they come back 1 steps late" in said
    assert "outputs: 0 of 24 differ" in said


def test_a_program_sees_what_differs(tmp_path):
    path = write(tmp_path / "n.net", dense(np.full((3, 4), 30.0)))
    from neuromorphic.reading.read import read_graph

    deployed(tmp_path / "loihi", read_graph(path), np.ones((1, 6, 4), np.float32))
    expected = dict(np.load(tmp_path / "loihi" / "expected.npz"))
    expected["v layer.0"] = expected["v layer.0"] + [[1, 0, 0]]
    np.savez(tmp_path / "loihi" / "expected.npz", **expected)
    code, said = run(tmp_path / "loihi", "--sim")
    assert code == 1, said
    assert "21 spikes and final v compared, 1 differ" in said


def test_what_lava_lacks_is_named():
    graph, _ = quantised(*with_maximum())
    with pytest.raises(RefusedInput, match=r"small.nir: max is a MaxPool2d, which no process of Lava's computes"):
        plan(graph)


def test_loops_and_delays_are_refused(tmp_path):
    from neuromorphic.reading.read import read_graph

    back = {**dense(np.full((2, 2), 4.0)), "type": "dense_rec", "weight_rec": np.full((2, 2), 4.0)}
    with pytest.raises(RefusedInput, match="spikes that lead back"):
        plan(read_graph(write(tmp_path / "loop.net", back)))
    with pytest.raises(RefusedInput, match=r"layer\.0\.delay holds up spikes of one image"):
        plan(read_graph(write(tmp_path / "late.net", dense(np.full((2, 2), 4.0), delay=np.array([1, 2])))))


def test_operations_are_counted_of_all_processes():
    graph, frames = quantised(*branching())
    shown = per_step(graph, frames[:2])
    planned, trace = plan(graph), run_in_batches(graph, shown)
    found = counted(planned, graph, shown, trace)
    sent = {name: train.unpack().sum((0, 1)) for name, train in trace.spikes.items()}
    taps = np.zeros((6, 5), np.int64)  # of a kernel of 3 by 3 with padding 1, per output channel
    for i, j in np.ndindex(6, 5):
        taps[i, j] = (min(i + 2, 6) - max(i - 1, 0)) * (min(j + 2, 5) - max(j - 1, 0))
    frames_in = (shown != 0).sum((0, 1))
    operations = 2 * 4 * (frames_in * taps).sum() + 2 * 4 * (sent["a"] * taps).sum() + 4 * sent["b"].sum()
    operations += sent["a"].sum()  # the relay
    operations += sent["c"][:, :, :4].sum() + 5 * sent["d"].sum()
    assert found["synaptic operations"] * 2 == operations
    assert found["neuron updates"] == 4 * (3 * 4 * 30 + 4 * 6 + 5 + 4 * 30)


def test_folders_with_other_files_are_left_alone(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("")
    for place, words in ((tmp_path / "theirs", "holds thesis.tex"), (tmp_path / "no" / "where", "does not exist")):
        with pytest.raises(RefusedInput, match=words):
            check_own_folder(place)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / FILES[0]).mkdir()
    with pytest.raises(RefusedInput, match=f"holds {FILES[0]}"):
        check_own_folder(tmp_path / "links")
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedInput, match="is a file"):
        check_own_folder(tmp_path / "file")


def test_the_command_writes_a_folder_and_a_netx_file(tmp_path):
    path = write(tmp_path / "n.net", dense(np.full((3, 4), 30.0)))
    np.save(tmp_path / "x.npy", np.ones((2, 6, 4), np.float32))
    arguments = [path, "--frames", tmp_path / "x.npy", "-o", tmp_path / "loihi", "--netx", tmp_path / "again.net"]
    for _ in range(2):  # the second time over the first
        result = CliRunner().invoke(neuromorphic.deploy.cli.app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "loihi").iterdir()} == set(FILES)
    assert (tmp_path / "again.net").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to write"),
        (["-o", "loihi"], "nothing to expect spikes on"),
        (["--netx", "n.h5"], "expected a name that ends in .net"),
    ],
)
def test_what_is_missing_is_said(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "m.net", dense(np.full((3, 4), 30.0)))
    result = CliRunner().invoke(neuromorphic.deploy.cli.app, [str(path), *arguments])
    assert result.exit_code == 2, result.output
    assert words in result.output.replace("\n", " ")
    assert not (tmp_path / "loihi").exists()
