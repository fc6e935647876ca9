"""Damaged and hostile files: refused in one sentence or run, within seconds and a GiB, and nothing else is read.

`python -m benchmarks.fuzz` runs as many cases as there is time for.
"""

import os
import shutil
import signal
import time
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given

import export
from neuromorphic.errors import RefusedInput
from neuromorphic.ir import hdf5
from neuromorphic.loihi2.file import write_quantised
from neuromorphic.loihi2.quantise import calibrate
from neuromorphic.reading import limits, rehearsal
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from tests.drawn import drawn
from tests.export.encoders import checkpoint, published
from tests.fuzz.batches import fuzz
from tests.fuzz.graphs import graphs
from tests.fuzz.hostile import CANARY, CHANGES, NODES, PARTS, put, replacements, write_changed, write_good
from tests.fuzz.judge import DECLARED, SMALLER, check_sentence, exercise, judge
from tests.neuromorphic.graphs import chain, lif

CASES = {"good": 150, "tiny": 150, "spike-driven": 20, "paper": 20, "quantised": 20, "foreign": 100}
"""Damaged copies of each file; the exported ones have ten times as many arrays."""

KINDS = tuple(CASES)

ALL = {"good": 1800, "tiny": 1800, "spike-driven": 40, "paper": 40, "quantised": 40, "foreign": 200}
"""The same with those that the slow tests judge."""

FOREIGN = Path(__file__).parents[1] / "data" / "foreign"

HANGS = 0.01
"""Fraction of damaged copies that may stop HDF5's library; seen is 0.002."""


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_encoder):
    """A file of each kind."""
    folder = tmp_path_factory.mktemp("fuzz")
    found = {kind: folder / f"{kind}.nir" for kind in KINDS}
    write_good(found["good"])
    tiny = chain({"lif": lif((2, 2, 2))}, (2, 2, 2), (2, 2, 2))
    tiny.metadata = {}
    nir.write(found["tiny"], tiny)
    encoder = make_encoder(0, width=8, image_size=8, embedding_width=4)
    export.write(export.prepare(checkpoint(encoder, 8)).graph, found["spike-driven"])
    other = published(2, width=8, heads=2, image_size=8, embedding_width=4)
    export.write(export.prepare(checkpoint(other, 8)).graph, found["paper"])
    shutil.copyfile(FOREIGN / "spyx_recurrent.nir", found["foreign"])  # subgraphs and a recurrent edge
    floats = read_graph(found["spike-driven"])
    frames = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    write_quantised(found["spike-driven"], *calibrate(floats, frames), found["quantised"])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_or_run(kind, files):
    assert_refused_or_run(files[kind], 0, CASES[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_damaged_files_are_refused_or_run(kind, files):
    assert_refused_or_run(files[kind], CASES[kind], ALL[kind])


def assert_refused_or_run(file, first, last):
    found = fuzz(file, first, last)
    assert found.cases == last - first
    assert not found.bugs, next(iter(found.bugs.items()))
    assert len(found.fatal) <= HANGS * found.cases + 1, found.fatal
    assert found.outcomes["refused"] > 0
    assert found.outcomes["ran"] > 0


def test_hostile_files_are_refused_or_run(files):
    found = fuzz(files["good"], 0, len(CHANGES), "hostile")
    every = [*CHANGES, *replacements(files["good"])]
    assert not found.bugs, {every[i]: bug for i, bug in found.bugs.items()}
    assert not found.fatal, {every[i]: end for i, end in found.fatal.items()}
    assert found.outcomes["refused"] > 100


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))])
def test_odd_parameters_are_refused_or_run(part, files):
    """Each part of the changes is of every parameter, and of every value."""
    every = [*CHANGES, *replacements(files["good"])]
    first, last = (len(CHANGES) + (len(every) - len(CHANGES)) * end // PARTS for end in (part, part + 1))
    found = fuzz(files["good"], first, last, "hostile")
    assert not found.bugs, {every[i]: bug for i, bug in found.bugs.items()}
    assert not found.fatal, {every[i]: end for i, end in found.fatal.items()}
    assert found.outcomes["ran"] > 0


@pytest.fixture
def smaller(monkeypatch):
    for name, value in SMALLER.items():
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr(hdf5, "MAX_BYTES", DECLARED)


@pytest.mark.usefixtures("smaller")
@drawn(200, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(graph=graphs())
def test_random_graphs_are_refused_or_run(graph):
    try:
        validated = from_nir(graph, "FILE")
    except RefusedInput as error:
        check_sentence(error, "FILE")
    else:
        exercise(validated, "FILE")


def test_what_lies_outside_is_not_opened(files, tmp_path):
    """A pipe that nobody fills would hang whoever opens it; a canary's time of access would show a read."""
    names = [name for name in CHANGES if name.startswith(("external", "virtual"))]
    assert len(names) == 6
    for name in names:
        path = tmp_path / "hostile.nir"
        write_changed(files["good"], CHANGES[name], path)
        canaries = [tmp_path / "canary.h5", tmp_path / "canary.bin"]
        for canary in canaries:
            os.utime(canary, ns=(0, 0))
        with pytest.raises(RefusedInput) as caught:
            read_graph(path)
        assert "another file" in str(caught.value)
        assert [canary.stat().st_atime_ns for canary in canaries] == [0, 0]


def test_a_canary_would_show(files, tmp_path):
    """What the check above looks for does happen where the survey is left out."""
    path = tmp_path / "hostile.nir"
    write_changed(files["good"], CHANGES["external storage"], path)
    assert CANARY in nir.read(path, type_check=False).nodes["conv"].bias


def test_references_to_one_long_text_are_not_all_read(files, tmp_path):
    """A string of 1 MB that 4,096 elements of the edges share: 4 GB of text in a file of 1 MB."""
    path = tmp_path / "shared.nir"
    path.write_bytes(files["good"].read_bytes())
    with h5py.File(path, "r+") as file:
        del file["node/edges"]
        edges = file["node"].create_dataset("edges", (2048, 2), h5py.string_dtype())
        edges[...] = "x"
        edges[0, 0] = "x" * 2**20
        start = edges.id.get_offset()
    data = bytearray(path.read_bytes())
    data[start : start + 16 * 4096] = data[start : start + 16] * 4096
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match="brings the text to"):
        read_graph(path)


def test_a_filter_that_hdf5_would_load_code_for_is_refused(files, tmp_path):
    path = tmp_path / "filter.nir"
    path.write_bytes(files["good"].read_bytes())
    with h5py.File(path, "r+") as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((4,))
        creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
        del file[f"{NODES}/conv/bias"]
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file[f"{NODES}/conv"].id, b"bias", h5py.h5t.IEEE_F32LE, space, creation)
    with pytest.raises(RefusedInput, match="conv/bias went through filter 32015"):
        read_graph(path)


def flattening(levels):
    """Flattening nodes, two side by side in each of the levels: 2^levels ways through them."""
    nodes = {f"f{i}{side}": nir.Flatten({"input": None}, 0, -1) for i in range(levels) for side in "ab"}
    graph = chain({}, (2,), (2,))
    graph.nodes.update(nodes)
    rows = [["input"], *([f"f{i}a", f"f{i}b"] for i in range(levels)), ["output"]]
    graph.edges = [(a, b) for before, after in pairwise(rows) for a in before for b in after]
    return graph


def test_outputs_beyond_float32_are_refused():
    large = np.full((1, 1), 3e38, np.float32)
    nodes = {"lif": lif((1,), 0.0), "a": nir.Affine(large, np.full(1, 3e38, np.float32)), "b": nir.Linear(large)}
    assert exercise(from_nir(chain(nodes, (1,), (1,)), "FILE"), "FILE") == "stopped"


def test_ways_that_double_are_refused():
    exercise(from_nir(flattening(10), "FILE"), "FILE")
    with pytest.raises(RefusedInput, match="paths through"):
        from_nir(flattening(60), "FILE")


def test_a_long_row_of_flattening_is_refused():
    row = {f"f{i:04}": nir.Flatten({"input": None}, 0, -1) for i in range(2000)}
    with pytest.raises(RefusedInput, match="flattening nodes"):
        from_nir(chain(row, (2,), (2,)), "FILE")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("conv/padding", np.array([2**20, 2**20]), "elements"),
        ("conv/padding", np.array([2**40, 0]), "from 0 to 2147483647"),
        ("input/shape", np.array([2, 2**40, 2**40]), "elements"),
    ],
)
def test_what_no_memory_holds_is_refused_with_the_limits_as_they_are(files, tmp_path, name, value, words):
    path = tmp_path / "large.nir"
    write_changed(files["good"], put(f"{NODES}/{name}", value), path)
    with pytest.raises(RefusedInput, match=words):
        read_graph(path)


def endless():
    while True:
        pass


def test_reading_that_computes_for_ever_is_refused(monkeypatch, tmp_path):
    (tmp_path / "a.nir").write_bytes(b"1")
    monkeypatch.setattr(rehearsal, "SECONDS", 0.2)
    with pytest.raises(RefusedInput, match=r"a\.nir: HDF5 did not finish reading it within 1 s of the processor"):
        rehearsal.rehearse(endless, tmp_path / "a.nir")


def test_reading_that_waits_for_ever_is_refused(monkeypatch, tmp_path):
    (tmp_path / "a.nir").write_bytes(b"1")
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.2)
    with pytest.raises(RefusedInput, match=r"a\.nir: HDF5 did not finish reading it within 0 s;"):
        rehearsal.rehearse(lambda: time.sleep(3600), tmp_path / "a.nir")


def test_reading_may_take_long_by_the_clock(monkeypatch, tmp_path):
    """On a busy machine: what counts is what the copy took of the processor."""
    (tmp_path / "a.nir").write_bytes(b"1")
    monkeypatch.setattr(rehearsal, "SECONDS", 0.2)
    rehearsal.rehearse(lambda: time.sleep(1.2), tmp_path / "a.nir")


def test_reading_that_is_killed_from_outside_is_no_fault_of_the_file(tmp_path):
    (tmp_path / "a.nir").write_bytes(b"1")
    with pytest.raises(RefusedInput, match=r"a\.nir: something killed the process that reads it"):
        rehearsal.rehearse(lambda: os.kill(os.getpid(), signal.SIGKILL), tmp_path / "a.nir")


def test_reading_that_kills_the_process_is_refused(tmp_path):
    (tmp_path / "a.nir").write_bytes(b"1")
    with pytest.raises(RefusedInput, match=r"a\.nir: HDF5 died of it \(SIGABRT\)"):
        rehearsal.rehearse(os.abort, tmp_path / "a.nir")


def test_reading_that_raises_is_left_to_the_reader(tmp_path):
    (tmp_path / "a.nir").write_bytes(b"1")
    rehearsal.rehearse(lambda: 1 / 0, tmp_path / "a.nir")


def test_the_whole_reader_survives_what_stops_the_library(files, tmp_path, monkeypatch):
    """An entry of the heap of texts with the number and the size 0: HDF5 2.0.0 reads it again and again for ever."""
    path = tmp_path / "endless.nir"
    data = bytearray(files["good"].read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 40 : heap + 56] = bytes(16)
    path.write_bytes(data)
    monkeypatch.setattr(rehearsal, "SECONDS", 0.5)
    assert judge(Path(path)) == "refused"
