"""What people asked for in public, each in a small case of ours: docs/threads.md lists them, and is held to these."""

import re
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from PIL import Image
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import nn
from typer.testing import CliRunner

import neuromorphic.cli
import spikeclip.cli
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import reference
from neuromorphic.reading.events import parse_bin
from neuromorphic.reading.frames import FrameOptions, find_frames
from neuromorphic.reading.read import read_graph
from spikeclip.predictions import find_truth
from tests.export.frontend.parity import assert_same, prepare
from tests.neuromorphic.graphs import DT, chain, lif
from tests.neuromorphic.reading.test_events import graph_of
from tests.spikeclip.test_predictions import images
from tests.test_documentation import ROOT
from tests.test_refusals import refused

# --- classes and labels


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        ([str(k) for k in range(12)], range(12)),  # sorted as text: 0, 1, 10, 11, 2, ...
        (["0", "180", "270", "90"], [0, 180, 270, 90]),  # a class without images leaves no gap
        (["001", "002", "010"], [1, 2, 10]),
    ],
)
def test_folders_named_by_numbers_are_these_classes(folders, classes):
    """Not their places in alphabetic order: https://github.com/pytorch/vision/issues/714, of missing classes
    https://github.com/ultralytics/ultralytics/issues/13936, https://github.com/modestyachts/ImageNetV2/issues/10,
    https://github.com/facebookresearch/deit/issues/130, https://github.com/CSAILVision/places365/issues/22.
    """
    names = sorted(folders)
    found = find_truth(images([*range(len(names))], names), (), 300, "m.nir")
    assert found.classes.tolist() == [int(name) for name in names]
    assert sorted(found.classes) == sorted(classes)
    assert "which the classes of the images are named by" in found.assumed[0]
    assert found.label_names == ()


def test_numbers_of_folders_beyond_the_classes_are_refused_and_names_of_classes_go_first():
    """Folders 1 to 102 of Flowers102 for 102 outputs 0 to 101: https://github.com/pytorch/pytorch/issues/22566."""
    with pytest.raises(RefusedInput, match=r"label 3 \(image f/2.png\); m.nir has 3 classes, expected 0 to 2"):
        find_truth(images([0, 1, 2], ["1", "2", "3"]), (), 3, "m.nir")
    named = find_truth(images([0, 1], ["10", "9"]), ("9", "10"), 2, "m.nir")
    assert (named.classes.tolist(), named.assumed) == ([1, 0], ())
    assert find_truth(images([1, 0], ["a", "10"]), (), 2, "m.nir").label_names == ("a", "10")


def test_the_command_scores_pictures_in_numbered_folders(tmp_path):
    """https://github.com/pytorch/vision/issues/714; one pixel is lit in each class, and its output reads it."""
    weight = np.zeros((12, 48), np.float32)
    for k in range(12):
        picture = np.zeros((4, 4, 3), np.uint8)
        picture.reshape(-1)[k] = 255
        weight[k] = picture.transpose(2, 0, 1).reshape(-1) / 64
        (tmp_path / "photos" / str(k)).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "photos" / str(k) / "a.png")
    preprocessing = {"image_size": 4, "mean": [0.0] * 3, "std": [255.0] * 3}
    flat = nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1)
    graph = chain(
        {"f": flat, "fc": nir.Linear(weight), "lif": lif((12,))}, (3, 4, 4), (12,), preprocessing=preprocessing
    )
    nir.write(tmp_path / "m.nir", graph)
    words = [tmp_path / "m.nir", "--images", tmp_path / "photos", "--backend", "reference"]
    ran = CliRunner().invoke(neuromorphic.cli.app, [str(word) for word in words])
    assert ran.exit_code == 0, ran.output
    assert "accuracy 100.00% of 12 images" in ran.output
    assert re.search(r"10/a.png +(\d+) +\1", ran.output), "the label of a row is the number of its folder"


# --- frames and events


def samples(root, shape=(4, 2, 3, 3)):
    """A folder of classes 0 and 10 of two samples each, as SpikingJelly's `frames_number_4_split_by_number/test`."""
    rng, every = np.random.default_rng(0), []
    for name in ("0", "10"):
        (root / name).mkdir(parents=True)
        for i in range(2):
            every.append(rng.integers(0, 3, shape).astype(np.float32))
            np.savez(root / name / f"c_{i}.npz", frames=every[-1])
    return np.stack(every)


def test_a_folder_of_frames_holds_a_sample_in_each_file(tmp_path):
    """How SpikingJelly keeps data sets of events that it made frames of, and how people split CIFAR10-DVS:
    https://github.com/fangwei123456/spikingjelly/issues/390, https://github.com/fangwei123456/spikingjelly/issues/97.
    """
    x = samples(tmp_path / "test")
    found = find_frames(graph_of(2, 3, 3), tmp_path / "test")
    np.testing.assert_array_equal(found.values, x)
    assert (found.labels.tolist(), found.label_names) == ([0, 0, 1, 1], ("0", "10"))
    assert found.names == ("0/c_0.npz", "0/c_1.npz", "10/c_0.npz", "10/c_1.npz")
    assert find_truth(found, (), 11, "m.nir").classes.tolist() == [0, 0, 10, 10]
    assert len(find_frames(graph_of(2, 3, 3), tmp_path / "test", limit=3).values) == 3
    plain = find_frames(graph_of(2, 3, 3), tmp_path / "test" / "10")
    np.testing.assert_array_equal(plain.values, x[2:])
    assert plain.labels is None


@pytest.mark.parametrize(
    ("held", "options", "words"),
    [
        (np.zeros((5, 2, 3, 3)), FrameOptions(), "d.npz: 5 time steps; expected 4, as in .*c_0.npz"),
        (np.zeros((4, 2, 3)), FrameOptions(), r"d.npz: holds frames of the shape \[4, 2, 3\].*one sample in each file"),
        (np.zeros((4, 2, 3, 3)), FrameOptions(time_first=True), "expected no --time-first"),
        (np.zeros((4, 2, 3, 3)), FrameOptions(bin=parse_bin("4")), "--bin is for events"),
    ],
)
def test_folders_of_frames_that_do_not_fit_are_refused(tmp_path, held, options, words):
    """Recordings of different lengths: https://github.com/fangwei123456/spikingjelly/issues/300."""
    samples(tmp_path / "test")
    np.savez(tmp_path / "test" / "0" / "d.npz", frames=held)
    with pytest.raises(RefusedInput, match=words):
        find_frames(graph_of(2, 3, 3), tmp_path / "test", options)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("truck_990.aedat", b"#!AER-DAT2.0\r\n# raw\r\n" + bytes(80), "is AEDAT 2.*columns x, y, t and p in an .npz"),
        ("dv.aedat4", b"#!AER-DAT4.0\r\n" + bytes(80), "is AEDAT 4, .*expected frames in .npy"),
        ("gen4.raw", b"% evt 3.0\n% end\n" + bytes(80), "is a recording of Prophesee's"),
        ("ncars.dat", b"% Data file\n\x0c\x08" + bytes(80), "is a recording of Prophesee's"),
        ("0.pt", b"PK\x03\x04" + bytes(80), "is a zip archive, as torch.save writes it"),
        ("0.pkl", b"\x80\x04" + bytes(80), "is a pickle"),
        ("spikes.mat", b"MATLAB 5.0 MAT-file" + bytes(120), "is MATLAB's"),
        ("spikes.csv", b"0,1,0\n", "is of no format that is read"),
    ],
)
@pytest.mark.parametrize("size", [None, "10ms"])
def test_formats_that_are_not_read_are_named_with_and_without_a_bin(tmp_path, name, content, words, size):
    """CIFAR10-DVS as its authors have it, what v2e, DV and Prophesee's cameras write, and frames kept by torch.save:
    https://github.com/neuromorphs/tonic/issues/224, https://github.com/neuromorphs/tonic/issues/170,
    https://github.com/SensorsINI/v2e/issues/29, https://github.com/tub-rip/event_based_optical_flow/issues/22,
    https://github.com/BICLab/Spike-Driven-Transformer/issues/19.
    """
    (tmp_path / name).write_bytes(content)
    options = FrameOptions(bin=None if size is None else parse_bin(size))
    if name.endswith(".aedat") and size is None:
        words = "holds events; expected the time that a step takes"
    with pytest.raises(RefusedInput, match=words):
        find_frames(graph_of(2, 3, 3), tmp_path / name, options)


def test_spoken_digits_are_read_as_tonic_has_them_and_as_their_authors_do(tmp_path):
    """SHD's neurons stand in a line: https://github.com/fangwei123456/spikingjelly/issues/300."""
    rng = np.random.default_rng(1)
    events = np.zeros(50, [("t", np.int64), ("x", np.int64), ("p", np.int64)])
    events["t"], events["x"], events["p"] = np.sort(rng.integers(0, 40_000, 50)), rng.integers(0, 7, 50), 1
    np.save(tmp_path / "digit.npy", events)
    expected = np.zeros((1, 1 + int(events["t"].max() - events["t"][0]) // 10_000, 7), int)
    for t, x in zip(events["t"] - events["t"][0], events["x"], strict=True):
        expected[0, t // 10_000, x] += 1
    for shape in ((7,), (1, 7), (1, 1, 7)):
        found = find_frames(graph_of(*shape), tmp_path / "digit.npy", FrameOptions(bin=parse_bin("10ms")))
        np.testing.assert_array_equal(found.values.reshape(expected.shape), expected)
        assert found.kind == "counts"
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        for key, kind in (("times", np.float16), ("units", np.uint16)):
            file.create_dataset(f"spikes/{key}", (1,), h5py.vlen_dtype(kind))[0] = np.array([0, 1, 2], kind)
    found = find_frames(graph_of(7), tmp_path / "shd.h5", FrameOptions(bin=parse_bin("1s")))
    np.testing.assert_array_equal(found.values[0], np.eye(3, 7))


@pytest.mark.parametrize(
    ("times", "says"),
    [([0.0, 1000.0, 2500.0], "microseconds"), ([0, 1000, 2500], "microseconds"), ([0.0, 1e-3, 2.5e-3], "seconds")],
)
def test_the_unit_of_times_is_said_and_whole_floats_are_microseconds(tmp_path, times, says):
    """Times in µs and in s lie about in the same columns: https://github.com/fangwei123456/spikingjelly/issues/122."""
    zeros = np.zeros(3, int)
    np.savez(tmp_path / "e.npz", x=zeros, y=zeros, p=zeros, t=np.array(times))
    found = find_frames(graph_of(2, 1, 1), tmp_path / "e.npz", FrameOptions(bin=parse_bin("1ms")))
    assert found.values[0, :, 0, 0, 0].tolist() == [True, True, True]
    assert [f"taken for {says} " in said and "up to 0.0025 s" in said for said in found.assumed] == [True]


def test_labels_under_another_name_are_pointed_out(tmp_path):
    """`labels` is what is read; people call them y: https://github.com/fangwei123456/spikingjelly/issues/97."""
    x = np.zeros((2, 5, 3))
    np.savez(tmp_path / "x.npz", frames=x, y=np.zeros(2, int))
    assert "x.npz holds y too, which nothing reads" in " ".join(find_frames(graph_of(3), tmp_path / "x.npz").assumed)
    np.savez(tmp_path / "x.npz", frames=x, labels=np.array([0, -1]))
    with pytest.raises(RefusedInput, match=r"a label is -1 \(sample 1\); expected the numbers of classes, from 0"):
        find_frames(graph_of(3), tmp_path / "x.npz")


# --- files


def written(tmp_path, graph, **changes):
    """`graph` in a file whose node `lif` and metadata hold other values."""
    graph.metadata = {}
    nir.write(tmp_path / "m.nir", graph)
    with h5py.File(tmp_path / "m.nir", "r+") as file:
        for key, value in changes.items():
            where = "node/metadata/dt" if key == "dt" else f"node/nodes/lif/{key}"
            if where in file:
                del file[where]
            file[where] = value
    return tmp_path / "m.nir"


@pytest.mark.parametrize("key", ["refractory_time", "w_rec", "v_min"])
def test_a_parameter_that_nir_does_not_have_is_refused_by_its_name(tmp_path, key):
    """What a file says of refractory time is not left out: https://github.com/neuromorphs/NIR/issues/138."""
    path = written(tmp_path, chain({"lif": lif((3,))}, (3,), (3,)), **{key: np.ones(3, np.float32)})
    with pytest.raises(RefusedInput, match=f"node 'lif' of type 'LIF' has '{key}', which NIR's LIF does not have"):
        read_graph(path, DT)


def test_a_dt_that_is_text_is_read_or_refused(tmp_path):
    """Exporters add dt in ways of their own: https://github.com/neuromorphs/NIR/pull/164."""
    for dt in ("1e-4", np.bytes_(b"0.0001"), np.float64(1e-4), np.array([1e-4])):
        graph = read_graph(written(tmp_path, chain({"lif": lif((3,))}, (3,), (3,)), dt=dt))
        assert (graph.metadata.dt, graph.metadata.dt_stated) == (1e-4, True)
    with pytest.raises(RefusedInput, match="metadata dt is '1 ms'; expected a number of seconds"):
        read_graph(written(tmp_path, chain({"lif": lif((3,))}, (3,), (3,)), dt="1 ms"))


def test_a_time_constant_below_dt_leads_to_the_options_that_say_dt(tmp_path):
    """Norse wrote tau times dt: https://github.com/norse/norse/issues/411."""
    path = written(tmp_path, chain({"lif": lif((2,), tau=1e-2)}, (2,), (2,)))
    with pytest.raises(RefusedInput, match=r"expected at least dt = 0.0001 s \(--dt, --written-by\)"):
        read_graph(path)


def test_a_net_of_sample_data_with_single_numbers_and_pools_runs_as_it_is_meant(tmp_path):
    """Axes of a batch, LIFs of one number, AvgPool2d of spikes, Flatten: https://github.com/jeshraghian/snntorch/issues/367."""
    rng = np.random.default_rng(2)
    kernel, matrix = rng.integers(-4, 9, (3, 2, 1, 1)) / 4, rng.integers(-4, 9, (5, 12)) / 4
    one = {"tau": 2 * DT, "r": 2, "v_leak": 0, "v_threshold": 1, "v_reset": 0}
    neurons = nir.LIF(**{key: np.full(1, value, np.float32) for key, value in one.items()})
    conv = nir.Conv2d(np.array([4, 4]), kernel.astype(np.float32), (1, 1), (0, 0), (1, 1), 1, np.zeros(3, np.float32))
    nodes = {
        "input": nir.Input(np.array([1, 2, 4, 4])),
        "c": conv,
        "lif": neurons,
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([1, 3, 2, 2])}, 1, -1),
        "fc": nir.Linear(matrix.astype(np.float32)),
        "out": neurons,
        "output": nir.Output(np.array([1, 5])),
    }
    scalars = {key: np.float32(value) for key, value in one.items()}
    path = written(tmp_path, nir.NIRGraph(nodes, [*pairwise(nodes)], type_check=False), **scalars)
    x = (rng.random((2, 8, 2, 4, 4)) < 0.5).astype(np.float32)

    def stepped(current):
        v, fired = np.zeros_like(current[:, 0]), []
        for t in range(current.shape[1]):
            v = v + (2 * current[:, t] - v) / 2
            fired.append(v > 1)
            v = np.where(fired[-1], 0, v)
        return np.stack(fired, 1)

    hidden = stepped(np.einsum("ntchw,oc->ntohw", x, kernel[:, :, 0, 0]))
    pooled = hidden.reshape(2, 8, 3, 2, 2, 2, 2).mean((4, 6)).reshape(2, 8, 12)
    expected = stepped(pooled @ matrix.T)
    found = reference.run(read_graph(path, DT), x)
    assert expected.any()
    np.testing.assert_array_equal(found.spikes["out"].unpack().reshape(expected.shape), expected)


# --- modules


class Bntt(base.MemoryModule):
    """A BatchNorm of its own for each time step."""

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.each = nn.ModuleList([nn.BatchNorm2d(channels) for _ in range(steps)])
        for i, norm in enumerate(self.each):
            nn.init.constant_(norm.weight, 1.0 + i)
        self.register_memory("step", 0)

    def single_step_forward(self, x: torch.Tensor) -> torch.Tensor:
        self.step += 1
        return self.each[self.step - 1](x)


def test_weights_that_change_from_step_to_step_are_refused():
    """No node of NIR has other weights in every step: https://github.com/fangwei123456/spikingjelly/issues/621."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(2, 3, 3), Bntt(3, 4), neuron.IFNode())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            functional.reset_net(self)
            return torch.stack([self.net(x) for _ in range(4)])

    with pytest.raises(RefusedInput, match=r"module 'net.2'.* in one time step and .* in another; expected the same"):
        prepare(Net(), 2, 6, 6)


@pytest.mark.parametrize(
    "made",
    [
        *(neuron.IFNode(), neuron.LIFNode(), neuron.ParametricLIFNode(), neuron.QIFNode(), neuron.EIFNode()),
        *(neuron.IzhikevichNode(), neuron.GatedLIFNode(4), neuron.KLIFNode(), neuron.PSN(4), neuron.SlidingPSN(2)),
        *(neuron.LIAFNode(torch.relu, False), neuron.OTTTLIFNode(), neuron.ILIFNode(), neuron.MaskedPSN(2, 4)),
    ],
    ids=lambda made: type(made).__name__,
)
def test_every_neuron_of_spikingjelly_is_read_or_refused_by_name(made):
    """No other exception: https://github.com/fangwei123456/spikingjelly/issues/543."""
    net = nn.Sequential(layer.Linear(5, 6), made)
    functional.set_step_mode(net, "m")
    known = type(made) in (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)
    # Derived ones are read as what their own code computes: LIAFNode's, in many steps at once, is LIFNode's.
    refusal = ""
    try:
        assert_same(prepare(net, 4, 2, 5, axes="TBF"))
    except RefusedInput as error:
        refusal = str(error)
    if refusal:
        assert not known
        assert re.search(f"{type(made).__name__}|has no neurons of a known library", refusal)
    else:
        assert isinstance(made, neuron.IFNode | neuron.LIFNode | neuron.ParametricLIFNode)


@pytest.mark.parametrize("form", ["dict", "tuple", "list in a dict"])
def test_the_first_result_of_a_module_is_its_output_and_the_others_are_pointed_out(form):
    """Forwards return spikes and membranes, or dictionaries: https://github.com/jeshraghian/snntorch/issues/189."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(layer.Linear(5, 6), neuron.IFNode())
            functional.set_step_mode(self, "m")

        def forward(self, x: torch.Tensor) -> object:
            spikes = self.net(x)
            match form:
                case "dict":
                    return {"out": spikes}
                case "tuple":
                    return spikes, spikes
                case _:
                    return {"all": [spikes, spikes]}

    prepared = prepare(Net(), 4, 2, 5, axes="TBF")
    assert_same(prepared)
    assert [note for note in prepared.notes if "the first is the output" in note] == (
        [] if form == "dict" else ["of 2 results of the module the first is the output"]
    )


# --- commands


@pytest.mark.parametrize("name", ["notes.txt", "cifar-10-binary.tar.gz"])
def test_training_on_what_is_no_data_says_what_data_are(tmp_path, name):
    """A data set that is still packed: https://github.com/fangwei123456/spikingjelly/issues/370."""
    (tmp_path / name).write_bytes(b"\x1f\x8bno picture")
    words = ["no image that Pillow knows", "a folder of images or of class folders", "an unpacked data set", "cifar10"]
    asked = ["--data", tmp_path / name, "--labels", "l.npz:a", "-o", tmp_path / "o.safetensors"]
    refused(spikeclip.cli.app, *asked, words=words)


def test_the_table_of_threads_names_tests_that_there_are():
    """Each row of docs/threads.md has a public address and at least one test."""
    rows = [line for line in Path(ROOT, "docs/threads.md").read_text().splitlines() if line.startswith("| [")]
    assert len(rows) >= 40
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        assert "https://github.com/" in row
        for file, test in named:
            assert f"def {test}(" in Path(ROOT, file).read_text(), f"{file}: {test}"
