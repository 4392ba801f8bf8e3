"""The detection task: training, predictions, and the description of its weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from runtime.detection.resolve_detector import Categories, resolve_detector, stored_categories
from tests.model.tiny_ssd import load
from tests.runtime.tiny_detector import ANCHORS, IDS, NAMES, SIZE, task, tiny_detectors
from tests.utils.input_records import run_graph
from utils.config import ModelConfig
from utils.detection_config import AnchorSpec, DetectionConfig
from utils.input.batching import Position, Shard

tf1 = tf.compat.v1


# The small network


def test_network_and_losses_train_every_variable():
    with tf.Graph().as_default(), tiny_detectors():
        detector = task()
        data = detector.data.input("train", Shard(), Position())
        images = detector.network.normalize(data.batch.images)
        images, targets = detector.training.prepare(images, data.batch, tf.constant(0, tf.int64))
        endpoints = detector.network.forward(images, training=True)
        assert endpoints["class_logits"].shape.as_list() == [2, ANCHORS, 8]
        loss = tf.add_n(list(detector.training.losses(endpoints, targets, data.batch.mask).values()))
        variables = tf1.trainable_variables()
        gradients = tf.gradients(loss, variables)
        with tf1.Session() as session:
            session.run([tf1.global_variables_initializer(), data.initializer])
            values = session.run(gradients)
    assert all(np.isfinite(gradient).all() for gradient in values)
    unmoved = [v.op.name for v, gradient in zip(variables, values, strict=True) if not gradient.any()]
    # On some levels no anchor has a box to predict.
    assert not [name for name in unmoved if "/BoxPredictionTower/conv2d_0/BatchNorm/feature_" not in name]


@pytest.mark.parametrize("backbone", ["resnet_v1_50", "se-resnext50-32x4d"])
def test_kernels_alone_decay(backbone):
    with tf.Graph().as_default(), tf1.Session() as session, tiny_detectors():
        detector = task(weight_decay=4e-4, backbone=backbone)
        detector.network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        variables = tf1.trainable_variables()
        load(session, {v: np.full(v.shape, 0.5, np.float32) for v in variables})
        found = session.run(detector.training.weight_decay(variables).loss())
    ends = ("weights", "kernel", "group_filter")
    kernels, others = ([v for v in variables if v.op.name.endswith(ends) == named] for named in (True, False))
    assert {v.shape.rank for v in kernels} == ({4} if backbone == "resnet_v1_50" else {4, 2})
    assert {v.shape.rank for v in others} == {1}
    assert found == pytest.approx(2e-4 * 0.25 * sum(v.shape.num_elements() for v in kernels), rel=1e-5)


@pytest.mark.parametrize(("frozen", "updates"), [(False, True), (True, False)])
def test_statistics_can_be_frozen(frozen, updates):
    with tf.Graph().as_default(), tiny_detectors():
        detector = task(layers=LayerOptions(freeze_batch_norm=frozen))
        detector.network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        assert bool(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)) == updates


@pytest.mark.parametrize(
    ("backbone", "mean"),
    [
        ("resnet_v1_50", (123.68, 116.779, 103.939)),
        ("resnet50", (123.68, 116.28, 103.53)),
        ("resnet18", (123.68, 116.28, 103.53)),
    ],
)
def test_images_lose_the_mean_that_the_backbone_was_trained_with(backbone, mean):
    found = run_graph(lambda: task(backbone=backbone).network.normalize(tf.fill([1, 2, 2, 3], 100.0)))
    np.testing.assert_allclose(found, np.broadcast_to(100 - np.array(mean), (1, 2, 2, 3)), rtol=1e-4)


# Predictions


FOUND = {(0, 5): (2, 3.0), (0, 300): (0, 1.0), (1, 100): (1, 0.0)}  # image, anchor: index of the category, logit


def network_outputs():
    """Zero box codes, and logits that score three anchors of two images."""
    logits = np.full((2, ANCHORS, 3), -40, np.float32)
    for (image, anchor), (place, logit) in FOUND.items():
        logits[image, anchor, place] = logit
    return {"box_codes": tf.zeros([2, ANCHORS, 4]), "class_logits": tf.constant(logits)}


def test_predictions_have_the_names_and_types_of_exported_detectors():
    found = run_graph(lambda: task().post_processing.predictions(network_outputs()))
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
    boxes = task().post_processing.anchors[[5, 300, 100]].clip(0, 1)
    np.testing.assert_allclose(found["detection_boxes"][[0, 0, 1], [0, 1, 0]], boxes, atol=1e-6)
    assert not found["detection_boxes"][1, 1:].any()


def test_the_evaluator_gets_detections_with_whole_numbers_beside_the_targets():
    found = run_graph(lambda: task().post_processing.outputs(network_outputs(), {"source_id": tf.constant(["1", "2"])}))
    assert found["source_id"].tolist() == [b"1", b"2"]
    assert (found["detection_classes"].dtype, found["num_detections"].dtype) == (np.int32, np.int32)
    assert found["detection_classes"][:, :3].tolist() == [[7, 1, 0], [3, 0, 0]]


def test_only_slots_of_categories_are_computed_for_predictions():
    with tf.Graph().as_default(), tiny_detectors():
        detector = task()
        inference = detector.network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=False)
        assert inference["class_logits"].shape.as_list() == [1, ANCHORS, len(IDS)]
        assert all(end in inference for end in detector.post_processing.ends)


def test_exact_classes_have_a_slot_each_and_none_for_the_background():
    with tf.Graph().as_default(), tiny_detectors():
        detector = task(detection=DetectionConfig(exact_classes=True))
        assert detector.data.input_options().num_classes == 3
        training = detector.network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        assert training["class_logits"].shape.as_list() == [1, ANCHORS, 3]
    exact = task(detection=DetectionConfig(exact_classes=True)).post_processing
    found = run_graph(lambda: exact.predictions(network_outputs()))
    assert found["detection_classes"][:, :2].tolist() == [[7, 1], [3, 0]]
    assert task().data.input_options().num_classes == 8


def test_predictions_can_be_presented():
    found = run_graph(lambda: task().post_processing.predictions(network_outputs()))
    presenter = task(run={"min_score": 0.5}).presenter
    first = {name: values[0] for name, values in found.items()}
    second = {name: values[1] for name, values in found.items()}
    assert [entry["name"] for entry in presenter.entries(first, (10, 20))] == ["bird", "cat"]
    assert [entry["name"] for entry in presenter.entries(second, (10, 20))] == ["dog"]


# Metadata


def test_metadata_give_back_the_configuration():
    detection = DetectionConfig(exact_classes=True, anchors=AnchorSpec(centred=True))
    original = task(num_classes=3, data_class_names=("/m/1", "", "/m/7"), backbone="resnet50", detection=detection)
    metadata = json.loads(json.dumps(original.metadata))
    assert metadata["task"] == "detection"
    categories = stored_categories(metadata)
    assert categories == Categories(IDS, NAMES, ("/m/1", "", "/m/7"), "the checkpoint")
    model, options, notes = resolve_detector(
        ModelConfig(architecture="ssd320"), DetectionConfig(), metadata, [categories], None
    )
    assert model == original.data.config.model
    assert options == replace(detection, resize="stretch")
    assert notes == ()
    assert json.loads(json.dumps(task().metadata))["data_class_names"] is None


def test_metadata_say_what_the_first_kernel_expects():
    expected = {"mean_rgb": [123.68, 116.779, 103.939], "std_rgb": [1.0, 1.0, 1.0], "range": [0, 255]}
    assert json.loads(json.dumps(task().metadata))["preprocessing"] == expected
    assert task(backbone="resnet50").metadata["preprocessing"]["mean_rgb"] == [123.68, 116.28, 103.53]


def test_a_configuration_that_is_not_resolved_is_refused():
    with pytest.raises(ValueError, match=r"ModelConfig\.category_ids is None; must be filled in"):
        task(category_ids=None)
