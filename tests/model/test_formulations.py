"""Every formulation of a convolution and of its gradients against TensorFlow's own, and the chooser between them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from model.layers.choices import MATRIX, NATIVE, RULES, Choice, Choices, Signature
from model.layers.conv2d import conv2d
from model.layers.formulations import DIRECTIONS, convolve_as, fault_of, suitable
from model.layers.options import LayerOptions
from model.specs import CHOSEN_CONVOLUTIONS
from utils.system.machine import BFLOAT16_FEATURES, cpu_features

tf1 = tf.compat.v1
BFLOAT16, AVX512, AVX2 = (Choices(machine=name) for name in ("bfloat16", "avx512", "avx2"))


def signature(height=6, width=7, *, batch=2, channels=16, filters=16, size=3, stride=1, groups=1, **more):
    more = {"padding": "SAME", "dtype": "float32"} | more
    return Signature(
        batch=batch, height=height, width=width, channels=channels, filters=filters, size=size, stride=stride,
        groups=groups, **more,
    )  # fmt: skip


SHAPES = [
    signature(size=1, filters=24),
    *(
        signature(*sides, size=size, stride=stride, filters=24)
        for sides, size, stride in itertools.product(((6, 7), (1, 2)), (3, 7), (1, 2))
    ),
    signature(9, 8, stride=2, padding="VALID", filters=24),
    signature(7, 8, filters=24),
    signature(6, 6, filters=24),
    signature(7, 7, size=2, filters=24),  # an even kernel has no middle to be mirrored at
    signature(channels=16, filters=32, groups=8),
    signature(channels=16, filters=16, groups=8, stride=2),
    signature(9, 8, channels=16, filters=16, groups=4, stride=2, padding="VALID"),
    signature(channels=24, filters=12, groups=6),  # 6 groups are joined by twos only
    signature(channels=16, filters=16, groups=4, size=1),
]


def results_of(choices, shape):
    """The output and both gradients by each choice, and as the first those of TensorFlow in float32, all as float64."""
    rng, dtype = np.random.default_rng(0), tf.as_dtype(shape.dtype)
    kernel_shape = (shape.size, shape.size, shape.channels // shape.groups, shape.filters)
    image_shape = (shape.batch, shape.height, shape.width, shape.channels)
    with tf.Graph().as_default(), tf1.Session() as session:
        output_shape = (shape.batch, *shape.output_sides, shape.filters)
        tensors = [tf.constant(rng.normal(size=one), dtype) for one in (image_shape, kernel_shape, output_shape)]
        exact = replace(shape, dtype="float32")
        ways = [(NATIVE, exact, [tf.cast(one, tf.float32) for one in tensors])]
        ways += [(choice, shape, tensors) for choice in choices]
        results = []
        for choice, one, (x, k, dy) in ways:
            y = convolve_as(choice, x, k, one)
            assert y.shape == dy.shape
            results.append([tf.cast(found, tf.float64) for found in (y, *tf.gradients(y, [x, k], dy))])
        return session.run(results)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.key)
def test_every_formulation_is_the_convolution_within_rounding(shape, dtype):
    if dtype == "bfloat16" and shape.groups > 1 and not BFLOAT16_FEATURES & cpu_features():
        pytest.skip("TensorFlow has grouped gradients in bfloat16 only where the CPU has instructions for the type")
    shape = replace(shape, dtype=dtype)
    names = [suitable(direction, shape)[1:] for direction in DIRECTIONS]  # without TensorFlow's own
    choices = [Choice(*one) for one in itertools.zip_longest(*names, fillvalue="native")]
    assert choices
    exact, *others = results_of(choices, shape)
    for choice, found in zip(choices, others, strict=True):
        for name, one, other in zip(choice.names, found, exact, strict=True):
            bound = (1e-5 if dtype == "float32" else 0.05) * np.abs(other).max()  # oneDNN sums filters in bfloat16
            np.testing.assert_allclose(one, other, atol=bound, rtol=0, err_msg=name)


def test_the_shapes_of_the_test_above_have_every_formulation():
    for direction, rows in DIRECTIONS.items():
        assert {name for shape in SHAPES for name in suitable(direction, shape)} == set(rows)


def test_formulations_are_only_for_what_they_compute():
    assert "matrix" not in suitable("forward", signature(size=3))
    assert "mirrored" not in suitable("input_gradient", signature(stride=2))
    assert "mirrored" not in suitable("input_gradient", signature(size=2))
    assert suitable("filter_gradient", signature(groups=2)) == ["native", "split", "joined_2"]
    large = signature(112, 112, batch=64, channels=64, filters=3)  # patches of 1.8 GB, of the output's gradient 87 MB
    assert suitable("forward", large) == ["native"]
    assert suitable("filter_gradient", large) == ["native", "taps"]
    assert suitable("input_gradient", large) == ["native", "mirrored", "mirrored_patches"]
    assert "winograd" in suitable("forward", signature())
    for change in ({"dtype": "bfloat16"}, {"size": 7}, {"stride": 2}, {"groups": 2}, {"padding": "VALID"}):
        assert "winograd" not in suitable("forward", signature(**change))


@pytest.mark.parametrize("chooser", [BFLOAT16, AVX512, AVX2])
def test_without_a_table_few_pixels_are_matrix_products_on_every_cpu(chooser):
    few, many = signature(16, 32, size=1), signature(16, 33, size=1)  # 1,024 and 1,056 pixels in two images
    alone = NATIVE if chooser is AVX2 else Choice(filter_gradient="matrix")
    assert chooser.of(few) == MATRIX
    assert chooser.of(many) == alone
    assert chooser.of(signature(16, 32, size=1, batch=None)) == alone
    assert chooser.of(signature(64, 64, size=3)) == NATIVE


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ({"height": 8, "width": 8}, Choice(filter_gradient="patches")),  # 128 pixels in two images
        ({"height": 8, "width": 9}, Choice(filter_gradient="taps")),
        ({"height": 64, "width": 32}, Choice(filter_gradient="taps")),  # 4,096
        ({"height": 64, "width": 33}, NATIVE),
        ({"height": 128, "width": 63, "stride": 2}, Choice(filter_gradient="taps")),  # of its output
        ({"height": 8, "width": 9, "channels": 128, "filters": 128}, Choice(filter_gradient="winograd")),
        ({"height": 8, "width": 9, "channels": 128, "filters": 127}, Choice(filter_gradient="taps")),
        ({"height": 8, "width": 18, "channels": 128, "filters": 128, "stride": 2}, Choice(filter_gradient="patches")),
        ({"height": 8, "width": 8, "filters": 63}, NATIVE),
        ({"height": 8, "width": 8, "size": 5}, NATIVE),  # 25 products would be a large graph
        ({"height": 8, "width": 8, "groups": 2}, NATIVE),
    ],
)
def test_without_a_table_filter_gradients_over_few_pixels_are_matrix_products_without_avx512(shape, choice):
    shape = {"channels": 64, "filters": 64} | shape
    assert AVX2.of(signature(**shape)) == choice
    assert AVX512.of(signature(**shape)) == AVX2.of(signature(**shape, dtype="bfloat16")) == NATIVE


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ({"size": 1}, MATRIX),
        ({"size": 1, "batch": 64}, Choice(filter_gradient="matrix")),
        ({"size": 1, "batch": None}, Choice(filter_gradient="matrix")),
        ({"size": 3}, Choice(filter_gradient="taps")),
        ({"size": 3, "batch": 98}, NATIVE),  # 4,116 pixels
        ({"height": 60, "width": 60, "batch": 4, "stride": 2}, Choice(filter_gradient="taps")),  # 3,600 pixels
        ({"size": 3, "groups": 4}, NATIVE),
        ({"size": 3, "stride": 2, "padding": "VALID"}, NATIVE),
    ],
)
def test_without_a_table_filter_gradients_in_bfloat16_are_matrix_products(shape, choice):
    assert BFLOAT16.of(signature(**shape, dtype="bfloat16")) == choice
    assert AVX512.of(signature(**shape, dtype="bfloat16")) == (MATRIX if choice == MATRIX else NATIVE)


def test_a_measured_choice_comes_before_the_rules_and_only_for_its_own_signature():
    measured = Choice("joined_2", "mirrored", "split")
    chooser = Choices(measured={signature(groups=4).key: measured})
    assert chooser.of(signature(groups=4)) == measured
    assert chooser.built_in(signature(groups=4)) == NATIVE
    assert chooser.of(signature(groups=4, batch=3)) == chooser.of(signature(groups=2)) == NATIVE
    assert chooser.of(signature(size=1)) == MATRIX


def test_a_signature_is_read_from_its_text():
    for shape in (*SHAPES, signature(batch=None), signature(dtype="bfloat16", padding="VALID")):
        assert Signature.from_key(shape.key) == shape
    assert signature(groups=4).key == "2 x 6 x 7 x 16, 3 x 3 to 16, stride 1, groups 4, SAME, float32"


@pytest.mark.parametrize(
    ("key", "names", "fault"),
    [
        ("3 x 3", ("native",) * 3, "'3 x 3' names no convolution"),
        (signature().key, ("native",) * 2, "has 2 formulations, and must have 3"),
        (
            signature().key,
            ("fast", "native", "native"),
            "has the forward 'fast', and must have one of native, patches",
        ),
        (signature(size=1).key, ("native", "native", "patches"), "the filter_gradient 'patches', and must have one of"),
        (signature().key, ("native", "mirrored", "patches"), None),
    ],
)
def test_choices_from_elsewhere_are_checked(key, names, fault):
    found = fault_of(key, names)
    assert found is None if fault is None else fault in found


def test_a_layer_computes_what_is_chosen_and_notes_it_in_the_graph():
    shape = signature(8, 8, channels=16, filters=16, groups=4)
    choice = Choice("joined_2", "joined_4", "split")
    options = LayerOptions(training=True, choices=Choices(measured={shape.key: choice}))
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [2, 8, 8, 16])
        y = conv2d(x, 16, 3, options, groups=4)
        tf.gradients(y, [x, *tf1.trainable_variables()])
        operations = graph.get_operations()
        (noted,) = graph.get_collection(CHOSEN_CONVOLUTIONS)
        with tf1.variable_scope("more"):
            conv2d(x, 16, 1, LayerOptions(training=True), stride=2)
        with tf1.variable_scope("inference"):
            conv2d(x, 16, 1, LayerOptions(training=False))
        own = graph.get_collection(CHOSEN_CONVOLUTIONS)[1:]
    kernels = {kind: [op for op in operations if op.type == kind] for kind in ("Conv2D", "Conv2DBackpropInput")}
    assert [[int(op.inputs[1].shape[2]) for op in found] for found in kernels.values()] == [[8], [16]]  # 2 and 4 groups
    assert sum(op.type == "Conv2DBackpropFilter" for op in operations) == 4
    assert (noted.key, noted.names, noted.rules) == (shape.key, choice.names, NATIVE.names)
    assert noted.excess == 2 * 8 * 8 * 9 * 4 * 16  # half of the wide kernel is zeros
    assert [one.key for one in own] == ["2 x 4 x 4 x 16, 1 x 1 to 16, stride 1, groups 1, SAME, float32"]
    assert own[0].names == own[0].rules == MATRIX.names


def test_every_rule_names_formulations_that_suit():
    for rule in itertools.chain.from_iterable(RULES.values()):
        channels = max(16, rule.least_channels)
        shape = signature(size=rule.size or 3, dtype=rule.dtype or "float32", channels=channels, filters=channels)
        assert rule.fits(shape)
        assert fault_of(shape.key, rule.choice.names) is None
