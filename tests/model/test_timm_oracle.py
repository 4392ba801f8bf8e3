"""The networks against timm's, forward and backward, with shared random weights and equal padding.

torch and timm live in a separate environment; without it these tests are skipped. To run them:

    python3.11 -m venv .venv-oracle
    .venv-oracle/bin/pip install torch==2.13.0
    .venv-oracle/bin/pip install --no-deps -r requirements/oracle.txt
    ORACLE_PYTHON=.venv-oracle/bin/python .venv/bin/python -m pytest -s tests/model/test_timm_oracle.py

timm computes in float64, so the differences come from the rounding of our float32. ``-s`` prints them: the norm of the
difference relative to the norm of timm's tensor, for the logits and for each variable's gradient. The one exception is
the shifts (beta) in training mode. The next batch normalization subtracts most of them again, which leaves gradients of
nearly or exactly 0. Their differences are relative to the gradient of the same layer's scale (gamma) if that is larger.
In inference mode they are compared like all others.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from model.specs import RESNETS
from tests.model.oracle.tensorflow_side import Pass, run
from tests.model.oracle.weights import decided_weights

SCRIPT = Path(__file__).parent / "oracle" / "timm_side.py"
TOLERANCE = 1e-4
CLASSES = 11
SIZE = 64  # even down to 2 x 2: every stride pads at the bottom and right only
BATCH = 4
MODES = ("inference", "training")


def relative(value, expected, least=0.0):
    """Returns the norm of the difference relative to the norm of the expected value, or to ``least`` if larger."""
    return float(np.linalg.norm(value.astype(np.float64) - expected) / max(np.linalg.norm(expected), least))


def gradient_errors(ours, timm, *, training):
    """Returns the relative distance of each gradient."""
    errors = {}
    for variable, expected in timm.items():
        shift = training and variable.endswith("/BatchNorm/beta")
        least = np.linalg.norm(timm[variable.replace("beta", "gamma")]) if shift else 0.0
        errors[variable] = relative(ours[variable], expected, least)
    return errors


def timm_passes(oracle, folder, **data):
    """Runs timm on the arrays, in inference and in training mode."""
    source, target = folder / "input.npz", folder / "output.npz"
    np.savez(source, **data)
    subprocess.run([oracle, SCRIPT, source, target], check=True, timeout=600)
    with np.load(target) as results:
        arrays = {key: results[key] for key in results.files}
    source.unlink()  # pytest keeps its folders, and these are large
    target.unlink()
    return [Pass(arrays[f"{m}/logits"], *(_below(arrays, f"{m}/{g}/") for g in ("gradients", "moved"))) for m in MODES]


def _below(arrays, prefix):
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


@pytest.mark.slow
@pytest.mark.parametrize("name", RESNETS)
def test_logits_and_all_gradients_are_timms(oracle, tmp_path, name):
    generator = np.random.default_rng(7)
    images = generator.standard_normal((BATCH, SIZE, SIZE, 3), np.float32)
    cotangent = generator.standard_normal((BATCH, CLASSES), np.float32)
    weights = decided_weights(RESNETS[name], CLASSES, images, seed=8)
    named = {f"weights/{variable}": array for variable, array in weights.items()}
    expected = timm_passes(oracle, tmp_path, name=name, images=images, cotangent=cotangent, **named)
    passes = run(RESNETS[name], weights, images, cotangent=cotangent)
    for mode, ours, timm in zip(MODES, passes, expected, strict=True):
        logits = relative(ours.logits, timm.logits)
        assert ours.gradients.keys() == timm.gradients.keys()
        gradients = gradient_errors(ours.gradients, timm.gradients, training=mode == "training")
        moved = {variable: relative(value, timm.moved[variable]) for variable, value in ours.moved.items()}
        worst = max(gradients, key=gradients.__getitem__)
        print(
            f"\n{name}, {mode}: logits {logits:.1e}, worst of {len(gradients)} gradients {gradients[worst]:.1e} "
            f"({worst}), moving statistics {max(moved.values(), default=0.0):.1e}"
        )
        assert logits < TOLERANCE
        assert {variable: error for variable, error in gradients.items() if not error < TOLERANCE} == {}
        assert {variable: error for variable, error in moved.items() if not error < TOLERANCE} == {}
