"""Missing options come from the checkpoint, else the data, else the defaults; contradictions are reported."""

import pytest

from runtime.classification.resolve_classifier import resolve_model
from utils.config import ModelConfig
from utils.errors import UsageError
from utils.image_sizes import Sides
from utils.records.manifest import Manifest

NAMES = ("ant", "bee", "cat")
MANIFEST = Manifest(class_names=NAMES, class_count=3, head_size=3, label_offset=1)
IMAGENET = Manifest(class_names=tuple(f"n{i:08}" for i in range(1000)), class_count=1000, head_size=1001)
METADATA = {
    "architecture": "se-resnext101-32x4d",
    "num_classes": 3,
    "image_size": 64,
    "label_offset": 1,
    "class_names": list(NAMES),
    "data_class_names": list(NAMES),
}


def resolved(model=None, *, manifest=None, metadata=None, names=None):
    return resolve_model(model or ModelConfig(), manifest, metadata, names)


def manifest_of(*names, offset=1, head=None):
    return Manifest(class_names=names, class_count=len(names), head_size=head or len(names), label_offset=offset)


def test_the_defaults_are_resnet50_for_imagenet():
    model, notes = resolved()
    assert model == ModelConfig(architecture="resnet50", num_classes=1001, image_size=224, label_offset=1)
    assert (model.class_names, notes) == (None, ())


def test_the_data_give_classes_and_labels():
    model, notes = resolved(manifest=manifest_of(*NAMES, offset=0, head=5))
    assert model == ModelConfig(
        architecture="resnet50",
        num_classes=5,
        image_size=224,
        label_offset=0,
        class_names=NAMES,
        data_class_names=NAMES,
    )
    assert notes == ()


def test_imagenet_has_one_output_more_than_classes():
    model, _ = resolved(manifest=IMAGENET)
    assert (model.num_classes, len(model.class_names)) == (1001, 1000)


@pytest.mark.parametrize("manifest", [None, MANIFEST])
def test_the_checkpoint_comes_before_data_and_defaults(manifest):
    model, notes = resolved(manifest=manifest, metadata=METADATA)
    assert model == ModelConfig(
        architecture="se-resnext101-32x4d",
        num_classes=3,
        image_size=64,
        label_offset=1,
        class_names=NAMES,
        data_class_names=NAMES,
    )
    assert notes == ()


def test_what_was_given_and_what_has_no_source_is_kept():
    given = ModelConfig(architecture="resnext101-32x4d", num_classes=7, image_size=96, data_format="NCHW")
    model, notes = resolved(given, manifest=MANIFEST)
    assert (model.architecture, model.num_classes, model.image_size) == ("resnext101-32x4d", 7, 96)
    assert (model.data_format, notes) == ("NCHW", ())


def test_flags_that_repeat_the_checkpoint_are_fine():
    given = ModelConfig(architecture="se-resnext101-32x4d", num_classes=3, image_size=64)
    assert resolved(given, metadata=METADATA)[1] == ()


def test_another_image_size_than_the_checkpoints_is_used_and_said():
    model, notes = resolved(ModelConfig(image_size=128), metadata=METADATA)
    assert model.image_size == 128
    assert notes == ("--image_size 128 is used; the checkpoint was trained at 64",)


def test_a_size_that_is_not_square_is_refused():
    with pytest.raises(UsageError) as error:
        resolved(ModelConfig(image_size=Sides(64, 96)), metadata=METADATA)
    assert str(error.value) == "--image_size 64x96: the images of a classifier are square; give one number"


def test_metadata_that_knows_little_leaves_the_rest_to_the_data():
    model, _ = resolved(manifest=MANIFEST, metadata={"architecture": "resnet50", "class_names": None})
    assert (model.num_classes, model.class_names, model.image_size) == (3, NAMES, 224)


def test_data_without_the_last_classes_fit_the_checkpoint():
    model, _ = resolved(manifest=manifest_of("ant", "bee"), metadata=METADATA)
    assert (model.num_classes, model.class_names, model.data_class_names) == (3, NAMES, NAMES)


def test_data_with_more_classes_than_were_named_fit_a_head_that_has_room():
    metadata = METADATA | {"num_classes": 8}
    model, _ = resolved(manifest=manifest_of(*NAMES, "dog"), metadata=metadata)
    assert (model.num_classes, model.class_names) == (8, (*NAMES, "dog"))


@pytest.mark.parametrize(
    ("given", "manifest", "metadata", "message"),
    [
        (
            ModelConfig(architecture="resnet50"),
            None,
            METADATA,
            "--arch resnet50: the checkpoint holds se-resnext101-32x4d; leave --arch out or name another --model_dir",
        ),
        (
            ModelConfig(num_classes=10),
            None,
            METADATA,
            "--num_classes 10: the checkpoint has 3 classes; leave --num_classes out or name another --model_dir",
        ),
        (
            ModelConfig(num_classes=2),
            MANIFEST,
            None,
            "--data_dir: the data has 3 classes, more than --num_classes 2",
        ),
        (
            ModelConfig(),
            manifest_of(*NAMES, "dog"),
            METADATA,
            "--data_dir: the data has 4 classes, more than the checkpoint's 3 classes",
        ),
        (
            ModelConfig(),
            manifest_of(*NAMES, offset=0),
            METADATA,
            "--data_dir: labels start at 0 in the data, but at 1 in the checkpoint; the same label would mean another "
            "class",
        ),
        (
            ModelConfig(),
            manifest_of("ant", "cat", "bee"),
            METADATA,
            "--data_dir: class 1 is 'cat' in the data, but 'bee' in the checkpoint; the same label would mean another "
            "class",
        ),
        (
            ModelConfig(),
            manifest_of("bee", "cat"),
            METADATA,
            "--data_dir: class 0 is 'bee' in the data, but 'ant' in the checkpoint; the same label would mean another "
            "class",
        ),
        (
            ModelConfig(),
            manifest_of("Ant", "bee", "cat"),
            {"num_classes": 3, "class_names": list(NAMES)},
            "--data_dir: class 0 is 'Ant' in the data, but 'ant' in the checkpoint; the same label would mean another "
            "class",
        ),
    ],
)
def test_contradictions_name_both_values(given, manifest, metadata, message):
    with pytest.raises(UsageError) as error:
        resolved(given, manifest=manifest, metadata=metadata)
    assert str(error.value) == message


class TestNamesFromAFile:
    SPOKEN = ("Ameise", "Biene", "Katze")

    def test_they_name_the_classes_and_the_data_keep_theirs(self):
        model, notes = resolved(manifest=MANIFEST, names=self.SPOKEN)
        assert (model.class_names, model.data_class_names, notes) == (self.SPOKEN, NAMES, ())

    def test_a_run_with_them_can_be_continued_and_evaluated(self):
        """With and without the flag, the data's own names are compared."""
        stored = METADATA | {"class_names": list(self.SPOKEN)}
        for names in (None, self.SPOKEN):
            model, notes = resolved(manifest=MANIFEST, metadata=stored, names=names)
            assert (model.class_names, model.data_class_names, notes) == (self.SPOKEN, NAMES, ())

    def test_they_do_not_hide_data_in_another_order(self):
        with pytest.raises(UsageError, match="class 0 is 'cat' in the data, but 'ant' in the checkpoint"):
            resolved(manifest=manifest_of("cat", "bee", "ant"), metadata=METADATA, names=self.SPOKEN)

    def test_replacing_the_checkpoints_is_said(self):
        model, notes = resolved(metadata=METADATA, names=self.SPOKEN)
        assert model.class_names == self.SPOKEN
        assert notes == ("the names of --class_names replace the checkpoint's",)

    def test_imagenet_takes_a_name_for_each_class_or_each_output(self):
        for count in (1000, 1001):
            names = tuple(map(str, range(count)))
            assert resolved(names=names)[0].class_names == names
            assert resolved(manifest=IMAGENET, names=names)[0].class_names == names

    @pytest.mark.parametrize(
        ("given", "sources", "message"),
        [
            (ModelConfig(), {"manifest": MANIFEST}, "the file has 2 names; must be 3, one for each class"),
            (ModelConfig(num_classes=5), {"manifest": MANIFEST},
             "the file has 2 names; must be 3 or 5, one for each class"),
            (ModelConfig(), {"metadata": METADATA}, "the file has 2 names; must be 3, one for each class"),
            (ModelConfig(num_classes=5), {}, "the file has 2 names; must be 5, one for each class"),
            (ModelConfig(), {}, "the file has 2 names; must be 1000 or 1001, one for each class"),
        ],
    )  # fmt: skip
    def test_another_number_of_names_is_refused(self, given, sources, message):
        with pytest.raises(UsageError) as error:
            resolved(given, **sources, names=("ant", "bee"))
        assert str(error.value) == f"--class_names: {message}"


def test_the_crop_of_evaluation_is_the_checkpoints_unless_another_is_given():
    stored = METADATA | {"eval_crop": 0.95}
    assert resolved(metadata=stored)[0].eval_crop == 0.95
    assert resolved(metadata=METADATA)[0].eval_crop is None
    model, notes = resolved(ModelConfig(eval_crop=0.875), metadata=stored)
    assert (model.eval_crop, notes) == (0.875, ("--eval_crop 0.875 is used; the checkpoint has 0.95",))
    assert resolved(ModelConfig(eval_crop=0.875), metadata=METADATA)[1] == ()
