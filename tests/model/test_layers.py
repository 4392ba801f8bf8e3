"""Layers against arithmetic by hand and in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from model.blocks.conv2d_block import conv2d_block
from model.layers.batch_norm import batch_norm
from model.layers.choices import Choices
from model.layers.conv2d import conv2d, probe_grouped_convolution
from model.layers.options import LayerOptions
from model.layers.pooling import max_pool, spatial_mean
from model.layers.squeeze_excitation import squeeze_excitation
from model.layers.variable import tf1
from utils.state_updates import update_state

RAMP = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)


def evaluate(build, *, updates=False):
    """Returns the value of ``build()`` and all variables by name, optionally after the updates of batch norm."""
    with tf.Graph().as_default(), tf1.Session() as session:
        tensor = build()
        session.run(tf1.global_variables_initializer())
        value = session.run([tensor, *([update_state()] if updates else [])])[0]
        return value, {v.op.name: session.run(v) for v in tf1.global_variables()}


def test_stride_2_pads_an_even_map_at_the_bottom_and_right_only():
    # Input x[i,j] = i + j, kernel w[i,j] = i + j: windows begin at rows and columns 0 and 2.
    image = (np.arange(4)[:, None] + np.arange(4)[None, :]).astype(np.float32).reshape(1, 4, 4, 1)
    kernel = (np.arange(3)[:, None] + np.arange(3)[None, :]).astype(np.float32).reshape(3, 3, 1, 1)
    with tf.Graph().as_default(), tf1.Session() as session:
        outputs = conv2d(tf.constant(image), 1, 3, LayerOptions(), stride=2)
        session.run(tf1.trainable_variables()[0].assign(kernel))
        np.testing.assert_array_equal(session.run(outputs)[0, :, :, 0], [[48, 37], [37, 22]])


def test_max_pool_of_an_even_map_pads_at_the_bottom_and_right_only():
    value, _ = evaluate(lambda: max_pool(tf.constant(RAMP), 3, 2, LayerOptions()))
    np.testing.assert_array_equal(value[0, :, :, 0], [[10, 11], [14, 15]])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_symmetric_max_pool_pads_all_sides(data_format):
    image = RAMP if data_format == "NHWC" else RAMP.transpose(0, 3, 1, 2)
    options = LayerOptions(data_format=data_format)
    value, _ = evaluate(lambda: max_pool(tf.constant(image), 3, 2, options, symmetric=True))
    np.testing.assert_array_equal(np.squeeze(value), [[5, 7], [13, 15]])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_symmetric_padding_of_a_strided_convolution_pads_all_sides(data_format):
    # Windows of ones begin a row and a column before the image: sums of 2 x 2, 2 x 3, 3 x 2 and 3 x 3 pixels.
    image = RAMP if data_format == "NHWC" else RAMP.transpose(0, 3, 1, 2)
    with tf.Graph().as_default(), tf1.Session() as session:
        options = LayerOptions(data_format=data_format, symmetric_padding=True)
        outputs = conv2d(tf.constant(image), 1, 3, options, stride=2)
        session.run(tf1.trainable_variables()[0].assign(np.ones((3, 3, 1, 1))))
        np.testing.assert_array_equal(np.squeeze(session.run(outputs)), [[10, 24], [51, 90]])


def test_a_strided_1x1_convolution_samples_even_positions():
    with tf.Graph().as_default(), tf1.Session() as session:
        outputs = conv2d(tf.constant(RAMP), 1, 1, LayerOptions(), stride=2)
        session.run(tf1.trainable_variables()[0].assign(np.ones((1, 1, 1, 1))))
        np.testing.assert_array_equal(session.run(outputs)[0, :, :, 0], [[0, 2], [8, 10]])


@pytest.mark.parametrize("kind", ["native", "split"])
def test_a_group_sees_its_own_channels_only(kind):
    images = np.random.default_rng(1).normal(size=(1, 5, 5, 4)).astype(np.float32)
    options = LayerOptions(grouped_convolution=kind)
    value, variables = evaluate(lambda: conv2d(tf.constant(images), 6, 1, options, groups=2))
    kernel = variables["group_filter"]
    assert kernel.shape == (1, 1, 2, 6)
    expected = np.concatenate([images[..., :2] @ kernel[0, 0, :, :3], images[..., 2:] @ kernel[0, 0, :, 3:]], axis=-1)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with (
        tf.Graph().as_default(),
        pytest.raises(ValueError, match="3 groups do not divide 4 input and 6 output channels"),
    ):
        conv2d(tf.zeros([1, 5, 5, 4]), 6, 3, LayerOptions(), groups=3)


def test_batch_norm_in_training_uses_the_batch_and_moves_with_the_corrected_variance():
    images = np.random.default_rng(2).normal(3.0, 2.0, size=(4, 3, 2, 5)).astype(np.float32)
    value, variables = evaluate(lambda: batch_norm(tf.constant(images), LayerOptions(training=True)), updates=True)
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    np.testing.assert_allclose(value, (images - mean) / np.sqrt(variance + 1.001e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variables["BatchNorm/moving_mean"], 0.1 * mean, rtol=1e-5)
    corrected = variance * 24 / 23  # 4 * 3 * 2 values a channel
    np.testing.assert_allclose(variables["BatchNorm/moving_variance"], 0.9 + 0.1 * corrected, rtol=1e-5)


def test_batch_norm_over_replicas_uses_the_statistics_of_all_their_batches():
    images = np.random.default_rng(2).normal(3.0, 2.0, size=(4, 3, 2, 5)).astype(np.float32)
    own, others = images[:2], images[2:]

    def average(moments):
        """Averages this replica's means and mean squares with those of the other."""
        theirs = np.stack([others.mean(axis=(0, 1, 2)), np.square(others).mean(axis=(0, 1, 2))])
        return (moments + theirs.astype(np.float32)) / 2

    options = LayerOptions(training=True, average=average, replicas=2)
    value, variables = evaluate(lambda: batch_norm(tf.constant(own), options), updates=True)
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    np.testing.assert_allclose(value, (own - mean) / np.sqrt(variance + 1.001e-5), rtol=1e-3, atol=1e-4)
    corrected = variance * 24 / 23  # 4 * 3 * 2 values a channel, in both batches
    np.testing.assert_allclose(variables["BatchNorm/moving_variance"], 0.9 + 0.1 * corrected, rtol=1e-4)


def test_normalization_in_inference_is_folded_into_the_convolution_and_updates_nothing():
    images = np.random.default_rng(5).normal(size=(1, 4, 4, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf1.Session() as session:
        outputs = conv2d_block(tf.constant(images), 2, 1, LayerOptions(), name="block")
        assert not tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
        values = {"gamma": [2.0, 3.0], "beta": [0.5, -1.0], "moving_mean": [1.0, -2.0], "moving_variance": [4.0, 0.0]}
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            if (name := variable.op.name.rpartition("/")[2]) in values:
                session.run(variable.assign(values[name]))
        kernel = session.run(next(v for v in tf1.global_variables() if v.op.name == "block/conv2d/kernel"))
        convolved = images @ kernel[0, 0]
        deviation = np.sqrt(np.array(values["moving_variance"]) + 1.001e-5)
        expected = (convolved - values["moving_mean"]) / deviation * values["gamma"] + values["beta"]
        np.testing.assert_allclose(session.run(outputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("machine", ["bfloat16", "avx2"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("size", [(6, 6), (7, 7), (6, 7), (1, 2)])
def test_a_convolution_in_training_and_its_gradients_are_tensorflows_own(size, kernel_size, stride, dtype, machine):
    rng = np.random.default_rng(6)
    images = rng.normal(size=(2, *size, 8)).astype(np.float32)
    weights = rng.normal(size=(2, *(-(-side // stride) for side in size), 4)).astype(np.float32)
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        inputs = tf.constant(images)
        options = LayerOptions(training=True, compute_dtype=dtype, choices=Choices(machine=machine))
        ours = conv2d(inputs, 4, kernel_size, options, stride=stride)
        assert ours.shape == weights.shape
        (kernel,) = tf1.trainable_variables()
        theirs = tf.nn.conv2d(inputs, kernel, stride, "SAME")
        results = []
        for outputs in (ours, theirs):
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
            results.append([tf.cast(outputs, tf.float32), *tf.gradients(loss, [inputs, kernel])])
        products = any(op.type == "MatMul" for op in graph.get_operations())
        session.run(tf1.global_variables_initializer())
        results = session.run(results)
    assert products == (kernel_size == 1 or (machine == "bfloat16" and dtype == tf.bfloat16))
    for found, exact in zip(*results, strict=True):
        np.testing.assert_allclose(found, exact, atol=(1e-5 if dtype == tf.float32 else 0.02) * np.abs(exact).max())


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_on_a_gpu_training_convolves_as_tensorflow_does(kernel_size):
    with tf.Graph().as_default() as graph:
        options = LayerOptions(training=True, compute_dtype=tf.bfloat16, device="gpu")
        outputs = conv2d(tf.zeros([2, 6, 6, 8], tf.bfloat16), 4, kernel_size, options, stride=2)
        tf.gradients(outputs, tf1.trainable_variables())
        types = {op.type for op in graph.get_operations()}
    assert {"Conv2D", "Conv2DBackpropFilter"} <= types
    assert not types & {"MatMul", "Reshape", "Slice", "StridedSlice"}  # the forms for CPUs


def test_squeeze_excitation_scales_each_channel_by_its_gate():
    images = np.random.default_rng(3).normal(size=(2, 3, 3, 8)).astype(np.float32)
    value, v = evaluate(lambda: squeeze_excitation(tf.constant(images), 4, LayerOptions(), name="se"))
    squeeze = np.maximum(images.mean(axis=(1, 2)) @ v["se/dense/kernel"] + v["se/dense/bias"], 0)
    gate = 1 / (1 + np.exp(-(squeeze @ v["se/dense_1/kernel"] + v["se/dense_1/bias"])))
    np.testing.assert_allclose(value, images * gate[:, None, None, :], rtol=1e-5, atol=1e-6)


def test_spatial_mean_is_the_same_in_both_layouts():
    images = np.random.default_rng(4).normal(size=(2, 3, 5, 4)).astype(np.float32)
    first, _ = evaluate(lambda: spatial_mean(tf.constant(images), LayerOptions()))
    second, _ = evaluate(
        lambda: spatial_mean(tf.constant(images.transpose(0, 3, 1, 2)), LayerOptions(data_format="NCHW"))
    )
    np.testing.assert_allclose(first, images.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-6)


# Standard deviation before truncation at 2 sigma is sqrt(2 / fan) / 0.8796, so sqrt(2 / fan) after it. A filter of 32
# groups of a 3x3 convolution from 256 to 512 channels has fan_in 9 * 8 and fan_out 9 * 16 in each group.
@pytest.mark.parametrize(("mode", "dense_fan", "group_fan"), [("fan_in", 9 * 256, 9 * 8), ("fan_out", 9 * 512, 9 * 16)])
def test_kernels_are_scaled_by_the_fan_that_was_asked_for(mode, dense_fan, group_fan):
    options = LayerOptions(weight_init=mode)
    _, dense = evaluate(lambda: conv2d(tf.zeros([1, 4, 4, 256]), 512, 3, options))
    _, grouped = evaluate(lambda: conv2d(tf.zeros([1, 4, 4, 256]), 512, 3, options, groups=32))
    for kernel, fan in ((dense["conv2d/kernel"], dense_fan), (grouped["group_filter"], group_fan)):
        expected = np.sqrt(2 / fan)
        np.testing.assert_allclose(kernel.std(), expected, rtol=0.02)
        assert np.abs(kernel).max() <= 2 * expected / 0.8796 * 1.001


def test_a_block_names_its_variables_as_published_checkpoints_do():
    _, plain = evaluate(lambda: conv2d_block(tf.zeros([1, 4, 4, 8]), 8, 3, LayerOptions(), name="bottleneck_1"))
    _, grouped = evaluate(
        lambda: conv2d_block(tf.zeros([1, 4, 4, 8]), 8, 3, LayerOptions(), groups=2, name="bottleneck_2")
    )
    statistics = ["beta", "gamma", "moving_mean", "moving_variance"]
    assert sorted(plain) == [*(f"bottleneck_1/BatchNorm/{s}" for s in statistics), "bottleneck_1/conv2d/kernel"]
    assert sorted(grouped) == [
        *(f"bottleneck_2/BatchNorm/{s}" for s in statistics),
        "bottleneck_2/bottleneck_2group_filter",
    ]


def test_the_probe_finds_what_this_device_can_do():
    assert probe_grouped_convolution("NHWC", tf.float32, tf1.ConfigProto()) in ("native", "split")


@pytest.mark.parametrize(
    ("error", "choice"),
    [
        (tf.errors.UnimplementedError(None, None, "grouped convolutions are not supported"), "split"),
        (tf.errors.InvalidArgumentError(None, None, "No OpKernel was registered"), "split"),
        (tf.errors.UnimplementedError(None, None, "DNN library is not found."), None),
        (tf.errors.InternalError(None, None, "cuDNN launch failure"), None),
    ],
)
def test_only_a_missing_kernel_splits_the_groups(monkeypatch, error, choice):
    run = tf1.Session.run

    def running(session, fetches, *more):
        if isinstance(fetches, list):  # the gradients
            raise error
        return run(session, fetches, *more)

    monkeypatch.setattr(tf1.Session, "run", running)
    if choice is None:
        with pytest.raises(type(error)):
            probe_grouped_convolution("NHWC", tf.float32, tf1.ConfigProto())
    else:
        assert probe_grouped_convolution("NHWC", tf.float32, tf1.ConfigProto()) == choice
