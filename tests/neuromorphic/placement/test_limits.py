"""The limits as their sources print them: copied from there a second time, by hand."""

import pytest

from neuromorphic.placement.limits import PROFILES

COMPILER = {
    "axons_in": 16_000,
    "axons_out": 16_000,
    "delay": 63,
    "weight_bits": 8,
    "target_bits": 12,
    "list_bits": 12,
    "word_bits": 64,
    "membrane_bytes": 3,
    "accumulator_bytes": 3,
    "bias_bytes": 2,
    "axon_bytes": 8,
    "synapse_ns": 3.5 / 5,
    "neuron_ns": 8.4 / 2,
    "step_ns": 200,
}
CHIP = COMPILER | {
    "cores_per_chip": 128,
    "neurons": 8192,
    "memory": 192 * 1024,
    "synaptic_memory": 128 * 1024,
    "axons_in": 4096,
    "axons_out": 4096,
    "target_bits": 0,
    "list_bits": 0,
    "word_bits": 8,
    "axon_bytes": 4,
}


@pytest.mark.parametrize(("profile", "expected"), [("compiler", COMPILER), ("chip", CHIP)])
def test_limits_are_those_of_their_sources(profile, expected):
    found = {name: limit.value for name, limit in PROFILES[profile].items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
