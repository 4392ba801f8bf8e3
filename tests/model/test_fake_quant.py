"""The quantizer against a second implementation and values by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from model.layers.fake_quant import FakeQuantizer
from model.layers.variable import tf1
from model.specs import QuantizationSpec
from tests.model.numpy_quantizer import MovingRange, nudged, scaled
from utils.state_updates import update_state

VALUES = np.random.default_rng(1).normal(size=(400,)).astype(np.float32)


def quantizer(*, training=False, dtype=tf.float32, **spec):
    return FakeQuantizer(QuantizationSpec(**spec), training=training, dtype=dtype)


def in_range(low, high, values, *, use="activation", **spec):
    """Evaluates values under stored ranges; returns the outputs and the gradient of their sum."""
    with tf.Graph().as_default(), tf1.Session() as session:
        inputs = tf.constant(values)
        outputs = getattr(quantizer(**spec), use)(inputs)
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            variable.load(low if variable.op.name.endswith("min") else high, session)
        return session.run([outputs, tf.gradients(outputs, inputs)[0]])


def train(batches, *, use="activation", **spec):
    """Trains on one batch after another; returns the outputs and the final values of all variables."""
    with tf.Graph().as_default(), tf1.Session() as session:
        batch = tf1.placeholder(tf.float32, batches[0].shape)
        ours = quantizer(training=True, **spec)
        outputs = getattr(ours, use)(batch)
        ours.collect_updates()
        assert not tf1.trainable_variables()
        session.run(tf1.global_variables_initializer())
        fetched = [outputs, update_state()]
        results = [session.run(fetched, {batch: values})[0] for values in batches]
        return results, {v.op.name: session.run(v) for v in tf1.global_variables()}


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.3), (0.0, 2.0), (-0.7, 0.0), (-3.0, 0.01), (-128 / 127, 1.0)])
@pytest.mark.parametrize("use", ["activation", "weights"])
@pytest.mark.parametrize("qdq", [False, True])
def test_values_and_gradients_are_those_of_the_second_implementation(low, high, use, qdq):
    found, gradient = (values.ravel() for values in in_range(low, high, VALUES.reshape(20, 20), use=use, qdq=qdq))
    model, narrow = scaled if qdq else nudged, use == "weights"
    exact = model(VALUES.astype(np.float64), low, high, narrow=narrow)
    least, most = (model(np.float64(far), low, high, narrow=narrow) for far in (-1e6, 1e6))
    level = (most - least) / (254 if narrow else 255)
    off = np.abs(found - exact) > 1e-5
    assert off.mean() < 0.01  # float32 may round a value midway between two levels to the other side
    assert np.abs(found - exact).max() < 1.01 * level
    inside = (least <= VALUES) & (most >= VALUES)
    assert 0 < inside.sum() < len(VALUES)
    assert (gradient == inside).all()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.3), (0.0, 2.0), (-0.7, 0.0), (-128 / 127, 1.0)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_zero_point_in_place_of_a_scale_alone_keeps_the_levels(low, high, symmetric):
    spec = QuantizationSpec(qdq=True, symmetric=symmetric)
    scaled_alone, _ = in_range(low, high, VALUES, **dataclasses.asdict(spec))
    found, _ = in_range(low, high, VALUES, **dataclasses.asdict(spec.by_zero_point()))
    off = np.abs(found - scaled_alone) > 1e-5
    assert off.mean() < 0.01  # as above


def test_a_range_is_moved_until_zero_is_a_level():
    # -0.1 to 2.45 is 255 levels of 0.01, and 0 is the tenth of them; in a range from -0.104 it would be the 10.4th.
    found, _ = in_range(-0.104, 2.446, np.array([-1.0, -0.104, 0.0, 0.004, 0.006, 2.446, 9.0], np.float32))
    np.testing.assert_allclose(found, [-0.1, -0.1, 0.0, 0.0, 0.01, 2.45, 2.45], atol=1e-6)


def test_weights_have_127_levels_on_either_side_of_zero():
    found, variables = train([np.array([[-1.27, 0.014], [0.006, 0.5]], np.float32)], use="weights")
    np.testing.assert_allclose(found[0], [[-1.27, 0.01], [0.01, 0.5]], atol=1e-6)
    assert variables == {"weights_quant/min": np.float32(-1.27), "weights_quant/max": np.float32(1.27)}


def test_weights_of_another_step_have_the_range_of_that_step():
    kernels = [np.array([[2.0]], np.float32), np.array([[-0.5]], np.float32)]
    found, variables = train(kernels, use="weights")
    np.testing.assert_allclose([found[0][0, 0], found[1][0, 0]], [2.0, -0.5], atol=1e-6)
    assert variables["weights_quant/max"] == np.float32(0.5)


@pytest.mark.parametrize("qdq", [False, True])
def test_each_channel_has_a_range_where_that_was_asked_for(qdq):
    kernel = np.random.default_rng(2).normal(size=(3, 3, 2, 4)).astype(np.float32) * [0.01, 0.1, 1.0, 10.0]
    found, variables = train([kernel.astype(np.float32)], use="weights", per_channel=True, qdq=qdq)
    largest = np.abs(kernel).max(axis=(0, 1, 2))
    np.testing.assert_allclose(variables["weights_quant/max"], largest, rtol=1e-6)
    for channel, end in enumerate(largest):
        exact = (scaled if qdq else nudged)(kernel[..., channel], -end, end, narrow=True)
        assert (np.abs(found[0][..., channel] - exact) < 1e-5 * end).mean() > 0.9
        assert np.abs(found[0][..., channel] - exact).max() < 1.01 * end / 127


@pytest.mark.parametrize("symmetric", [False, True])
def test_ranges_of_activations_are_moving_averages_without_the_bias_of_their_start(symmetric):
    batches = [scale * VALUES + shift for scale, shift in ((1, 0.0), (2, 0.5), (0.1, -3.0))]
    found, variables = train(batches, symmetric=symmetric)
    model = MovingRange(symmetric=symmetric)
    for batch, quantized in zip(batches, found, strict=True):
        low, high = model.after(batch)
        assert (np.abs(quantized - nudged(batch, low, high)) < 1e-4).mean() > 0.98
    np.testing.assert_allclose([variables["act_quant/min"], variables["act_quant/max"]], [low, high], rtol=1e-5)
    assert variables["act_quant/act_quant/min/local_step"] == 3
    assert sorted(variables) == sorted(
        ["act_quant/min", "act_quant/max"]
        + [f"act_quant/act_quant/{end}/{kind}" for end in ("min", "max") for kind in ("biased", "local_step")]
    )


def test_a_symmetric_range_has_128_levels_below_zero_and_127_above():
    found, variables = train([np.array([-0.3, 1.0], np.float32)], symmetric=True)
    np.testing.assert_allclose([variables["act_quant/min"], variables["act_quant/max"]], [-128 / 127, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found[0], [-38 / 127, 1.0], atol=1e-6)  # -0.3 is -38.1 levels


def test_quantization_begins_after_the_delay_and_ranges_follow_from_the_first_step():
    batches = [VALUES, VALUES, VALUES]
    found, variables = train(batches, delay=2)
    np.testing.assert_array_equal(found[0], VALUES)
    np.testing.assert_array_equal(found[1], VALUES)
    assert 1e-4 < np.abs(found[2] - VALUES).max() < 0.02
    assert variables["fake_quantization_step"] == 3
    assert variables["act_quant/act_quant/max/local_step"] == 3


def test_evaluation_knows_no_delay_and_has_only_the_ends_of_ranges():
    with tf.Graph().as_default():
        quantizer(delay=2).activation(tf.zeros([2]))
        assert [v.op.name for v in tf1.global_variables()] == ["act_quant/min", "act_quant/max"]


def test_tensors_of_one_range_share_what_holds_them_all():
    first, second = np.array([-1.0, 2.0], np.float32), np.array([-3.0, 1.0], np.float32)
    with tf.Graph().as_default(), tf1.Session() as session:
        ours = quantizer(training=True)
        start = ours.activation(tf.constant(first))
        joined = ours.joined(tf.constant(second), ours.same(tf.identity(start), start))
        mean = ours.within(tf.constant([0.111, 9.0]), joined)
        ours.collect_updates()
        session.run(tf1.global_variables_initializer())
        found = session.run([start, joined, mean, update_state()])[:3]
        ends = session.run([v for v in tf1.global_variables() if v.op.name in ("act_quant/min", "act_quant/max")])
        steps = session.run([v for v in tf1.global_variables() if "local_step" in v.op.name])
    np.testing.assert_allclose(ends, [-3.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(found[1], nudged(second, -3.0, 2.0), atol=1e-5)
    np.testing.assert_allclose(found[2], nudged(np.array([0.111, 9.0]), -3.0, 2.0), atol=1e-5)
    assert steps == [1.0, 1.0]


def test_an_activation_that_is_all_zero_stays_zero():
    for qdq in (False, True):
        found, _ = train([np.zeros(3, np.float32)], qdq=qdq)
        np.testing.assert_array_equal(found[0], [0, 0, 0])


def test_the_quantizer_rounds_in_float32_whatever_type_comes():
    values = np.linspace(-0.5, 2.7, 300).astype(np.float32)
    with tf.Graph().as_default(), tf1.Session() as session:
        outputs = quantizer(dtype=tf.bfloat16).fixed(tf.constant(values), 0.0, 2.55)
        assert outputs.dtype == tf.bfloat16
        expected = tf.cast(tf.constant(nudged(values, 0.0, 2.55), tf.float32), tf.bfloat16)
        found, expected = session.run([tf.cast(outputs, tf.float32), tf.cast(expected, tf.float32)])
    np.testing.assert_array_equal(found, expected)
