"""Random flips and crops: reproducible by seed, and objects found again in the resulting pixels."""

import numpy as np
import pytest

from tests.object_detection.augmentation.augmenting import BOX, augmenting
from tests.utils.input_records import coordinates, noise
from utils.input.augmentation_specs import ColorSpec, CropSpec, FlipSpec


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
    """Returns the bounds of a color, ``[ymin, xmin, ymax, xmax]`` in pixels, or None if it is not visible."""
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
    """Returns the windows of random crops: top, left, height and width in pixels, ``[count, 4]``."""
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
