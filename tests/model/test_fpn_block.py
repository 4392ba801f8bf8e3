"""The pyramid, and the strides and paddings of the networks below it, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from model.blocks.fpn_block import fpn_block
from model.layers.conv2d import conv2d
from model.layers.options import LayerOptions
from model.layers.variable import tf1
from model.specs import SSD_NAMES


def ramp(side):
    """Returns the image x[i, j] = i + j."""
    return (np.arange(side)[:, None] + np.arange(side)[None]).astype(np.float32).reshape(1, side, side, 1)


def convolved(image, kernel, options, stride):
    with tf.Graph().as_default(), tf1.Session() as session:
        outputs = conv2d(tf.constant(image), 1, kernel.shape[0], options, stride=stride)
        tf1.trainable_variables()[0].load(kernel, session)
        return session.run(outputs)[0, :, :, 0].tolist()


KERNEL = ramp(3).reshape(3, 3, 1, 1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("side", "symmetric", "expected"),
    [
        (4, True, [[14, 43], [43, 84]]),
        (4, False, [[48, 37], [37, 22]]),
        (5, True, [[14, 43, 34], [43, 84, 55], [34, 55, 30]]),
        (5, False, [[14, 43, 34], [43, 84, 55], [34, 55, 30]]),
    ],
)
def test_only_of_an_even_side_does_it_matter_how_a_stride_is_padded(side, symmetric, expected, training):
    options = LayerOptions(symmetric_padding=symmetric, training=training)
    assert convolved(ramp(side), KERNEL, options, 2) == expected


def test_without_a_stride_both_paddings_are_one():
    expected = [[14, 28, 43, 26], [28, 48, 66, 37], [43, 66, 84, 46], [26, 37, 46, 22]]
    for symmetric in (True, False):
        assert convolved(ramp(4), KERNEL, LayerOptions(symmetric_padding=symmetric), 1) == expected


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("side", "expected"), [(3, [[0, 2], [6, 8]]), (4, [[0, 2], [8, 10]])])
def test_a_strided_1x1_convolution_samples_even_positions(side, expected, symmetric, training):
    image = np.arange(side**2, dtype=np.float32).reshape(1, side, side, 1)
    options = LayerOptions(symmetric_padding=symmetric, training=training)
    assert convolved(image, np.ones((1, 1, 1, 1), np.float32), options, 2) == expected


def pyramid(stages, values):
    """Computes the levels of one-channel stages; variables without a given value keep their initial one."""
    with tf.Graph().as_default(), tf1.Session() as session:
        levels = fpn_block([tf.constant(stage) for stage in stages], 1, LayerOptions(kernel_name="weights"), SSD_NAMES)
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            if variable.op.name in values:
                variable.load(np.reshape(values[variable.op.name], variable.shape), session)
        return [level[0, :, :, 0] for level in session.run(levels)]


CENTER = np.eye(9)[4]  # a 3x3 kernel that leaves a map unchanged


def test_what_is_above_is_enlarged_by_repeating_pixels_and_added():
    above = np.array([[1, 2], [3, 4]], np.float32).reshape(1, 2, 2, 1)
    stages = [np.full((1, 8, 8, 1), 10, np.float32), np.full((1, 4, 4, 1), 100, np.float32), above]
    values = {f"fpn/projection_{number}/weights": 1.0 for number in (1, 2, 3)}
    values |= {f"fpn/projection_{number}/biases": bias for number, bias in ((1, -10), (2, -99), (3, 0))}
    values |= {f"fpn/smoothing_{number}/weights": CENTER for number in (1, 2)}
    values |= {f"fpn/smoothing_{number}/BatchNorm/moving_variance": 1 - 1.001e-5 for number in (1, 2)}
    third, fourth, fifth, *_ = pyramid(stages, values)
    twice = np.repeat(np.repeat(above[0, :, :, 0], 2, axis=0), 2, axis=1)
    assert fifth.tolist() == [[1, 2], [3, 4]]
    np.testing.assert_allclose(fourth, twice + 1, rtol=1e-6)
    np.testing.assert_allclose(third, np.minimum(np.repeat(np.repeat(twice + 1, 2, axis=0), 2, axis=1), 6), rtol=1e-6)


def test_the_smaller_levels_come_from_the_raw_fifth_and_from_the_sixth():
    """Counts pixels with kernels of ones: 5x5 to 3x3 pads all sides, 2x2 to 1x1 only below and right."""
    stages = [np.zeros((1, 4 * side, 4 * side, 1), np.float32) for side in (10, 5)]
    stages.append(np.ones((1, 10, 10, 1), np.float32))
    values = {"fpn/projection_3/weights": 0.125, "fpn/bottom_up_block5/weights": np.ones(9)}
    values |= {"fpn/bottom_up_block6/weights": np.ones(9)}
    values |= {f"fpn/bottom_up_block{n}/BatchNorm/moving_variance": 1 - 1.001e-5 for n in (5, 6)}
    *_, fifth, sixth, seventh = pyramid(stages, values)
    assert (fifth == 0.125).all()
    inner, edge, corner = 9 / 8, 6 / 8, 4 / 8  # one row or column is missing below and on the right
    expected = np.full((5, 5), inner)
    expected[-1], expected[:, -1], expected[-1, -1] = edge, edge, corner
    np.testing.assert_allclose(sixth, expected, rtol=1e-5)
    assert seventh.shape == (3, 3)
    np.testing.assert_allclose(seventh[[0, 1, 2], [0, 1, 2]], [4 * inner, 6, inner + 2 * edge + corner], rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "sides"), [(256, [32, 16, 8, 4, 2]), (320, [40, 20, 10, 5, 3]), (64, [8, 4, 2, 1, 1])]
)
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_levels_halve_and_round_up_in_both_layouts_and_for_any_batch(side, sides, data_format):
    with tf.Graph().as_default():
        stages = []
        for stride, channels in ((8, 3), (16, 5), (32, 7)):
            shape = [None, side // stride, side // stride, channels]
            stages.append(
                tf1.placeholder(tf.float32, shape if data_format == "NHWC" else [None, channels, *shape[1:3]])
            )
        levels = fpn_block(stages, 4, LayerOptions(data_format=data_format), SSD_NAMES)
        shapes = [level.shape.as_list() for level in levels]
    assert shapes == [[None, s, s, 4] if data_format == "NHWC" else [None, 4, s, s] for s in sides]
