"""Flips, quarter turns and random sizes of images with objects, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.preprocessing import DETECTION_TABLE
from object_detection.augmentation.random_placement import random_placement
from tests.object_detection.augmentation.augmenting import augmenting
from tests.object_detection.evaluate import evaluate
from tests.utils.input_records import legacy_resize, noise
from utils.image_sizes import Sides
from utils.input.augmentation import pixel_change
from utils.input.augmentation_specs import (
    DETECTION_STEPS,
    ColorSpec,
    CropSpec,
    ErasingSpec,
    FitSpec,
    FlipSpec,
    RotateSpec,
    ScaleSpec,
    VerticalFlipSpec,
    detection_steps,
)
from utils.object_augment_config import ObjectAugmentConfig
from utils.weights.pretrained_config import MEAN_RGB

SIZE = 16
PIXELS = noise(2, SIZE, SIZE)
BOXES = [(0.25, 0.125, 0.75, 0.5), (0.0, 0.0, 1.0, 1.0), (0.5, 0.75, 0.625, 1.0)]


def marked(box):
    """A picture of a box whose sides are whole pixels."""
    top, left, bottom, right = (round(side * SIZE) for side in box)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top:bottom, left:right] = True
    return mask


def bounds(mask):
    """The box of a picture of one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / SIZE


# Flips and turns


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (VerticalFlipSpec(), [lambda pixels: pixels, lambda pixels: pixels[::-1]]),
        (RotateSpec(), [lambda pixels, turns=turns: np.rot90(pixels, turns) for turns in range(4)]),
        (RotateSpec(turns=(0, 1)), [lambda pixels: pixels, np.rot90]),
    ],
    ids=["vertical flip", "quarter turns", "one turn"],
)
def test_pixels_and_boxes_are_turned_alike_and_each_way_as_often(step, changes):
    seen, count = np.zeros(len(changes)), 160
    with augmenting(PIXELS, [step], BOXES, SIZE) as run:
        for seed in range(count):
            image, objects = run(seed)
            (way,) = (n for n, change in enumerate(changes) if np.array_equal(image, change(PIXELS)))
            expected = [bounds(changes[way](marked(box))) for box in BOXES]
            np.testing.assert_allclose(objects.boxes, expected, atol=1e-6)
            assert objects.slots.tolist() == [1, 2, 3]
            seen[way] += 1
    assert (np.abs(seen - count / len(changes)) < 0.4 * count / len(changes)).all(), seen


# Sizes


def placements(spec, sides, count):
    """Resized sizes and corners of ``count`` seeds, ``[count, 2]`` each."""

    def build():
        seeds = tf.stack([tf.range(count, dtype=tf.int64), tf.fill([count], tf.constant(3, tf.int64))], axis=1)
        types = (tf.float32, tf.float32)
        return tf.map_fn(
            lambda seed: tuple(random_placement(sides, sides, seed, spec)), seeds, fn_output_signature=types
        )

    return evaluate(build)


def test_scales_and_places_are_even_and_whole_and_leave_no_room():
    sides = np.array([40, 64])
    resized, corner = placements(ScaleSpec(scale=(0.5, 2.0)), sides, 400)
    scale = resized / sides
    np.testing.assert_allclose(scale[:, 0], scale[:, 1], atol=0.03)
    assert abs(scale.mean() - 1.25) < 0.06
    assert 0.48 < scale.min() < 0.52
    assert 1.98 < scale.max() <= 2
    assert (corner == np.round(corner)).all()
    room = resized - sides
    assert (np.minimum(room, 0) <= corner).all()
    assert (corner <= np.maximum(room, 0)).all()
    wide = np.abs(room).min(axis=1) > 9
    share = corner[wide] / room[wide]
    assert abs(share.mean() - 0.5) < 0.05
    assert share.min() < 0.03
    assert share.max() > 0.97


def shown(pixels, resized, corner):
    """The part of a resized image that the network sees, and the mean color around it, by a second implementation."""
    (height, width), (top, left) = resized.astype(int), corner.astype(int)
    canvas = np.tile(np.array(MEAN_RGB), (SIZE + height + SIZE, SIZE + width + SIZE, 1))
    canvas[SIZE : SIZE + height, SIZE : SIZE + width] = legacy_resize(pixels, height, width)
    return canvas[SIZE + top : SIZE + top + SIZE, SIZE + left : SIZE + left + SIZE]


@pytest.mark.parametrize(("scale", "least"), [((0.3, 0.9), 0.0), ((1.1, 2.5), 0.0), ((0.4, 2.5), 0.6)])
def test_images_and_boxes_are_scaled_and_cut_as_by_numpy(scale, least):
    pixels, spec, kinds = noise(4, 30, 24), ScaleSpec(scale=scale, min_visible=least), set()
    sides = np.array([SIZE, SIZE])
    with augmenting(pixels, [spec], BOXES, SIZE, border=MEAN_RGB) as run:
        for seed in range(25):
            own = evaluate(lambda seed=seed: tuple(random_placement(
                sides, sides, tf.random.split(tf.constant([seed, 7], tf.int64), 1)[0], spec
            )))  # fmt: skip
            image, objects = run(seed)
            np.testing.assert_allclose(image, shown(pixels, *own), atol=1e-3)
            moved = np.array(BOXES) * np.tile(own[0], 2) - np.tile(own[1], 2)
            cut = np.clip(moved, 0, SIZE)
            shares = np.prod(cut[:, 2:] - cut[:, :2], axis=1) / np.prod(moved[:, 2:] - moved[:, :2], axis=1)
            kept = (shares > 0) & (shares >= least)
            np.testing.assert_allclose(objects.boxes, cut[kept] / SIZE, atol=1e-5)
            assert objects.slots.tolist() == (np.flatnonzero(kept) + 1).tolist()
            kinds |= set() if kept.all() else {"dropped"}
            kinds |= {"cut"} if (shares[kept] < 0.99).any() else set()
    assert kinds == (set() if scale[1] < 1 else {"cut", "dropped"})


def test_a_scale_of_1_changes_nothing():
    pixels = noise(4, 30, 24)
    with augmenting(pixels, [ScaleSpec(scale=(1.0, 1.0), min_visible=1.0)], BOXES, SIZE) as run:
        image, objects = run(3)
    np.testing.assert_allclose(image, legacy_resize(pixels, SIZE, SIZE), atol=1e-3)
    np.testing.assert_array_equal(objects.boxes, np.array(BOXES, np.float32))


def test_an_image_without_a_box_left_is_sound():
    with augmenting(noise(1), [ScaleSpec(scale=(4.0, 4.0))], [(0.0, 0.0, 0.05, 0.05)], SIZE) as run:
        found = [run(seed) for seed in range(8)]
    gone = [(image, objects) for image, objects in found if not len(objects.boxes)]
    assert gone
    for image, objects in gone:
        assert np.isfinite(image).all()
        assert [values.shape for values in objects] == [(0, 4), (0,), (0,), (0,)]


# The order of the steps


def steps_of(base=DETECTION_STEPS, erasing=0.0, fit=None, **flags):
    return detection_steps(base, ObjectAugmentConfig(**flags), random_erasing=erasing, fit=fit)


def test_without_flags_the_steps_are_those_of_the_config():
    odd = (ColorSpec(), FlipSpec(), CropSpec(overlap=0.3), ErasingSpec(probability=0.1), FlipSpec())
    for base in (DETECTION_STEPS, odd, ()):
        assert steps_of(base) == base
        assert steps_of(base, mosaic=1.0) == base
    change = pixel_change((FlipSpec(), CropSpec()), DETECTION_TABLE)
    assert change is None


def test_each_flag_adds_its_step_in_its_place():
    flip, crop, color = DETECTION_STEPS
    assert steps_of(vertical_flip=True, rotate90=True) == (flip, crop, VerticalFlipSpec(), RotateSpec(), color)
    assert steps_of(erasing=0.25) == (flip, crop, color, ErasingSpec(probability=0.25))
    scaled = ScaleSpec(scale=(0.1, 2.0), min_visible=0.4)
    assert steps_of(scale_jitter=(0.1, 2.0), min_visible=0.4, rotate90=True) == (flip, scaled, RotateSpec(), color)
    assert steps_of(min_visible=0.4)[1] == CropSpec(overlap=0.4)
    assert steps_of((CropSpec(overlap=0.5),), min_visible=0.4) == (CropSpec(overlap=0.5),)
    assert steps_of((RotateSpec(), CropSpec(), ColorSpec())) == (CropSpec(), RotateSpec(), ColorSpec())
    assert steps_of((crop, flip, color), scale_jitter=(0.1, 2.0), min_visible=0.4) == (flip, scaled, color)
    assert steps_of((color,), scale_jitter=(0.1, 2.0), min_visible=0.4) == (scaled, color)


def test_images_are_fitted_before_they_are_scaled_and_turned():
    flip, crop, color = DETECTION_STEPS
    fit, size = FitSpec(size=Sides(64, 96)), Sides(64, 96)
    scaled = ScaleSpec(scale=(0.1, 2.0), size=size)
    assert steps_of(fit=size, vertical_flip=True) == (flip, crop, fit, VerticalFlipSpec(), color)
    assert steps_of(fit=size, scale_jitter=(0.1, 2.0)) == (flip, fit, scaled, color)
    assert steps_of((color,), fit=size) == (fit, color)


def test_a_crop_drops_what_it_hides_by_more_than_the_flag_allows():
    base, boxes = (CropSpec(area=(0.2, 0.6), aspect_ratio=(0.5, 2.0)),), [(0.0, 0.0, 1.0, 1.0), (0.2, 0.2, 0.5, 0.6)]
    kept = {}
    for least in (0.0, 0.7):
        with augmenting(PIXELS, steps_of(base, min_visible=least), boxes, SIZE) as run:
            kept[least] = [run(seed)[1].slots.tolist() for seed in range(30)]
    assert all(1 in slots for slots in kept[0.0])
    assert not any(1 in slots for slots in kept[0.7])
    assert 3 < sum(2 in slots for slots in kept[0.7]) < sum(2 in slots for slots in kept[0.0])
