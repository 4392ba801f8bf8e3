"""Bad input of detection: a sentence that names file and record or flag, the right exit status, and no loss of data."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.runs import run
from tests.runtime.scenes import NAMES, Thing, picture_of, scene, scene_record
from tests.utils.checkpoints.weights import without_checksums
from utils.records.manifest import MANIFEST_NAME

pytestmark = pytest.mark.slow

FAILED, USAGE = 1, 2
WHOLE = Thing(10, 10, 60, 60, 3)


def launch(data, results, *more, mode="train"):
    base = ("--arch=ssd320", f"--mode={mode}", f"--data_dir={data}", f"--results_dir={results}", "--image_size=64")
    return run(*base, "--batch_size=4", "--seed=3", *more)


def assert_ends(result, status, *texts):
    assert result.status == status, result.error
    last = result.error.strip().splitlines()[-1]
    assert last.startswith("CRITICAL: ")
    for text in texts:
        assert text in last


def with_records(data, folder, changes, split="train", times=1):
    """Copies a data set without its manifest; repeats one split ``times`` times and replaces some of its records."""
    shutil.copytree(data, folder)
    (folder / MANIFEST_NAME).unlink()
    path = folder / f"coco_{'train' if split == 'train' else 'val'}.record-00000-of-00001"
    records = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(path))] * times
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, each in enumerate(records):
            writer.write(changes.get(number, each))
    names = "".join(f"item {{ id: {i} name: '{n}' }}\n" for i, n in zip((1, 3, 4), NAMES, strict=True))
    (folder / "label_map.pbtxt").write_text(names)
    return folder


def changed(things, **lists):
    """Returns a record with some of its lists replaced."""
    example = tf.train.Example.FromString(scene_record(77, things, picture_of(things, 1)))
    for key, values in lists.items():
        feature = example.features.feature[f"image/object/{key.replace('__', '/')}"]
        kind = feature.WhichOneof("kind")
        del getattr(feature, kind).value[:]
        getattr(feature, kind).value.extend(values)
    return example.SerializeToString()


BAD = [
    (changed([WHOLE], class__text=[b"violet"], class__label=[7]), ["category id 7", "label map"]),
    (changed([WHOLE], class__text=[b"red"]), ["'red'", "category id 3", "has id 1"]),
    (changed([WHOLE], bbox__ymin=[float("nan")]), ["nan", "is not finite"]),
    (changed([WHOLE], bbox__ymin=[0.7], bbox__ymax=[0.6]), ["has no area inside the image"]),
    (changed([WHOLE], bbox__ymin=[0.1, 0.2]), ["its lists differ in length"]),
    (changed([WHOLE], area=[1.0, 2.0, 3.0]), ["its lists differ in length", "image/object/area has 3"]),
    (changed([WHOLE], class__text=[b"red", b"red"]), ["its lists differ in length", "image/object/class/text has 2"]),
    (scene_record(77, [WHOLE], b"no image"), ["the image does not decode"]),
]


def test_bad_records_are_named_and_end_the_run_unless_so_many_are_allowed(scenes, tmp_path):
    texts = {5 + 3 * number: words for number, (_, words) in enumerate(BAD)}
    bad = dict(zip(texts, (record for record, _ in BAD), strict=True))
    records = with_records(scenes, tmp_path / "data", bad, times=3)
    where = f"{records / 'coco_train.record-00000-of-00001'}, record "
    flags = ("--num_iter=1", "--batch_size=15")
    strict = launch(records, tmp_path / "strict", *flags)
    first = next(number for number in bad if f"{where}{number}: " in strict.error.splitlines()[-1])
    assert_ends(strict, FAILED, *texts[first], "--max_bad_records")
    survived = launch(records, tmp_path / "lenient", *flags, f"--max_bad_records={len(bad)}")
    assert survived.status == 0, survived.error
    told = [line for line in survived.error.splitlines() if where in line]
    assert len(told) == len(bad)
    for number, words in texts.items():
        (line,) = [line for line in told if f"{where}{number}: " in line]
        assert [word for word in words if word not in line] == []


def test_scenes_without_objects_are_trained_and_evaluated(scenes, tmp_path):
    records = with_records(scenes, tmp_path / "data", {5: scene_record(77, [], picture_of([], 1))})
    assert launch(records, tmp_path / "run", "--num_iter=2", "--iter_unit=batch").status == 0
    records = with_records(scenes, tmp_path / "more", {5: scene_record(77, [], picture_of([], 1))}, split="validation")
    result = launch(records, tmp_path / "eval", f"--model_dir={tmp_path / 'run'}", mode="evaluate")
    assert result.status == 0, result.error
    assert result.summary["images"] == 6


def test_a_label_map_that_contradicts_the_data_is_refused(scenes, tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text("item { id: 1 name: 'red' }\nitem { id: 3 name: 'lime' }\nitem { id: 4 name: 'blue' }\n")
    result = launch(scenes, tmp_path / "run", f"--label_map={path}", "--num_iter=1")
    assert_ends(result, USAGE, "category 3 is 'green'", "'lime'", "--label_map")
    path.write_text("item { id: 1 name: 'red' }\n")
    assert_ends(launch(scenes, tmp_path / "run", f"--label_map={path}"), USAGE, "has category 3", "--label_map")
    path.write_text("item { id: 1 name: 'red' }\nitem { id: 1 name: 'blue' }\n")
    assert_ends(launch(scenes, tmp_path / "run", f"--label_map={path}"), FAILED, str(path), "line 2")


def test_a_classifier_is_not_trained_on_boxes_nor_a_detector_on_labels(scenes, detector, tmp_path):
    result = run("--mode=train", f"--data_dir={scenes}", "--batch_size=4", f"--results_dir={tmp_path}")
    assert_ends(result, USAGE, "--arch", "detection", "ssd320")
    result = run("--mode=predict", "--arch=resnet50", f"--model_dir={detector}", f"--to_predict={tmp_path}")
    assert_ends(result, USAGE, "--arch resnet50", "ssd320")
    manifest = json.loads((scenes / MANIFEST_NAME).read_text())
    del manifest["category_ids"]
    labels = tmp_path / "labels"
    shutil.copytree(scenes, labels)
    (labels / MANIFEST_NAME).write_text(json.dumps(manifest | {"task": "classification"}))
    assert_ends(launch(labels, tmp_path / "run"), USAGE, "--arch ssd320", "classification", "resnet50")


def test_a_checkpoint_of_other_classes_begins_with_a_new_head_only_when_asked(scenes, detector, tmp_path):
    other = tmp_path / "data"
    shutil.copytree(scenes, other)
    manifest = json.loads((other / MANIFEST_NAME).read_text())
    manifest |= {"category_ids": [1, 3, 6], "head_size": 7, "class_names": ["red", "green", "violet"]}
    (other / MANIFEST_NAME).write_text(json.dumps(manifest))
    for path in other.glob("coco_*"):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in range(10 if "train" in path.name else 6):
                things = [t for t in scene(number) if t.category != 4]
                writer.write(scene_record(number + 1, things, picture_of(things, number)))
        for splits in manifest["splits"].values():
            for shard in splits["shards"]:
                shard["bytes"] = (other / shard["file"]).stat().st_size
    (other / MANIFEST_NAME).write_text(json.dumps(manifest))
    flags = ("--num_iter=1", "--iter_unit=batch", f"--finetune_checkpoint={detector}")
    begun = launch(other, tmp_path / "begun", *flags)
    assert begun.status == 0, begun.error
    assert "has category 6" in begun.error
    assert "the class head starts with new weights" in begun.error
    assert begun.error.count("new, as requested") == 1
    assert "loaded" in begun.error


def test_the_weights_of_another_class_count_are_refused_for_evaluation(scenes, detector, tmp_path):
    result = launch(scenes, tmp_path, f"--model_dir={detector}", "--num_classes=9", mode="evaluate")
    assert_ends(result, USAGE, "--num_classes 9", "checkpoint has 4")


def test_a_size_that_the_pyramid_cannot_halve_is_refused(scenes, tmp_path):
    assert_ends(launch(scenes, tmp_path, "--image_size=100"), USAGE, "--image_size 100", "multiple of 32")


def test_weights_that_are_no_numbers_are_an_error_and_no_precision(scenes, detector, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(detector, damaged)
    reader = tf.train.load_checkpoint(str(damaged / "model.ckpt-60"))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    name = "WeightSharedConvolutionalBoxPredictor/ClassPredictor/biases"
    values[name] = np.full_like(values[name], np.nan)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(n, initializer=v, use_resource=True) for n, v in values.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(damaged / "model.ckpt-60"), write_meta_graph=False)
    description = damaged / "model.ckpt-60.json"
    description.write_text(json.dumps(without_checksums(description)))
    assert_ends(launch(scenes, tmp_path / "eval", f"--model_dir={damaged}", mode="evaluate"), FAILED, "not finite")
    (tmp_path / "one.png").write_bytes(picture_of(scene(1), 1))
    given = ("--arch=ssd320", "--mode=predict", f"--model_dir={damaged}", f"--to_predict={tmp_path / 'one.png'}")
    assert_ends(run(*given, f"--results_dir={tmp_path / 'predict'}"), FAILED, "not finite")
