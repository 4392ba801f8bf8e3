"""The report of an export says how fast each artefact is beside its checkpoint."""

import functools

import pytest

from runtime.artefacts.speed import TURNS, _rates
from tests.runtime.artefacts.exports import export


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "batches"), [((), {"1", "16"}), (("--batch_size=3",), {"3"})])
def test_the_report_has_the_speed_of_both(flags, batches, trained, tmp_path):
    found = export(tmp_path, f"--model_dir={trained}", "--format=frozen", "--speed_seconds=0.01", *flags)
    speeds = found.of("frozen")["images_per_second"]
    assert set(speeds) == batches
    for batch, speed in speeds.items():
        assert speed["artefact"] > 0 < speed["checkpoint"]
        assert (
            f"batch {batch}: {speed['artefact']:.1f} images/s, the checkpoint {speed['checkpoint']:.1f}" in found.output
        )


def test_networks_take_turns():
    called = []
    rates = _rates({name: functools.partial(called.append, name) for name in ("artefact", "checkpoint")}, 0)
    assert called == ["artefact", "artefact", "checkpoint", "checkpoint"] * TURNS  # each once to warm up
    assert rates["artefact"] > 0 < rates["checkpoint"]


@pytest.mark.parametrize("value", ["-1", "inf", "nan"])
def test_a_turn_has_a_length(value, tmp_path):
    found = export(tmp_path, "--model_dir=anything", f"--speed_seconds={value}")
    assert found.status == 2
    assert f"--speed_seconds {float(value)}: must be 0 or more" in found.error
