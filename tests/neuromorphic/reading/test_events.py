"""Events of cameras as frames: the bytes of each layout, written by hand, and steps counted one event at a time."""

import json
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import neuromorphic.cli
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.events import Bin, Recording, Recordings, bin_events, find_recordings, parse_bin
from neuromorphic.reading.events.sources import holds_events
from neuromorphic.reading.frames import FrameOptions, find_frames
from tests.neuromorphic.graphs import chain, lif

MS = Bin(seconds=Fraction(1, 1000))
TONIC = [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)]


def graph_of(*shape: int, time_steps: int | None = None, kind: str | None = None) -> Graph:
    graph = from_nir(chain({"lif": lif(shape)}, shape, shape))
    return replace(graph, metadata=replace(graph.metadata, time_steps=time_steps, input_kind=kind))


def recording(x, y, p, t) -> Recording:
    return Recording.of({"x": np.array(x), "y": np.array(y), "p": np.array(p), "t": np.array(t)}, "a", "a")


def atis(events) -> bytes:
    """N-MNIST's bytes of (x, y, p, t)."""
    return b"".join(struct.pack(">BBI", x, y, p << 31 | t << 8)[:5] for x, y, p, t in events)


def aedat(*packets, kind=1) -> bytes:
    """AEDAT 3.1 of packets (overflow, [(x, y, p, t, valid), ...]), each with room for one event more."""
    head = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-07-20\r\n#!END-HEADER\r\n"
    body = b""
    for overflow, events in packets:
        body += struct.pack("<HHIIIIII", kind, 1, 8, 4, overflow, len(events) + 1, len(events), len(events))
        body += b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | valid, t) for x, y, p, t, valid in events)
        body += bytes(8)
    return head + body


def test_nmnist_bytes_are_events(tmp_path: Path) -> None:
    (tmp_path / "00002.bin").write_bytes(atis([(10, 30, 1, 937), (33, 20, 0, 1030), (0, 0, 1, 0x7FFFFF)]))
    (found,) = find_recordings(tmp_path / "00002.bin").recordings
    assert [a.tolist() for a in (found.x, found.y, found.p, found.t)] == [
        [10, 33, 0],
        [30, 20, 0],
        [1, 0, 1],
        [937, 1030, 0x7FFFFF],
    ]


def test_row_240_is_no_event_but_8192_microseconds(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(
        atis([(1, 1, 0, 8000), (0, 240, 0, 0), (2, 2, 1, 5), (0, 240, 1, 9), (3, 3, 1, 7)])
    )
    (found,) = find_recordings(tmp_path / "a.bin").recordings
    assert found.t.tolist() == [8000, 8192 + 5, 2 * 8192 + 7]
    assert found.x.tolist() == [1, 2, 3]


def test_aedat_packets_invalid_events_and_the_overflow_of_times(tmp_path: Path) -> None:
    data = aedat((0, [(127, 5, 1, 2**31 - 1, 1), (1, 1, 1, 7, 0)]), (1, [(3, 127, 0, 4, 1)]))
    (tmp_path / "user01_led.aedat").write_bytes(data + aedat((0, [(9, 9, 1, 1, 1)]), kind=2)[len(aedat()) :])
    (found,) = find_recordings(tmp_path / "user01_led.aedat").recordings
    assert [a.tolist() for a in (found.x, found.y, found.p, found.t)] == [
        [127, 3],
        [5, 127],
        [1, 0],
        [2**31 - 1, 2**31 + 4],
    ]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.bin", b"1234567", "multiple of 5"),
        ("a.aedat", b"#!AER-DAT2.0\r\n", "is AEDAT 2, .*; expected the events as columns"),
        ("a.aedat", b"#!AER-DAT1.0\r\n", "expected AEDAT 3.1"),
        ("a.aedat", aedat((0, [(1, 1, 1, 1, 1)]))[:-12], "cut or damaged"),
        ("a.aedat", aedat((0, [])) + b"12345", "cut within a packet's head"),
        ("a.aedat", aedat((0, [(1, 1, 1, 1, 1)]), kind=3)[:-12], "cut or damaged"),
        ("a.aedat", b"#!AER-DAT3.1\r\n#Format", "cut within its head"),
        ("a.npy", b"\x93NUMPY, cut", "not a readable .npy"),
        ("list.txt", b"user01.aedat\n", "user01.aedat: not found; list.txt lists it"),
        ("list.txt", b"what is this\n", "expected a list of .aedat"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RefusedInput, match=says) as refused:
        find_frames(graph_of(2, 4, 4), tmp_path / name, FrameOptions(MS))
    assert str(refused.value).startswith(str(tmp_path))


def test_a_list_of_gestures_is_cut_by_its_labels(tmp_path: Path) -> None:
    for user, offset in (("user24_led", 0), ("user25_led", 100)):
        events = [(x, x, x % 2, offset + 10 * x, 1) for x in range(6)]
        (tmp_path / f"{user}.aedat").write_bytes(aedat((0, events)))
        rows = f"class,startTime_usec,endTime_usec\n11,{offset + 10},{offset + 30}\n2,{offset + 30},{offset + 51}\n"
        (tmp_path / f"{user}_labels.csv").write_text(rows)
    (tmp_path / "trials_to_test.txt").write_text("user24_led.aedat\r\nuser25_led.aedat\r\n\r\n")
    found = find_recordings(tmp_path / "trials_to_test.txt", 3)
    assert found.labels.tolist() == [10, 1, 10]
    assert [each.name for each in found.recordings] == ["user24_led/0", "user24_led/1", "user25_led/0"]
    assert [each.x.tolist() for each in found.recordings] == [[1, 2], [3, 4, 5], [1, 2]]
    assert find_recordings(tmp_path / "user25_led.aedat").labels.tolist() == [10, 1]
    heads = "class,startTime_usec,endTime_usec"
    for rows, says in (
        ("class;start\n1;2\n", heads),
        (f"{heads}\n0,1,2\n", "classes from 1"),
        (f"{heads}\n{10**30},1,2\n", "classes from 1"),
        (f"{heads}\n1,2,1\n", "a sample from 2 to 1 us; expected its end later"),
    ):
        (tmp_path / "user24_led_labels.csv").write_text(rows)
        with pytest.raises(RefusedInput, match=says):
            find_recordings(tmp_path / "trials_to_test.txt")


@pytest.mark.parametrize("names", [("x", "y", "t", "p"), ("X", "Y", "timestamp", "polarity"), ("x", "y", "ts", "pol")])
@pytest.mark.parametrize("form", ["npy", "npz", "columns"])
def test_structured_arrays_and_columns_under_their_usual_names(tmp_path: Path, names, form) -> None:
    array = np.zeros(3, list(zip(names, ["<u2", "<u2", "<i8", "i1"], strict=True)))
    for name, column in zip(names, ([3, 0, 1], [1, 2, 0], [2500, 0, 999], [-1, 1, 1]), strict=True):
        array[name] = column
    path = tmp_path / f"a.{'npy' if form == 'npy' else 'npz'}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez(path, event_data=array)
    else:
        np.savez(path, **{name: array[name] for name in names})
    found = find_frames(graph_of(2, 3, 4), path, FrameOptions(MS))
    expected = np.zeros((1, 3, 2, 3, 4), bool)
    expected[0, 0, 1, 2, 0] = expected[0, 0, 1, 0, 1] = expected[0, 2, 0, 1, 3] = True
    np.testing.assert_array_equal(found.values, expected)
    assert (found.kind, found.values.dtype) == ("spikes", np.bool_)


def brute_force(events, steps, size: Bin, shape) -> np.ndarray:
    """Events counted one at a time, times in microseconds."""
    x, y, p, t = events
    order = sorted(range(len(t)), key=lambda i: t[i])
    found = np.zeros((steps, *shape), int)
    for rank, i in enumerate(order):
        since, whole = t[i] - t[order[0]], t[order[-1]] - t[order[0]]
        if size.steps is None:
            step = int(Fraction(since, 10**6) / size.seconds)
        elif size.by_number:
            step = min(rank // max(1, len(t) // steps), steps - 1)
        else:
            step = min(since // max(1, whole // steps), steps - 1)
        if step < steps:
            found[step, p[i], y[i], x[i]] += 1
    return found


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1), st.integers(0, 9000)), min_size=1),
    st.sampled_from(["1ms", "0.5ms", "333us", "1e-3", "3", "5:number", "700us"]),
    st.integers(0, 10**12),
)
def test_steps_equal_a_count_of_one_event_at_a_time(events, text, start) -> None:
    x, y, p, t = (list(column) for column in zip(*events, strict=True))
    t = [start + each for each in t]
    size = parse_bin(text)
    grid = bin_events(Recordings([recording(x, y, p, t)]), size, (2, 3, 4), None, "here", once=False)
    steps = grid.frames.shape[1]
    np.testing.assert_array_equal(grid.frames[0], brute_force((x, y, p, t), steps, size, (2, 3, 4)))
    assert grid.frames.sum() == len(t) or grid.frames.dtype == np.bool_
    assert size.steps in (None, steps)


def test_a_step_ends_before_its_last_microsecond_plus_one() -> None:
    grid = bin_events(
        Recordings([recording([0] * 4, [0] * 4, [1] * 4, [7, 1006, 1007, 3006])]), MS, (2, 1, 1), None, "", once=False
    )
    assert grid.frames[0, :, 1, 0, 0].tolist() == [2, 1, 1]


def test_seconds_with_fractions_are_whole_where_floats_almost_are() -> None:
    t = [k * 1e-4 for k in range(1000)]
    grid = bin_events(
        Recordings([recording([0] * 1000, [0] * 1000, [0] * 1000, t)]),
        parse_bin("100us"),
        (2, 1, 1),
        None,
        "",
        once=False,
    )
    assert grid.frames[0, :, 0, 0, 0].tolist() == [True] * 1000


def test_steps_of_a_recording_that_is_little_longer_than_they_are_last_a_tick() -> None:
    grid = bin_events(
        Recordings([recording([0] * 5, [0] * 5, [0] * 5, [0, 1, 2, 3, 5])]),
        Bin(steps=3),
        (2, 1, 1),
        None,
        "",
        once=False,
    )
    assert grid.frames[0, :, 0, 0, 0].tolist() == [1, 1, 3]


@pytest.mark.parametrize(
    ("shape", "index"), [((2, 2, 3), (1, 1, 2)), ((1, 2, 3), (0, 1, 2)), ((2, 3), (1, 2)), ((8,), (7,))]
)
def test_shapes_of_the_input(shape, index) -> None:
    x = 1 if shape == (8,) else 2
    grid = bin_events(Recordings([recording([x], [1], [1], [5])]), MS, shape, 2, "", once=False)
    assert np.argwhere(grid.frames).tolist() == [[0, 0, *index]]
    assert len(grid.assumed) == (shape != (2, 2, 3))


def test_events_that_share_a_place_are_counts_or_one_spike() -> None:
    events = Recordings([recording([0, 0, 0], [0, 0, 0], [1, 1, 1], [0, 10, 2500])])
    counts = bin_events(events, MS, (2, 1, 1), 2, "", once=False)
    assert (counts.frames[0, :, 1, 0, 0].tolist(), counts.frames.dtype) == ([2, 0], np.uint16)
    assert counts.assumed == ["events after the 2 steps are left out: 1 of 3"]
    spikes = bin_events(events, MS, (2, 1, 1), 3, "", once=True)
    assert (spikes.frames[0, :, 1, 0, 0].tolist(), spikes.frames.dtype) == ([True, False, True], np.bool_)
    assert "are one spike" in spikes.assumed[0]
    apart = bin_events(Recordings([recording([0, 1], [0, 0], [1, 1], [0, 10])]), MS, (2, 1, 2), 1, "", once=True)
    assert apart.assumed == []


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1ms", "0ms", "3h", "nan", "1000000", "99999999:number"],
)
def test_other_words_for_steps_are_refused(text: str) -> None:
    with pytest.raises(RefusedInput, match=f"--bin is {text!r}"):
        parse_bin(text)


@pytest.mark.parametrize(
    ("events", "shape", "size", "says"),
    [
        (recording([3], [0], [0], [1]), (2, 3, 3), MS, "column 3; the input has 3 rows and 3 columns"),
        (recording([0], [3], [0], [1]), (2, 3, 3), MS, "row 3"),
        (recording([0], [0], [0], [1]), (3, 3, 3), MS, "expected \\[2, H, W\\]"),
        (recording([0], [0], [0], [1]), (7,), MS, "expected \\[2, H, W\\]"),
        (recording([0], [0], [0], [1]), (2, 1, 1), Bin(steps=5), "5 steps by --bin; the graph takes 4"),
        (recording([0, 0], [0, 0], [0, 0], [0, 10**15]), (2, 1, 1), MS, "expected frames of at most"),
        (recording([0, 0], [0, 0], [0, 0], [0, 1]), (2, 1, 1), parse_bin("1e-99s"), "expected frames of at most"),
    ],
)
def test_events_that_do_not_fit_are_refused(events, shape, size, says) -> None:
    steps = 4 if size.steps else None
    with pytest.raises(RefusedInput, match=says):
        bin_events(Recordings([events]), size, shape, steps, "here", once=False)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"x": [0, 1], "y": [0], "t": [0]}, "columns of one length"),
        ({"x": [0.5], "y": [0], "t": [0]}, "x of its events is not whole"),
        ({"x": [-1], "y": [0], "t": [0]}, "from 0"),
        ({"x": [0], "y": [0], "t": [np.nan]}, "not finite"),
        ({"x": [0, 0], "y": [0, 0], "t": [-(2**63), 0]}, "expected times less than 2\\^63 apart"),
        ({"x": [0, 0], "y": [0, 0], "t": [0, 1], "p": [0, 2]}, "polarities \\[0, 2\\]"),
    ],
)
def test_columns_that_are_no_events_are_refused(columns, says) -> None:
    with pytest.raises(RefusedInput, match=says):
        Recording.of({key: np.array(column) for key, column in columns.items()}, "a", "here")


def test_folders_of_classes_give_labels_and_their_names(tmp_path: Path) -> None:
    for name, file in (("10", "b.bin"), ("2", "a.bin"), ("2", "c.bin")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_bytes(atis([(int(name) % 3, 0, 1, 0)]))
    found = find_frames(graph_of(2, 3, 3), tmp_path, FrameOptions(Bin(steps=2)), limit=2)
    assert (found.names, found.labels.tolist(), found.label_names) == (("2/a.bin", "2/c.bin"), [0, 0], ("2", "10"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RefusedInput, match="no frames or events in this folder"):
        find_recordings(tmp_path / "empty")
    (tmp_path / "2" / "d.aedat").symlink_to("nowhere")
    with pytest.raises(RefusedInput, match=r"2/d\.aedat: is no file that can be read"):
        find_recordings(tmp_path)
    (tmp_path / "beside.bin").write_bytes(b"")
    with pytest.raises(RefusedInput, match=r"holds beside\.bin and the folder 10; expected files, or classes"):
        find_recordings(tmp_path)
    (tmp_path / "empty" / "folder.bin").mkdir()
    with pytest.raises(RefusedInput, match=r"folder\.bin: is no file that can be read"):
        find_recordings(tmp_path / "empty")


def test_frames_in_a_folder_are_what_they_are_in_one_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=np.ones((2, 3), np.bool_), label=1)
    found = find_frames(graph_of(3), tmp_path)
    assert (found.kind, found.assumed) == ("spikes", ("a.npz holds label too, which nothing reads",))
    np.savez(tmp_path / "a.npz", frames=np.full((2, 3), 2**24 + 1))
    (rounded,) = find_frames(graph_of(3), tmp_path).assumed
    assert "rounded to float32" in rounded


def test_events_take_a_bin_and_frames_none(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.zeros(2, TONIC))
    np.save(tmp_path / "f.npy", np.zeros((2, 3, 2, 1, 1)))
    graph = graph_of(2, 1, 1)
    with pytest.raises(RefusedInput, match="holds events; expected the time that a step takes"):
        find_frames(graph, tmp_path / "e.npy")
    with pytest.raises(RefusedInput, match="--bin is for events"):
        find_frames(graph, tmp_path / "f.npy", FrameOptions(MS))


@pytest.mark.parametrize("names", ["t x_position y_position pol", "u v t p", "t p"])
def test_fields_that_are_no_events_are_named(tmp_path: Path, names: str) -> None:
    fields = names.split()
    np.save(tmp_path / "e.npy", np.zeros(4, [(name, np.int32) for name in fields]))
    for options in (FrameOptions(), FrameOptions(MS)):
        with pytest.raises(RefusedInput, match=rf"has the fields {', '.join(fields)}; expected x, y, p \(or pol"):
            find_frames(graph_of(2, 1, 1), tmp_path / "e.npy", options)


def test_nir_events_that_share_a_step_are_counts(tmp_path: Path) -> None:
    data = nir.EventData(np.array([[1, 1]]), np.array([[0.0, 1e-5]]), 3, 1e-4)
    nir.write_data(tmp_path / "e.h5", nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": data})}))
    assert find_frames(graph_of(3), tmp_path / "e.h5").kind == "counts"


def test_events_run_by_the_command_in_floats_and_integers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "flat": nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
        "fc": nir.Affine(rng.normal(size=(2, 18)).astype(np.float32), np.zeros(2, np.float32)),
        "lif": lif((2,)),
    }
    graph = chain(nodes, (2, 3, 3), (2,))
    graph.metadata = {}
    nir.write(tmp_path / "m.nir", graph)
    for name in "01":
        (tmp_path / "Test" / name).mkdir(parents=True)
        events = np.zeros(30, TONIC)
        for field, high in (("x", 3), ("y", 3), ("t", 5000), ("p", 2)):
            events[field] = rng.integers(0, high, 30)
        np.save(tmp_path / "Test" / name / "a.npy", events)
    asked = ["--frames", tmp_path / "Test", "--bin", "1ms", "--dt", "1e-4", "--backend", "reference"]
    integers = ["--precision", "loihi2", "--calibrate", tmp_path / "Test"]
    for more in ([], integers):
        words = [tmp_path / "m.nir", *asked, *more, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html"]
        result = CliRunner().invoke(neuromorphic.cli.app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        found = json.loads((tmp_path / "r.json").read_text())
        assert [image["file"] for image in found["per_image"]] == ["0/a.npy", "1/a.npy"]
        assert [image["label"] for image in found["per_image"]] == [0, 1]
        assert found["time_steps"] == 5
        assert found["accuracy"] in (0, 0.5, 1)
        assert "labels are taken to be the model's class numbers" in " ".join(found["assumed"])
        assert "1/a.npy" in (tmp_path / "r.html").read_text()


def test_where_events_are_and_where_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.zeros((2, 3)))
    np.save(tmp_path / "events.npy", np.zeros(3, TONIC))
    np.savez(tmp_path / "events.npz", **{name: np.zeros(3, int) for name in "xytp"})
    for name in ("events.npy", "events.npz", "any.bin", "any.aedat", "any.txt"):
        assert holds_events(tmp_path / name), name
    for name in ("frames.npy", "none.npy", "none.npz", "image.png"):
        assert not holds_events(tmp_path / name), name
