"""Graphs that other libraries wrote (`tests/data/foreign/write.py`), against what these libraries answer themselves.

And against the oracle: some write other than what they compute.  Which library writes what: docs/writers.md.
"""

import functools
import json
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic.cli import app
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.ops import READERS
from neuromorphic.reading.nesting import flat
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph, read_nir
from tests.neuromorphic import chip_oracle, oracle
from tests.neuromorphic.graphs import chain, lif
from tests.properties import channels

FOLDER = Path(__file__).parents[2] / "data" / "foreign"
FILES = sorted(path.stem for path in FOLDER.glob("*.nir"))

OTHERWISE = {
    "jaxpike_neurons": "it decays by exp(-dt / tau), Euler's step by 1 - dt / tau",
    "mlxsnn_synaptic": "w_in is written as 1, and is 1 / (1 - alpha)",
    "norse_cuba": "w_in is written as 1, and is tau_syn / dt",
    "rockpool_lif": "it decays by exp(-dt / tau), subtracts the threshold, and spikes more than once in a step",
    "sinabs_leaky": "it decays by exp(-1 / tau), and its input is not divided by tau",
    "snntorch_recurrent_synaptic": "it resets a step late: told not to, it raises (rsynaptic.py:369)",
    "spyx_neurons": "spikes come a step late and subtract the threshold; r is written as beta, and is 1 / (1 - beta)",
    "spyx_parallel": "r is written as 1, and is 1 / (1 - beta)",
    "spyx_recurrent": "as spyx_neurons; the input is written to pass the recurrent weights too",
}
"""Files that say other than what their library computes, and in what: only the oracle says what they mean."""

IN_LAVA = (
    "jaxpike_neurons",
    "mlxsnn_leaky",
    "nirtorch_residual",
    "norse_conv",
    "rockpool_lif",
    "scneurocore_membranes",
    "scneurocore_spiking",
    "sinabs_conv",
    "sinabs_conv1d",
    "snntorch_recurrent",
    "spikingjelly_conv",
    "spyx_recurrent",
)
"""Of every library one or more, with every primitive among them: Lava takes seconds to start."""

BY_ITS_CALLER = {("nirtorch", "LIF")}
"""What a library's file holds by a map that `write.py` gave it."""


@functools.cache
def load(name):
    kept = np.load(FOLDER / f"{name}.npz")
    # Sinabs and Rockpool pin nir 1.0.4, in which a spike subtracts; the kept networks were made with a reset to zero.
    asked = Asked(dt=float(kept["dt"]), reset="zero")
    return read_graph(FOLDER / f"{name}.nir", asked=asked), kept["frames"], kept["outputs"]


@functools.cache
def referred(name):
    """What the reference makes of a file's frames."""
    graph, frames, _ = load(name)
    return run(graph, frames)


@pytest.mark.parametrize("name", [name for name in FILES if name not in OTHERWISE])
def test_it_answers_as_the_library_that_wrote_it(name):
    _, _, expected = load(name)
    outputs = referred(name).outputs
    if name == "norse_lif_li":  # membranes, of which Norse computes the decay in float32
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-7)
    else:
        np.testing.assert_array_equal(outputs, expected)
    assert expected.any()


@pytest.mark.parametrize("name", FILES)
def test_it_answers_as_its_file_says(name):
    graph, frames, of_the_library = load(name)
    trace = referred(name)
    spikes, output = oracle.run(read_nir(FOLDER / f"{name}.nir"), frames, graph.metadata.dt)
    for population, train in trace.spikes.items():
        np.testing.assert_array_equal(train.unpack(), spikes[population], err_msg=population)
    # exp and tau are no dyadic numbers: sums round, in the reference and the oracle in different orders.
    np.testing.assert_allclose(trace.outputs, output, rtol=1e-6, atol=0)
    assert np.allclose(trace.outputs, of_the_library, rtol=0, atol=1e-6) == (name not in OTHERWISE)


def assert_traced(trace, found):
    """Equal spikes of populations that are neither silent nor saturated, and equal outputs."""
    spikes, output = found
    for population, train in trace.spikes.items():
        assert 0 < train.count() < train.bits.size * 8
        np.testing.assert_array_equal(spikes[population], train.unpack(), err_msg=population)
    np.testing.assert_array_equal(np.asarray(output, np.float32), trace.outputs)


@pytest.mark.parametrize("name", FILES)
def test_its_layers_answer_as_the_reference(name):
    graph, frames, _ = load(name)
    assert_traced(referred(name), channels.run(graph, frames))


@pytest.mark.parametrize("name", IN_LAVA)
def test_lava_answers_as_the_reference(name):
    graph, frames, _ = load(name)
    trace = simulate(graph, frames)
    assert_traced(referred(name), ({n: t.unpack() for n, t in trace.spikes.items()}, trace.outputs))


NOT_ON_THE_CHIP = {
    "jaxpike_conv": "it has no neurons that spike",
    "jaxpike_neurons": "node '3_li' sends its membranes to other neurons",
    "scneurocore_conv": "it has no neurons that spike",
    "scneurocore_conv1d": "it has no neurons that spike",
    "scneurocore_membranes": "node 'i' sends its membranes to other neurons",
    "spyx_conv": "it has no neurons that spike",
    "spyx_parallel": "node 'layer_1' sends its membranes to other neurons",
}
"""Files that the chip's integers refuse, and why."""


def in_integers(name):
    """The graph in the chip's integers, its frames, and how far its spikes are from the floats'."""
    graph, frames, _ = load(name)
    graph = replace(graph, metadata=replace(graph.metadata, time_steps=frames.shape[1]))
    whole, scheme = quantise(graph, frames)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    return whole, shown, [choice.disagreement for choice in scheme.populations.values()]


@pytest.mark.parametrize("name", [name for name in FILES if name not in NOT_ON_THE_CHIP])
def test_in_the_chips_integers_it_answers_as_they_say(name):
    graph, frames, disagreement = in_integers(name)
    trace = run(graph, frames)
    spikes, membranes, outputs = chip_oracle.run(graph, frames)
    for population, train in trace.spikes.items():
        np.testing.assert_array_equal(train.unpack(), spikes[population], err_msg=population)
        np.testing.assert_array_equal(trace.membranes[population], membranes[population].astype(np.int64))
    np.testing.assert_array_equal(trace.outputs, outputs.astype(np.float32))
    few = name == "sinabs_conv"  # 8 of the 96 spikes or none of three neurons, each a step early or late
    assert max(disagreement) < (0.1 if few else 0.02)


@pytest.mark.parametrize("name", NOT_ON_THE_CHIP)
def test_what_the_chip_does_not_have_is_refused(name):
    with pytest.raises(RefusedInput, match=f"{name}.nir: precision loihi2: {NOT_ON_THE_CHIP[name]}"):
        in_integers(name)


@functools.cache
def held(name):
    """What a file holds, in the words of docs/writers.md."""
    raw = read_nir(FOLDER / f"{name}.nir")
    nodes, *_ = flat(raw, name)
    kinds = {type(node).__name__ for node in nodes.values()} - {"Input", "Output", "Passage"}
    marks = {
        "Conv2d, groups": any(isinstance(node, nir.Conv2d) and node.groups > 1 for node in nodes.values()),
        "nested graph": any(isinstance(node, nir.NIRGraph) for node in raw.nodes.values()),
        "recurrent edge": bool(load(name)[0].recurrent),
    }
    return kinds | {word for word, there in marks.items() if there}


def written():
    """The (library, what it wrote) of all files that are kept."""
    pairs = {(name.split("_")[0], what) for name in FILES for what in held(name)}
    return pairs - BY_ITS_CALLER


def documented():
    """The cells of the first table of docs/writers.md, as {(library, primitive): cell}."""
    page = (FOLDER.parents[2] / "docs" / "writers.md").read_text(encoding="utf-8")
    table = page[page.index("| primitive") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.replace("`", "").strip("|").split("|")] for line in table.splitlines()]
    libraries = [header.split(" ")[0].lower().replace("-", "") for header in rows[0][1:]]
    return {(library, row[0]): cell for row in rows[2:] for library, cell in zip(libraries, row[1:], strict=True)}


def test_the_table_of_writers_is_what_the_files_hold():
    table = documented()
    assert {pair for pair, cell in table.items() if cell == "yes"} == written()
    kinds = {kind.__name__ for kind in (*READERS, nir.Flatten) if kind.__module__.startswith("nir")} - {
        "Input",
        "Output",
    }
    assert {what for _, what in table} == kinds | {"Flatten", "Conv2d, groups", "nested graph", "recurrent edge"}


def test_what_only_one_library_writes_is_what_only_one_can():
    writers = {}
    for library, what in written():
        writers.setdefault(what, set()).add(library)
    alone = {what: libraries for what, libraries in writers.items() if len(libraries) == 1}
    assert alone == {what: {"scneurocore"} for what in ("CubaLI", "Delay", "I", "Scale")}


def test_every_library_and_every_primitive_runs_in_lava():
    assert {name.split("_")[0] for name in IN_LAVA} == {library for library, _ in written()}
    assert set().union(*map(held, IN_LAVA)) == {what for _, what in written()}


def simulated(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_runs_frames_in_lava(tmp_path):
    frames, expected = (np.load(FOLDER / "snntorch_recurrent.npz")[key] for key in ("frames", "outputs"))
    np.save(tmp_path / "frames.npy", frames)
    said = simulated(
        FOLDER / "snntorch_recurrent.nir", "--frames", tmp_path / "frames.npy", "--json", tmp_path / "out.json"
    )
    assert said.exit_code == 0, said.output
    assert "dt is taken to be 0.0001 s" in said.output
    assert "recurrent, one time step late: n1.lif -> n1.w_rec" in said.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["predictions"] == expected.sum(1).argmax(1).tolist()
    assert found["spikes"]["n3"] == expected.sum()


@pytest.mark.slow
def test_the_command_runs_frames_in_the_chips_integers(tmp_path):
    """Quantised on frames, written, and read again: the same spikes, which Lava and the reference agree on."""
    frames, _ = (np.load(FOLDER / "snntorch_recurrent.npz")[key] for key in ("frames", "outputs"))
    np.save(tmp_path / "frames.npy", frames)
    shown = ["--frames", tmp_path / "frames.npy", "--precision", "loihi2"]
    calibrate = ["--calibrate", tmp_path / "frames.npy", "--save-quantized", tmp_path / "q.nir"]
    documents = []
    for model, more in (
        (FOLDER / "snntorch_recurrent.nir", calibrate),
        (tmp_path / "q.nir", []),
        (tmp_path / "q.nir", ["--backend", "reference"]),
    ):
        said = simulated(model, *shown, *more, "--json", tmp_path / "out.json", "-o", tmp_path / "run.h5")
        assert said.exit_code == 0, said.output
        documents.append(json.loads((tmp_path / "out.json").read_text()))
    for key in ("predictions", "spikes", "time_steps", "dt"):
        assert documents[0][key] == documents[1][key] == documents[2][key]
    whole, of_frames, _ = in_integers("snntorch_recurrent")
    assert documents[0]["spikes"]["n3"] == run(whole, of_frames).spikes["n3"].count()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --images SPEC or --frames FILE.npy"),
        (["--images", "samples", "--frames", "x.npy"], "either --images SPEC or --frames FILE.npy"),
        (["--images", "samples"], "expected square images"),
        (["--frames", "missing.npy"], "missing.npy: not a readable .npy array"),
        (["--frames", "wrong.npy"], "wrong.npy: frames have the shape [4, 8, 5]"),
        (["--frames", "text.npy"], "text.npy: holds no array of numbers"),
        (["--frames", "nan.npy"], "nan.npy: frames hold values that are not finite"),
        (["--frames", "single.npy"], "how many time steps"),
        (["--frames", "right.npy", "--time-steps", "7"], "7 time steps asked for; there are frames for 8"),
        (["--frames", "right.npy", "--dt", "0"], "dt is 0.0 s; expected a finite number of at least 1e-09"),
        (["--frames", "right.npy", "--dt", "1e-3"], "node 'n1.lif': tau"),
        (["--frames", "right.npy", "--check", "x"], "--check takes images; expected --images SPEC"),
        (["--frames", "right.npy", "--precision", "loihi2"], "is not quantised; expected --calibrate SPEC, images (or"),
        (["--frames", "right.npy", "--calibrate", "right.npy"], "are of the integers; expected --precision loihi2"),
        (["--frames", "right.npy", "--precision", "loihi2", "--calibrate", "no.npy"], "no.npy: not a readable .npy"),
    ],
)
def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    right = np.zeros((4, 8, 6), np.float32)
    np.save("right.npy", right)
    np.save("single.npy", right[:, 0])
    np.save("wrong.npy", right[..., :5])
    np.save("nan.npy", right + np.nan)
    np.save("text.npy", np.array(["a"]))
    said = simulated(FOLDER / "snntorch_recurrent.nir", *arguments)
    assert said.exit_code == 2
    assert message in said.output
    assert said.output.count("\n") == 1


def test_outputs_that_are_no_classes_have_no_predictions(tmp_path):
    shape = (2, 3)
    nir.write(tmp_path / "map.nir", chain({"lif": lif(shape)}, shape, shape))
    np.save(tmp_path / "frames.npy", np.ones((2, *shape), np.float32))
    said = simulated(
        tmp_path / "map.nir",
        "--frames",
        tmp_path / "frames.npy",
        "--backend",
        "reference",
        "--json",
        tmp_path / "o.json",
    )
    assert said.exit_code == 0, said.output
    assert json.loads((tmp_path / "o.json").read_text())["predictions"] is None
