"""The split of a network's variables into head and backbone, by the names of whole networks."""

from collections import Counter

import pytest

from model.checkpoint_names import variables_of
from model.specs import BACKBONES, RESNETS
from model.variable_groups import depth_in_classifier, part_of_classifier, part_of_detector
from model.variables import backbone_variables
from tests.model.tiny_ssd import variables_of_ssd320


def test_a_detector_has_a_backbone_of_265_variables_and_a_pyramid_below_its_head():
    parts = Counter(part_of_detector(name) for name in variables_of_ssd320())
    assert parts == {"backbone": 265, "pyramid": 26, "head": 172}


def test_pyramid_and_head_have_the_same_variables_on_every_backbone():
    for backbone in BACKBONES:
        parts = Counter(part_of_detector(name) for name in variables_of("ssd320", 90, backbone))
        assert (parts["pyramid"], parts["head"]) == (26, 172)
        assert parts["backbone"] == len(backbone_variables(BACKBONES[backbone]))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("resnet50/output/dense/kernel", "head"),
        ("se-resnext101-32x4d/output/dense/bias", "head"),
        ("se-resnext101-32x4d/btlnck_block_0_0/bottleneck_se_layer/dense/kernel", "backbone"),
        ("resnet50/conv2d/BatchNorm/moving_mean", "backbone"),
    ],
)
def test_the_head_of_a_classifier_is_the_layer_that_tells_classes(name, part):
    assert part_of_classifier(name) == part


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("resnet50", 16), ("se-resnext101-32x4d", 33)])
def test_the_depth_counts_blocks_from_the_head_to_the_stem(name, blocks):
    depths = {variable: depth_in_classifier(variable, RESNETS[name]) for variable in variables_of(name, 3)}
    assert set(depths.values()) == set(range(blocks + 2))
    assert [*depths.values()] == sorted(depths.values(), reverse=True)  # variables are in the order of layers
    assert {variable for variable, depth in depths.items() if depth == 0} == {
        f"{name}/output/dense/{kind}" for kind in ("kernel", "bias")
    }
    assert {variable.split("/")[1] for variable, depth in depths.items() if depth == blocks + 1} == {"conv2d"}
