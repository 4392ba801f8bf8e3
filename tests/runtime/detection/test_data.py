"""The data of the detection task: synthetic data, records, and bad examples."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.groundtruth import ROWS
from object_detection.input.synthetic_objects import SYNTHETIC_OBJECTS
from tests.object_detection.detection_records import FAULTS, GOOD, detection_record
from tests.runtime.processes import Pretended
from tests.runtime.tiny_detector import IDS, SIZE, task
from tests.utils.input_records import encode, noise, run_graph, write_files
from utils.config import SYNTHETIC_EPOCH_BATCHES
from utils.detection_config import DetectionConfig
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_UNDECODABLE, Position, Shard
from utils.records.split_files import SplitFiles

tf1 = tf.compat.v1


def synthetic(split):
    """The targets of two batches, asserted to be equal."""
    with tf.Graph().as_default(), tf1.Session() as session:
        data = task(data={"batch_size_per_replica": 3}).data.input(split, Shard(), Position())
        session.run(data.initializer)
        found = [session.run(data.batch) for _ in range(2)]
    np.testing.assert_array_equal(found[0].images, found[1].images)
    for name, values in found[0].targets.items():
        np.testing.assert_array_equal(values, found[1].targets[name])
    assert found[0].images.shape == (3, SIZE, SIZE, 3)
    assert (found[0].status == STATUS_OK).all()
    return found[0].targets


def assert_boxes_are_inside(boxes):
    assert boxes.shape == (3, SYNTHETIC_OBJECTS, 4)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[..., 2:] - boxes[..., :2]).min() >= 0.0999


def test_synthetic_training_data_hold_objects_of_all_kinds():
    padded = synthetic("train")
    targets = {name: values[:, :SYNTHETIC_OBJECTS] for name, values in padded.items() if name.startswith("groundtruth")}
    assert padded["groundtruth_weights"].shape == (3, ROWS)
    assert not padded["groundtruth_weights"][:, SYNTHETIC_OBJECTS:].any()
    assert_boxes_are_inside(targets["groundtruth_boxes"])
    assert set(targets["groundtruth_slots"].ravel().tolist()) == set(IDS)
    assert (targets["groundtruth_weights"] == 1).all()
    assert not targets["groundtruth_ignored"].any()


def test_synthetic_evaluation_data_can_be_evaluated():
    targets = synthetic("validation")
    assert_boxes_are_inside(targets["groundtruth_boxes"])
    evaluator = task().metrics.evaluator()
    count = len(targets["source_id"])
    evaluator.update(
        targets
        | {
            "detection_boxes": targets["groundtruth_boxes"],
            "detection_scores": np.full((count, SYNTHETIC_OBJECTS), 0.9, np.float32),
            "detection_classes": targets["groundtruth_classes"],
            "num_detections": targets["num_groundtruth"],
            "index": np.arange(count),
        }
    )
    assert evaluator.result()[task().metrics.best] == pytest.approx(1.0)


def test_synthetic_epochs_grow_with_batches_and_replicas():
    assert task(communicator=Pretended(4)).data.num_examples("train") == SYNTHETIC_EPOCH_BATCHES * 2 * 4


def test_evaluation_may_take_each_nth_example():
    splits = {name: SplitFiles(("file",), (10,)) for name in ("train", "validation")}
    examples = task(splits, data={"eval_every": 3, "scaled_decoding": True}).data
    assert (examples.num_examples("train"), examples.num_examples("validation")) == (10, 4)
    options = examples.input_options()
    assert (options.eval_every, options.label_offset, options.image_size, options.seed) == (3, 0, SIZE, 5)
    assert options.scaled_decoding


def test_records_are_read_as_the_configuration_says(tmp_path):
    record = detection_record([GOOD, GOOD], text=["bird", "dog"], is_crowd=[0, 1])
    files = write_files(tmp_path, [record] * 2)

    def weights(detection):
        with tf.Graph().as_default(), tf1.Session() as session:
            data = task({"train": files}, detection=detection).data.input("train", Shard(), Position())
            session.run(data.initializer)
            found = session.run(data.batch.targets)
        assert not found["groundtruth_weights"][:, 2:].any()  # padding
        return {name: values[:, :2] for name, values in found.items() if name.startswith("groundtruth")}

    whole = weights(DetectionConfig(augmentation=()))
    assert whole["groundtruth_slots"].tolist() == [[7, 3]] * 2
    assert whole["groundtruth_weights"].tolist() == [[1, 0]] * 2
    exact = weights(DetectionConfig(augmentation=(), train_crowds=True, exact_classes=True))
    assert exact["groundtruth_slots"].tolist() == [[2, 1]] * 2
    assert exact["groundtruth_weights"].tolist() == [[1, 1]] * 2


def test_a_bad_example_is_described_by_its_place_and_its_fault(tmp_path):
    files = write_files(tmp_path, [detection_record([GOOD], label=[1]), FAULTS["an unknown name"][0]])
    examples = task({"train": files}).data
    described = examples.describe_bad_example("train", 1, STATUS_BAD_LABEL)
    assert described.startswith(f"{files.paths[0]}, record 1: image 42, object 1: is of the class 'lion'")
    assert examples.describe_bad_example("train", 0, STATUS_UNDECODABLE) == (
        f"{files.paths[0]}, record 0: the image does not decode"
    )


def test_images_for_prediction_are_seen_whole():
    pixels = noise(4, 30, 40)
    found = run_graph(lambda: task().data.preprocess(tf.constant(encode(pixels)), 10))
    np.testing.assert_allclose(found, pixels[::3, ::4], atol=1e-3)
