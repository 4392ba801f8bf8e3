"""The augmentation of a detector's batches in its training graph, and that graph without it."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.mixing import DRAWS_TARGET, ObjectMixing
from object_detection.groundtruth import Groundtruth
from object_detection.input.images_with_objects import GROUNDTRUTH
from object_detection.matching.target_assigner import Targets
from tests.object_detection.detection_records import GOOD, detection_record
from tests.runtime.runs import assert_same_checkpoint, network, run
from tests.runtime.scenes import write_scenes
from tests.runtime.tiny_detector import SIZE, task, tiny_detectors
from tests.utils.input_records import encode, noise, write_files
from utils.config import Duration
from utils.detection_config import DetectionConfig
from utils.image_sizes import Sides, sides_of
from utils.input.augmentation_specs import DETECTION_STEPS
from utils.input.batching import Position, Shard
from utils.object_augment_config import ObjectAugmentConfig

tf1 = tf.compat.v1
FIELDS = set(GROUNDTRUTH)
TWENTY_STEPS = {"duration": Duration(value=4)}


def records(folder):
    """Nine images of an object, and one without."""
    return write_files(
        folder, [detection_record([GOOD] * (i > 0), encoded=encode(noise(i)), label=[3] * (i > 0)) for i in range(10)]
    )


def prepared(folder, steps, size=SIZE, resize=None, **augment):
    """The first batch, and what the network trains on in each of the given steps: images and targets."""
    detection = DetectionConfig(augment=ObjectAugmentConfig(**augment), augmentation=(), resize=resize)
    with tf.Graph().as_default(), tf1.Session() as session, tiny_detectors():
        detector = task({"train": records(folder)}, detection=detection, run=TWENTY_STEPS, image_size=size)
        data = detector.data.input("train", Shard(), Position())
        step = tf1.placeholder(tf.int64, [])
        ready = detector.training.prepare(data.batch.images, data.batch, step)
        session.run(data.initializer)
        return [session.run((data.batch, *ready), {step: number}) for number in steps]


def test_without_flags_the_graph_is_as_ever(tmp_path):
    with tf.Graph().as_default(), tiny_detectors():
        detector = task({"train": records(tmp_path)})
        options, data = detector.data.input_options(), detector.data.input("train", Shard(), Position())
        images, targets = detector.training.prepare(data.batch.images, data.batch, tf.constant(0, tf.int64))
    assert options.augmentation == DETECTION_STEPS
    assert options.border is None
    assert data.batch.targets.keys() == FIELDS
    assert images is data.batch.images
    assert targets.keys() == set(Targets._fields)


@pytest.mark.parametrize(("size", "resize"), [(64, None), (Sides(64, 96), "pad")], ids=["square", "padded"])
def test_mosaics_reach_images_boxes_and_targets_alike_and_end_with_the_run(tmp_path, size, resize):
    height, width = sides_of(size)
    (batch, images, targets), (later, last_images, last_targets) = prepared(
        tmp_path, [0, 18], size=size, resize=resize, mosaic=1.0
    )
    assert batch.targets.keys() == FIELDS | {DRAWS_TARGET}
    assert targets.keys() == {*Targets._fields, *GROUNDTRUTH}
    for image, own, draws in zip(images, batch.images, batch.targets[DRAWS_TARGET], strict=True):
        row, column = np.floor(np.array([height, width]) * (0.25 + 0.5 * draws[1:3])).astype(int)
        np.testing.assert_array_equal(image[row:, column:], own[: height - row, : width - column])
        assert (image[:row] != own[:row]).any()
    assert not np.array_equal(targets["groundtruth_boxes"], batch.targets["groundtruth_boxes"])
    assert targets["matches"].max() < (targets["groundtruth_weights"] > 0).sum(axis=1).max()
    np.testing.assert_array_equal(last_images, later.images)
    np.testing.assert_array_equal(last_targets["groundtruth_boxes"], later.targets["groundtruth_boxes"])


def test_synthetic_images_can_be_mixed():
    augment = ObjectAugmentConfig(mosaic=1.0, copy_paste=1.0)
    mixing = ObjectMixing(augment=augment, mosaic_steps=9)
    with tf.Graph().as_default(), tf1.Session() as session, tiny_detectors():
        data = replace(task(image_size=Sides(64, 96)).data, detection=DetectionConfig(augment=augment))
        data = data.input("train", Shard(), Position())
        own = Groundtruth(*(data.batch.targets[name] for name in GROUNDTRUTH))
        images, objects = mixing(data.batch.images, own, data.batch, tf.constant(0, tf.int64))
        session.run(data.initializer)
        before, after, found = session.run((data.batch.images, images, objects))
    assert before.shape == after.shape == (2, 64, 96, 3)
    assert (before != after).any()
    assert np.isfinite(found.boxes).all()


def test_boxes_that_vanish_leave_images_of_background(tmp_path):
    ((batch, _, targets),) = prepared(tmp_path, [0], mosaic=1.0, min_visible=1.0, scale_jitter=(4.0, 4.0))
    assert not targets["groundtruth_weights"].any()
    assert (targets["labels"] == -1).all()
    assert (targets["label_weights"] == 1).all()
    assert (batch.status == 0).all()


ALL = (
    "--mosaic=1",
    "--scale_jitter=0.3:1.8",
    "--rotate90",
    "--vertical_flip",
    "--min_visible=0.2",
    "--random_erasing=0.5",
)
FLAGS = ("--image_size=64", "--batch_size=2", "--seed=1", "--iter_unit=batch", "--num_iter=4")


def test_a_run_that_was_interrupted_ends_with_the_same_weights(tmp_path):
    data = write_scenes(tmp_path / "data")
    for name, launches in (("whole", [()]), ("parts", [("--run_iter=3",), ()])):
        for flags in launches:
            finished = run(*network(data, tmp_path / name, "train", "ssd320"), *FLAGS, *ALL, *flags)
            assert finished.status == 0, finished.error
    assert_same_checkpoint(tmp_path / "whole" / "model.ckpt-4", tmp_path / "parts" / "model.ckpt-4")
    assert finished.parameters["mosaic"] == 1.0
    refused = run(*network(data, tmp_path / "none", "train", "ssd320"), *FLAGS, "--copy_paste=0.5")
    assert refused.status == 2
    assert (
        "--copy_paste 0.5: the training records have no masks (image/object/mask); convert them with --include_masks"
        in refused.error
    )
