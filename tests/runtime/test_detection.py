"""The detection task: losses of a whole problem, what it predicts, and what it says of its weights."""

import json

import numpy as np
import pytest
import tensorflow as tf

from runtime.detection import SYNTHETIC_OBJECTS
from tests.model.tiny_ssd import load
from tests.object_detection.detection_records import FAULTS, GOOD, detection_record
from tests.object_detection.test_target_assigner import IMAGES, padded
from tests.runtime.tiny_detector import ANCHORS, IDS, NAMES, SIZE, task, tiny_detectors
from tests.utils.input_records import encode, noise, run_graph, write_files
from utils.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE, Batch, Position, Shard
from utils.config import SYNTHETIC_EPOCH_BATCHES, ModelConfig
from utils.detection_config import AnchorSpec, DetectionConfig, LossSpec
from utils.manifest import SplitFiles
from utils.resolve_detection import Categories, resolve_detector, stored_categories

tf1 = tf.compat.v1

# Losses of a whole problem: 320 pixels, the ids of COCO up to 90

COCO = {"image_size": 320, "num_classes": 90, "category_ids": (1, 3, 17, 62, 90), "class_names": tuple("abcde")}
ALL_ANCHORS = 12804


def batch_of(images, status=None):
    """A batch of the size that the whole problem has, in which only the objects are of interest."""
    groundtruth = padded(images)
    targets = dict(zip(("boxes", "slots", "weights", "ignored"), map(tf.constant, groundtruth), strict=True))
    count = len(images)
    return Batch(
        tf.zeros([count, 320, 320, 3]),
        {f"groundtruth_{name}": values for name, values in targets.items()},
        tf.constant([STATUS_OK] * count if status is None else status, tf.int32),
        tf.range(count, dtype=tf.int64),
    )


def losses_of(images, codes, logits, status=None, detection=None):
    """Localization and classification loss of network outputs, by the task's own way to them."""

    def build():
        detector = task(detection=detection, **COCO)
        batch = batch_of(images, status)
        _, targets = detector.prepare(batch, tf.constant(0, tf.int64))
        endpoints = {"box_codes": tf.constant(codes, tf.float32), "class_logits": tf.constant(logits, tf.float32)}
        return detector.losses(endpoints, targets, batch.mask)

    found = run_graph(build)
    assert set(found) == {"localization_loss", "classification_loss"}
    return found["localization_loss"], found["classification_loss"]


def constant_outputs(count):
    return np.zeros((count, ALL_ANCHORS, 4)), np.full((count, ALL_ANCHORS, 91), -4.6)


def waving_outputs():
    i = np.arange(ALL_ANCHORS)[:, np.newaxis]
    codes = 0.3 * np.sin(0.37 * i + np.arange(4))
    logits = -4.6 + 1.5 * np.sin(0.11 * i + 0.53 * np.arange(91))
    return np.stack([codes, codes / 2]), np.stack([logits, logits - 0.25])


def test_the_losses_of_a_whole_problem():
    np.testing.assert_allclose(losses_of(IMAGES, *constant_outputs(2)), (0.7543801, 1.1642940), rtol=5e-6)
    np.testing.assert_allclose(losses_of(IMAGES, *waving_outputs()), (0.7577582, 1.6383316), rtol=5e-6)


def test_rows_that_do_not_count_have_no_loss():
    codes, logits = waving_outputs()
    alone = losses_of(IMAGES[:1], codes[:1], logits[:1])
    for status in (STATUS_PADDING, STATUS_BAD_LABEL, STATUS_UNDECODABLE):
        np.testing.assert_allclose(losses_of(IMAGES, codes, logits, [STATUS_OK, status]), alone, rtol=1e-6)
    assert losses_of(IMAGES, codes, logits, [STATUS_PADDING] * 2) == (0, 0)


def test_without_objects_all_is_background_and_divided_by_one():
    codes, logits = constant_outputs(1)
    localization, classification = losses_of([[]], codes, logits)
    assert localization == 0
    assert classification == pytest.approx(ALL_ANCHORS * 91 * 7.429147e-7, rel=1e-4)


def test_weights_and_constants_of_the_losses_are_those_of_the_configuration():
    codes, logits = constant_outputs(2)
    spec = LossSpec(classification_weight=2.0, localization_weight=0.5)
    found = losses_of(IMAGES, codes, logits, detection=DetectionConfig(losses=spec))
    np.testing.assert_allclose(found, (0.5 * 0.7543801, 2 * 1.1642940), rtol=5e-6)
    other = losses_of(IMAGES, codes, logits, detection=DetectionConfig(losses=LossSpec(huber_delta=0.5)))
    assert other[0] < 0.7
    plain = losses_of(
        IMAGES, codes, logits, detection=DetectionConfig(losses=LossSpec(focal_alpha=None, focal_gamma=0.0))
    )
    # 54 anchors are on, 7 of them with half of the weight: -4.6 costs 4.61 where on, 0.01 where off.
    off, on = np.log1p(np.exp(-4.6)), np.log1p(np.exp(4.6))
    elements = 1_165_164 + 1_164_800
    assert plain[1] == pytest.approx((elements * off + 50 * (on - off)) / 50, rel=1e-3)


# The small network


def test_network_and_losses_train_every_variable():
    with tf.Graph().as_default(), tiny_detectors():
        detector = task()
        data = detector.input("train", Shard(), Position())
        images, targets = detector.prepare(data.batch, tf.constant(0, tf.int64))
        endpoints = detector.forward(images, training=True)
        assert endpoints["class_logits"].shape.as_list() == [2, ANCHORS, 8]
        loss = tf.add_n(list(detector.losses(endpoints, targets, data.batch.mask).values()))
        variables = tf1.trainable_variables()
        gradients = tf.gradients(loss, variables)
        with tf1.Session() as session:
            session.run([tf1.global_variables_initializer(), data.initializer])
            values = session.run(gradients)
    assert all(np.isfinite(gradient).all() for gradient in values)
    unmoved = [v.op.name for v, gradient in zip(variables, values, strict=True) if not gradient.any()]
    # On some levels no anchor has a box to predict.
    assert not [name for name in unmoved if "/BoxPredictionTower/conv2d_0/BatchNorm/feature_" not in name]


def test_kernels_alone_decay():
    with tf.Graph().as_default(), tf1.Session() as session, tiny_detectors():
        detector = task(weight_decay=4e-4)
        detector.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        variables = tf1.trainable_variables()
        load(session, {v: np.full(v.shape, 0.5, np.float32) for v in variables})
        found = session.run(detector.weight_decay(variables))
    kernels = [v for v in variables if v.op.name.endswith("weights")]
    assert {v.shape.rank for v in kernels} == {4}
    assert {v.shape.rank for v in variables if not v.op.name.endswith("weights")} == {1}
    assert found == pytest.approx(2e-4 * 0.25 * sum(v.shape.num_elements() for v in kernels), rel=1e-5)


@pytest.mark.parametrize(("frozen", "updates"), [(False, True), (True, False)])
def test_statistics_can_be_frozen(frozen, updates):
    with tf.Graph().as_default(), tiny_detectors():
        detector = task(detection=DetectionConfig(freeze_batch_norm=frozen))
        detector.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        assert bool(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)) == updates


@pytest.mark.parametrize(
    ("backbone", "mean"), [("resnet_v1_50", (123.68, 116.779, 103.939)), ("resnet50", (123.68, 116.28, 103.53))]
)
def test_images_lose_the_mean_that_the_backbone_was_trained_with(backbone, mean):
    found = run_graph(lambda: task(backbone=backbone).normalize(tf.fill([1, 2, 2, 3], 100.0)))
    np.testing.assert_allclose(found, np.broadcast_to(100 - np.array(mean), (1, 2, 2, 3)), rtol=1e-4)


# Predictions

FOUND = {(0, 5): (2, 3.0), (0, 300): (0, 1.0), (1, 100): (1, 0.0)}  # image, anchor: place among the categories, logit


def network_outputs():
    """Codes of zero, and logits that score three anchors of two images."""
    logits = np.full((2, ANCHORS, 3), -40, np.float32)
    for (image, anchor), (place, logit) in FOUND.items():
        logits[image, anchor, place] = logit
    return {"box_codes": tf.zeros([2, ANCHORS, 4]), "class_logits": tf.constant(logits)}


def test_predictions_have_the_names_and_types_of_exported_detectors():
    found = run_graph(lambda: task().predictions(network_outputs()))
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
        "detection_boxes": ((2, 100, 4), np.float32),
        "detection_scores": ((2, 100), np.float32),
        "detection_classes": ((2, 100), np.float32),
        "num_detections": ((2,), np.float32),
    }
    assert found["num_detections"].tolist() == [2, 1]
    assert found["detection_classes"][:, :3].tolist() == [[7, 1, 0], [3, 0, 0]]
    assert not found["detection_classes"][:, 2:].any()
    np.testing.assert_allclose(found["detection_scores"][0, :3], [1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1)), 0])
    boxes = task()._anchors[[5, 300, 100]].clip(0, 1)
    np.testing.assert_allclose(found["detection_boxes"][[0, 0, 1], [0, 1, 0]], boxes, atol=1e-6)
    assert not found["detection_boxes"][1, 1:].any()


def test_the_evaluator_gets_detections_with_whole_numbers_beside_the_targets():
    found = run_graph(lambda: task().outputs(network_outputs(), {"source_id": tf.constant(["1", "2"])}))
    assert found["source_id"].tolist() == [b"1", b"2"]
    assert (found["detection_classes"].dtype, found["num_detections"].dtype) == (np.int32, np.int32)
    assert found["detection_classes"][:, :3].tolist() == [[7, 1, 0], [3, 0, 0]]


def test_only_slots_of_categories_are_computed_for_predictions():
    with tf.Graph().as_default(), tiny_detectors():
        detector = task()
        inference = detector.forward(tf.zeros([1, SIZE, SIZE, 3]), training=False)
        assert inference["class_logits"].shape.as_list() == [1, ANCHORS, len(IDS)]
        assert all(head in inference for head in detector.heads)


def test_exact_classes_have_a_slot_each_and_none_for_the_background():
    with tf.Graph().as_default(), tiny_detectors():
        detector = task(detection=DetectionConfig(exact_classes=True))
        assert detector.num_classes == 3
        training = detector.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        assert training["class_logits"].shape.as_list() == [1, ANCHORS, 3]
    found = run_graph(lambda: task(detection=DetectionConfig(exact_classes=True)).predictions(network_outputs()))
    assert found["detection_classes"][:, :2].tolist() == [[7, 1], [3, 0]]
    assert task().num_classes == 8


def test_predictions_can_be_presented():
    found = run_graph(lambda: task().predictions(network_outputs()))
    presenter = task(run={"min_score": 0.5}).presenter()
    first = {name: values[0] for name, values in found.items()}
    second = {name: values[1] for name, values in found.items()}
    assert [entry["name"] for entry in presenter.entries(first, (10, 20))] == ["bird", "cat"]
    assert [entry["name"] for entry in presenter.entries(second, (10, 20))] == ["dog"]


# Data


def synthetic(split):
    """The targets of two batches, which are one and the same."""
    with tf.Graph().as_default(), tf1.Session() as session:
        data = task(data={"batch_size_per_replica": 3}).input(split, Shard(), Position())
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
    targets = synthetic("train")
    assert_boxes_are_inside(targets["groundtruth_boxes"])
    assert set(targets["groundtruth_slots"].ravel().tolist()) == set(IDS)
    assert (targets["groundtruth_weights"] == 1).all()
    assert not targets["groundtruth_ignored"].any()


def test_synthetic_evaluation_data_can_be_evaluated():
    targets = synthetic("validation")
    assert_boxes_are_inside(targets["groundtruth_boxes"])
    evaluator = task().evaluator()
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
    assert evaluator.result()[task().metric] == pytest.approx(1.0)


def test_synthetic_epochs_grow_with_batches_and_replicas():
    assert task(replicas=4).num_examples("train") == SYNTHETIC_EPOCH_BATCHES * 2 * 4


def test_evaluation_may_take_each_nth_example():
    splits = {name: SplitFiles(("file",), (10,)) for name in ("train", "validation")}
    detector = task(splits, data={"eval_every": 3})
    assert (detector.num_examples("train"), detector.num_examples("validation")) == (10, 4)
    options = detector.input_options()
    assert (options.eval_every, options.label_offset, options.image_size, options.seed) == (3, 0, SIZE, 5)


def test_records_are_read_as_the_configuration_says(tmp_path):
    record = detection_record([GOOD, GOOD], text=["bird", "dog"], is_crowd=[0, 1])
    files = write_files(tmp_path, [record] * 2)

    def weights(detection):
        with tf.Graph().as_default(), tf1.Session() as session:
            data = task({"train": files}, detection=detection).input("train", Shard(), Position())
            session.run(data.initializer)
            return session.run(data.batch.targets)

    whole = weights(DetectionConfig(augmentation=()))
    assert whole["groundtruth_slots"].tolist() == [[7, 3]] * 2
    assert whole["groundtruth_weights"].tolist() == [[1, 0]] * 2
    exact = weights(DetectionConfig(augmentation=(), train_crowds=True, exact_classes=True))
    assert exact["groundtruth_slots"].tolist() == [[2, 1]] * 2
    assert exact["groundtruth_weights"].tolist() == [[1, 1]] * 2


def test_a_bad_example_is_described_by_its_place_and_its_fault(tmp_path):
    files = write_files(tmp_path, [detection_record([GOOD], label=[1]), FAULTS["an unknown name"][0]])
    detector = task({"train": files})
    described = detector.describe_bad_example("train", 1, STATUS_BAD_LABEL)
    assert described.startswith(f"{files.paths[0]}, record 1: image 42, object 1: is of the class 'lion'")
    assert detector.describe_bad_example("train", 0, STATUS_UNDECODABLE) == (
        f"{files.paths[0]}, record 0: the image does not decode"
    )


def test_images_for_prediction_are_seen_whole():
    pixels = noise(4, 30, 40)
    found = run_graph(lambda: task().preprocess(tf.constant(encode(pixels)), 10))
    np.testing.assert_allclose(found, pixels[::3, ::4], atol=1e-3)


# Metadata


def test_metadata_give_back_the_configuration():
    detection = DetectionConfig(exact_classes=True, anchors=AnchorSpec(centred=True))
    original = task(num_classes=9, data_class_names=("/m/1", "", "/m/7"), backbone="resnet50", detection=detection)
    metadata = json.loads(json.dumps(original.metadata()))
    assert metadata["task"] == "detection"
    categories = stored_categories(metadata)
    assert categories == Categories(IDS, NAMES, ("/m/1", "", "/m/7"), "the checkpoint")
    model, options, notes = resolve_detector(
        ModelConfig(architecture="ssd320"), DetectionConfig(), metadata, [categories], None
    )
    assert model == original._model
    assert options == detection
    assert notes == ()
    assert json.loads(json.dumps(task().metadata()))["data_class_names"] is None


def test_metadata_say_what_the_first_kernel_expects():
    expected = {"mean_rgb": [123.68, 116.779, 103.939], "std_rgb": [1.0, 1.0, 1.0], "range": [0, 255]}
    assert json.loads(json.dumps(task().metadata()))["preprocessing"] == expected
    assert task(backbone="resnet50").metadata()["preprocessing"]["mean_rgb"] == [123.68, 116.28, 103.53]


def test_a_configuration_that_is_not_resolved_is_refused():
    with pytest.raises(ValueError, match="the configuration is not resolved"):
        task(category_ids=None)
