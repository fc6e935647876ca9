"""The integers of the chip through the commands: quantised on the way or in a file, against PyTorch, on cores."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import neuromorphic.cli
import neuromorphic.inspection.cli
from neuromorphic.ir.trace import Trace
from spikeclip.data import load_images
from spikeclip.preprocess import stated_resize
from tests.test_refusals import refused

SHOWN = ["--images", "samples", "--limit", "2", "--backend", "reference"]
INTEGERS = ["--precision", "loihi2"]
pytestmark = pytest.mark.usefixtures("prepared_once")

CALIBRATED = [*INTEGERS, "--calibrate", "samples", "--calibration-images", "3"]


@pytest.fixture(scope="module")
def folder(published_files, tmp_path_factory):
    """A folder of its own with a published checkpoint of 16 channels and the graph that it becomes."""
    return shutil.copytree(published_files, tmp_path_factory.mktemp("loihi2") / "files")


def simulate(*arguments):
    result = CliRunner().invoke(neuromorphic.cli.app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def quantised(folder):
    """The file of its integers."""
    simulate(folder / "a.nir", *SHOWN, *CALIBRATED, "--save-quantized", folder / "i.nir")
    return folder / "i.nir"


def test_a_graph_is_quantised_checked_placed_and_written(folder):
    check = ["--check", folder / "a.pth", "--heads", "4"]
    written = ["--save-quantized", folder / "q.nir", "--json", folder / "q.json", "--placement", folder / "p.json"]
    written += ["--html", folder / "q.html"]
    said = simulate(folder / "a.nir", *SHOWN, *CALIBRATED, *check, *written)
    assert "0 mismatches; 2 of 2 predictions agree" in said
    assert "final membranes: " in said
    assert "a chip reports 128 there" in said
    assert "can leave 24 bits in the worst case" in said
    assert "in this run none did" in said
    report = json.loads((folder / "q.json").read_text())
    assert (report["precision"], report["exact"], report["mismatches"]) == ("loihi2", True, 0)
    assert report["membranes_compared"] > 0
    assert report["scheme"]["calibration"]["images"] == 3
    placement = json.loads((folder / "p.json").read_text())
    assert f"placement: {placement['cores']} cores on 1 chip" in said
    assert placement["measured"]["messages_per_image"] > 0
    assert (folder / "p.svg").read_text().startswith("<svg")
    page = (folder / "q.html").read_text()
    assert f"Every spike as in PyTorch: {report['spikes_compared']:,} compared, none differs" in page
    assert "differ from floats" in page
    assert page.count("data:image/png;base64,") == 2

    simulate(folder / "q.nir", *SHOWN, *INTEGERS, *check, "--json", folder / "again.json")
    again = json.loads((folder / "again.json").read_text())
    assert (again["spikes"], again["scheme"]) == (report["spikes"], report["scheme"])


def test_integers_run_in_lava(folder):
    said = simulate(
        folder / "a.nir",
        "--images",
        "samples",
        "--limit",
        "1",
        *CALIBRATED,
        "--check",
        folder / "a.pth",
        "--heads",
        "4",
    )
    assert "0 mismatches; 1 of 1 predictions agree" in said


def test_a_quantised_file_still_runs_in_floats(quantised):
    assert "spikes (rate" in simulate(quantised, *SHOWN)


def test_a_quantised_file_is_inspected(folder, quantised):
    result = CliRunner().invoke(neuromorphic.inspection.cli.app, [str(quantised), "--json", str(folder / "i.json")])
    assert result.exit_code == 0, result.output
    assert "loihi2: quantised per layer on 3 images" in result.output
    assert "can leave them in the worst case" in result.output
    found = json.loads((folder / "i.json").read_text())
    assert (found["precision"], found["scheme"]["granularity"]) == ("loihi2", "layer")
    assert found["certificate"]["claimed"] is None
    proven = found["certificate"]["proven"]["populations"]
    assert set(proven) == {node["name"] for node in found["nodes"] if node["neurons"]}


def test_what_does_not_fit_is_refused(folder, quantised):
    app = neuromorphic.cli.app
    refused(app, folder / "a.nir", *SHOWN, *INTEGERS, words=["a.nir", "is not quantised; expected --calibrate SPEC"])
    refused(app, folder / "a.nir", *SHOWN, "--calibrate", "samples", words=["expected --precision loihi2"])
    refused(app, quantised, *SHOWN, *CALIBRATED, words=["i.nir", "is quantised already"])
    nowhere = folder / "none" / "q.nir"
    refused(app, folder / "a.nir", *SHOWN, *CALIBRATED, "--save-quantized", nowhere, words=["q.nir", "folder"])


def test_integers_leave_as_onnx_that_computes_the_same(folder):
    simulate(folder / "a.nir", *SHOWN, *CALIBRATED, "--save-onnx", folder / "a.onnx", "-o", folder / "t.h5")
    trace = Trace.read(folder / "t.h5")
    session = onnxruntime.InferenceSession(folder / "a.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    document = json.loads(session.get_modelmeta().custom_metadata_map["spikeclip"])
    images = load_images("samples", 32, 2, stated_resize(document["preprocessing"], "a.onnx")).images
    found = dict(zip(names, session.run(None, {"images": images}), strict=True))
    for name, train in trace.spikes.items():
        np.testing.assert_array_equal(found[name].reshape(train.unpack().shape), train.unpack(), err_msg=name)
        np.testing.assert_array_equal(found[f"{name}/membranes"].reshape(2, -1), trace.membranes[name].reshape(2, -1))
    outputs = found["outputs"].reshape(trace.outputs.shape)
    np.testing.assert_array_equal(outputs.astype(np.float32), trace.outputs)
    # The metadata's readout makes the scores of them, as the host does.
    weights = np.array(document["readout"]["time_weights"])
    scores = (weights[:, None] * outputs).sum(1) + np.array(document["readout"]["bias"] or 0)
    np.testing.assert_allclose(scores, trace.scores, rtol=1e-6)
    refused(
        neuromorphic.cli.app, folder / "a.nir", *SHOWN, "--save-onnx", folder / "b.onnx", words=["--precision loihi2"]
    )
