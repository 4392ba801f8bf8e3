"""SSD320's network against golden names, golden counts and a golden forward pass."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.specs import SSDS
from model.ssd import ssd
from tests.model.tiny_ssd import BACKBONE, PREDICTOR, STATISTICS, TINY_SSD, load, load_by_name, variables_of_ssd320

tf1 = tf.compat.v1

SLOTS = 7
IMAGES = np.random.default_rng(0).normal(0, 60, (3, 64, 64, 3)).astype(np.float32)


def parameters(variables):
    return sum(v.shape.num_elements() for v in variables)


# The whole network


@pytest.fixture(scope="module")
def whole():
    """The graph of training SSD320 with 91 slots, and its endpoints."""
    with tf.Graph().as_default() as graph:
        images = tf1.placeholder(tf.float32, [None, 320, 320, 3])
        endpoints = ssd(images, SSDS["ssd320"], 6, 91, LayerOptions(training=True))
    return graph, endpoints


def test_variables_are_those_of_published_checkpoints(whole):
    variables = whole[0].get_collection(tf1.GraphKeys.GLOBAL_VARIABLES)
    assert {v.op.name: tuple(v.shape.as_list()) for v in variables} == variables_of_ssd320()
    assert len(variables) == 463
    trainable = whole[0].get_collection(tf1.GraphKeys.TRAINABLE_VARIABLES)
    assert len(trainable) == 269
    assert {v.op.name for v in variables} - {v.op.name for v in trainable} == {
        name for name in variables_of_ssd320() if name.endswith(("/moving_mean", "/moving_variance"))
    }


# scope: trainable parameters, moving statistics
PARTS = {
    f"{BACKBONE}/conv1/": (9_536, 128),
    f"{BACKBONE}/block1/": (215_808, 2_816),
    f"{BACKBONE}/block2/": (1_219_584, 7_168),
    f"{BACKBONE}/block3/": (7_098_368, 20_480),
    f"{BACKBONE}/block4/": (14_964_736, 22_528),
    f"{BACKBONE}/fpn/": (3_279_616, 2_048),
    f"{PREDICTOR}/BoxPredictionTower/": (2_369_536, 10_240),
    f"{PREDICTOR}/ClassPredictionTower/": (2_369_536, 10_240),
    f"{PREDICTOR}/BoxPredictor/": (55_320, 0),
    f"{PREDICTOR}/ClassPredictor/": (1_258_530, 0),
    "": (32_840_570, 75_648),
}


@pytest.mark.parametrize("scope", PARTS, ids=lambda scope: scope.rpartition("/")[0].rpartition("/")[2] or "all")
def test_each_part_has_its_number_of_parameters(whole, scope):
    variables, trainable = (
        [v for v in whole[0].get_collection(key) if v.op.name.startswith(scope)]
        for key in (tf1.GraphKeys.GLOBAL_VARIABLES, tf1.GraphKeys.TRAINABLE_VARIABLES)
    )
    assert (parameters(trainable), parameters(variables) - parameters(trainable)) == PARTS[scope]


def test_activations_and_updates_are_as_many_as_in_the_original(whole):
    kinds = Counter(op.type for op in whole[0].get_operations())
    assert (kinds["Relu6"], kinds["Relu"]) == (77, 16)
    assert kinds["FusedBatchNormV3"] == 97
    assert len(whole[0].get_collection(tf1.GraphKeys.UPDATE_OPS)) == 2 * 97


def test_only_the_backbone_normalizes_with_the_small_epsilon(whole):
    epsilons = Counter(
        (round(op.get_attr("epsilon"), 6), "/fpn" not in op.name and op.name.startswith(BACKBONE))
        for op in whole[0].get_operations()
        if op.type == "FusedBatchNormV3"
    )
    assert epsilons == {(1e-5, True): 53, (1e-3, False): 44}


def test_levels_and_anchors_have_their_sizes(whole):
    shapes = {name: tensor.shape.as_list() for name, tensor in whole[1].items()}
    assert [shapes[f"stage_{stage}"][1:] for stage in range(4)] == [
        [80, 80, 256],
        [40, 40, 512],
        [20, 20, 1024],
        [10, 10, 2048],
    ]
    assert [shapes[f"level_{level}"][1:] for level in range(3, 8)] == [[side, side, 256] for side in (40, 20, 10, 5, 3)]
    assert (shapes["box_codes"], shapes["class_logits"]) == ([None, 12804, 4], [None, 12804, 91])


# The golden forward pass: weights and image are formulas

MEAN_RGB = np.array([123.68, 116.779, 103.939], np.float32)
# endpoint: mean, standard deviation, largest, the first pixel's first channels
MAPS = {
    "stage_0": (2.583934, 3.044638, 24.8338, (2.05952, 0, 11.13676)),
    "stage_1": (2.690413, 2.800152, 20.0824, (0.158957, 4.717114, 0)),
    "stage_2": (3.255620, 3.341449, 28.3008, (0, 2.27502, 1.575105)),
    "stage_3": (2.642961, 2.978245, 23.1803, (0, 2.406481, 4.227095)),
    "level_3": (2.151058, 2.542961, 6, (0.205319, 3.589827, 0, 0)),
    "level_4": (1.839302, 2.407603, 6, (0, 0, 3.538176, 0)),
    "level_5": (0.307288, 4.177240, 12.91396, (-1.042266, 0.251593, 2.916984, -0.071479)),
    "level_6": (1.450706, 2.049484, 6, (0, 2.030826, 0, 0)),
    "level_7": (0.758818, 1.186730, 6, (1.516973, 0, 1.389624, 1.969514)),
}
LAST_PIXEL = {
    "level_3": (1.559812, 6, 0),
    "level_4": (6, 0, 3.248761),
    "level_5": (-1.748598, -1.65606, -1.061849),
    "level_6": (0.624651, 0, 0),
    "level_7": (0, 2.256557, 0),
}
# anchor: its box code, and its logits of slots 0 to 3 and 90
ANCHORS = {
    0: ((-0.30605, 0.26165, 0.3764, -0.18795), (-4.18955, -5.28931, -5.19934, -4.67567, -5.18447)),
    1: ((0.07987, 0.36185, -0.07717, 0.42867), (-4.05016, -5.02307, -4.56871, -4.69999, -4.78781)),
    9599: ((0.25999, 0.18107, -0.21108, -0.15606), (-4.45367, -4.63899, -4.57704, -4.47063, -5.39704)),
    9600: ((-0.19481, 0.18698, 0.41344, 0.06795), (-4.33413, -5.05302, -4.84663, -4.7213, -5.18331)),
    12000: ((-0.05824, 0.01084, 0.58923, -0.51785), (-4.4384, -5.43151, -5.18879, -4.82229, -5.04826)),
    12600: ((-0.14978, 0.37481, 0.35673, -0.0804), (-4.39277, -4.9125, -4.75567, -4.815, -4.79715)),
    12750: ((0.02662, 0.27432, 0.1867, -0.04198), (-4.61934, -4.68761, -4.57334, -4.3958, -4.57469)),
    12803: ((0.18053, 0.15859, 0.03367, -0.01855), (-4.56563, -4.62164, -4.70616, -4.62687, -4.87871)),
}


def golden_image():
    y, x, c = np.meshgrid(np.arange(320), np.arange(320), np.arange(3), indexing="ij")
    image = (127.5 + 100 * np.sin(0.05 * y + 0.03 * x + 1.1 * c)).astype(np.float32) - MEAN_RGB
    assert image.sum(dtype=np.float64) == pytest.approx(3419463.87, abs=0.5)
    np.testing.assert_allclose(image[0, 0], (3.82, 99.84174, 104.41064), rtol=1e-5)
    return image


def golden_weights(name, place, shape):
    """The values of a variable that stands at a place among all names in order."""
    n = np.arange(np.prod(shape), dtype=np.float64)
    kind = name.rpartition("/")[2]
    if kind == "weights":
        u = 43758.5453 * np.sin(12.9898 * n + 78.233 * (place + 1))
        values = 2 * (u - np.floor(u) - 0.5) * np.sqrt(3 / np.prod(shape[:3]))
    elif kind == "biases":
        values = 0.1 * np.sin(n) - (4.6 if "ClassPredictor" in name else 0)
    else:
        values = {
            "gamma": 1 + 0.1 * np.sin(n),
            "beta": 0.1 * np.cos(n),
            "moving_mean": 0.05 * np.sin(2 * n),
            "moving_variance": 1 + 0.3 * np.cos(n),
        }[kind]
    return values.reshape(shape).astype(np.float32)


@pytest.fixture(scope="module")
def golden():
    """All endpoints of the golden image, without the batch axis."""
    with tf.Graph().as_default(), tf1.Session() as session:
        endpoints = ssd(tf.constant(golden_image()[np.newaxis]), SSDS["ssd320"], 6, 91, LayerOptions())
        variables = sorted(tf1.global_variables(), key=lambda v: v.op.name)
        load(session, {v: golden_weights(v.op.name, k, v.shape.as_list()) for k, v in enumerate(variables)})
        return {name: value[0] for name, value in session.run(endpoints).items()}


@pytest.mark.slow
def test_the_maps_of_the_golden_image(golden):
    for name, (mean, deviation, largest, first) in MAPS.items():
        found = golden[name]
        measured = found.mean(dtype=np.float64), found.std(dtype=np.float64), found.max()
        np.testing.assert_allclose(measured, (mean, deviation, largest), atol=1e-3, err_msg=name)
        np.testing.assert_allclose(found[0, 0, : len(first)], first, atol=1e-3, err_msg=name)
    for name, last in LAST_PIXEL.items():
        np.testing.assert_allclose(golden[name][-1, -1, -3:], last, atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_the_codes_and_logits_of_the_golden_image(golden):
    codes, logits = golden["box_codes"], golden["class_logits"]
    for anchor, (code, some_logits) in ANCHORS.items():
        np.testing.assert_allclose(codes[anchor], code, atol=1e-3)
        np.testing.assert_allclose(logits[anchor, [0, 1, 2, 3, 90]], some_logits, atol=1e-3)
    # With an epsilon of 1e-3 in the backbone the first sum would be 12315.38, with ReLU for ReLU6 19976.45.
    assert codes.sum(dtype=np.float64) == pytest.approx(12318.90, abs=0.5)
    assert logits.sum(dtype=np.float64) == pytest.approx(-5370457.07, abs=50)
    assert (codes.std(), logits.std()) == pytest.approx((0.738848, 0.885371), abs=1e-4)


# The small network


class Built(NamedTuple):
    """Values of the small network, by name."""

    endpoints: dict
    variables: dict
    gradients: dict
    updates: list


def build(options, *, used=None, differentiated=True, load=load_by_name):
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        endpoints = ssd(tf.constant(IMAGES), TINY_SSD, 6, SLOTS, options, used_slots=used)
        weights = tf.random.stateless_normal(tf.shape(endpoints["box_codes"]), [1, 2])
        loss = tf.reduce_sum(endpoints["box_codes"] * weights) + tf.reduce_sum(tf.square(endpoints["class_logits"]))
        trainable = tf1.trainable_variables() if differentiated else []
        gradients = {v.op.name: g for v, g in zip(trainable, tf.gradients(loss, trainable), strict=True)}
        assert not [name for name, gradient in gradients.items() if gradient is None]
        load(tf1.global_variables(), session)
        variables = {v.op.name: v for v in tf1.global_variables()}
        return Built(*session.run([endpoints, variables, gradients]), graph.get_collection(tf1.GraphKeys.UPDATE_OPS))


def initialize(variables, session):
    session.run([v.initializer for v in variables])


@pytest.fixture(scope="module")
def inferred():
    return build(LayerOptions())


@pytest.fixture(scope="module")
def trained():
    return build(LayerOptions(training=True))


def assert_alike(found, expected, share):
    """Equal up to a share of the largest value."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=share * np.abs(value).max() + 1e-6, err_msg=name)


def heads(built):
    return {name: built.endpoints[name] for name in ("box_codes", "class_logits")}


@pytest.mark.parametrize("training", [True, False])
def test_layout_changes_no_number(request, training):
    ours = request.getfixturevalue("trained" if training else "inferred")
    other = build(LayerOptions(training=training, data_format="NCHW"))
    assert other.endpoints["level_4"].shape == (3, 8, 4, 4)
    assert_alike(heads(other), heads(ours), 1e-4)
    # A batch's few pixels on the last levels make gradients through their normalization sensitive to rounding.
    assert_alike(other.gradients, ours.gradients, 1e-2 if training else 1e-3)


def test_every_variable_gets_a_gradient_that_is_not_zero(trained):
    zero = [name for name, gradient in trained.gradients.items() if not np.abs(gradient).max() > 0]
    assert not zero


def test_logits_of_used_slots_are_those_of_all_slots(inferred):
    used = (1, 3, 6)
    found = build(LayerOptions(), used=used, differentiated=False)
    assert found.variables.keys() == inferred.variables.keys()
    expected = inferred.endpoints["class_logits"][..., used]
    np.testing.assert_allclose(found.endpoints["class_logits"], expected, atol=1e-4)
    np.testing.assert_allclose(found.endpoints["box_codes"], inferred.endpoints["box_codes"], atol=1e-4)


def test_frozen_statistics_are_used_and_left_alone_and_all_else_is_trained(inferred, trained):
    frozen = build(LayerOptions(training=True, freeze_batch_norm=True))
    assert not frozen.updates
    assert len(trained.updates) == 2 * sum(name.endswith("/gamma") for name in frozen.gradients)
    assert_alike(heads(frozen), heads(inferred), 1e-4)
    assert np.abs(frozen.endpoints["box_codes"] - trained.endpoints["box_codes"]).max() > 0.1
    assert frozen.gradients.keys() == trained.gradients.keys()
    assert not [name for name, gradient in frozen.gradients.items() if not np.abs(gradient).max() > 0]


def test_the_fifth_level_is_its_projection_and_nothing_else(inferred):
    endpoints, variables = inferred.endpoints, inferred.variables
    scope = f"{BACKBONE}/fpn/projection_3"
    expected = endpoints["stage_3"] @ variables[f"{scope}/weights"][0, 0] + variables[f"{scope}/biases"]
    np.testing.assert_allclose(endpoints["level_5"], expected, atol=1e-4 * np.abs(expected).max())
    assert expected.min() < 0
    assert min(endpoints[f"level_{level}"].min() for level in (3, 4, 6, 7)) == 0


def test_anchors_of_a_cell_stand_together_and_the_smallest_level_comes_last(inferred):
    endpoints, variables = inferred.endpoints, inferred.variables
    count = 6 * (8 * 8 + 4 * 4 + 2 * 2 + 1 + 1)
    assert endpoints["box_codes"].shape == (3, count, 4)
    assert endpoints["class_logits"].shape == (3, count, SLOTS)
    tower = f"{PREDICTOR}/ClassPredictionTower/conv2d_0"
    outputs = endpoints["level_7"][:, 0, 0] @ variables[f"{tower}/weights"][1, 1]  # one pixel is seen by the center
    gamma, beta, mean, variance = (variables[f"{tower}/BatchNorm/feature_4/{kind}"] for kind in STATISTICS)
    outputs = np.clip((outputs - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)
    head = f"{PREDICTOR}/ClassPredictor"
    logits = outputs @ variables[f"{head}/weights"][1, 1] + variables[f"{head}/biases"]
    np.testing.assert_allclose(endpoints["class_logits"][:, -6:], logits.reshape(3, 6, SLOTS), rtol=1e-3, atol=1e-3)


def test_a_new_network_takes_everything_for_background():
    new = build(LayerOptions(), differentiated=False, load=initialize)
    scores = 1 / (1 + np.exp(-new.endpoints["class_logits"].astype(np.float64)))
    assert scores.mean() == pytest.approx(1 / (1 + np.exp(4.6)), rel=0.05)
    kernel = new.variables[f"{PREDICTOR}/ClassPredictor/weights"]
    assert kernel.std() == pytest.approx(0.01, rel=0.1)
    assert np.abs(kernel).max() > 0.025  # not truncated
    assert np.abs(new.variables[f"{BACKBONE}/block4/unit_1/bottleneck_v1/conv3/weights"]).max() <= 0.06


def test_bfloat16_computes_near_float32_and_returns_float32(inferred):
    rounded = heads(build(LayerOptions(compute_dtype=tf.bfloat16), differentiated=False))
    for name, exact in heads(inferred).items():
        assert rounded[name].dtype == np.float32
        assert 0 < np.abs(rounded[name] - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize(("height", "width"), [(320, 310), (72, 64)])
def test_sides_that_do_not_halve_five_times_are_refused(height, width):
    message = f"images of {height} x {width} pixels: sides must be multiples of 32"
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        ssd(tf.zeros([1, height, width, 3]), TINY_SSD, 6, SLOTS, LayerOptions())


def test_the_heads_of_another_number_of_slots_differ_alone():
    with tf.Graph().as_default():
        ssd(tf1.placeholder(tf.float32, [None, 64, 64, 3]), TINY_SSD, 6, 4, LayerOptions())
        shapes = {v.op.name: v.shape.as_list() for v in tf1.global_variables()}
    assert shapes[f"{PREDICTOR}/ClassPredictor/weights"] == [3, 3, 8, 24]
    assert shapes[f"{PREDICTOR}/BoxPredictor/weights"] == [3, 3, 8, 24]
