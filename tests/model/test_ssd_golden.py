"""SSD320's network against golden names, golden counts and a golden forward pass."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.specs import SSDS
from model.ssd import ssd
from tests.model.tiny_ssd import BACKBONE, PREDICTOR, load, variables_of_ssd320

tf1 = tf.compat.v1


# The whole network


def parameters(variables):
    return sum(v.shape.num_elements() for v in variables)


@pytest.fixture(scope="module")
def whole():
    """SSD320's training graph with 91 slots, and its endpoints."""
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
    """Computes a variable's values from its place in the sorted list of names."""
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
