"""A trace in shards is read as one trace; a shard that isn't the one that was written is refused."""

import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuromorphic.ir.trace
from energy.streaming import count_running, count_stored
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.files import sha256_of
from neuromorphic.ir.trace import FORMAT_VERSION, SpikeTrain, Trace
from neuromorphic.ir.trace_shards import file_of, folder_of, write_index
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import small_net

SIZES = (3, 1, 4, 2)
IMAGES = sum(SIZES)


def a_trace(images=IMAGES, seed=0):
    rng = np.random.default_rng(seed)
    spikes = {name: SpikeTrain.pack(rng.random((images, 2, n)) < 0.3) for name, n in (("z", 9), ("a", 16))}
    membranes = {name: rng.integers(-9, 9, (images, *train.shape), np.int32) for name, train in spikes.items()}
    outputs, other = (rng.normal(size=(images, 2, n)).astype(np.float32) for n in (3, 4))
    return Trace("fast", "loihi2", spikes, outputs, None, membranes, further={"other": other})


def write_shards(trace, index, sizes=SIZES):
    folder_of(index).mkdir()
    begin = 0
    for number, size in enumerate(sizes):
        trace.part(slice(begin, begin + size)).write(file_of(index, number))
        begin += size
    write_index(index, FORMAT_VERSION, sizes, [sha256_of(file_of(index, number)) for number in range(len(sizes))])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    index = tmp_path_factory.mktemp("shards") / "run.h5"
    write_shards(a_trace(), index)
    return index


@pytest.fixture
def copied(stored, tmp_path):
    """A trace in shards that may be changed."""
    shutil.copytree(stored.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / stored.name


def test_all_shards_are_one_trace(stored):
    assert Trace.read(stored) == a_trace()


@given(st.integers(-12, 12) | st.none(), st.integers(-12, 12) | st.none(), st.integers(1, 5) | st.none())
def test_any_images_of_it_are_those_of_one_trace(stored, start, stop, step):
    images = slice(start, stop, step)
    assert Trace.read(stored, images) == a_trace().part(images)


def test_images_backwards_are_refused(stored):
    with pytest.raises(RefusedInput, match="steps of -1"):
        Trace.read(stored, slice(None, None, -1))


def test_energy_counts_in_it(tmp_path):
    graph = from_nir(small_net())
    frames = np.random.default_rng(1).random((5, *graph.nodes[graph.input].shape), np.float32)
    write_shards(run(graph, frames), tmp_path / "run.h5", (2, 3))
    counts, first = count_stored(graph, tmp_path / "run.h5", batch=4)
    assert counts == count_running(graph, frames)
    assert first.images == 4


def test_a_shard_that_was_changed_or_is_missing_is_refused(copied):
    Trace.read(copied)
    other = file_of(copied, 2)
    a_trace(4, seed=1).write(other)
    with pytest.raises(RefusedInput, match=r"00002\.h5: isn't the file that"):
        Trace.read(copied)
    assert Trace.read(copied, slice(0, 4)).images == 4  # what is asked for is there
    other.unlink()
    with pytest.raises(RefusedInput, match=r"00002\.h5 is not readable"):
        Trace.read(copied)


def test_shards_of_different_runs_are_refused(tmp_path):
    index = tmp_path / "run.h5"
    folder_of(index).mkdir()
    one = a_trace(2)
    one.write(file_of(index, 0))
    Trace("lava", "loihi2", one.spikes, one.outputs, None, one.membranes, further=one.further).write(file_of(index, 1))
    write_index(index, FORMAT_VERSION, (2, 2), [sha256_of(file_of(index, number)) for number in range(2)])
    with pytest.raises(RefusedInput, match="different runs"):
        Trace.read(index)


@pytest.mark.parametrize(
    ("images", "digests"),
    [
        (np.array([3], np.int64), np.zeros((2, 32), np.uint8)),
        (np.array([], np.int64), np.zeros((0, 32), np.uint8)),
        (np.array([0], np.int64), np.zeros((1, 32), np.uint8)),
        (np.array([-1, 3], np.int64), np.zeros((2, 32), np.uint8)),
        (np.array([3.0]), np.zeros((1, 32), np.uint8)),
        (np.array([3], np.int64), np.zeros((1, 32), np.int8)),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, images, digests):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs["format_version"] = neuromorphic.ir.trace.FORMAT_VERSION
        file["shards/images"], file["shards/sha256"] = images, digests
    with pytest.raises(RefusedInput, match=r"run\.h5: a"):
        Trace.read(tmp_path / "run.h5")


def test_a_folder_that_is_called_like_an_index_is_none(tmp_path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file["shards"] = 3
    with pytest.raises(RefusedInput, match="not a readable trace"):
        Trace.read(tmp_path / "run.h5")
