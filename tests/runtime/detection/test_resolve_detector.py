"""Missing options of a detector come from the checkpoint, else the label map or the data, else the defaults."""

import json
import re
from dataclasses import asdict, replace

import pytest

from model.specs import QuantizationSpec
from runtime.detection.resolve_detector import (
    Categories,
    check_turns,
    numbered_categories,
    resolve_detector,
    stored_categories,
)
from utils.config import ModelConfig
from utils.detection_config import RESIZES, AnchorSpec, BoxCoderSpec, DetectionConfig, HeadSpec
from utils.errors import UsageError
from utils.image_sizes import Sides
from utils.input.augmentation_specs import RotateSpec
from utils.object_augment_config import ObjectAugmentConfig

PETS = Categories((1, 3, 7), ("cat", "dog", "bird"), ("/m/cat", "/m/dog", ""), "pets.pbtxt")
METADATA = {
    "task": "detection",
    "architecture": "ssd320",
    "num_classes": 7,
    "class_names": ["cat", "dog", "bird"],
    "data_class_names": ["/m/cat", "/m/dog", ""],
    "category_ids": [1, 3, 7],
    "exact_classes": False,
    "anchors": asdict(AnchorSpec()),
    "coder": asdict(BoxCoderSpec()),
    "backbone": "resnet_v1_50",
    "image_size": 256,
}
CENTRED = DetectionConfig(anchors=AnchorSpec(centred=True))


def resolved(*sources, detection=None, metadata=None, backbone=None, **model):
    given = ModelConfig(architecture="ssd320", **model)
    return resolve_detector(given, detection or DetectionConfig(), metadata or {}, sources or (PETS,), backbone)


def refused(message, *sources, **given):
    with pytest.raises(UsageError, match=re.escape(message)):
        resolved(*sources, **given)


# Anchors


def test_one_anchor_on_a_cell_holds_again_and_another_number_is_refused():
    single = DetectionConfig(anchors=AnchorSpec(single=True))
    stored = METADATA | {"anchors": asdict(AnchorSpec(single=True))}
    assert resolved(metadata=stored)[1].anchors.per_cell == 1
    assert resolved(metadata=stored, detection=single)[1].anchors.per_cell == 1
    refused("--anchors_per_cell 1: the checkpoint was trained with 6", metadata=METADATA, detection=single)
    six = DetectionConfig(anchors=AnchorSpec(single=False))
    refused("--anchors_per_cell 6: the checkpoint was trained with 1", metadata=stored, detection=six)
    older = {k: v for k, v in METADATA["anchors"].items() if k != "single"}
    refused("the checkpoint was trained with 6", metadata=METADATA | {"anchors": older}, detection=single)


# Categories


def test_the_first_source_gives_the_categories():
    model, detection, notes = resolved(PETS, PETS._replace(names=("cat", "/m/dog", "bird"), origin="the data"))
    assert model == ModelConfig(
        architecture="ssd320",
        num_classes=7,
        image_size=320,
        label_offset=0,
        category_ids=(1, 3, 7),
        class_names=("cat", "dog", "bird"),
        data_class_names=("/m/cat", "/m/dog", ""),
        backbone="resnet_v1_50",
    )
    assert (detection, notes) == (DetectionConfig(), ())


def test_without_aliases_there_are_none():
    assert resolved(PETS._replace(aliases=()))[0].data_class_names is None


def test_data_may_lack_categories():
    fewer = Categories((3,), ("dog",), (), "the data")
    assert resolved(PETS, fewer)[0].category_ids == (1, 3, 7)


def test_a_category_that_the_first_source_lacks_is_refused():
    more = Categories((1, 4), ("cat", "cow"), (), "the data")
    refused(
        "the data: has category 4, 'cow'; pets.pbtxt has no such category (3 from 1 to 7) (--label_map, --model_dir)",
        PETS,
        more,
    )


def test_an_id_with_another_name_is_refused_in_any_source():
    other = Categories((1, 3), ("cat", "cow"), (), "the data")
    message = "the data: category 3 is 'cow'; in pets.pbtxt it is 'dog', so the same id would mean another class"
    refused(message, PETS, other)
    refused(message, PETS, PETS, other)


def test_categories_of_a_checkpoint_are_read_from_beside_it():
    assert stored_categories(METADATA) == PETS._replace(origin="the checkpoint")
    assert stored_categories(METADATA | {"data_class_names": None}).aliases == ()
    assert stored_categories({"architecture": "resnet50"}) is None
    assert stored_categories({}) is None


def test_a_number_of_classes_numbers_them():
    assert numbered_categories(3) == Categories((1, 2, 3), ("1", "2", "3"), (), "--num_classes 3")


# The number of classes


def test_more_slots_than_the_largest_id_may_be_asked_for():
    assert resolved(num_classes=90)[0].num_classes == 90
    assert resolved(num_classes=7)[0].num_classes == 7


def test_fewer_slots_than_the_largest_id_are_refused():
    refused(
        "--num_classes 6: the largest category id of pets.pbtxt is 7, and a detector has a class slot", num_classes=6
    )


def test_the_checkpoint_decides_on_the_number_of_classes():
    metadata = METADATA | {"num_classes": 90}
    assert resolved(metadata=metadata)[0].num_classes == 90
    assert resolved(metadata=metadata, num_classes=90)[0].num_classes == 90
    refused(
        "--num_classes 7: the checkpoint has 90; leave --num_classes out or name another --model_dir",
        metadata=metadata,
        num_classes=7,
    )


def test_a_category_beyond_the_checkpoints_slots_is_refused():
    refused("--num_classes 5: the largest category id of pets.pbtxt is 7", metadata=METADATA | {"num_classes": 5})


# The size


def test_the_size_is_that_of_the_checkpoint_unless_another_is_asked_for():
    assert resolved(metadata=METADATA)[0].image_size == 256
    assert resolved(metadata=METADATA, image_size=256)[2] == ()
    model, _, notes = resolved(metadata=METADATA, image_size=512)
    assert (model.image_size, notes) == (512, ("--image_size 512 is used; the checkpoint was trained at 256",))


@pytest.mark.parametrize("size", [1, 32, 63, 100, 330])
def test_sizes_that_do_not_halve_are_refused(size):
    refused(f"--image_size {size}: must be a multiple of 32 and at least 64 for a detector", image_size=size)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (100, "--image_size 100: must be a multiple of 32 and at least 64"),
        (100, "; the nearest are 96 and 128"),
        (32, "; the nearest is 64"),
        (Sides(128, 200), "--image_size 128x200: each side must be a multiple of 32 and at least 64"),
        (Sides(128, 200), "; the nearest are 128x192 and 128x224"),
        (Sides(100, 120), "; the nearest are 96 and 128"),
        (Sides(32, 128), "; the nearest is 64x128"),
    ],
)
def test_the_nearest_sizes_that_halve_are_named(size, words):
    refused(words, image_size=size)


@pytest.mark.parametrize("size", [64, 96, 640, 1024, Sides(64, 128), Sides(320, 512)])
def test_sizes_that_halve_are_taken(size):
    assert resolved(image_size=size)[0].image_size == size


def test_a_size_that_is_not_square_is_stored_as_a_list():
    metadata = METADATA | {"image_size": [128, 192]}
    assert resolved(metadata=metadata)[0].image_size == Sides(128, 192)
    assert resolved(metadata=metadata, image_size=Sides(128, 192))[2] == ()
    notes = resolved(metadata=metadata, image_size=192)[2]
    assert notes == ("--image_size 192 is used; the checkpoint was trained at 128x192",)


# The proportions


def test_the_way_to_fit_pictures_is_that_of_the_weights():
    padded = METADATA | {"resize": "pad"}
    pad, stretch = (DetectionConfig(resize=way) for way in RESIZES[::-1])
    assert resolved(detection=pad)[1].pads
    assert resolved(metadata=padded)[1].pads
    assert resolved(metadata=padded, detection=pad)[1].pads
    assert not resolved(metadata=METADATA)[1].pads  # written before there was a choice
    assert not resolved(metadata=METADATA, detection=stretch)[1].pads
    other = "; leave it out or name another folder"
    refused(f"--resize stretch: the checkpoint was trained with pad{other}", metadata=padded, detection=stretch)
    refused(f"--resize pad: the checkpoint was trained with stretch{other}", metadata=METADATA, detection=pad)


# The backbone


@pytest.mark.parametrize(
    ("metadata", "warm_start", "expected"),
    [
        ({}, None, "resnet_v1_50"),
        ({}, "resnet50", "resnet50"),
        (METADATA, None, "resnet_v1_50"),
        (METADATA | {"backbone": "resnet50"}, None, "resnet50"),
        (METADATA, "resnet50", "resnet_v1_50"),
    ],
)
def test_the_backbone_is_that_of_the_weights(metadata, warm_start, expected):
    assert resolved(metadata=metadata, backbone=warm_start)[0].backbone == expected


def test_a_backbone_can_be_asked_for_where_no_weights_contradict_it():
    def asked(name, **known):
        return resolve_detector(
            ModelConfig(architecture="ssd320", backbone=name),
            DetectionConfig(),
            known.get("metadata", {}),
            (PETS,),
            known.get("warm_start"),
        )[0].backbone

    assert asked("resnet18") == asked("resnet18", warm_start="resnet18") == "resnet18"
    assert asked("resnet18", metadata=METADATA | {"backbone": "resnet18"}) == "resnet18"
    older = {key: value for key, value in METADATA.items() if key != "backbone"}
    for metadata in (METADATA, older):
        with pytest.raises(
            UsageError, match="--backbone resnet18: the checkpoint was trained with resnet_v1_50; leave"
        ):
            asked("resnet18", metadata=metadata)
    with pytest.raises(UsageError, match="--backbone resnet18: the weights of --finetune_checkpoint are those of resn"):
        asked("resnet18", warm_start="resnet50")


# Switches that the weights were trained with


def test_without_a_checkpoint_switches_are_as_given():
    exact = replace(CENTRED, exact_classes=True)
    assert resolved(detection=exact)[1] == exact
    assert resolved()[1] == DetectionConfig()


def test_the_checkpoints_switches_hold_again():
    metadata = METADATA | {"exact_classes": True, "num_classes": 3, "anchors": asdict(CENTRED.anchors)}
    _, detection, _ = resolved(metadata=metadata)
    assert detection == replace(CENTRED, exact_classes=True, resize="stretch")
    assert resolved(metadata=metadata, detection=detection)[1] == detection


def test_the_checkpoints_heads_hold_again():
    both = HeadSpec(distribution=True, centerness=True)
    stored = METADATA | {"heads": asdict(both)}
    assert resolved(metadata=stored)[1].heads == both
    assert resolved(metadata=stored, detection=DetectionConfig(heads=both))[1].heads == both
    assert resolved(detection=DetectionConfig(heads=both))[1].heads == both
    assert resolved(metadata=METADATA)[1].heads == HeadSpec()


@pytest.mark.parametrize(
    ("flag", "heads"),
    [("distribution_focal", HeadSpec(distribution=True)), ("centerness", HeadSpec(centerness=True))],
)
def test_a_head_that_the_checkpoint_lacks_is_refused(flag, heads):
    other = HeadSpec(distribution=not heads.distribution, centerness=not heads.centerness)
    for metadata in (METADATA, METADATA | {"heads": asdict(other)}):
        refused(
            f"--{flag}: asks for a head that the checkpoint was trained without; leave it out, name another folder, or",
            metadata=metadata,
            detection=DetectionConfig(heads=heads),
        )


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (
            DetectionConfig(augment=ObjectAugmentConfig(rotate90=True)),
            "--rotate90: turns images by quarters, so they must be square; --image_size is 320x512",
        ),
        (
            DetectionConfig(augmentation=(RotateSpec(turns=(0, 1)),)),
            "random_rotation90: turns images by quarters, so they must be square; model.ssd.image_resizer asks for "
            "320x512",
        ),
    ],
)
def test_only_square_images_are_turned_by_quarters(detection, message):
    with pytest.raises(UsageError) as error:
        check_turns(ModelConfig(image_size=Sides(320, 512)), detection)
    assert str(error.value) == message
    check_turns(ModelConfig(image_size=320), detection)
    flipped = DetectionConfig(augment=ObjectAugmentConfig(vertical_flip=True))
    check_turns(ModelConfig(image_size=Sides(320, 512)), flipped)


def test_exact_classes_count_categories_and_not_ids():
    huge = Categories((0, 3_000_000_000), ("cat", "dog"), (), "huge.json")
    assert resolved(huge, detection=DetectionConfig(exact_classes=True))[0].num_classes == 2
    refused("huge.json: its largest category id is 3000000000, and a detector has a class slot for each id", huge)
    refused("--exact_classes has one slot per category instead", huge)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_classes": 7}, "--num_classes 7: pets.pbtxt has 3 categories, and with --exact_classes a detector has"),
        (
            {"metadata": METADATA | {"exact_classes": True}},
            "the checkpoint's num_classes 7: pets.pbtxt has 3 categories",
        ),
    ],
)
def test_another_number_than_that_of_exact_classes_is_refused(given, message):
    refused(message, detection=DetectionConfig(exact_classes=True), **given)


def test_the_only_category_may_have_the_id_0():
    model, _, _ = resolved(Categories((0,), ("cell",), (), "cells.json"))
    assert (model.num_classes, model.category_ids) == (1, (0,))


@pytest.mark.parametrize(
    ("flag", "detection"), [("exact_classes", DetectionConfig(exact_classes=True)), ("centred_p7", CENTRED)]
)
def test_a_switch_that_the_checkpoint_was_trained_without_is_refused(flag, detection):
    refused(
        f"--{flag}: the checkpoint was trained without it; leave it out or name another folder",
        metadata=METADATA,
        detection=detection,
    )


def test_the_checkpoints_anchors_and_codes_hold_again_as_json_has_them():
    anchors = AnchorSpec(scale=2.0, aspect_ratios=(1.0, 3.0))
    coder = BoxCoderSpec(y_scale=5.0)
    stored = json.loads(json.dumps(METADATA | {"anchors": asdict(anchors), "coder": asdict(coder)}))
    assert resolved(metadata=stored)[1] == DetectionConfig(anchors=anchors, coder=coder, resize="stretch")
    clamped = DetectionConfig(coder=BoxCoderSpec(largest_log=3.0))
    assert resolved(metadata=stored, detection=clamped)[1].coder == replace(coder, largest_log=3.0)
    same = DetectionConfig(anchors=anchors, coder=coder, resize="stretch")
    assert resolved(metadata=stored, detection=same)[1] == same


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (DetectionConfig(anchors=AnchorSpec(scale=2.0)), "anchors.scale 2.0: the checkpoint was trained with 4.0"),
        (DetectionConfig(coder=BoxCoderSpec(x_scale=1.0)), "coder.x_scale 1.0: the checkpoint was trained with 10.0"),
    ],
)
def test_other_anchors_or_codes_than_the_checkpoints_are_refused(detection, message):
    refused(message, metadata=METADATA, detection=detection)


def test_what_is_not_stored_is_kept():
    detection = DetectionConfig(train_crowds=True, augmentation=())
    assert resolved(metadata=METADATA, detection=detection)[1] == replace(detection, resize="stretch")
    assert resolved(data_format="NCHW", metadata=METADATA)[0].data_format == "NCHW"


# Normalization


def test_the_norm_is_that_of_the_weights_and_another_is_refused():
    def asked(norm, **known):
        given = DetectionConfig(norm=norm)
        return resolve_detector(
            ModelConfig(architecture="ssd320"), given, known.get("metadata", {}), (PETS,), None, known.get("warm_start")
        )[1].norm

    grouped = METADATA | {"norm": "group"}
    assert (asked(None), asked("batch"), asked("group")) == (None, "batch", "group")
    assert asked(None, metadata=grouped) == asked("group", metadata=grouped) == "group"
    assert asked(None, metadata=METADATA) is None
    assert asked(None, warm_start="group") == "group"
    for norm, other, metadata in (("group", "batch", METADATA), ("batch", "group", grouped)):
        with pytest.raises(UsageError, match=f"--norm {norm}: the checkpoint was trained with {other}; leave"):
            asked(norm, metadata=metadata)
        with pytest.raises(UsageError, match=f"--norm {norm}: the detector of --finetune_checkpoint was trained with"):
            asked(norm, warm_start=other)


def test_group_norm_cannot_be_quantized():
    quantized = QuantizationSpec()
    refused("--quantize: rounds kernels", detection=DetectionConfig(norm="group"), quantization=quantized)
    assert resolved(quantization=quantized)[0].quantization == quantized
