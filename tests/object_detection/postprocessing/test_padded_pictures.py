"""Pictures that keep their proportions: pixels and boxes on the way in, boxes on the way out."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.preprocessing import preprocess_image
from object_detection.augmentation.random_placement import random_placement
from object_detection.input.input_pipeline import detection_decoder
from object_detection.postprocessing.padded_pictures import in_pictures
from tests.object_detection.detection_records import TABLE, detection_record
from tests.object_detection.evaluate import evaluate
from tests.utils.input_records import coordinates, encode, legacy_resize, noise, options, quick_session
from utils.image_sizes import Sides
from utils.input.augmentation_specs import ColorSpec, CropSpec, FlipSpec, detection_steps
from utils.letterbox import share_of_input
from utils.object_augment_config import ObjectAugmentConfig

BORDER = (123.68, 116.779, 103.939)
SIZE = Sides(24, 40)


def padded(pixels, height, width):
    """A second implementation: a picture resized to height and width in an input of ``SIZE``."""
    image = np.empty([*SIZE, 3])
    image[:] = BORDER
    image[:height, :width] = legacy_resize(pixels, height, width)
    return image


@pytest.mark.parametrize(
    ("sides", "resized"), [((30, 20), (24, 16)), ((30, 60), (20, 40)), ((48, 80), (24, 40)), ((2, 90), (1, 40))]
)
def test_a_whole_picture_has_a_border_right_or_below(sides, resized):
    pixels = noise(4, *sides)
    found = evaluate(lambda: preprocess_image(tf.constant(encode(pixels)), SIZE, BORDER))
    np.testing.assert_allclose(found, padded(pixels, *resized), atol=1e-3)
    outside = np.ones(SIZE, bool)
    outside[: resized[0], : resized[1]] = False
    assert (found[outside] == np.float32(BORDER)).all()


def test_without_a_border_a_picture_fills_an_input_that_is_not_square():
    pixels = noise(4, 30, 20)
    found = evaluate(lambda: preprocess_image(tf.constant(encode(pixels)), SIZE))
    np.testing.assert_allclose(found, legacy_resize(pixels, *SIZE), atol=1e-3)


@contextlib.contextmanager
def training(record, steps, augment=ObjectAugmentConfig(), **changes):  # noqa: B008
    """Yields a function that reads a record as training does with a given seed: the image, and the boxes."""
    steps = detection_steps(tuple(steps), augment, random_erasing=0.0, fit=SIZE)
    given = options(image_size=SIZE, border=BORDER, augmentation=steps, **changes)
    with tf.Graph().as_default(), quick_session() as session:
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        example = detection_decoder(TABLE, train_crowds=False).train(tf.constant(record), seed, given)
        run = session.make_callable((example.image, example.targets["groundtruth_boxes"]), [seed])
        yield lambda number: run(np.array([number, 7]))


def test_a_mirrored_picture_keeps_its_border_at_the_right():
    pixels = noise(7, 30, 20)
    record = detection_record([(0.25, 0.0, 0.5, 0.5)], label=[1], encoded=encode(pixels))
    with training(record, [FlipSpec()]) as read:
        found = [read(number) for number in range(8)]
    sides = {boxes[0, 1] > 0 for _, boxes in found}
    assert sides == {False, True}
    for image, boxes in found:
        mirrored = boxes[0, 1] > 0
        np.testing.assert_allclose(image, padded(pixels[:, ::-1] if mirrored else pixels, 24, 16), atol=1e-3)
        np.testing.assert_allclose(boxes, [(0.25, 0.2 * mirrored, 0.5, 0.2 + 0.2 * mirrored)], atol=1e-6)


def test_boxes_of_a_crop_follow_its_pixels():
    """A white object on black is where its box says, to a pixel."""
    pixels = np.zeros([60, 90, 3], np.uint8)
    pixels[20:40, 30:75] = 255
    record = detection_record([(20 / 60, 30 / 90, 40 / 60, 75 / 90)], label=[1], encoded=encode(pixels))
    crop = CropSpec(min_object_covered=0.9, area=(0.4, 0.8), aspect_ratio=(0.5, 2.0))
    with training(record, [FlipSpec(), crop]) as read:
        found = [read(number) for number in range(12)]
    for image, ((top, left, bottom, right),) in found:
        rows, columns = np.nonzero((image > 127).all(axis=2))
        seen = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        np.testing.assert_allclose(np.array([top, left, bottom, right]) * (*SIZE, *SIZE), seen, atol=1.6)
    assert len({image.tobytes() for image, _ in found}) > 6


def test_colors_change_in_the_picture_alone():
    pixels = noise(7, 30, 20)
    record = detection_record([(0.25, 0.0, 0.5, 0.5)], label=[1], encoded=encode(pixels))
    with training(record, [ColorSpec()]) as read:
        image, _ = read(1)
    assert (image[:, 16:] == np.float32(BORDER)).all()
    assert (np.abs(image - padded(pixels, 24, 16))[:, :16] > 1).any(axis=2).mean() > 0.9


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_jpeg_decoded_at_a_fraction_of_its_size_has_the_same_border(mirrored):
    pixels = np.repeat(np.repeat(noise(7, 6, 8), 32, axis=0), 32, axis=1)
    record = detection_record([(0.25, 0.0, 0.5, 0.5)], label=[1], encoded=encode(pixels, "JPEG", quality=95))
    with training(record, [FlipSpec()], scaled_decoding=True) as read:
        image, _ = next(found for found in map(read, range(20)) if (found[1][0, 1] > 0) == mirrored)
    means = (pixels[:, ::-1] if mirrored else pixels)[::32, ::32]
    assert (image[:, 32:] == np.float32(BORDER)).all()
    np.testing.assert_allclose(image[2::4, 2:32:4], means, atol=30)  # the middles of the squares of one color


@pytest.mark.parametrize("scale", [(0.3, 0.9), (1.1, 2.5)])
def test_scaled_pictures_keep_their_proportions_and_lie_anywhere(scale):
    pixels, box, places = noise(4, 30, 20), np.array([0.25, 0.0, 0.5, 0.5]), set()
    record = detection_record([tuple(box)], label=[1], encoded=encode(pixels))
    augment = ObjectAugmentConfig(scale_jitter=scale)
    with training(record, [], augment) as read:
        (spec,) = (step for step in detection_steps((), augment, random_erasing=0.0, fit=SIZE)[1:])
        for number in range(10):
            resized, corner = evaluate(lambda number=number: tuple(random_placement(
                np.array([24, 16]), np.array(SIZE), tf.random.split(tf.constant([number, 7], tf.int64), 2)[1], spec
            )))  # fmt: skip
            image, boxes = read(number)
            (height, width), (top, left) = resized.astype(int), corner.astype(int)
            canvas = np.empty([24 + height + 24, 40 + width + 40, 3])
            canvas[:] = BORDER
            canvas[24 : 24 + height, 40 : 40 + width] = legacy_resize(pixels, height, width)
            np.testing.assert_allclose(image, canvas[24 + top : 48 + top, 40 + left : 80 + left], atol=1e-3)
            moved = np.clip(box * np.tile(resized, 2) - np.tile(corner, 2), 0, np.tile(SIZE, 2)) / np.tile(SIZE, 2)
            there = np.prod(moved[2:] - moved[:2]) > 0
            np.testing.assert_allclose(boxes, moved[np.newaxis][: int(there)], atol=1e-5)
            assert abs(width / height - 2 / 3) < 0.1
            places.add((top, left))
    assert len(places) == 10


def test_evaluation_keeps_the_boxes_of_the_picture():
    record = detection_record([(0.25, 0.0, 0.5, 0.5)], label=[1], encoded=encode(coordinates(30, 20)))
    decoder, given = detection_decoder(TABLE, train_crowds=False), options(image_size=SIZE, border=BORDER)
    found = evaluate(lambda: decoder.evaluate(tf.constant(record), given))
    np.testing.assert_allclose(found.image, padded(coordinates(30, 20), 24, 16), atol=1e-3)
    assert found.targets["groundtruth_boxes"].tolist() == [[0.25, 0.0, 0.5, 0.5]]
    assert found.targets["image_size"].tolist() == [30, 20]


# From the input to the picture


def detections(boxes, scores, count, kind=np.float32):
    return {
        "detection_boxes": tf.constant(boxes, tf.float32),
        "detection_scores": tf.constant(scores, tf.float32),
        "detection_classes": tf.constant(np.arange(np.size(scores)).reshape(np.shape(scores)) + 1, kind),
        "num_detections": tf.constant(count, kind),
    }


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_detections_are_cut_at_the_picture_and_dropped_outside(kind):
    boxes = [  # of a picture of 24 x 16 pixels in an input of 24 x 40: its right edge is at 0.4
        [(0.25, 0.0, 0.5, 0.2), (0.1, 0.5, 0.2, 0.9), (0.0, 0.3, 1.0, 0.7), (0, 0, 0, 0)],
        [(0.25, 0.0, 0.5, 0.2), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)],
    ]
    scores = [[0.9, 0.8, 0.7, 0], [0.6, 0, 0, 0]]
    sizes = np.array([(30, 20), (0, 0)])
    found = evaluate(lambda: in_pictures(detections(boxes, scores, [3, 1], kind), sizes, SIZE))
    np.testing.assert_allclose(found["detection_boxes"][0, :2], [(0.25, 0, 0.5, 0.5), (0, 0.75, 1, 1)], atol=1e-6)
    assert found["detection_classes"].tolist() == [[1, 3, 0, 0], [5, 0, 0, 0]]
    np.testing.assert_allclose(found["detection_scores"], [[0.9, 0.7, 0, 0], [0.6, 0, 0, 0]])
    assert found["num_detections"].tolist() == [2, 1]
    assert {found[name].dtype for name in ("detection_classes", "num_detections")} == {np.dtype(kind)}
    assert not found["detection_boxes"][0, 2:].any()


def test_boxes_of_pictures_come_back_exactly():
    random = np.random.default_rng(3)
    sizes = random.integers(1, 2000, [50, 2])
    boxes = np.sort(random.uniform(size=[50, 5, 2, 2]), axis=2).reshape(50, 5, 4).astype(np.float32)
    share = np.tile(share_of_input(sizes, SIZE, np), 2)[:, np.newaxis].astype(np.float32)
    found = evaluate(lambda: in_pictures(detections(boxes * share, np.ones([50, 5]), [5] * 50), sizes, SIZE))
    np.testing.assert_allclose(found["detection_boxes"], boxes, atol=2e-7)


def test_scores_that_are_no_numbers_are_not_hidden():
    nothing = np.full([1, 2, 4], np.nan)
    found = evaluate(lambda: in_pictures(detections(nothing, [[np.nan] * 2], [2]), np.array([(30, 20)]), SIZE))
    assert found["num_detections"].tolist() == [2]
    assert np.isnan(found["detection_scores"]).all()
