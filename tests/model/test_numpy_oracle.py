"""The networks against a float64 NumPy implementation, with shared random weights."""

import dataclasses

import numpy as np
import pytest

from model.specs import RESNETS, ResNetSpec
from tests.model import test_resnet
from tests.model.oracle.numpy_resnet import Network
from tests.model.oracle.tensorflow_side import run
from tests.model.oracle.weights import random_weights, variable_shapes

TINY = ResNetSpec(name="tiny", blocks=(1, 2), widths=(8, 16), expansion=2, cardinality=4, se_ratio=2, stem_width=8)
BASIC = dataclasses.replace(test_resnet.BASIC, se_ratio=2)
TOLERANCE = 1e-4
CLASSES = 11


def images(size, count=2):
    return np.random.default_rng(1).standard_normal((count, size, size, 3), np.float32)


def distance(value, expected):
    """Returns the norm of the difference relative to the norm of the expected value."""
    return np.linalg.norm(value - expected) / np.linalg.norm(expected)


# 48 px: even maps, padded at the bottom and right only, down to 3 x 3; only the last stride meets an odd map. Not every
# network runs in both modes, to save time: the tiny one below has every kind of layer and runs in both.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "modes"),
    [
        ("resnet50", (False, True)),
        pytest.param("resnext101-32x4d", (False,), marks=pytest.mark.slow),
        pytest.param("se-resnext101-32x4d", (True,), marks=pytest.mark.slow),
    ],
)
def test_real_networks_compute_what_numpy_does(name, modes):
    assert_equal_passes(RESNETS[name], images(48), seed=2, modes=modes)


@pytest.mark.parametrize("size", [31, 32, 33, 34])
@pytest.mark.parametrize("spec", [TINY, BASIC])
def test_every_remainder_of_the_strides_is_padded_as_numpy_pads_it(spec, size):
    assert_equal_passes(spec, images(size), seed=3, modes=(False, True))


# Conventions of other programs: PyTorch's padding, and slim's with strides on the first 1x1 convolutions.
@pytest.mark.parametrize("size", [31, 32, 33, 34])
@pytest.mark.parametrize(("padding", "strided"), [("symmetric", "3x3"), ("symmetric_convolutions", "1x1")])
def test_networks_of_other_programs_compute_what_numpy_does(size, padding, strided):
    spec = TINY.as_trained(padding=padding, epsilon=3e-3, strided=strided)
    assert_equal_passes(spec, images(size), seed=3, modes=(False, True))
    weights = random_weights(variable_shapes(TINY, CLASSES), 3)
    changed, usual = (Network(kind, weights, training=False).logits(images(size)) for kind in (spec, TINY))
    assert distance(changed, usual) > 10 * TOLERANCE


def test_a_convention_that_says_nothing_changes_nothing():
    assert TINY.as_trained(padding=None, epsilon=None, strided=None) == TINY
    assert TINY.as_trained(padding="same", epsilon=None, strided="3x3") == TINY


def assert_equal_passes(spec, batch, seed, modes):
    """Compares logits, and in training the moving statistics after the step."""
    weights = random_weights(variable_shapes(spec, CLASSES), seed)
    for training, ours in zip(modes, run(spec, weights, batch, modes=modes), strict=True):
        oracle = Network(spec, weights, training=training)
        assert distance(ours.logits, oracle.logits(batch)) < TOLERANCE
        assert ours.moved.keys() == oracle.moved.keys()
        far = [name for name, value in oracle.moved.items() if not distance(ours.moved[name], value) < TOLERANCE]
        assert not far


def test_epsilon_is_exact_where_variances_are_as_small():
    # gamma / sqrt(variance) stays near 1; an epsilon of 1e-5 would move each normalization by a quarter per mille.
    weights = random_weights(variable_shapes(TINY, CLASSES), seed=4)
    for name in weights:
        if name.endswith("/moving_variance"):
            weights[name] *= 1e-5
        if name.endswith("/gamma"):
            weights[name] *= 4e-3
    (ours,) = run(TINY, weights, images(32), modes=(False,))
    assert distance(ours.logits, Network(TINY, weights, training=False).logits(images(32))) < 2e-5


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("spec", [dataclasses.replace(TINY, cardinality=1), TINY, BASIC])
def test_gradient_of_every_variable_is_the_slope_that_numpy_measures(training, spec):
    """Measures along a random direction, so that every element counts: the slope is <gradient, direction>."""
    generator = np.random.default_rng(5)
    weights = random_weights(variable_shapes(spec, CLASSES), seed=6)
    cotangent = generator.standard_normal((2, CLASSES), np.float32)
    (ours,) = run(spec, weights, images(17), cotangent=cotangent, modes=(training,))
    assert ours.gradients.keys() == {name for name in weights if "/moving_" not in name}
    for name, gradient in ours.gradients.items():
        direction = generator.standard_normal(gradient.shape)
        assert np.abs(gradient).max() > 0, name
        slope = measured_slope(spec, weights, name, direction, cotangent, training=training)
        error = abs(np.vdot(gradient, direction) - slope)
        assert error < TOLERANCE * np.linalg.norm(gradient), f"{name}: slope {slope}, off by {error}"


def measured_slope(spec, weights, name, direction, cotangent, *, training, step=1e-7):
    """Returns the central difference of sum(logits * cotangent) along ``direction`` of one variable."""
    values = []
    for sign in (1, -1):
        moved = weights | {name: weights[name].astype(np.float64) + sign * step * direction}
        values.append(np.vdot(Network(spec, moved, training=training).logits(images(17)), cotangent))
    return (values[0] - values[1]) / (2 * step)
