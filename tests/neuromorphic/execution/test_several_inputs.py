"""Graphs of several inputs: frames for each by name, whatever runs the graph, counts it or places it."""

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import energy
import spikeclip
from energy.inputs import with_input_kind
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import reference
from neuromorphic.execution.membranes import membranes
from neuromorphic.inspection.report import inspect
from neuromorphic.ir.inputs import of_inputs, side_by_side
from neuromorphic.ir.parity import compare
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, with_scheme
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from neuromorphic.targets.target import TARGETS
from tests.neuromorphic.graphs import conv, lif, metadata

T, RNG = 6, np.random.default_rng(0)
IMAGES = np.round(RNG.normal(size=(5, T, 1, 3, 4)) * 16).astype(np.float32) / 8
SOUNDS = np.round(RNG.normal(size=(5, 3)) * 16).astype(np.float32) / 8


def image_and_sound():
    """image [1, 3, 4] -> see -> eye -> look; sound [3] -> hear; both meet in a, which a head reads."""

    def weights(*shape):
        return (np.round(RNG.normal(size=shape) * 32) / 32).astype(np.float32)

    nodes = {
        "sound": nir.Input(np.array([3])),
        "image": nir.Input(np.array([1, 3, 4])),
        "see": conv(weights(2, 1, 2, 2), hw=(3, 4)),
        "eye": lif((2, 2, 3)),
        "flat": nir.Flatten({"input": np.array([2, 2, 3])}, 0, -1),
        "look": nir.Linear(weights(4, 12)),
        "hear": nir.Linear(weights(4, 3)),
        "a": lif((4,)),
        "head": nir.Linear(weights(2, 4)),
        "output": nir.Output(np.array([2])),
    }
    edges = [
        ("image", "see"), ("see", "eye"), ("eye", "flat"), ("flat", "look"), ("look", "a"),
        ("sound", "hear"), ("hear", "a"), ("a", "head"), ("head", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, metadata=metadata(T), type_check=False)


FILE = image_and_sound()


def by_hand(images, sounds):
    """The outputs and the spikes of a, each neuron and step written out: `images` and `sounds` have T."""
    see, look, hear, head = (FILE.nodes[name].weight.astype(np.float64) for name in ("see", "look", "hear", "head"))
    spikes, outputs = np.zeros((len(images), T, 4)), np.zeros((len(images), T, 2))
    for n, (film, tune) in enumerate(zip(images.astype(np.float64), sounds.astype(np.float64), strict=True)):
        eye, v = np.zeros((2, 2, 3)), np.zeros(4)
        for t in range(T):
            seen = np.zeros((2, 2, 3))
            for channel, row, column in np.ndindex(2, 2, 3):
                seen[channel, row, column] = (see[channel, 0] * film[t, 0, row : row + 2, column : column + 2]).sum()
            eye = eye + (seen - eye) / 2
            fired = eye > 1
            eye[fired] = 0
            v = v + (look @ fired.reshape(-1) + hear @ tune[t] - v) / 2
            spikes[n, t] = v > 1
            v[v > 1] = 0
            outputs[n, t] = head @ spikes[n, t]
    return spikes, outputs


def in_every_step(sounds):
    return np.broadcast_to(sounds[:, None], (len(sounds), T, 3))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_reads_all_inputs_by_name(target):
    """The sound is the same in every step, the image is not."""
    graph = from_nir(FILE)
    assert (graph.inputs, graph.frame_shape) == (("image", "sound"), (15,))
    spikes, outputs = by_hand(IMAGES, in_every_step(SOUNDS))
    trace = TARGETS[target]().run(graph, {"sound": SOUNDS, "image": IMAGES})
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(trace.spikes["a"].unpack(), spikes != 0)
    np.testing.assert_array_equal(trace.outputs, outputs)


@pytest.mark.parametrize("target", TARGETS)
def test_integers_read_all_inputs(target):
    graph = from_nir(FILE)
    frames = side_by_side(graph, {"image": IMAGES, "sound": SOUNDS})
    floats, scheme = calibrate(graph, frames)
    whole = integers(with_scheme(floats, scheme), scheme)
    shown = graded(whole, frames)
    trace = TARGETS[target]().run(whole, of_inputs(whole, shown))
    assert trace.spikes["a"].count()
    assert compare(trace, reference.run(whole, shown)).exact


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    still=st.lists(st.booleans(), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_several_inputs_are_one_input_of_all_their_elements(sizes, still, seed):
    """Weights side by side, `W = [W_0 W_1 ...]`, read the elements side by side: the same graph with one input."""
    rng = np.random.default_rng(seed)
    weights = [(rng.integers(-4, 5, (3, size)) / 4).astype(np.float32) for size in sizes]
    ends = {"lif": lif((3,)), "output": nir.Output(np.array([3]))}
    several = {f"in_{i}": nir.Input(np.array([size])) for i, size in enumerate(sizes)}
    several |= {f"w_{i}": nir.Linear(weight) for i, weight in enumerate(weights)} | ends
    edges = [edge for i in range(len(sizes)) for edge in ((f"in_{i}", f"w_{i}"), (f"w_{i}", "lif"))]
    graph = from_nir(nir.NIRGraph(several, [*edges, ("lif", "output")], metadata=metadata(T), type_check=False))
    one = {"input": nir.Input(np.array([sum(sizes)])), "w": nir.Linear(np.concatenate(weights, 1))} | ends
    chained = [("input", "w"), ("w", "lif"), ("lif", "output")]
    single = from_nir(nir.NIRGraph(one, chained, metadata=metadata(T), type_check=False))
    given_frames = {
        f"in_{i}": rng.integers(-4, 9, (2, *(() if kept else (T,)), size)).astype(np.float32) / 4
        for i, (size, kept) in enumerate(zip(sizes, still, strict=False))
    }
    whole = np.concatenate([x if x.ndim == 3 else np.repeat(x[:, None], T, 1) for x in given_frames.values()], axis=-1)
    found, expected = reference.run(graph, given_frames), reference.run(single, whole)
    np.testing.assert_array_equal(found.spikes["lif"].bits, expected.spikes["lif"].bits)
    np.testing.assert_array_equal(membranes(graph, given_frames, "lif"), membranes(single, whole, "lif"))


EYES = RNG.random((4, T, 1, 3, 4)) < 0.4
EARS = RNG.random((4, T, 3)) < 0.4


def test_spikes_of_every_input_are_additions():
    """By hand: a spike of the image meets the windows that hold it, 2 channels each; one of the sound 4 neurons."""
    graph = with_input_kind(from_nir(FILE), "spikes")
    trace = reference.run(graph, {"image": EYES, "sound": EARS})
    counts = energy.count(graph, trace, frames=side_by_side(graph, {"image": EYES, "sound": EARS}))
    windows = np.array([[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]])
    seen, heard = int((EYES * windows * 2).sum()), int(EARS.sum()) * 4
    inner = trace.spikes["eye"].count() * 4 + trace.spikes["a"].count() * 2
    assert (counts.sops, counts.macs) == (seen + heard + inner, 0)


def test_real_inputs_are_multiplied_in_every_step():
    """See has 2 channels of 6 windows of 4 taps, hear 4 rows of 3: the first layers' MACs."""
    graph = from_nir(FILE)
    frames = side_by_side(graph, {"image": IMAGES, "sound": SOUNDS})
    counts = energy.count(graph, reference.run(graph, frames), frames=frames)
    layers = {name: layer.macs for name, layer in counts.layers.items()}
    assert counts.macs > 0
    assert {name for name, macs in layers.items() if np.sum(macs)} == {"see", "hear"}


def test_cores_hear_every_input():
    """Messages from the host: a spike of the image to the core of the eye, one of the sound to that of a."""
    graph = with_input_kind(from_nir(FILE), "spikes")
    frames = side_by_side(graph, {"image": EYES, "sound": EARS})
    placed = place(graph, trace=reference.run(graph, frames), frames=frames)
    assert [core.population for core in placed.cores] == ["eye", "a", "output"]
    assert placed.measured.from_host == EYES.sum() + EARS.sum()
    assert placed.full_rate.from_host == 12 + 3


def test_what_is_read_and_shown_is_in_the_inspection():
    found = inspect(from_nir(FILE)).to_dict()
    assert (found["inputs"], found["outputs"]) == ({"image": [1, 3, 4], "sound": [3]}, {"output": [2]})


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ({"image": IMAGES}, "no frames for sound; expected some for each of image, sound"),
        ({"image": IMAGES, "sounds": SOUNDS}, "no input 'sounds'; expected image, sound; did you mean 'sound'"),
        ({"image": IMAGES, "sound": SOUNDS[:4]}, "samples of the inputs differ: 5 of 'image', 4 of 'sound'"),
        ({"image": IMAGES, "sound": in_every_step(SOUNDS)[:, :2]}, "time steps of the inputs differ: 6 of 'image', 2"),
        ({"image": IMAGES, "sound": SOUNDS[:, :2]}, r"input 'sound' have the shape \[5, 2\]; expected .* of \[3\]"),
        (
            {"image": IMAGES[0, 0], "sound": SOUNDS},
            r"'image' have the shape \[1, 3, 4\]; expected \[N, T, ",
        ),
    ],
)
def test_frames_that_do_not_fit_the_inputs_are_refused(frames, said):
    with pytest.raises(RefusedInput, match=said):
        spikeclip.run(from_nir(FILE), frames, backend="reference")


def test_one_call_takes_a_dictionary_of_arrays_or_of_files(tmp_path):
    graph = from_nir(FILE)
    np.save(tmp_path / "image.npy", IMAGES)
    np.save(tmp_path / "sound.npy", SOUNDS)
    of_files = spikeclip.run(
        graph, {name: tmp_path / f"{name}.npy" for name in graph.inputs}, backend="reference", limit=3
    )
    of_arrays = spikeclip.run(graph, {"image": IMAGES[:3], "sound": SOUNDS[:3]}, backend="fast")
    assert compare(of_files, of_arrays).exact


def test_a_graph_of_one_input_takes_its_name_too():
    file = nir.NIRGraph(
        {"sensor": nir.Input(np.array([3])), "lif": lif((3,)), "output": nir.Output(np.array([3]))},
        [("sensor", "lif"), ("lif", "output")],
        metadata=metadata(T),
        type_check=False,
    )
    graph = from_nir(file)
    named, plain = reference.run(graph, {"sensor": SOUNDS}), reference.run(graph, SOUNDS)
    assert compare(named, plain).exact
    with pytest.raises(RefusedInput, match="no input 'sound'; expected sensor"):
        reference.run(graph, {"sound": SOUNDS})
