"""Names and shapes from the tables alone: those of the graphs, and of published checkpoints."""

import hashlib
from dataclasses import replace

import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import RESNETS, SLIM_NAMES, SSDS, ResNetSpec
from model.ssd import ssd
from model.variables import backbone_variables, classifier_variables, detector_variables
from tests.model.oracle.weights import variable_shapes
from tests.model.test_resnet import COUNTS, SHA256
from tests.model.tiny_ssd import variables_of_ssd320

tf1 = tf.compat.v1

TINY = ResNetSpec(name="tiny", blocks=(1, 2), widths=(8, 16), expansion=2, cardinality=4, se_ratio=4, stem_width=8)


def in_graph():
    return {v.op.name: tuple(v.shape.as_list()) for v in tf1.global_variables()}


@pytest.mark.parametrize("spec", [TINY, replace(TINY, cardinality=1, se_ratio=0), replace(TINY, stem_width=16)])
def test_a_classifiers_variables_are_those_of_its_graph(spec):
    with tf.Graph().as_default():
        resnet(tf.zeros([1, 32, 32, 3]), spec, 7, LayerOptions())
        assert in_graph() == classifier_variables(spec, 7)


@pytest.mark.parametrize("name", RESNETS)
def test_a_classifiers_variables_are_those_of_published_checkpoints(name):
    shapes = classifier_variables(RESNETS[name], 1001)
    assert shapes == variable_shapes(RESNETS[name], 1001)
    assert len(shapes) == COUNTS[name][0]
    lines = sorted(f"{variable} {'x'.join(map(str, shape))}\n".encode() for variable, shape in shapes.items())
    if name in SHA256:
        assert hashlib.sha256(b"".join(lines)).hexdigest() == SHA256[name]


def test_a_detectors_variables_are_those_of_its_graph():
    spec = SSDS["ssd320"]
    small = replace(spec, width=8, tower_layers=2, backbone=replace(spec.backbone, widths=(4, 8, 8, 8), stem_width=4))
    with tf.Graph().as_default():
        ssd(tf.zeros([1, 64, 64, 3]), small, 6, 5, LayerOptions())
        assert in_graph() == detector_variables(small, 6, 5)


def test_ssd320s_variables_are_the_463_of_detection_checkpoints():
    shapes = detector_variables(SSDS["ssd320"], 6, 91)
    assert shapes == variables_of_ssd320()
    assert len(shapes) == 463


def test_slims_network_has_265_variables_and_its_classifier():
    assert len(backbone_variables(replace(RESNETS["resnet50"], names=SLIM_NAMES))) == 265
