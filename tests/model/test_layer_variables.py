"""Names and shapes from the tables alone equal those of the graphs and of published checkpoints."""

import hashlib
import math
from dataclasses import replace

import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import BACKBONES, RESNETS, SLIM_NAMES, SSDS
from model.ssd import ssd
from model.variables import NORMALIZATION, backbone_variables, classifier_variables, detector_variables
from tests.model.oracle.weights import variable_shapes
from tests.model.test_resnet import BASIC, TINY
from tests.model.tiny_ssd import variables_of_ssd320

tf1 = tf.compat.v1

SHA256 = {
    "resnet50": "e28351e273d49ccfd88dc2567de5a558346d33ace67a7abd5c1a1e5a437d4607",
    "se-resnext101-32x4d": "a3b6d0e04d84d3b801fc30553597c51c2880e6c67d260d4dfd29a39e52f6e8d4",
}
# architecture: variables, trainable variables, trainable parameters, moving statistics
COUNTS = {
    "resnet50": (267, 161, 25_559_081, 53_120),
    "resnext101-32x4d": (522, 314, 44_179_753, 137_856),
    "se-resnext101-32x4d": (654, 446, 48_957_465, 137_856),
}
PARTS = {
    "resnet50": (9_536, 215_808, 1_219_584, 7_098_368, 14_964_736, 2_051_049),
    "resnext101-32x4d": (9_536, 205_824, 1_197_056, 26_171_392, 14_544_896, 2_051_049),
    "se-resnext101-32x4d": (9_536, 231_216, 1_330_304, 29_211_072, 16_124_288, 2_051_049),
}
PARAMETERS = {  # of timm 1.0.31
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50-32x4d": 25_028_904,
    "resnext101-32x4d": 44_177_704,
    "se-resnext50-32x4d": 27_559_896,
    "se-resnext101-32x4d": 48_955_416,
}


def in_graph():
    return {v.op.name: tuple(v.shape.as_list()) for v in tf1.global_variables()}


@pytest.mark.parametrize(
    "spec",
    [TINY, replace(TINY, cardinality=1, se_ratio=0), replace(TINY, stem_width=16), BASIC, replace(BASIC, se_ratio=0)],
)
def test_a_classifiers_variables_are_those_of_its_graph(spec):
    with tf.Graph().as_default():
        resnet(tf.zeros([1, 32, 32, 3]), spec, 7, LayerOptions())
        assert in_graph() == classifier_variables(spec, 7)


@pytest.mark.parametrize("name", COUNTS)
def test_a_classifiers_variables_are_those_of_published_checkpoints(name):
    shapes = classifier_variables(RESNETS[name], 1001)
    trainable, every = parameters(shapes), sum(map(math.prod, shapes.values()))
    number = sum("/moving_" not in variable for variable in shapes)
    assert (len(shapes), number, trainable, every - trainable) == COUNTS[name]
    lines = sorted(f"{variable} {'x'.join(map(str, shape))}\n".encode() for variable, shape in shapes.items())
    if name in SHA256:
        assert hashlib.sha256(b"".join(lines)).hexdigest() == SHA256[name]
    scopes = ["conv2d/", *(f"btlnck_block_{stage}_" for stage in range(4)), "output/"]
    assert tuple(parameters(shapes, f"{name}/{scope}") for scope in scopes) == PARTS[name]


def parameters(shapes, scope=""):
    """Counts the trainable parameters below a scope."""
    return sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(scope) and "/moving_" not in name)


def test_classifiers_of_1000_classes_have_as_many_parameters_as_timms():
    assert {name: parameters(classifier_variables(spec, 1000)) for name, spec in RESNETS.items()} == PARAMETERS


def test_names_and_shapes_are_those_that_the_oracle_derives():
    different = [name for name, s in RESNETS.items() if classifier_variables(s, 1001) != variable_shapes(s, 1001)]
    assert not different
    assert len(classifier_variables(RESNETS["resnet18"], 1000)) == 102
    assert {name: shape for name, shape in classifier_variables(BASIC, 3).items() if "/basic_block_1_0/" in name} == {
        f"tiny/basic_block_1_0/{name}": shape
        for name, shape in {
            "shortcut/conv2d/conv2d/kernel": (1, 1, 8, 16),
            **{f"shortcut/conv2d/BatchNorm/{kind}": (16,) for kind in NORMALIZATION},
            "basic_1/conv2d/kernel": (3, 3, 8, 16),
            **{f"basic_1/BatchNorm/{kind}": (16,) for kind in NORMALIZATION},
            "basic_2/conv2d/kernel": (3, 3, 16, 16),
            **{f"basic_2/BatchNorm/{kind}": (16,) for kind in NORMALIZATION},
            "basic_se_layer/dense/kernel": (16, 4),
            "basic_se_layer/dense/bias": (4,),
            "basic_se_layer/dense_1/kernel": (4, 16),
            "basic_se_layer/dense_1/bias": (16,),
        }.items()
    }


def test_a_detectors_variables_are_those_of_its_graph():
    spec = SSDS["ssd320"]
    small = replace(spec, width=8, tower_layers=2, backbone=replace(spec.backbone, widths=(4, 8, 8, 8), stem_width=4))
    with tf.Graph().as_default():
        ssd(tf.zeros([1, 64, 64, 3]), small, 6, 5, LayerOptions())
        assert in_graph() == detector_variables(small, 6, 5)


@pytest.mark.parametrize(("distribution", "centerness"), [(True, False), (True, True)])
def test_further_heads_are_variables_of_their_own(distribution, centerness):
    spec = replace(SSDS["ssd320"], distribution=distribution, centerness=centerness)
    small = replace(spec, width=8, tower_layers=1, backbone=replace(spec.backbone, widths=(4, 8, 8, 8), stem_width=4))
    with tf.Graph().as_default():
        ssd(tf.zeros([1, 64, 64, 3]), small, 1, 5, LayerOptions())
        found = in_graph()
    assert found == detector_variables(small, 1, 5)
    predictor = "WeightSharedConvolutionalBoxPredictor"
    assert found[f"{predictor}/BoxDistributionPredictor/weights"] == (3, 3, 8, 68)
    assert f"{predictor}/BoxPredictor/weights" not in found
    assert (found.get(f"{predictor}/CenternessPredictor/biases") == (1,)) == centerness


@pytest.mark.parametrize("name", ["resnet18", "resnext50-32x4d", "se-resnext50-32x4d"])
def test_on_another_backbone_a_detectors_variables_are_those_of_its_graph_in_the_backbones_scope(name):
    parts = {"blocks": (1, 1, 1, 1), "widths": (4, 8, 8, 8), "cardinality": min(BACKBONES[name].cardinality, 2)}
    small = replace(SSDS["ssd320"].with_backbone(replace(BACKBONES[name], **parts)), width=8, tower_layers=1)
    with tf.Graph().as_default():
        ssd(tf.zeros([1, 64, 64, 3]), small, 6, 5, LayerOptions())
        found = in_graph()
    assert found == detector_variables(small, 6, 5)
    scopes = {"/".join(variable.split("/")[:3]) for variable in found if variable.startswith("FeatureExtractor/")}
    block = "basic_block" if name == "resnet18" else "btlnck_block"
    inside = ("conv2d", "fpn", *(f"{block}_{stage}_0" for stage in range(4)))
    assert scopes == {f"FeatureExtractor/{name}/{scope}" for scope in inside}
    others = {kernel.rpartition("/")[2] for kernel in found if "/fpn/" in kernel and "BatchNorm" not in kernel}
    assert others == {"weights", "biases"}  # as in every detector


def test_ssd320s_variables_are_the_463_of_detection_checkpoints():
    shapes = detector_variables(SSDS["ssd320"], 6, 91)
    assert shapes == variables_of_ssd320()
    assert len(shapes) == 463


def test_slims_network_has_265_variables_and_its_classifier():
    assert len(backbone_variables(replace(RESNETS["resnet50"], names=SLIM_NAMES))) == 265
