"""Variables that a detector takes from other networks' checkpoints."""

import pytest

from model.checkpoint_names import own_classifier, stem_kernel
from model.specs import BACKBONES, RESNETS
from model.variables import classifier_variables, detector_variables
from model.warm_start import CLASS_HEAD, backbone_of, detector_sources
from tests.model.tiny_ssd import BACKBONE, PREDICTOR, TINY_SSD, variables_of_ssd320

BACKBONE_NAMES = [name for name in variables_of_ssd320() if name.startswith(BACKBONE) and "/fpn/" not in name]
SLIM = [name.removeprefix("FeatureExtractor/") for name in BACKBONE_NAMES]
OTHERS = ["resnet_v1_50/logits/weights", "resnet_v1_50/logits/biases", "resnet_v1_50/mean_rgb", "global_step"]
SLIMS, OWN = "resnet_v1_50", "resnet50"


def test_the_backbone_has_265_variables():
    assert len(BACKBONE_NAMES) == 265


def test_of_slims_network_all_is_taken_but_its_classifier():
    sources = detector_sources([*SLIM, *OTHERS], SLIMS)
    assert sources == {f"FeatureExtractor/{name}": name for name in SLIM}


def own_name(name):
    """Builds the name of a backbone variable in this project's classifier, from slim's name."""
    layer, _, kind = name.removeprefix(f"{BACKBONE}/").partition("/BatchNorm/")
    layer = layer.removesuffix("/weights")
    if layer != "conv1":
        block, unit, _, convolution = layer.split("/")
        inside = {"shortcut": "shortcut/conv2d"}.get(convolution, f"bottleneck_{convolution[-1]}")
        layer = f"btlnck_block_{int(block[-1]) - 1}_{int(unit[-1]) - 1}/{inside}"
    else:
        layer = "conv2d"
    return f"resnet50/{layer}/BatchNorm/{kind}" if kind else f"resnet50/{layer}/conv2d/kernel"


def test_this_projects_classifier_gives_the_same_layers_under_its_own_names():
    stored = [own_name(name) for name in BACKBONE_NAMES]
    further = ["resnet50/output/dense/kernel", "resnet50/output/dense/bias", f"{stored[0]}/Momentum", "global_step"]
    assert detector_sources([*stored, *further], OWN) == dict(zip(BACKBONE_NAMES, stored, strict=True))


def test_a_detectors_variables_go_by_their_names():
    stored = [*variables_of_ssd320(), "global_step"]
    assert detector_sources(stored, SLIMS) == {name: name for name in stored}


@pytest.mark.parametrize("name", ["resnet18", "resnext50-32x4d", "se-resnext50-32x4d"])
def test_another_classifier_gives_all_but_its_last_layer_under_its_own_names(name):
    stored = classifier_variables(RESNETS[name], 5)
    sources = detector_sources(stored, name)
    assert sources == {f"FeatureExtractor/{own}": own for own in stored if "/output/" not in own}
    wanted = detector_variables(TINY_SSD.with_backbone(BACKBONES[name]), 6, 4)
    assert {wanted[ours] == stored[theirs] for ours, theirs in sources.items()} == {True}
    assert stem_kernel(BACKBONES[name]) in sources


def test_a_network_that_is_unknown_gives_what_has_the_same_name():
    assert detector_sources(["vgg_16/conv1/weights"], SLIMS) == {"vgg_16/conv1/weights": "vgg_16/conv1/weights"}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("resnet50/conv2d/conv2d/kernel", "resnet50"),
        ("se-resnext50-32x4d/conv2d/conv2d/kernel", "se-resnext50-32x4d"),
        (SLIM[0], None),
        (BACKBONE_NAMES[0], None),
        ("FeatureExtractor/resnet18/conv2d/conv2d/kernel", None),
        ("resnet50", None),
    ],
)
def test_only_this_projects_classifiers_are_its_own(name, own):
    assert own_classifier([name, "global_step"]) == own
    assert backbone_of([name, "global_step"]) == ("resnet_v1_50" if name == SLIM[0] else own)


def test_the_variables_that_are_named_exist():
    names = variables_of_ssd320()
    assert stem_kernel(BACKBONES[SLIMS]) in names
    assert set(CLASS_HEAD) == {name for name in names if name.startswith(f"{PREDICTOR}/ClassPredictor/")}
    assert RESNETS["resnet50"].blocks == (3, 4, 6, 3)
