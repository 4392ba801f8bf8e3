"""Categories and backbone of a launch: from the checkpoint, the label map, the data, a warm start or COCO."""

import json
import re
from dataclasses import replace

import pytest
import tensorflow as tf

from object_detection.label_map import COCO_LABEL_MAP, Category, label_map_text
from runtime.setup.detection import notes_on_objects, resolve_detection
from tests.object_detection.detection_records import GOOD, detection_record
from tests.runtime.detection.test_resolve_detector import METADATA
from tests.utils.input_records import write_files
from utils.config import ExperimentConfig, ModelConfig, RunConfig
from utils.data_config import DataConfig
from utils.detection_config import DetectionConfig
from utils.errors import RunError, UsageError
from utils.records.manifest import LABEL_MAP_NAME, Manifest
from utils.records.split_files import SplitFiles

tf1 = tf.compat.v1

MANIFEST = Manifest(class_names=("cat", "dog"), class_count=2, head_size=4, task="detection", category_ids=(1, 3))


def resolved(*, manifest=None, metadata=None, warm_start=None, reset=False, data=None, **model):
    config = ExperimentConfig(
        model=ModelConfig(architecture="ssd320", **model),
        data=DataConfig(**data or {}),
        run=RunConfig(mode="train", finetune_checkpoint=str(warm_start) if warm_start else None, reset_head=reset),
        detection=DetectionConfig(),
    )
    splits = {"train": SplitFiles(("file",), (10,), manifest)} if manifest else {}
    found, notes = resolve_detection(config, splits, metadata or {})
    assert found.data == config.data
    assert replace(found.run, reset_head=reset) == config.run
    return found.model, notes


def label_map(path, **names):
    """A label map of ``c<id>="name"``."""
    categories = [Category(id=int(key[1:]), name=f"/m/{key}", display_name=n) for key, n in names.items()]
    path.write_text(label_map_text(categories), encoding="utf-8")
    return str(path)


def checkpoint(folder, *names, metadata=None):
    """A checkpoint of these variables with a description beside it."""
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.get_variable(name, [1], use_resource=True) for name in names]
        session.run(tf1.global_variables_initializer())
        prefix = tf1.train.Saver(variables).save(session, str(folder / "model.ckpt-3"), write_meta_graph=False)
    if metadata is not None:
        (folder / "model.ckpt-3.json").write_text(json.dumps(metadata))
    return prefix


# Categories


@pytest.mark.parametrize("number", [None, 90])
def test_without_anything_the_categories_are_those_of_coco(number):
    model, notes = resolved(num_classes=number)
    assert (len(model.category_ids), model.category_ids[-1], model.num_classes) == (80, 90, 90)
    assert (model.class_names[0], model.class_names[-1]) == ("person", "toothbrush")
    assert (model.image_size, model.backbone, notes) == (320, "resnet_v1_50", ())


def test_another_number_of_classes_without_names_numbers_them():
    model, _ = resolved(num_classes=3)
    assert (model.category_ids, model.class_names, model.num_classes) == ((1, 2, 3), ("1", "2", "3"), 3)


def test_the_data_give_the_categories():
    model, _ = resolved(manifest=MANIFEST)
    assert (model.category_ids, model.class_names, model.num_classes) == ((1, 3), ("cat", "dog"), 3)
    assert model.data_class_names is None


def test_a_label_map_that_is_given_comes_before_the_data(tmp_path):
    path = label_map(tmp_path / "pets.pbtxt", c1="cat", c3="dog", c7="bird")
    model, _ = resolved(manifest=MANIFEST, data={"label_map_file": path})
    assert (model.category_ids, model.class_names) == ((1, 3, 7), ("cat", "dog", "bird"))
    assert model.data_class_names == ("/m/c1", "/m/c3", "/m/c7")


def test_data_that_contradict_the_label_map_are_refused(tmp_path):
    path = label_map(tmp_path / "pets.pbtxt", c1="cat", c3="cow")
    message = f"the data's dataset.json: category 3 is 'dog'; in {path} it is 'cow'"
    with pytest.raises(UsageError, match=re.escape(message)):
        resolved(manifest=MANIFEST, data={"label_map_file": path})


def test_the_background_is_no_category(tmp_path):
    path = tmp_path / "pets.pbtxt"
    path.write_text(label_map_text([Category(id=0, name="background"), Category(id=2, name="cat")]))
    assert resolved(data={"label_map_file": str(path)})[0].category_ids == (2,)


def test_a_label_map_beside_data_without_a_manifest_is_found(tmp_path):
    label_map(tmp_path / LABEL_MAP_NAME, c2="cat", c5="dog")
    model, _ = resolved(data={"data_dir": str(tmp_path)})
    assert (model.category_ids, model.num_classes) == ((2, 5), 5)


def test_beside_a_manifest_or_a_label_map_that_is_given_it_must_agree(tmp_path):
    label_map(tmp_path / LABEL_MAP_NAME, c2="cow")
    with pytest.raises(UsageError, match="has category 2, 'cow'"):
        resolved(manifest=MANIFEST, data={"data_dir": str(tmp_path)})
    given = label_map(tmp_path / "other.pbtxt", c2="cow", c9="fox")
    found, _ = resolved(data={"data_dir": str(tmp_path), "label_map_file": given})
    assert found.category_ids == (2, 9)


def test_a_label_map_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"missing.pbtxt: cannot be read"):
        resolved(data={"label_map_file": str(tmp_path / "missing.pbtxt")})


def test_cocos_label_map_is_part_of_the_project():
    assert COCO_LABEL_MAP.is_file()


# Checkpoints


def test_the_checkpoint_comes_before_label_map_and_data(tmp_path):
    model, _ = resolved(metadata=METADATA, manifest=MANIFEST)
    assert (model.category_ids, model.num_classes, model.image_size) == ((1, 3, 7), 7, 256)
    path = label_map(tmp_path / "pets.pbtxt", c1="cat", c2="cow")
    with pytest.raises(UsageError, match=r"has category 2, 'cow'; the checkpoint has no such category"):
        resolved(metadata=METADATA, data={"label_map_file": path})


def test_the_data_may_call_categories_by_the_checkpoints_aliases():
    aliased = Manifest(
        class_names=("/m/cat", "bird"), class_count=2, head_size=8, task="detection", category_ids=(1, 7)
    )
    assert resolved(metadata=METADATA, manifest=aliased)[0].class_names == ("cat", "dog", "bird")


# Warm starts


def test_a_classifier_of_this_project_decides_on_the_backbone(tmp_path):
    path = checkpoint(tmp_path, "resnet50/conv2d/conv2d/kernel", metadata={"task": "classification"})
    model, _ = resolved(warm_start=path, manifest=MANIFEST)
    assert (model.backbone, model.category_ids) == ("resnet50", (1, 3))


def test_another_classifier_is_known_by_its_variables_and_no_other_backbone_can_be_asked_for(tmp_path):
    path = checkpoint(tmp_path, "se-resnext50-32x4d/conv2d/conv2d/kernel")
    assert resolved(warm_start=path)[0].backbone == "se-resnext50-32x4d"
    message = "--backbone resnext50-32x4d: the weights of --finetune_checkpoint are those of se-resnext50-32x4d"
    with pytest.raises(UsageError, match=message):
        resolved(warm_start=path, backbone="resnext50-32x4d")


@pytest.mark.parametrize("name", ["resnet_v1_50/conv1/weights", "FeatureExtractor/resnet_v1_50/conv1/weights"])
def test_weights_without_anything_beside_them_are_for_slims_backbone(tmp_path, name):
    model, _ = resolved(warm_start=checkpoint(tmp_path, name))
    assert (model.backbone, len(model.category_ids)) == ("resnet_v1_50", 80)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet_v1_50"])
def test_a_detector_gives_its_backbone_and_its_categories(tmp_path, backbone):
    path = checkpoint(tmp_path, "FeatureExtractor/x", metadata=METADATA | {"backbone": backbone})
    model, _ = resolved(warm_start=path)
    assert (model.backbone, model.category_ids, model.class_names) == (backbone, (1, 3, 7), ("cat", "dog", "bird"))
    assert model.image_size == 320  # a new run starts at the default size


def test_where_the_data_have_other_categories_than_the_warm_start_the_head_begins_anew(tmp_path):
    path = checkpoint(tmp_path, "FeatureExtractor/x", metadata=METADATA | {"backbone": "resnet50"})
    other = Manifest(class_names=("cow",), class_count=1, head_size=4, task="detection", category_ids=(3,))
    for reset in (False, True):
        model, notes = resolved(warm_start=path, manifest=other, reset=reset)
        assert (model.category_ids, model.num_classes, model.backbone) == ((3,), 3, "resnet50")
    assert notes == ()  # requested by the flag
    _, (note,) = resolved(warm_start=path, manifest=other)
    assert note == (
        f"--finetune_checkpoint {path}: the data's dataset.json: category 3 is 'cow'; in the checkpoint it is 'dog', "
        "so the same id would mean another class; the class head starts with new weights"
    )


def test_where_a_run_is_resumed_its_warm_start_no_longer_counts(tmp_path):
    path = checkpoint(tmp_path, "resnet50/conv2d/conv2d/kernel")
    assert resolved(warm_start=path, metadata=METADATA)[0].backbone == "resnet_v1_50"


def test_a_warm_start_that_is_missing_is_said_where_it_is_loaded(tmp_path):
    assert resolved(warm_start=tmp_path)[0].backbone == "resnet_v1_50"


def test_a_classifiers_configuration_is_refused():
    with pytest.raises(ValueError, match=r"ExperimentConfig\.detection is None"):
        resolve_detection(ExperimentConfig(data=DataConfig(data_dir="data")), {}, {})


# Objects


def test_a_split_without_an_object_is_warned_of(tmp_path):
    splits = {
        "train": write_files(tmp_path, [detection_record()] * 3),
        "validation": write_files(tmp_path, [detection_record([GOOD], label=[1])], name="validation"),
    }
    assert notes_on_objects(splits) == (
        "train: none of its 3 examples has an object; `python -m tools.validate` on the folder tells more",
    )
