"""Parameters and FLOPs, by hand for layers and against published figures for whole networks."""

import time

import pytest
import tensorflow as tf

from model.layers.choices import Choice, Choices
from model.layers.conv2d import conv2d
from model.layers.dense import dense
from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import CHOSEN_CONVOLUTIONS, RESNETS
from runtime.planning.model_size import NetworkSize, network_size

tf1 = tf.compat.v1


def images_of(batch, size=8, channels=3):
    return tf1.placeholder(tf.float32, [batch, size, size, channels])


@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize("training", [False, True])
def test_a_convolution_and_a_matrix_product_count_two_operations_a_multiplication(batch, training):
    with tf.Graph().as_default():
        images, options = images_of(batch), LayerOptions(training=training)
        features = conv2d(images, 10, 3, options, stride=2)  # 4 * 4 pixels, 10 filters of 3 * 3 * 3
        features = conv2d_in_scope(features, options)  # 4 * 4 pixels, 20 filters of 1 * 1 * 10
        dense(tf.reduce_mean(features, [1, 2]), 7, options, tf1.zeros_initializer())  # 20 * 7
        found = network_size(images)
    multiplications = 4 * 4 * 10 * 27 + 4 * 4 * 20 * 10 + 20 * 7
    assert found == NetworkSize(parameters=27 * 10 + 10 * 20 + 20 * 7 + 7, flops=2 * multiplications, image_size=8)


def conv2d_in_scope(features, options):
    with tf1.variable_scope("second"):
        return conv2d(features, 20, 1, options)


@pytest.mark.parametrize("way", ["native", "split"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_groups_and_layouts_count_the_same(way, layout):
    with tf.Graph().as_default():
        shape = [2, 8, 8, 12] if layout == "NHWC" else [2, 12, 8, 8]
        images = tf1.placeholder(tf.float32, shape)
        with tf1.variable_scope("grouped"):
            conv2d(images, 24, 3, LayerOptions(data_format=layout, grouped_convolution=way), groups=4)
        found = network_size(images)
    assert (found.parameters, found.flops) == (27 * 24, 2 * 8 * 8 * 24 * 27)


@pytest.mark.parametrize(
    ("forward", "groups"), [("split", 4), ("joined_2", 4), ("joined_4", 4), ("patches", 1), ("winograd", 1)]
)
def test_the_formulation_of_a_convolution_does_not_change_its_count(forward, groups):
    key = f"2 x 8 x 7 x 12, 3 x 3 to 24, stride 1, groups {groups}, SAME, float32"
    options = LayerOptions(training=True, choices=Choices(measured={key: Choice(forward)}))
    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, [2, 8, 7, 12])
        conv2d(images, 24, 3, options, groups=groups)
        found = network_size(images)
        assert graph.get_collection(CHOSEN_CONVOLUTIONS)[0].names[0] == forward
    flops = 2 * 8 * 7 * 24 * 9 * 12 // groups
    assert (found.parameters, found.flops) == (9 * 12 // groups * 24, flops)


# Networks of 1,000 classes: parameters, and multiply-adds in billions, as timm and the papers state them.
PUBLISHED = {"resnet18": (11_689_512, 1.82), "resnet50": (25_557_032, 4.09)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_whole_networks_have_their_published_sizes_and_are_counted_in_no_time(name):
    with tf.Graph().as_default():
        images = images_of(None, 224)
        resnet(images, RESNETS[name], 1000, LayerOptions())
        began = time.process_time()
        found = network_size(images)
        took = time.process_time() - began
    parameters, billions = PUBLISHED[name]
    assert found.parameters == parameters
    assert found.flops / 2e9 == pytest.approx(billions, abs=0.03)
    assert took < 0.2
