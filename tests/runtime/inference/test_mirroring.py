"""Networks that look at an image and its mirror image find the mirror image of what they find in the mirror image."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.anchors import pyramid_anchors
from object_detection.boxes.box_coder import decode
from object_detection.boxes.box_distribution import decoded
from runtime.artefacts.artefact import Artefact
from runtime.inference.mirroring import Mirrored, anchors_of_both, boxes_of_both, check_views, probabilities_of_both
from tests.model.tiny_ssd import load_by_name
from tests.runtime.tiny_detector import SIZE, config, task, tiny_detectors
from tests.utils.input_records import run_graph
from utils.config import ExperimentConfig
from utils.data_config import DataConfig
from utils.detection_config import AnchorSpec, BoxCoderSpec, DetectionConfig, HeadSpec
from utils.errors import UsageError
from utils.image_sizes import size_of_sides
from utils.prediction_config import PredictionConfig

tf1 = tf.compat.v1
MIRRORS = PredictionConfig(test_time_augmentation=True)
HEADS = DetectionConfig(heads=HeadSpec(distribution=True, centerness=True))
classifier = partial(ExperimentConfig, data=DataConfig(data_dir="D"))


def mirrored_boxes(boxes):
    ymin, xmin, ymax, xmax = np.moveaxis(boxes, -1, 0)
    return np.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=-1)


def test_codes_of_mirror_images_decode_to_mirrored_boxes():
    anchors = pyramid_anchors(320, 320, AnchorSpec())
    codes = np.random.default_rng(0).normal(0, 1, (2, 1, len(anchors), 4)).astype(np.float32)

    def build():
        first, second = ({"box_codes": tf.constant(c), "class_logits": tf.constant(c)} for c in codes)
        both = boxes_of_both(first, second, ends=("box_codes", "class_logits"), distances=False)
        return (
            decode(both["box_codes"], tf.constant(anchors_of_both(anchors)), BoxCoderSpec()),
            decode(tf.constant(codes[1]), tf.constant(anchors), BoxCoderSpec()),
            both["class_logits"],
        )

    found, plain, logits = run_graph(build)
    np.testing.assert_allclose(found[:, len(anchors) :], mirrored_boxes(plain), atol=1e-5)
    assert np.array_equal(logits, np.concatenate(codes, axis=1))


def test_distances_of_mirror_images_lead_to_mirrored_boxes():
    anchors = pyramid_anchors(64, 96, HEADS.anchors)
    distances = np.random.default_rng(0).uniform(0, 5, (2, 1, len(anchors), 4)).astype(np.float32)
    ends = ("box_codes", "class_logits", "centerness_logits")

    def build():
        first, second = ({"box_logits": 0, **dict.fromkeys(ends, tf.constant(view))} for view in distances)
        both = boxes_of_both(first, second, ends=ends, distances=True)
        assert tuple(both) == ends
        found = decoded(both["box_codes"], anchors_of_both(anchors), HEADS)
        return found, decoded(tf.constant(distances), anchors, HEADS), both["centerness_logits"]

    found, plain, central = run_graph(build)
    np.testing.assert_allclose(found[0, : len(anchors)], plain[0, 0], atol=1e-6)
    np.testing.assert_allclose(found[0, len(anchors) :], mirrored_boxes(plain[1, 0]), atol=1e-5)
    assert np.array_equal(central, np.concatenate(distances, axis=1))


def detections(images, detection=None):
    size = size_of_sides(*images.shape[1:3])
    with tf.Graph().as_default(), tf1.Session() as session, tiny_detectors():
        built = task(prediction=MIRRORS, detection=detection, image_size=size)
        network = built.network
        endpoints = network.forward(network.normalize(tf.constant(images)), training=False)
        found = built.post_processing.predictions(endpoints)
        load_by_name(tf1.global_variables(), session)
        return session.run({**found, "logits": endpoints["class_logits"], "codes": endpoints["box_codes"]})


@pytest.mark.parametrize(("width", "detection"), [(SIZE, None), (96, HEADS)], ids=["as ever", "wide, all heads"])
def test_a_mirror_image_has_the_mirrored_detections(width, detection):
    images = np.random.default_rng(1).uniform(0, 255, (2, SIZE, width, 3)).astype(np.float32)
    ours, theirs = (detections(view, detection) for view in (images, images[:, :, ::-1].copy()))
    assert ours["num_detections"].tolist() == theirs["num_detections"].tolist() == [100, 100]
    np.testing.assert_allclose(theirs["detection_scores"], ours["detection_scores"], rtol=1e-3)
    best = ours["detection_boxes"][:, :3]
    np.testing.assert_allclose(theirs["detection_boxes"][:, :3], mirrored_boxes(best), atol=1e-3)


def test_the_first_half_is_the_view_of_before():
    images = np.random.default_rng(2).uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)
    both = detections(images)
    with tf.Graph().as_default(), tf1.Session() as session, tiny_detectors():
        network = task().network
        plain = network.forward(network.normalize(tf.constant(images)), training=False)
        load_by_name(tf1.global_variables(), session)
        codes, logits = session.run([plain["box_codes"], plain["class_logits"]])
    np.testing.assert_allclose(both["codes"][:, : codes.shape[1]], codes, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both["logits"][:, : logits.shape[1]], logits, rtol=1e-4, atol=1e-5)
    assert both["logits"].shape[1] == 2 * logits.shape[1]


@pytest.mark.parametrize("several", [False, True])
def test_probabilities_of_classes_are_means(several):
    logits = np.random.default_rng(3).normal(0, 3, (2, 4, 5)).astype(np.float32)
    merge = partial(probabilities_of_both, several=several)
    found = run_graph(lambda: merge(*({"logits": tf.constant(view)} for view in logits)))
    odds = np.exp(logits.astype(np.float64))
    each = odds / (1 + odds) if several else odds / odds.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(found["probabilities"], each.mean(axis=0), rtol=1e-5)
    again = np.exp(found["logits"].astype(np.float64))
    np.testing.assert_allclose(again / (1 + again) if several else again, each.mean(axis=0), rtol=1e-4)


def test_mirror_images_are_not_for_training():
    with tf.Graph().as_default(), tiny_detectors(), pytest.raises(ValueError, match="in inference only"):
        Mirrored(task().network, boxes_of_both).forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)


def test_without_the_flag_the_network_is_the_detector_itself():
    plain = task()
    assert plain.network is plain.training.network
    assert not isinstance(plain.network, Mirrored)
    assert len(plain.post_processing.anchors) * 2 == len(anchors_of_both(plain.post_processing.anchors))


def test_what_a_network_cannot_do_is_refused(tmp_path):
    for given, told in (
        (PredictionConfig(tiles=64), "--tiles 64: only used with ssd320, which detects objects"),
        (PredictionConfig(draw_frames=True), "--draw_frames: only used with ssd320, which detects objects"),
    ):
        with pytest.raises(UsageError, match=told):
            check_views(classifier(prediction=given), None)
        check_views(config(prediction=given), None)
    artefact = Artefact(
        path=tmp_path, runtime="", precision="", metadata={}, input_shape=(1, 2, 2, 3), outputs={}, forward=dict
    )
    with pytest.raises(UsageError, match=f"--test_time_augmentation: {tmp_path} was exported to look at each"):
        check_views(config(prediction=MIRRORS), artefact)
    check_views(config(prediction=PredictionConfig(tiles=64)), artefact)
