"""Augmentation by hand, by NumPy, and by looking for the objects in the pixels that come out."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from object_detection import preprocessing
from object_detection.preprocessing import Objects, augment, crop_objects, preprocess_image, to_square
from tests.object_detection.evaluate import evaluate, floats
from tests.utils.input_records import coordinates, encode, legacy_resize, noise, quick_session
from utils.detection_config import ColorSpec, CropSpec, FlipSpec

WINDOW = (0.03, 0.3575, 0.98, 0.95)
BOX = (0.25, 0.125, 0.75, 0.5)


def objects_of(boxes, slots=None, weights=None):
    count = len(boxes)
    return Objects(
        boxes=tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
        slots=tf.constant(list(range(1, count + 1)) if slots is None else slots, tf.int32),
        weights=tf.constant([1.0] * count if weights is None else weights, tf.float32),
        ignored=tf.zeros([count], tf.bool),
    )


@contextlib.contextmanager
def augmenting(pixels, steps, boxes=(BOX,), size=16):
    """Augments an image with its boxes, by seed; gives the image and the objects."""
    with tf.Graph().as_default(), quick_session() as session:
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        outputs = augment(tf.constant(encode(pixels)), objects_of(boxes), seed, tuple(steps), size)
        run = session.make_callable(outputs, [seed])
        yield lambda number: run(np.array([number, 7]))


# Boxes by hand


def test_a_flipped_box_lies_where_its_mirror_image_does():
    with augmenting(noise(1), [FlipSpec()], [(0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1)]) as run:
        found = {tuple(map(tuple, run(seed)[1].boxes.tolist())) for seed in range(20)}
    assert found == {
        ((0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1)),
        ((0, 0, 0.75, 0.75), (0.25, 0, 0.75, 0.5)),
    }


def cropped(boxes, overlap, clip, slots=None, weights=None, window=WINDOW):
    return evaluate(
        lambda: crop_objects(objects_of(boxes, slots, weights), tf.constant(window, tf.float32), overlap, clip=clip)
    )


THREE = ((0.1, 0.1, 0.8, 0.3), (0.2, 0.4, 0.75, 0.75), (0.3, 0.1, 0.4, 0.7))


def test_a_crop_keeps_what_it_covers_enough_of():
    found = cropped(THREE, 0.3, True, [1, 7, 11], [1, 0.5, 0.6])
    np.testing.assert_allclose(
        found.boxes, [(0.178947, 0.07173, 0.757895, 0.662447), (0.28421, 0, 0.389474, 0.578059)], atol=1e-5
    )
    assert found.slots.tolist() == [7, 11]
    np.testing.assert_allclose(found.weights, [0.5, 0.6])
    assert found.ignored.tolist() == [False, False]


def test_without_clipping_boxes_reach_out_of_the_crop():
    found = cropped(THREE, 0.3, False, [1, 7, 11])
    assert found.boxes[1, 1] == pytest.approx(-0.434599, abs=1e-5)
    assert found.slots.tolist() == [7, 11]


def test_boxes_at_the_edge_are_cut():
    found = cropped([(0, 0.25, 0.75, 1), (0.25, 0.5, 0.75, 1)], 0.0, True)
    np.testing.assert_allclose(found.boxes, [(0, 0, 0.757895, 1), (0.231579, 0.240506, 0.757895, 1)], atol=1e-5)


def test_an_overlap_of_0_keeps_slivers_but_nothing_that_only_touches():
    window = (0.25, 0.25, 0.75, 0.75)
    boxes = [(0.0, 0.0, 0.2501, 0.2501), (0.0, 0.0, 0.25, 0.25), (0.75, 0.3, 0.9, 0.4), (0.3, 0.3, 0.4, 0.4)]
    assert cropped(boxes, 0.0, True, window=window).slots.tolist() == [1, 4]


def test_there_may_be_no_objects():
    assert cropped([], 0.3, True).boxes.shape == (0, 4)
    with augmenting(noise(1), [FlipSpec(), CropSpec(min_object_covered=0.5), ColorSpec()], []) as run:
        image, objects = run(1)
    assert image.shape == (16, 16, 3)
    assert [len(values) for values in objects] == [0, 0, 0, 0]


# The grid


def test_the_square_lies_on_the_legacy_grid():
    square = np.arange(16.0).reshape(4, 4, 1).repeat(3, axis=2)
    third = evaluate(lambda: to_square(floats(*square), 3))[:, :, 1]
    np.testing.assert_allclose(third, [(0, 4 / 3, 8 / 3), (16 / 3, 20 / 3, 8), (32 / 3, 12, 40 / 3)], rtol=1e-5)
    six = evaluate(lambda: to_square(floats(*square), 6))[:, :, 1]
    np.testing.assert_allclose(six[0], (0, 2 / 3, 4 / 3, 2, 8 / 3, 3), rtol=1e-5)
    np.testing.assert_allclose(six[:, 0], (0, 8 / 3, 16 / 3, 8, 32 / 3, 12), rtol=1e-5)


def test_a_photograph_of_any_aspect_ratio_becomes_a_square():
    y, x = np.mgrid[:480, :640]
    plane = (0.3 * y + 0.2 * x)[:, :, None].repeat(3, axis=2)
    square = evaluate(lambda: to_square(floats(*plane), 320))[:, :, 0]
    found = square[0, 0], square[1, 1], square[10, 20], square[319, 319], square.mean(dtype=np.float64)
    np.testing.assert_allclose(found, (0, 0.85, 12.5, 271.15, 135.575), rtol=1e-5, atol=1e-6)


def test_encoded_images_are_decoded_whole():
    pixels = noise(4, 30, 20)
    found = evaluate(lambda: preprocess_image(tf.constant(encode(pixels)), 16))
    np.testing.assert_allclose(found, legacy_resize(pixels, 16, 16), atol=1e-3)


# Randomness


def test_a_seed_decides_on_pixels_and_boxes():
    steps = [FlipSpec(), CropSpec(area=(0.3, 1.0)), ColorSpec()]
    with augmenting(noise(1), steps) as run, augmenting(noise(1), steps) as run_again:
        for seed in range(4):
            image, objects = run(seed)
            for other_image, other_objects in (run(seed), run_again(seed)):
                np.testing.assert_array_equal(image, other_image)
                np.testing.assert_array_equal(objects.boxes, other_objects.boxes)
        assert len({run(seed)[0].tobytes() for seed in range(10)}) == 10


def test_half_of_the_images_are_flipped_and_their_boxes_with_them():
    pixels, flips = noise(2, 16, 16), 0
    with augmenting(pixels, [FlipSpec()]) as run:
        for seed in range(200):
            image, objects = run(seed)
            flipped = objects.boxes[0].tolist() == [0.25, 0.5, 0.75, 0.875]
            assert flipped or objects.boxes[0].tolist() == list(BOX)
            np.testing.assert_array_equal(image, pixels[:, ::-1] if flipped else pixels)
            flips += flipped
    assert 75 < flips < 125


def span_of(color, image):
    """Where a color begins and ends, ``[ymin, xmin, ymax, xmax]`` in pixels, or None where it is not to be seen."""
    there = np.abs(image - np.array(color)).max(axis=2) < 110  # more than half of a pixel's mixture
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) if len(rows) else None


def test_every_object_is_found_where_its_box_says_after_flips_and_crops():
    height, width, size = 90, 120, 96
    colors = {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255)}
    spans_px = {1: (9, 12, 45, 48), 2: (54, 18, 81, 60), 3: (18, 72, 63, 108)}
    pixels = np.zeros((height, width, 3), np.uint8)
    for slot, (top, left, bottom, right) in spans_px.items():
        pixels[top:bottom, left:right] = colors[slot]
    boxes = np.array(list(spans_px.values())) / [height, width, height, width]
    steps = [FlipSpec(), CropSpec(area=(0.3, 0.9), aspect_ratio=(0.5, 2.0)), FlipSpec()]
    seen, gone = 0, 0
    with augmenting(pixels, steps, boxes.tolist(), size) as run:
        for seed in range(60):
            image, objects = run(seed)
            boxes_px = dict(zip(objects.slots.tolist(), objects.boxes * size, strict=True))
            for slot, color in colors.items():
                span = span_of(color, image)
                if slot not in boxes_px:
                    assert span is None
                    gone += 1
                elif (boxes_px[slot][2:] - boxes_px[slot][:2]).min() > 3:
                    assert span is not None
                    np.testing.assert_allclose(span, boxes_px[slot], atol=2.5, err_msg=f"seed {seed}, slot {slot}")
                    seen += 1
    assert seen > 80
    assert gone >= 10


def windows(spec, count, height=100, width=150, size=16, boxes=()):
    """The windows that crops of an image are made of: top, left, height and width in pixels, ``[count, 4]``."""
    found = []
    with augmenting(coordinates(height, width), [spec], boxes, size) as run:
        for seed in range(count):
            image, _ = run(seed)
            first, last = image[0, 0, :2], image[-1, -1, :2]
            found.append([*first, *((last - first) * size / (size - 1))])
    return np.array(found)


@pytest.mark.parametrize("spec", [CropSpec(), CropSpec(area=(0.2, 0.5), aspect_ratio=(0.9, 1.1))])
def test_crops_have_an_area_and_an_aspect_ratio_in_their_ranges(spec):
    found = windows(spec, 200)
    area = found[:, 2] * found[:, 3] / (100 * 150)
    aspect = found[:, 3] / found[:, 2]
    assert spec.area[0] - 0.02 < area.min() < area.max() < spec.area[1] + 0.01
    assert spec.aspect_ratio[0] - 0.03 < aspect.min() < aspect.max() < spec.aspect_ratio[1] + 0.03
    assert area.max() - area.min() > 0.5 * (spec.area[1] - spec.area[0])
    assert aspect.max() - aspect.min() > 0.1
    assert (found[:, :2] >= 0).all()
    assert (found[:, 0] + found[:, 2]).max() < 100.1
    assert (found[:, 1] + found[:, 3]).max() < 150.1
    assert found[:, 0].max() > 5
    assert found[:, 1].max() > 5


def test_a_crop_may_have_to_cover_some_object():
    spec = CropSpec(min_object_covered=1.0, area=(0.1, 0.3), aspect_ratio=(0.8, 1.25))
    box = (0.8, 0.8, 0.9, 0.9)
    found = windows(spec, 30, boxes=[box])
    assert (found[:, 0] <= 80.5).all()
    assert (found[:, 0] + found[:, 2] >= 89.5).all()
    assert (found[:, 1] <= 120.5).all()
    assert (found[:, 1] + found[:, 3] >= 134.5).all()


@pytest.mark.parametrize(("probability", "fewest", "most"), [(1.0, 60, 60), (0.5, 18, 42), (0.0, 0, 0)])
def test_some_images_stay_whole(probability, fewest, most):
    found = windows(CropSpec(area=(0.2, 0.5), skip_probability=probability), 60)
    whole = np.abs(found - [0, 0, 100, 150]).max(axis=1) < 0.1
    assert fewest <= whole.sum() <= most


def test_a_whole_image_keeps_its_objects_as_they_are():
    spec = CropSpec(area=(0.2, 0.5), skip_probability=1.0, overlap=1.0)
    with augmenting(noise(1), [spec]) as run:
        np.testing.assert_allclose(run(3)[1].boxes, [BOX])


# Steps


def test_steps_are_done_in_their_order_and_colors_last(monkeypatch):
    done = []

    def noting(name):
        def step(image, *arguments):
            done.append(name)
            return image if name == "color" else (image, arguments[0])

        return step

    for function, name in (("_random_flip", "flip"), ("_random_crop", "crop"), ("_distort_colors", "color")):
        monkeypatch.setattr(preprocessing, function, noting(name))
    steps = [ColorSpec(), CropSpec(), FlipSpec(), CropSpec()]
    with augmenting(noise(1), steps) as run:
        run(1)
    assert done == ["crop", "flip", "crop", "color"]


def test_two_steps_of_a_kind_decide_for_themselves():
    with augmenting(noise(1), [FlipSpec(), FlipSpec()]) as run:
        seen = {tuple(run(seed)[1].boxes[0].tolist()) for seed in range(20)}
    assert len(seen) == 2


@pytest.mark.parametrize("ordering", [0, 1])
def test_colors_change_and_stay_in_their_range(ordering):
    pixels = noise(5, 16, 16)
    with augmenting(pixels, [ColorSpec(ordering=ordering)]) as run:
        images = [run(seed)[0] for seed in range(30)]
    assert min(image.min() for image in images) >= 0
    assert max(image.max() for image in images) <= 255
    means = [image.mean() for image in images]
    assert max(means) - min(means) > 20
    assert all(np.abs(image - pixels).mean() > 2 for image in images)


NO_CHANGE = {"brightness": 0.0, "saturation": (1.0, 1.0), "hue": 0.0, "contrast": (1.0, 1.0)}


def test_a_distortion_by_nothing_changes_nothing():
    pixels = noise(5, 16, 16)
    with augmenting(pixels, [ColorSpec(**NO_CHANGE)]) as run:
        np.testing.assert_allclose(run(1)[0], pixels, atol=0.05)


def test_brightness_is_added_to_all_pixels_alike():
    pixels = np.full((16, 16, 3), 128, np.uint8)
    with augmenting(pixels, [ColorSpec(**NO_CHANGE | {"brightness": 0.2})]) as run:
        shifts = np.array([run(seed)[0] - pixels for seed in range(60)])
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 0.05
    assert -51.1 < shifts.min() < -30
    assert 30 < shifts.max() < 51.1


@pytest.mark.parametrize("ordering", [0, 1])
def test_the_ordering_says_whether_contrast_comes_last(ordering):
    """Without saturation a pixel is its largest channel, of which it matters whether its contrast was halved."""
    pixels = noise(6, 16, 16).astype(np.float64)

    def halved(values):
        mean = values.mean(axis=(0, 1))
        return mean + 0.5 * (values - mean)

    gray = pixels.max(axis=2, keepdims=True).repeat(3, axis=2)
    expected = halved(gray) if ordering == 0 else halved(pixels).max(axis=2, keepdims=True).repeat(3, axis=2)
    spec = ColorSpec(brightness=0.0, saturation=(0.0, 0.0), hue=0.0, contrast=(0.5, 0.5), ordering=ordering)
    with augmenting(pixels.astype(np.uint8), [spec]) as run:
        np.testing.assert_allclose(run(1)[0], expected, atol=0.05)
