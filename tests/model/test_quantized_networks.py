"""Quantized networks: golden counts, folded normalization, layouts and types, and conversion to TensorFlow Lite."""

import collections
import functools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from model.layers import fake_quant
from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import BASIC_NAMES, RESNETS, BatchNormSpec, NormalInit, QuantizationSpec, ResNetSpec
from model.ssd import ssd
from model.variables import classifier_variables
from tests.model.tiny_ssd import TINY_SSD
from tests.model.tiny_ssd import load as load_all
from utils.state_updates import update_state

tf1 = tf.compat.v1

PLAIN = ResNetSpec(name="tiny", blocks=(2, 2), widths=(8, 16), expansion=2, stem_width=8)
WITH_SE = ResNetSpec(name="tiny", blocks=(2, 2), widths=(8, 16), expansion=2, cardinality=4, se_ratio=4, stem_width=8)
BASIC = ResNetSpec(
    name="tiny", block="basic", blocks=(2, 2), widths=(8, 16), expansion=1, stem_width=8, names=BASIC_NAMES
)
# number of range variables in training and in evaluation
COUNTS = {"resnet50": (528, 248), "resnext101-32x4d": (1038, 486), "se-resnext101-32x4d": (1590, 758)}
COLORS, NOISE = (np.random.default_rng(0).normal(size=(16, *shape)) for shape in ((1, 1, 3), (32, 32, 3)))
IMAGES = (COLORS + 0.5 * NOISE).clip(-2.1, 2.6).astype(np.float32)
RANGE = (-2.2, 2.7)
_PREDICTORS = "WeightSharedConvolutionalBoxPredictor"
HEADS = {"box_codes": f"{_PREDICTORS}/BoxPredictor", "class_logits": f"{_PREDICTORS}/ClassPredictor"}


def names_of(spec, **options):
    with tf.Graph().as_default():
        resnet(tf1.placeholder(tf.float32, [None, 64, 64, 3]), spec, 1001, LayerOptions(**options))
        return {v.op.name for v in tf1.global_variables()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in COUNTS])
def test_ranges_are_those_of_the_original(name):
    plain = classifier_variables(RESNETS[name], 1001).keys()
    trained = names_of(RESNETS[name], training=True, quantization=QuantizationSpec())
    evaluated = names_of(RESNETS[name], quantization=QuantizationSpec(symmetric=True, delay=3))
    assert (len(trained - plain), len(evaluated - plain)) == COUNTS[name]
    assert plain < evaluated < trained
    assert all(name.endswith(("_quant/min", "_quant/max")) for name in evaluated - plain)
    assert all(name.endswith(("/biased", "/local_step")) for name in trained - evaluated)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            PLAIN,
            {
                "conv2d/conv2d": "weights act",
                "btlnck_block_0_0/shortcut/conv2d/conv2d": "weights conv",
                "btlnck_block_0_0/shortcut/conv2d": "act",
                "btlnck_block_0_0/bottleneck_1/conv2d": "weights act",
                "btlnck_block_0_0/bottleneck_2/conv2d": "weights act",
                "btlnck_block_0_0/bottleneck_3/conv2d": "weights act",
                "btlnck_block_0_1/bottleneck_1/conv2d": "weights act",
                "btlnck_block_0_1/bottleneck_2/conv2d": "weights act",
                "btlnck_block_0_1/bottleneck_3/conv2d": "weights conv",
                "btlnck_block_0_1/bottleneck_3": "act",
                "output/dense": "weights act",
            },
        ),
        (
            BASIC,
            {
                "conv2d/conv2d": "weights act",
                "basic_block_0_0/basic_1/conv2d": "weights act",
                "basic_block_0_0/basic_2/conv2d": "weights conv",
                "basic_block_0_0/basic_2": "act",
                "basic_block_0_1/basic_1/conv2d": "weights act",
                "basic_block_0_1/basic_2/conv2d": "weights conv",
                "basic_block_0_1/basic_2": "act",
                "output/dense": "weights act",
            },
        ),
        (
            WITH_SE,
            {
                "conv2d/conv2d": "weights act",
                "btlnck_block_0_0/shortcut/conv2d/conv2d": "weights conv",
                "btlnck_block_0_0/shortcut/conv2d": "act",
                "btlnck_block_0_0/bottleneck_1/conv2d": "weights act",
                "btlnck_block_0_0/bottleneck_2": "weights act",
                "btlnck_block_0_0/bottleneck_3/conv2d": "weights act",
                "btlnck_block_0_0/bottleneck_se_layer/dense": "weights act",
                "btlnck_block_0_0/bottleneck_se_layer/dense_1": "weights act",
                "btlnck_block_0_0/bottleneck_se_layer/mul": "activation_Mul",
                "btlnck_block_0_1/bottleneck_1/conv2d": "weights act",
                "btlnck_block_0_1/bottleneck_2": "weights act",
                "btlnck_block_0_1/bottleneck_3/conv2d": "weights act",
                "btlnck_block_0_1/bottleneck_se_layer/dense": "weights act",
                "btlnck_block_0_1/bottleneck_se_layer/dense_1": "weights act",
                "btlnck_block_0_1/bottleneck_se_layer/mul": "activation_Mul",
                "output/dense": "weights act",
            },
        ),
    ],
)
def test_ranges_have_the_names_of_the_original(spec, expected):
    names = {
        f"tiny/{scope}/{kind}_quant/{end}"
        for scope, kinds in expected.items()
        for kind in kinds.split()
        for end in ("min", "max")
    }
    found = names_of(spec, quantization=QuantizationSpec()) - names_of(spec)
    assert {name for name in found if "_block_1_" not in name} == names
    trained = names_of(spec, training=True, quantization=QuantizationSpec())
    scope = "tiny/conv2d/conv2d/act_quant"
    assert f"{scope}/{scope}/min/biased" in trained
    delayed = names_of(spec, training=True, quantization=QuantizationSpec(delay=1))
    assert delayed - trained == {"fake_quantization_step"}


def build(spec, images, *, updates=False, seen=(), **options):
    """Returns logits and gradients of a network, and its variables, optionally after the updates of one batch."""
    with tf.Graph().as_default(), tf1.Session() as session:
        options = LayerOptions(seed=3, input_range=RANGE, **options)
        logits = resnet(tf.constant(images), spec, 5, options)["logits"]
        loss = tf.reduce_sum(
            logits * tf.constant(np.arange(logits.shape.num_elements()).reshape(logits.shape) % 7, tf.float32)
        )
        trainable = tf1.trainable_variables()
        gradients = tf.gradients(loss, trainable)
        session.run(tf1.global_variables_initializer())
        load(session, seen)
        operations = update_state() if updates else []
        logits, gradients, _ = session.run([logits, gradients, operations])
        variables = {v.op.name: v for v in tf1.global_variables()}
        return logits, dict(zip([v.op.name for v in trainable], gradients, strict=True)), session.run(variables)


def load(session, values):
    load_all(session, {v: values[v.op.name] for v in tf1.global_variables() if v.op.name in values})


@functools.cache
def noisy(spec, seed=5):
    """Returns batch-norm variables that differ from their initial values."""
    rng, ranges = np.random.default_rng(seed), {"gamma": (0.5, 1.5), "beta": (-0.3, 0.3)}
    ranges |= {"moving_mean": (-0.2, 0.2), "moving_variance": (0.5, 2.0)}
    with tf.Graph().as_default():
        resnet(tf1.placeholder(tf.float32, [None, 32, 32, 3]), spec, 5, LayerOptions())
        shapes = {v.op.name: v.shape.as_list() for v in tf1.global_variables() if "BatchNorm" in v.op.name}
    return {name: rng.uniform(*ranges[name.rpartition("/")[2]], shape) for name, shape in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "average"),
    [(PLAIN, None), (WITH_SE, None), (BASIC, None), (PLAIN, lambda tensor: tensor), (WITH_SE, lambda tensor: tensor)],
)
def test_until_the_delay_is_over_training_is_that_of_the_float_network(spec, average):
    seen, replicas = noisy(spec), {"average": average}
    exact = build(spec, IMAGES, training=True, updates=True, seen=seen, **replicas)
    delayed = QuantizationSpec(delay=10)
    found = build(spec, IMAGES, training=True, updates=True, seen=seen, quantization=delayed, **replicas)
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-3, atol=2e-5 * np.abs(exact[0]).max())
    for name, gradient in exact[1].items():
        np.testing.assert_allclose(found[1][name], gradient, atol=2e-3 * np.abs(gradient).max() + 1e-5, err_msg=name)
    for name, value in exact[2].items():
        np.testing.assert_allclose(found[2][name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("spec", [PLAIN, WITH_SE])
def test_without_rounding_evaluation_is_that_of_the_float_network(spec, monkeypatch):
    monkeypatch.setattr(fake_quant, "nudged", lambda values, *ends, **how: values)
    seen = noisy(spec)
    exact, *_ = build(spec, IMAGES, seen=seen)
    found, *_ = build(spec, IMAGES, seen=seen, quantization=QuantizationSpec())
    np.testing.assert_allclose(found, exact, atol=1e-5 * np.abs(exact).max())


@functools.cache
def trained(spec, quantization):
    """Returns all variables of a network after some batches of training."""
    with tf.Graph().as_default(), tf1.Session() as session:
        options = LayerOptions(training=True, quantization=quantization, input_range=RANGE, seed=3)
        resnet(tf.constant(IMAGES), spec, 5, options)
        session.run(tf1.global_variables_initializer())
        load(session, noisy(spec))
        update = update_state()
        for _ in range(20):
            session.run(update)
        return session.run({v.op.name: v for v in tf1.global_variables()})


@pytest.mark.slow
@pytest.mark.parametrize("symmetric", [False, True])
def test_quantized_logits_are_near_those_of_the_float_network(symmetric):
    quantization = QuantizationSpec(symmetric=symmetric)
    seen = trained(WITH_SE, quantization)
    exact, *_ = build(WITH_SE, IMAGES, seen=seen)
    found, *_ = build(WITH_SE, IMAGES, seen=seen, quantization=quantization)
    largest = np.abs(exact).max()
    assert 1e-3 * largest < np.abs(found - exact).max() < 0.15 * largest


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_layout_changes_no_number_but_where_rounding_tips(training):
    quantization = QuantizationSpec()
    seen = trained(PLAIN, quantization)
    first, *_ = build(PLAIN, IMAGES[:2], training=training, seen=seen, quantization=quantization)
    second, *_ = build(PLAIN, IMAGES[:2], training=training, seen=seen, quantization=quantization, data_format="NCHW")
    np.testing.assert_allclose(second, first, atol=0.03 * np.abs(first).max())


@pytest.mark.slow
def test_every_weight_of_a_quantized_network_gets_a_gradient():
    for qdq in (False, True):
        _, gradients, _ = build(WITH_SE, IMAGES, training=True, quantization=QuantizationSpec(qdq=qdq, symmetric=qdq))
        assert [name for name, gradient in gradients.items() if not np.abs(gradient).max() > 0] == []


def test_bfloat16_is_near_float32():
    quantization = QuantizationSpec()
    seen = trained(PLAIN, quantization)
    exact, *_ = build(PLAIN, IMAGES, seen=seen, quantization=quantization)
    rounded, *_ = build(PLAIN, IMAGES, seen=seen, quantization=quantization, compute_dtype=tf.bfloat16)
    assert rounded.dtype == np.float32
    assert np.corrcoef(rounded.ravel(), exact.ravel())[0, 1] > 0.95  # some values tip to the next level


def lite(network, values, shape):
    """Returns a network's outputs for ``IMAGES`` by TensorFlow and TensorFlow Lite, and the latter's operation counts.

    Args:
        network: Builds the network.
        values: Values of its variables.
        shape: Shape of its images.
    """
    images = np.resize(IMAGES, (len(IMAGES), *shape))
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        placeholder = tf1.placeholder(tf.float32, [1, *shape], name="images")
        tf.identity(network(placeholder), name="outputs")
        load(session, values)
        exact = np.concatenate([session.run("outputs:0", {placeholder: image[None]}) for image in images])
        frozen = tf1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["outputs"])
    wrapped = tf1.wrap_function(lambda: tf1.import_graph_def(frozen, name=""), []).prune("images:0", "outputs:0")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([wrapped])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = tf.lite.Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(result["index"])[0])
    types = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    kinds = collections.Counter((op["op_name"], types[op["outputs"][0]]) for op in interpreter._get_ops_details())
    return exact, np.array(found), kinds


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("spec", "quantization"),
    [
        (PLAIN, QuantizationSpec(symmetric=True)),
        (PLAIN, QuantizationSpec(per_channel=True)),
        (BASIC, QuantizationSpec(symmetric=True, per_channel=True)),
        (WITH_SE, QuantizationSpec()),
        (WITH_SE, QuantizationSpec(symmetric=True, per_channel=True)),
    ],
)
def test_tensorflow_lite_computes_every_layer_in_8_bits(spec, quantization):
    seen = trained(spec, quantization)
    options = LayerOptions(quantization=quantization, input_range=RANGE)
    exact, found, kinds = lite(lambda images: resnet(images, spec, 5, options)["logits"], seen, (32, 32, 3))
    assert kinds["CONV_2D", "int8"] == (10 if spec is BASIC else 15)
    assert kinds["FULLY_CONNECTED", "int8"] == (9 if spec.se_ratio else 1)
    assert {name for name, kind in kinds if kind == "float32"} <= {"DEQUANTIZE", "DELEGATE"}
    largest, lead = np.abs(exact).max(), np.diff(np.sort(exact, axis=1), axis=1)[:, -1]
    print(f"largest difference {np.abs(found - exact).max() / largest:.4f} of the largest logit")
    clear = lead > 0.05 * largest
    assert clear.sum() >= 3
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], exact.argmax(axis=1)[clear])
    np.testing.assert_allclose(found, exact, atol=0.1 * largest)


LIVELY = replace(  # statistics that adapt within a few steps, heads with large outputs
    TINY_SSD,
    batch_norm=BatchNormSpec(decay=0.5, epsilon=1e-3),
    backbone=replace(TINY_SSD.backbone, batch_norm=BatchNormSpec(decay=0.5)),
    head_init=NormalInit(stddev=0.2),
)


def detector(images, **options):
    return ssd(images, LIVELY, 6, 4, LayerOptions(input_range=RANGE, seed=3, **options))


def trained_detector(quantization):
    with tf.Graph().as_default(), tf1.Session() as session:
        endpoints = detector(tf.constant(np.resize(IMAGES, (4, 64, 64, 3))), training=True, quantization=quantization)
        gradients = tf.gradients([endpoints["box_codes"], endpoints["class_logits"]], tf1.trainable_variables())
        assert all(gradient is not None for gradient in gradients)
        session.run(tf1.global_variables_initializer())
        update = update_state()
        for _ in range(15):
            session.run(update)
        return session.run({v.op.name: v for v in tf1.global_variables()})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_detector_becomes_8_bit_convolutions_too():
    """Converts the two outputs separately: the converter gives a concatenation one range, that of a part of it."""
    quantization = QuantizationSpec(per_channel=True)
    seen = trained_detector(quantization)
    assert f"{_PREDICTORS}/BoxPredictor/weights_quant/min" in seen
    assert f"{_PREDICTORS}/BoxPredictionTower/conv2d_0/weights_quant/feature_4/min" in seen
    for name in ("box_codes", "class_logits"):
        exact, found, kinds = lite(lambda x, n=name: detector(x, quantization=quantization)[n], seen, (64, 64, 3))
        assert kinds["CONV_2D", "int8"] == sum(n for (kind, _), n in kinds.items() if kind == "CONV_2D") > 20
        level = (seen[f"{HEADS[name]}/act_quant/max"] - seen[f"{HEADS[name]}/act_quant/min"]) / 255
        np.testing.assert_allclose(found, exact, atol=20 * level)
        assert np.ptp(exact) > 40 * level
