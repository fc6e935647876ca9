"""Where Lava's fixed-point models do something else than they say, as far as the wiring of stock processes has to know.

The models run here without Lava's runtime, each difference as small as it gets.
"""

import numpy as np
import pytest

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.dense.models import PyDenseModelBitAcc
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.sparse.models import PySparseModelBitAcc
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from neuromorphic.lava.processes.stock import IntegerConvModel
from tests.properties.lockstep import Wire


def answer(model, spikes, out_shape):
    """What a synapse's model makes of `spikes`: it sends in the step after the one in which it received."""
    model.s_in, model.a_out = Wire(), Wire()
    model.num_message_bits = np.array([24])
    model.s_in.send(np.asarray(spikes, np.int32))
    if isinstance(model, PyConvModelFixed):
        model.a_buf = np.zeros(out_shape, np.int32)
    else:
        model.a_buff = np.zeros(out_shape, np.int32)
    model.run_spk()
    model.run_spk()
    return model.a_out.message


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("weights", "parameters", "found"),
    [
        ([7, -7, 127], {}, [6, -8, 126]),  # mixed signs: the lowest bit is dropped, by floor
        ([7, 0, 127], {}, [7, 0, 127]),  # one sign: all eight bits are there
        ([7, -7, 127], {"sign_mode": SignMode.EXCITATORY}, [7, 0, 127]),
        ([300, -300, 0], {}, [254, -256, 0]),
        # Doubled, with an exponent that halves the sum: every 8-bit weight survives.
        ([14, -14, 254], {"weight_exp": -1, "sign_mode": SignMode.MIXED}, [7, -7, 127]),
        ([-256, 2, -2], {"weight_exp": -1, "sign_mode": SignMode.MIXED}, [-128, 1, -1]),
        ([14, -14, 254], {"weight_exp": 6, "sign_mode": SignMode.MIXED}, [7 << 7, -7 << 7, 127 << 7]),
    ],
)
def test_mixed_weights_lose_a_bit_and_doubled_ones_keep_all(kind, weights, parameters, found):
    if kind == "dense":
        model = PyDenseModelBitAcc(dict(parameters))
        model.weights = np.diag(np.array(weights, np.int32))
    else:
        model = PySparseModelBitAcc(dict(parameters))
        model.weights = csr_matrix(np.diag(np.array(weights, np.int32)))
    np.testing.assert_array_equal(answer(model, [1, 1, 1], (3,)), found)


def convolution(model_type, weight, exponent=0):
    model = model_type({})
    model.weight = np.full((1, 1, 1, 1), weight, np.int32)
    model.kernel_size, model.padding = np.array([1, 1]), np.array([0, 0])
    model.stride, model.dilation, model.groups = np.array([1, 1]), np.array([1, 1]), np.array([1])
    model.weight_exp, model.num_weight_bits = np.array([exponent]), np.array([8])
    return model


@pytest.mark.parametrize("model_type", [PyConvModelFixed, IntegerConvModel])
def test_conv_ignores_exponents_and_takes_weights_of_any_width(model_type):
    assert answer(convolution(model_type, 7, exponent=3), [[[1]]], (1, 1, 1)).item() == 7
    assert answer(convolution(model_type, -5001), [[[1]]], (1, 1, 1)).item() == -5001


def test_conv_wraps_at_24_bits():
    assert answer(convolution(PyConvModelFixed, 2**16), [[[128]]], (1, 1, 1)).item() == -(2**23)


def test_conv_declares_eight_bits_for_the_number_of_groups():
    declared = PyConvModelFixed.groups
    with pytest.raises(OverflowError):
        declared.cls((1,), declared.d_type)[:] = 128
    declared = IntegerConvModel.groups
    declared.cls((1,), declared.d_type)[:] = 128


def test_neurons_declare_16_bits_for_currents_and_take_more():
    assert np.dtype(PyLifResetModelBitAcc.a_in.d_type) == np.int16
    # This is how its port sums what arrives: zeros of the declared type first, then the messages.
    message = np.array([100_000], np.int32)
    assert (np.zeros(1, np.int16) + message).item() == 100_000


def test_neurons_do_not_enforce_the_widths_of_thresholds_and_biases():
    """17 bits for thresholds and 13 for mantissas are documented; graphs are checked before they come here."""
    model = PyLifResetModelBitAcc({"reset_interval": 1, "reset_offset": 0})
    model.vth, model.bias_mant, model.bias_exp = np.array([2**17]), np.array([2**13], np.int16), np.int16(0)
    model.scale_threshold()
    model.scale_bias()
    assert (model.effective_vth.item(), model.effective_bias.item()) == (2**23, 2**13)
