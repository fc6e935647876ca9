"""Files of frames: which axis is time, how many samples and steps there are, and what float32 does to their numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.reading.events import parse_bin
from neuromorphic.reading.frames import FrameOptions, find_frames
from tests.neuromorphic.reading.test_events import graph_of


@pytest.mark.parametrize("time_first", [False, True])
def test_time_first_swaps_the_axes(tmp_path: Path, time_first: bool) -> None:
    x = np.random.default_rng(0).random((2, 5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    found = find_frames(graph_of(3), tmp_path / "x.npy", FrameOptions(time_first=time_first))
    np.testing.assert_array_equal(found.values, x.swapaxes(0, 1) if time_first else x)
    assert bool(found.assumed) is not time_first
    with pytest.raises(RefusedInput, match="expected --time-first if"):
        find_frames(graph_of(3, time_steps=2), tmp_path / "x.npy")
    assert find_frames(graph_of(3, time_steps=5), tmp_path / "x.npy").assumed == ()


@pytest.mark.parametrize(("steps", "said"), [(None, True), (5, True), (4, False)])
def test_frames_without_time_are_said_to_stay_where_they_may_be_the_steps_of_one_sample(
    tmp_path: Path, steps: int | None, said: bool
) -> None:
    np.save(tmp_path / "x.npy", np.ones((5, 3), np.float32))
    found = find_frames(graph_of(3, time_steps=steps), tmp_path / "x.npy")
    assert found.values.shape == (5, 3)
    assert found.assumed == ("frames are taken for 5 samples, each the same in every step, [N, ...]",) * said


@pytest.mark.parametrize(("largest", "said"), [(2**24, 0), (2**24 + 1, 1), (2**24 + 2, 0), (-(2**24) - 1, 1)])
def test_whole_numbers_that_float32_rounds_are_said(tmp_path: Path, largest: int, said: int) -> None:
    np.save(tmp_path / "x.npy", np.array([[[0, 1, 2]], [[3, 4, largest]]]))
    found = find_frames(graph_of(3, time_steps=1), tmp_path / "x.npy")
    assert [sentence for sentence in found.assumed if "rounded to float32" in sentence] == list(found.assumed)
    assert len(found.assumed) == said


def test_npz_of_frames_with_labels_and_of_one_sample(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 4, (2, 5, 3))
    np.savez(tmp_path / "x.npz", frames=x, labels=np.array([1, 0]), label_names=np.array(["left", "right"]))
    found = find_frames(graph_of(3), tmp_path / "x.npz", limit=1)
    assert (found.labels.tolist(), found.label_names, found.values.shape) == ([1], ("left", "right"), (1, 5, 3))
    np.savez(tmp_path / "lower.npz", frames=x[0])
    (tmp_path / "lower.npz").rename(tmp_path / "one.NPZ")  # as a card from a camera may call it
    found = find_frames(graph_of(3), tmp_path / "one.NPZ")
    np.testing.assert_array_equal(found.values, x[:1])
    assert found.assumed == ("the frames are taken for 5 steps of one sample",)
    np.savez(tmp_path / "bad.npz", frames=x, labels=np.array([1, 2]), label_names=np.array(["left", "right"]))
    with pytest.raises(RefusedInput, match=r"a label is 2 \(sample 1\); label_names has 2 names"):
        find_frames(graph_of(3), tmp_path / "bad.npz")
    np.savez(tmp_path / "none.npz", frames=x[:0], labels=np.zeros(0, np.int64), label_names=np.array(["left"]))
    with pytest.raises(RefusedInput, match=r"none.npz: frames have the shape \[0, 5, 3\]: nothing to run on"):
        find_frames(graph_of(3), tmp_path / "none.npz")


@pytest.mark.parametrize("shape", [(0, 3), (0, 5, 3), (2, 0, 3), (0, 0, 3)])
def test_frames_of_nothing_are_refused_as_they_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    with pytest.raises(RefusedInput, match="nothing to run on; expected some of each"):
        find_frames(graph_of(3), tmp_path / "x.npy")


def test_frames_deeper_than_their_class_folder_are_refused_and_hidden_ones_are_none(tmp_path: Path) -> None:
    for folder in ("0", "10", "__MACOSX"):
        (tmp_path / folder).mkdir()
    for name in ("0/a", "0/b", "10/a"):
        np.savez(tmp_path / f"{name}.npz", frames=np.ones((4, 2, 3, 3), np.float32))
    (tmp_path / "0/._a.npz").write_bytes(b"no frames")
    (tmp_path / "__MACOSX/._a.npz").write_bytes(b"no frames")
    assert find_frames(graph_of(2, 3, 3), tmp_path).names == ("0/a.npz", "0/b.npz", "10/a.npz")
    (tmp_path / "0/more").mkdir()
    np.savez(tmp_path / "0/more/c.npz", frames=np.ones((4, 2, 3, 3), np.float32))
    with pytest.raises(RefusedInput, match="0/more: a folder in the folder of a class"):
        find_frames(graph_of(2, 3, 3), tmp_path)


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize("others", [{}, {"label": 3}, {"labels": [3], "width": 3}])
def test_arrays_beside_events_are_said_not_to_be_read(tmp_path: Path, structured: bool, others: dict[str, Any]) -> None:
    columns = {"x": [0, 1], "y": [2, 0], "t": [0, 1500], "p": [1, 0]}
    table = np.array([*zip(*columns.values(), strict=True)], [(key, "<i8") for key in columns])
    np.savez(tmp_path / "events.npz", **({"events": table} if structured else columns), **others)
    found = find_frames(graph_of(2, 3, 3), tmp_path / "events.npz", FrameOptions(parse_bin("1ms")))
    assert found.values.sum() == 2
    said = [sentence for sentence in found.assumed if "which nothing reads" in sentence]
    assert said == ([f"events.npz holds {', '.join(others)} too, which nothing reads"] if others else [])
