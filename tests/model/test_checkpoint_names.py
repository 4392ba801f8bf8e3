"""Variable names of other programs, and the network that names belong to."""

import pytest

from model.checkpoint_names import classifier_sources, describe, torch_origin, torch_sources, variables_of
from model.specs import RESNETS, SLIM_NAMES
from model.variables import classifier_variables
from tests.model.oracle.timm_side import timm_key
from tests.model.test_warm_start import SLIM

LOGITS = {"resnet_v1_50/logits/weights": (1, 1, 2048, 1000), "resnet_v1_50/logits/biases": (1000,)}


@pytest.mark.parametrize("name", RESNETS)
def test_timms_names_are_those_that_the_oracle_takes(name):
    ours = classifier_variables(RESNETS[name], 7)
    expected = {variable: timm_key(variable) for variable in ours}
    assert torch_sources(name, set(expected.values())) == expected
    assert torch_origin(set(expected.values())) == "torch"


def test_the_older_names_are_taken_where_a_file_has_them():
    names = ["layer0.conv1.weight", "layer0.bn1.running_var", "layer1.0.se_module.fc2.bias", "last_linear.weight"]
    assert torch_origin(names) == "cadene"
    sources = torch_sources("se-resnext101-32x4d", names)
    assert {ours for ours, theirs in sources.items() if theirs in names} == {
        "se-resnext101-32x4d/conv2d/conv2d/kernel",
        "se-resnext101-32x4d/conv2d/BatchNorm/moving_variance",
        "se-resnext101-32x4d/btlnck_block_0_0/bottleneck_se_layer/dense_1/bias",
        "se-resnext101-32x4d/output/dense/kernel",
    }


def test_slims_network_gives_every_variable_of_resnet50_and_its_slots():
    stored = [*SLIM, *LOGITS, f"{SLIM[0]}/Momentum", f"{SLIM[0]}/Adam", "resnet_v1_50/mean_rgb", "global_step"]
    sources = classifier_sources(stored, "resnet50", ("Momentum", "Adam"))
    ours = classifier_variables(RESNETS["resnet50"], 1000)
    assert {sources[name] for name in ours} == {*SLIM, *LOGITS}
    assert sources["resnet50/conv2d/conv2d/kernel"] == f"resnet_v1_50/{SLIM_NAMES.stem}/weights"
    assert sources["resnet50/conv2d/conv2d/kernel/Momentum"] == f"{SLIM[0]}/Momentum"
    assert sources["resnet50/conv2d/conv2d/kernel/Adam"] == f"{SLIM[0]}/Adam"
    assert sources["resnet50/output/dense/kernel"] == "resnet_v1_50/logits/weights"
    middle = "resnet50/btlnck_block_2_5/bottleneck_2"
    assert sources[f"{middle}/conv2d/kernel"] == "resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/weights"
    assert sources["global_step"] == "global_step"


def test_slims_network_gives_nothing_to_the_others():
    same = {name: name for name in SLIM}
    assert [name for name in RESNETS if classifier_sources(SLIM, name, ()) != same] == ["resnet50"]


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize("classes", [1001, 10])
def test_checkpoints_of_nvidias_networks_and_of_ours_are_known_by_their_names(name, classes):
    stored = {**variables_of(name, classes), "signal_handler_var": (1,), "global_step": ()}
    origin = "nvidia" if name in ("resnet50", "resnext101-32x4d", "se-resnext101-32x4d") else "own"
    expected = {"task": "classification", "architecture": name, "origin": origin, "num_classes": classes}
    assert describe(stored) == expected


def test_a_classifier_of_the_final_convolution_says_its_classes_too():
    stored = {**variables_of("resnet50", 1), "resnet50/output/dense/kernel": (1, 1, 2048, 17)}
    assert describe(stored)["num_classes"] == 17


def test_slims_checkpoint_is_known_by_its_names_with_and_without_its_classifier():
    expected = {"task": "classification", "architecture": "resnet50", "origin": "slim"}
    assert describe(dict.fromkeys(SLIM, (1,))) == expected
    assert describe(dict.fromkeys(SLIM, (1,)) | LOGITS) == expected | {"num_classes": 1000}


@pytest.mark.parametrize("classes", [1, 90])
def test_a_detection_checkpoint_is_known_by_its_names(classes):
    expected = {"task": "detection", "architecture": "ssd320", "origin": "detection", "num_classes": classes}
    assert describe(variables_of("ssd320", classes)) == expected | {"backbone": "resnet_v1_50"}
    assert describe(variables_of("ssd320", classes, "resnet18")) == expected | {"backbone": "resnet18"}


def test_a_detection_checkpoint_without_a_description_has_the_heads_of_its_variables():
    stored = variables_of("ssd320", 4)
    stored["WeightSharedConvolutionalBoxPredictor/CenternessPredictor/weights"] = (3, 3, 256, 6)
    assert describe(stored)["heads"] == {"distribution": False, "centerness": True}
    stored["WeightSharedConvolutionalBoxPredictor/BoxDistributionPredictor/weights"] = (3, 3, 256, 408)
    assert describe(stored)["heads"] == {"distribution": True, "centerness": True}


@pytest.mark.parametrize("names", [["vgg_16/conv1/weights"], ["resnet_v1_101/conv1/weights"], [], ["resnet50/other"]])
def test_what_is_unknown_has_no_description(names):
    assert describe(dict.fromkeys(names, (1,))) == {}


def test_a_head_of_another_kind_of_detector_is_unknown():
    stored = variables_of("ssd320", 90)
    stored["WeightSharedConvolutionalBoxPredictor/ClassPredictor/weights"] = (3, 3, 256, 91 * 9 + 1)
    assert describe(stored) == {}
