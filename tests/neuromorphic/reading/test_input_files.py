"""Files of frames for several inputs, by name: as commands and Python take them."""

import json

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import energy.cli
import neuromorphic.cli
from neuromorphic.errors import RefusedInput
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import FrameOptions, find_frames, named_files
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.execution.test_several_inputs import EARS, EYES, FILE, IMAGES, SOUNDS, T, by_hand, in_every_step
from tests.neuromorphic.graphs import DT, chain, lif


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nir.write(tmp_path / "two.nir", FILE)
    for name, values in {"image": IMAGES, "sound": SOUNDS, "eyes": EYES, "ears": EARS}.items():
        np.save(tmp_path / f"{name}.npy", values)
    return tmp_path


def command(app, *words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_file_is_named_by_the_input_in_front_of_it(folder):
    assert {name: path.name for name, path in named_files(["image=a.npy", "sound=b=c.npy"]).items()} == {
        "image": "a.npy",
        "sound": "b=c.npy",
    }
    np.save("x=y.npy", SOUNDS)
    assert {*named_files(["x=y.npy"])} == {""}, "a file of that name is there"
    for twice in (["image=a.npy", "image=b.npy"], ["a.npy", "b.npy"]):
        with pytest.raises(RefusedInput, match="a second file"):
            named_files(twice)


def test_simulate_reads_a_file_for_each_input(folder):
    frames = ("--frames", "sound=sound.npy", "--frames", "image=image.npy")
    ran = command(
        neuromorphic.cli.app, "two.nir", *frames, "--backend", "reference", "--json", "r.json", "--limit", "4"
    )
    assert ran.exit_code == 0, ran.output
    spikes, _ = by_hand(IMAGES[:4], in_every_step(SOUNDS[:4]))
    assert json.loads((folder / "r.json").read_text())["spikes"]["a"] == spikes.sum()


def test_integers_are_made_of_a_file_for_each_input(folder):
    words = ("--frames", "image=eyes.npy", "--frames", "sound=ears.npy", "--backend", "reference")
    learnt = ("--precision", "loihi2", "--calibrate", "image=eyes.npy", "--calibrate", "sound=ears.npy")
    ran = command(neuromorphic.cli.app, "two.nir", *words, *learnt, "--save-quantized", "q.nir")
    assert ran.exit_code == 0, ran.output
    again = command(neuromorphic.cli.app, "q.nir", *words, "--precision", "loihi2", "--json", "r.json")
    assert again.exit_code == 0, again.output
    assert sum(json.loads((folder / "r.json").read_text())["spikes"].values()) > 0


def test_events_of_all_inputs_are_counted_as_operations(folder):
    words = ("--frames", "image=eyes.npy", "--frames", "sound=ears.npy")
    ran = command(energy.cli.app, "two.nir", *words, "--json", "e.json")
    assert ran.exit_code == 0, ran.output
    assert json.loads((folder / "e.json").read_text())["snn"]["macs"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("image.npy",), "image.npy: two.nir has the inputs image, sound; expected --frames image=FILE"),
        (("image=image.npy",), "no frames for sound"),
        (("image=image.npy", "sund=sound.npy"), "did you mean 'sound'?"),
        (("image=image.npy", "sound.npy"), "sound.npy: two.nir has the inputs"),
        (("image=sound.npy", "sound=image.npy"), "sound.npy: frames have the shape [5, 3]"),
    ],
)
def test_files_that_do_not_fit_the_inputs_are_refused(folder, words, said):
    frames = [word for each in words for word in ("--frames", each)]
    ran = command(neuromorphic.cli.app, "two.nir", *frames, "-o", "run.h5")
    assert ran.exit_code == 2
    assert said in " ".join(ran.output.split())
    assert not (folder / "run.h5").exists()


@pytest.mark.parametrize("kind", ["spikes", "counts"])
def test_the_kind_that_is_asked_for_holds_for_frames_and_for_what_is_written(folder, kind):
    nir.write("n.nir", chain({"lif": lif((3,))}, (3,), (3,)))
    np.save("real.npy", np.full((2, 4, 3), 0.5))
    words = ("n.nir", "--backend", "reference", "--input-kind", kind, "--dt", "1e-4")
    ran = command(neuromorphic.cli.app, *words, "--frames", "real.npy")
    assert (ran.exit_code, "hold 0.5; expected" in ran.output) == (2, True)
    whole = np.random.default_rng(0).integers(0, 2, (2, 4, 3)) * (1 if kind == "spikes" else 3)
    np.save("whole.npy", whole)
    quantised = ("--precision", "loihi2", "--calibrate", "whole.npy", "--save-quantized", "q.nir")
    ran = command(neuromorphic.cli.app, *words, *quantised, "--frames", "whole.npy", "--placement", "cores.json")
    assert ran.exit_code == 0, ran.output
    assert read_graph(folder / "q.nir").metadata.input_kind == kind
    again = command(neuromorphic.cli.app, "q.nir", "--frames", "whole.npy", "--input-kind", "real")
    assert (again.exit_code, f"asked for; the file says {kind}" in again.output) == (2, True)


@pytest.mark.parametrize("words", [("x" * 300, "--frames", "eyes.npy"), ("two.nir", "--frames", "image=" + "x" * 300)])
def test_names_that_no_file_can_have_are_refused(folder, words):
    ran = command(neuromorphic.cli.app, *words)
    assert (ran.exit_code, "File name too long" in ran.output) == (2, True), ran.output


def test_images_are_not_for_several_inputs(folder):
    ran = command(neuromorphic.cli.app, "two.nir", "--images", "samples")
    assert (ran.exit_code, "has the inputs image, sound; expected one, of images" in ran.output) == (2, True)


def test_an_output_is_no_input_under_its_name(folder):
    frames = ("--frames", "image=image.npy", "--frames", "sound=sound.npy")
    ran = command(neuromorphic.cli.app, "two.nir", *frames, "--json", "sound.npy")
    assert ran.exit_code == 2
    np.testing.assert_array_equal(np.load("sound.npy"), SOUNDS)


def test_the_kind_of_all_inputs_is_what_all_of_their_files_say(folder):
    graph, counts = from_nir(FILE), np.arange(4 * T * 3).reshape(4, T, 3)

    def found(sound):
        return find_frames(graph, {"image": folder / "eyes.npy", "sound": sound})

    assert found(folder / "ears.npy").kind == "spikes"
    np.save("counts.npy", counts)
    real = found(folder / "counts.npy")
    assert real.kind is None
    assert "taken for real numbers, since not all say that they are events" in " ".join(real.assumed)


def test_inputs_of_one_kind_or_of_events_alone_leave_nothing_open(folder):
    graph = from_nir(FILE)
    real = find_frames(graph, {"image": folder / "image.npy", "sound": folder / "sound.npy"})
    spikes = find_frames(graph, {"image": folder / "eyes.npy", "sound": folder / "ears.npy"})
    assert (real.kind, spikes.kind) == (None, "spikes")
    for found in (real, spikes):
        assert "since not all say" not in " ".join(found.assumed)


def test_labels_of_one_file_are_those_of_all(folder):
    graph = from_nir(FILE)
    np.savez("image.npz", frames=IMAGES, labels=np.array([0, 1, 0, 1, 1]))
    np.savez("sound.npz", frames=SOUNDS, labels=np.array([0, 1, 0, 1, 0]))
    files = {"image": folder / "image.npz", "sound": folder / "sound.npy"}
    np.testing.assert_array_equal(find_frames(graph, files).labels, [0, 1, 0, 1, 1])
    with pytest.raises(RefusedInput, match=r"image\.npz, .*sound\.npz: hold other labels"):
        find_frames(graph, files | {"sound": folder / "sound.npz"})


def test_one_recording_holds_every_input(folder):
    """NIR's data format has a node for each."""
    graph = from_nir(FILE)
    flat = EYES.reshape(4, T, 12)
    nodes = {
        "image": nir.NIRNodeData({"spikes": nir.TimeGriddedData(flat, DT)}),
        "sound": nir.NIRNodeData({"spikes": nir.TimeGriddedData(EARS, DT)}),
    }
    nir.write_data("both.h5", nir.NIRGraphData(nodes))
    found = find_frames(graph, folder / "both.h5", FrameOptions(), limit=3)
    np.testing.assert_array_equal(found.values, np.concatenate([flat, EARS], -1)[:3])
    assert (found.kind, len(found.names)) == ("spikes", 3)


def test_inputs_of_which_no_file_says_what_it_holds_leave_nothing_to_assume(folder):
    """Nor do spikes beside counts, which are counts; spikes beside what may be real numbers do."""
    graph, files = read_graph(folder / "two.nir"), {name: folder / f"{name}.npy" for name in ("image", "sound")}
    found = find_frames(graph, files)
    assert (found.kind, found.assumed) == (None, ())

    def events(name, *times):
        shape = graph.nodes[name].shape
        data = nir.EventData(np.zeros((1, len(times)), int), np.array([times]), int(np.prod(shape)), T * DT)
        nir.write_data(folder / f"{name}.h5", nir.NIRGraphData({name: nir.NIRNodeData({"spikes": data})}))
        return folder / f"{name}.h5"

    names = list(graph.inputs)
    apart, together = (events(name, *times) for name, times in zip(names, ((0.0, 2 * DT), (0.0, DT / 10)), strict=True))
    found = find_frames(graph, {names[0]: apart, names[1]: together})
    assert found.kind == "counts"
    assert not [said for said in found.assumed if "taken for real numbers" in said]
