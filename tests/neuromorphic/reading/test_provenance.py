"""Who wrote a file decides what it says; spikes are worked out here, step by step, from the writer's equations."""

import itertools

import h5py
import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.provenance import Asked, Origin, _profiles
from neuromorphic.reading.read import read_graph

ONE = np.ones(2, np.float32)


def chain(*nodes):
    """input -> nodes -> output, of two elements."""
    named = {"input": nir.Input(np.array([2])), **{f"n{i}": node for i, node in enumerate(nodes)}}
    named["output"] = nir.Output(np.array([2]))
    names = list(named)
    return nir.NIRGraph(named, list(itertools.pairwise(names)), type_check=False)


def lif(tau=2e-4, r=1.0, threshold=1.0, reset=0.0, leak=0.0):
    return nir.LIF(*(np.float32(v) * ONE for v in (tau, r, leak, threshold, reset)))


def integrator(r=1.0, threshold=1.0):
    return nir.IF(np.float32(r) * ONE, np.float32(threshold) * ONE, 0 * ONE)


def frames(seed, most=3.0, steps=40):
    return (np.random.default_rng(seed).integers(0, 16, (3, steps, 2)) * most / 16).astype(np.float32)


def spikes(graph, x, node="n0"):
    trace = run(graph, x)
    fast = run_in_batches(graph, x)
    assert np.array_equal(trace.spikes[node].bits, fast.spikes[node].bits)
    return trace.spikes[node].unpack()


def written(tmp_path, graph, version, without=()):
    """A file of `graph` as another version of NIR wrote it, without some parameters."""
    path = tmp_path / "old.nir"
    nir.write(path, graph)
    with h5py.File(path, "r+") as file:
        del file["version"]
        file["version"] = version
        for node in file["node/nodes"].values():
            for key in without:
                if key in node:
                    del node[key]
    return path


@pytest.mark.parametrize("seed", range(3))
def test_a_spike_subtracts_the_threshold(seed):
    x = frames(seed)
    found = spikes(from_nir(chain(lif(threshold=0.75)), asked=Asked(dt=1e-4, reset="subtract")), x)
    v, expected = np.zeros((3, 2)), []
    for t in range(x.shape[1]):
        v = v + 0.5 * (x[:, t] - v)
        expected.append(v > 0.75)
        v = v - 0.75 * expected[-1]
    assert np.array_equal(found, np.stack(expected, 1))
    assert found.sum() > spikes(from_nir(chain(lif(threshold=0.75)), dt=1e-4), x).sum() > 0


@pytest.mark.parametrize(("stated", "asked"), [("subtract", None), (b"subtract", "subtract"), ("zero", None)])
def test_the_reset_that_any_writers_metadata_state_is_what_runs(stated, asked):
    graph, x = chain(lif(threshold=0.75)), frames(1)
    graph.metadata = {"dt": 1e-4, "reset": stated}
    read = from_nir(graph, asked=Asked(reset=asked))
    word = stated.decode() if isinstance(stated, bytes) else stated
    assert (read.metadata.reset, read.metadata.assumed) == (word, ())
    other = from_nir(chain(lif(threshold=0.75)), asked=Asked(dt=1e-4, reset=word))
    assert np.array_equal(spikes(read, x), spikes(other, x))


@pytest.mark.parametrize(
    ("stated", "asked", "words"),
    [
        ("soft", None, "metadata reset is 'soft'; expected zero, subtract"),
        (1, None, "metadata reset is 1; expected zero, subtract"),
        ("subtract", "zero", "reset 'zero' asked for; the file is made for 'subtract'"),
        ("zero", "subtract", "reset 'subtract' asked for; the file is made for 'zero'"),
    ],
)
def test_a_reset_that_is_none_or_contradicted_is_refused(stated, asked, words):
    graph = chain(lif())
    graph.metadata = {"reset": stated}
    with pytest.raises(RefusedInput, match=words):
        from_nir(graph, asked=Asked(dt=1e-4, reset=asked))


@pytest.mark.parametrize(
    "neurons", [integrator(threshold=0.5), nir.CubaLIF(ONE * 2e-4, ONE * 4e-4, ONE, 0 * ONE, ONE / 4, 0 * ONE, ONE * 2)]
)
def test_other_neurons_subtract_too(neurons):
    x = frames(5)
    graph = from_nir(chain(neurons), asked=Asked(dt=1e-4, reset="subtract", integrators="step"))
    found = spikes(graph, x)
    operation = graph.nodes["n0"].operation
    state, expected = operation.at_rest(3, (2,)), []
    for t in range(x.shape[1]):
        operation.charge(state, x[:, t].astype(np.float64))
        expected.append(state.v > operation.threshold)
        state.v -= operation.threshold * expected[-1]
    assert np.array_equal(found, np.stack(expected, 1))
    assert found.any()


@pytest.mark.parametrize(
    ("version", "without", "reset"),
    [
        ("1.0.4", ("v_reset",), "subtract"),
        ("1.0.5", ("v_reset",), "subtract"),
        ("1.0.5", (), "zero"),
        ("1.0.6", ("v_reset",), "zero"),
        ("1.0.8", (), "zero"),
        ("0.2.0", ("v_reset",), "zero"),
    ],
)
def test_the_version_of_a_file_decides_its_reset(tmp_path, version, without, reset):
    graph = read_graph(written(tmp_path, chain(lif()), version, without), 1e-4)
    assert graph.metadata.reset == reset
    assert graph.nodes["n0"].operation.subtracts == (reset == "subtract")
    old = version < "1.0.6" and "v_reset" in without
    assert any("--reset" in sentence for sentence in graph.metadata.assumed) == old


def test_a_reset_that_is_asked_for_needs_no_assumption(tmp_path):
    path = written(tmp_path, chain(lif()), "1.0.4", ("v_reset",))
    assert read_graph(path, asked=Asked(dt=1e-4, reset="zero")).metadata.assumed == ()


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1.0])
def test_integrators_count_steps_where_that_is_meant(dt):
    x = frames(1, most=0.5)
    found = spikes(from_nir(chain(integrator()), asked=Asked(dt=dt, integrators="step")), x)
    v, expected = np.zeros((3, 2)), []
    for t in range(x.shape[1]):
        v = v + x[:, t]
        expected.append(v > 1)
        v = np.where(expected[-1], 0, v)
    assert np.array_equal(found, np.stack(expected, 1))
    assert found.any()


def test_an_if_beside_a_lif_takes_steps_while_the_lif_takes_seconds():
    graph = chain(integrator(threshold=0.5), nir.Linear(np.eye(2, dtype=np.float32) * 4), lif(tau=1e-2))
    read = from_nir(graph, asked=Asked(dt=1e-3, integrators="step"))
    assert float(read.nodes["n0"].operation.gain[0]) == 1.0
    assert float(read.nodes["n2"].operation.decay[0]) == pytest.approx(0.1)


def test_an_integrator_without_a_word_is_pointed_out():
    assert any("--integrators step" in said for said in from_nir(chain(integrator()), dt=1e-4).metadata.assumed)
    assert not any("--integrators" in said for said in from_nir(chain(integrator()), dt=1.0).metadata.assumed)
    assert not any("--integrators" in said for said in from_nir(chain(lif()), dt=1e-4).metadata.assumed)


def test_a_writers_profile_says_what_its_files_mean():
    sinabs = from_nir(chain(lif(tau=4.0, r=1.0)), asked=Asked(written_by="sinabs"))
    operation = sinabs.nodes["n0"].operation
    assert sinabs.metadata.dt == 1.0
    assert operation.subtracts
    # v = exp(-1 / tau) v + x
    assert float(operation.decay[0]) == pytest.approx(1 - np.exp(-0.25), rel=1e-7)
    assert float((operation.decay * operation.gain)[0]) == pytest.approx(1.0, rel=1e-6)
    jaxpike = from_nir(chain(lif(tau=2e-3)), asked=Asked(written_by="jaxpike"))
    assert float(jaxpike.nodes["n0"].operation.decay[0]) == pytest.approx(1 - np.exp(-0.5), rel=1e-7)
    norse = from_nir(chain(lif(tau=1e-2)), asked=Asked(written_by="norse@2"))
    assert norse.metadata.dt == 1e-3
    assert from_nir(chain(lif(tau=1e-2)), asked=Asked(written_by="Norse@1.1.0")).metadata.dt == 1e-6


@pytest.mark.parametrize("tau", [0.0, -1e-3])
def test_an_exponential_decay_needs_a_time_constant_above_0(tau):
    with pytest.raises(RefusedInput, match=r"node .n0.: tau is .* s; expected more than 0"):
        from_nir(chain(lif(tau=tau)), asked=Asked(written_by="jaxpike"))


@pytest.mark.parametrize(
    ("library", "node"),
    [
        ("rockpool", lif(tau=1e-2)),
        ("spyx", integrator()),
        ("nengo", lif(tau=2e-2)),
        ("hxtorch", nir.CubaLI(*(ONE for _ in range(5)))),
        ("jaxsnn", nir.CubaLIF(*(ONE for _ in range(7)))),
    ],
)
def test_what_no_file_of_a_library_holds_is_refused_with_the_reason(library, node):
    with pytest.raises(RefusedInput, match=f"written by {library}: a .* doesn't hold what it means"):
        from_nir(chain(node), asked=Asked(written_by=library))


@pytest.mark.parametrize("written_by", ["norse@", "norse@x", "sinabs@latest", "spyx@1.", "snntorch@1.0 "])
def test_a_version_that_is_none_is_refused(written_by):
    with pytest.raises(RefusedInput, match="expected a library, or one @ its version"):
        from_nir(chain(lif()), asked=Asked(written_by=written_by))


@pytest.mark.parametrize("written_by", ["snntorch@1", "snntorch@0.9.1", "norse@2.0.0a1"])
def test_versions_are_numbers_with_dots(written_by):
    assert from_nir(chain(lif()), asked=Asked(dt=1e-4, written_by=written_by)).nodes


def test_an_unknown_library_is_refused_with_those_that_are_known():
    with pytest.raises(RefusedInput, match=r"no profile of 'snntroch'; expected one of .*snntorch"):
        from_nir(chain(lif()), asked=Asked(written_by="snntroch"))


def test_every_profile_is_understood():
    known = {"dt", "reset", "integrators", "decay", "leaky_input", "current_input", "fires", "refuses", "note"}
    for name, profile in _profiles().items():
        assert {key for key in profile if not key[0].isdigit()} <= known, name
        assert profile.get("reset", "zero") in ("zero", "subtract")
        assert profile.get("integrators", "dt") in ("dt", "step")
        assert profile.get("fires", "above") in ("at", "above")


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_libraries_whose_neurons_fire_at_the_threshold_do_so(step, reset):
    """Spikes of v >= 1 in whole quarters, for long enough that a threshold next to 1 would drift."""
    x = np.full((1, 400, 2), step, np.float32)
    asked = Asked(reset=reset, written_by="spikingjelly", integrators="step")
    found = spikes(from_nir(chain(integrator()), asked=asked), x)
    v, expected = 0.0, []
    for _ in range(x.shape[1]):
        v += step
        expected.append(v >= 1)
        v = v - expected[-1] if reset == "subtract" else v * (not expected[-1])
    assert np.array_equal(found[0, :, 0], expected)
    above = spikes(from_nir(chain(integrator()), asked=Asked(dt=1e-4, reset=reset, integrators="step")), x)
    assert above.sum() < found.sum()


def test_what_a_version_does_not_name_it_has_of_its_library():
    """Norse 2 counts seconds; its integrators count steps and its currents add, as before."""
    x = frames(4, most=0.5)
    asked = Asked(written_by="norse@2.0.1")
    integrates = from_nir(chain(integrator()), asked=asked)
    assert float(integrates.nodes["n0"].operation.gain[0]) == 1.0
    assert spikes(integrates, x).any()
    one = np.ones(2, np.float32)
    cuba = nir.CubaLIF(5e-3 * one, 1e-2 * one, one, 0 * one, one, 0 * one, one)
    operation = from_nir(chain(cuba), asked=asked).nodes["n0"].operation
    assert float((operation.current_decay * operation.weight)[0]) == pytest.approx(1.0)
    assert not any("Norse 1.1.0" in said for said in from_nir(chain(cuba), asked=asked).metadata.assumed)
    assert from_nir(chain(cuba), asked=Asked(written_by="norse@20.1")).metadata.dt == 1e-6


@pytest.mark.parametrize("library", ["norse", "spikingjelly", "lava-dl"])
def test_libraries_that_only_set_v_did_so_before_files_could_say_it(tmp_path, library):
    graph = read_graph(written(tmp_path, chain(lif()), "1.0.4", ("v_reset",)), asked=Asked(dt=1e-4, written_by=library))
    assert graph.metadata.reset == "zero"


def test_a_file_that_names_no_version_says_which_reset_is_taken(tmp_path):
    graph = read_graph(written(tmp_path, chain(lif()), "unknown", ("v_reset",)), 1e-4)
    assert graph.metadata.reset == "zero"
    assert any("--reset subtract" in said for said in graph.metadata.assumed)


@pytest.mark.parametrize(("library", "words"), [("sinabs", "MultiSpike"), ("mlx-snn", "reset_mechanism")])
def test_what_a_library_leaves_out_of_its_files_is_said(library, words):
    assert any(
        words in said for said in from_nir(chain(integrator()), asked=Asked(written_by=library)).metadata.assumed
    )


@pytest.mark.parametrize("value", [2**53 + 1, -(2**60) - 1])
def test_whole_numbers_that_no_float_holds_are_refused(value):
    with pytest.raises(RefusedInput, match=r"weight holds whole numbers beyond 2\^53"):
        from_nir(chain(nir.Linear(np.array([[value, 1], [0, 1]])), lif()), dt=1e-4)


def test_an_infinite_resistance_alone_is_refused():
    one = np.ones(2, np.float32)
    cuba = nir.CubaLIF(2e-4 * one, 4e-4 * one, np.inf * one, 0 * one, one, 0 * one, one)
    for node in (cuba, nir.IF(np.inf * one, one, 0 * one), nir.I(np.inf * one)):
        with pytest.raises(RefusedInput, match="r holds values that are not finite"):
            from_nir(chain(node), dt=1e-4)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 16777217.0])
def test_numbers_of_files_in_float64_keep_their_value(value):
    graph = chain(nir.Linear(np.full((2, 2), value)), lif())
    weight = from_nir(graph, dt=1e-4).nodes["n0"].operation.weight
    assert weight.dtype == np.float64
    assert weight[0, 0] == value


def test_numbers_that_float32_holds_become_float32():
    assert (
        from_nir(chain(nir.Linear(np.full((2, 2), 0.25)), lif()), dt=1e-4).nodes["n0"].operation.weight.dtype
        == np.float32
    )


def test_int64_weights_keep_their_value():
    graph = chain(nir.Linear(np.full((2, 2), 2**24 + 1)), lif())
    assert from_nir(graph, dt=1e-4).nodes["n0"].operation.weight[0, 0] == 2**24 + 1


def test_an_infinite_time_constant_integrates():
    x = frames(2, most=0.5)
    found = spikes(from_nir(chain(lif(tau=np.inf, r=np.inf)), dt=1e-4), x)
    assert np.array_equal(found, spikes(from_nir(chain(integrator()), asked=Asked(dt=1e-4, integrators="step")), x))
    mixed = lif()
    mixed.tau = np.array([np.inf, 2e-4], np.float32)
    with pytest.raises(RefusedInput, match="tau or r is infinite for some neurons"):
        from_nir(chain(mixed), dt=1e-4)


def test_membranes_of_an_infinite_time_constant_integrate_from_0():
    x = frames(2, most=0.5)
    infinite = np.full(2, np.inf, np.float32)
    graph = from_nir(chain(nir.LI(infinite, infinite, np.zeros(2, np.float32))), dt=1e-4)
    expected = np.cumsum(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(run(graph, x).outputs, expected, atol=1e-6)
    for changed, message in (
        (nir.LI(infinite, np.ones(2), np.zeros(2)), "tau or r is infinite for some neurons"),
        (nir.LI(infinite, infinite, np.float32([0, 0.5])), "tau is infinite and v_leak is not 0"),
    ):
        with pytest.raises(RefusedInput, match=message):
            from_nir(chain(changed), dt=1e-4)


def test_origins_compare_versions_as_numbers():
    assert Origin("1.0.10").number > Origin("1.0.6").number
    assert Origin(None).number == ()
