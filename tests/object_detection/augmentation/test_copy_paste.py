"""Copy-paste: maps of objects beside the pixels that they belong to, and pasted objects against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.copy_paste import chosen_objects, covered_pixels, pasted_objects
from object_detection.augmentation.instance_maps import MAP_TARGET
from object_detection.augmentation.mixing import DRAWS_SPEC, DRAWS_TARGET, ObjectMixing
from object_detection.groundtruth import ROWS, Groundtruth
from object_detection.input.input_pipeline import detection_decoder
from object_detection.records.mask_rules import fault_of_masks
from tests.object_detection.detection_records import TABLE, detection_record
from tests.object_detection.evaluate import evaluate
from tests.utils.input_records import encode, options, quick_session
from utils.image_sizes import Sides
from utils.input.augmentation_specs import CropSpec, FitSpec, FlipSpec, RotateSpec, ScaleSpec, VerticalFlipSpec
from utils.input.batching import Batch
from utils.object_augment_config import ObjectAugmentConfig
from utils.records.example_proto import decode_example
from utils.weights.pretrained_config import MEAN_RGB

PASTING = ObjectAugmentConfig(copy_paste=1.0)
SIZE, COLORS = 48, {1: (250, 10, 10), 3: (10, 250, 10), 7: (10, 10, 250)}

# Maps


def round_things(height=90, width=120):
    """Pixels, masks and boxes of three ellipses, the last of which hides a part of the first."""
    rows, columns = np.mgrid[:height, :width]
    pixels, masks = np.full((height, width, 3), 128, np.uint8), []
    for color, (row, column, high, wide) in zip(
        COLORS.values(), [(40, 40, 30, 36), (70, 95, 14, 20), (45, 60, 12, 10)], strict=True
    ):
        masks.append(((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1)
        pixels[masks[-1]] = color
    boxes = []
    for mask in masks:
        there = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
        ends = [place[0] for place in there] + [place[-1] + 1 for place in there]
        boxes.append(tuple(np.array(ends) / [height, width, height, width]))
    return pixels, masks, boxes


def png(mask):
    return encode(mask.astype(np.uint8))


def round_record(**changes):
    pixels, masks, boxes = round_things()
    objects = {"label": list(COLORS), "mask": [png(mask) for mask in masks]} | changes
    return detection_record(boxes, encoded=encode(pixels), **objects)


WIDE = Sides(40, 72)
STEPS = [
    ((), SIZE),
    ((FlipSpec(), CropSpec(area=(0.3, 0.7)), VerticalFlipSpec(), RotateSpec()), SIZE),
    ((FlipSpec(), ScaleSpec(scale=(0.4, 2.0), min_visible=0.3), RotateSpec()), SIZE),
    ((FlipSpec(), FitSpec(size=WIDE), ScaleSpec(scale=(0.7, 2.0), size=WIDE), VerticalFlipSpec()), WIDE),
]


@pytest.mark.parametrize(
    ("steps", "size"), STEPS, ids=["whole", "cropped and turned", "scaled and turned", "in proportion and scaled"]
)
def test_a_map_names_the_object_of_each_pixel_of_the_augmented_image(steps, size):
    decoder, compared = detection_decoder(TABLE, train_crowds=False, augment=PASTING), 0
    with tf.Graph().as_default(), quick_session() as session:
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        example = decoder.train(
            tf.constant(round_record()), seed, options(image_size=size, border=MEAN_RGB, augmentation=steps)
        )
        run = session.make_callable((example.image, example.targets), [seed])
        for number in range(12 if steps else 1):
            image, targets = run(np.array([number, 7]))
            slots, drawn = targets["groundtruth_slots"], targets[MAP_TARGET]
            for slot, color in COLORS.items():
                pure = np.abs(image - color).max(axis=2) < 1
                if slot in slots:
                    assert (drawn[pure] == slots.tolist().index(slot) + 1).all()
                    compared += pure.sum()
                else:
                    assert not drawn[pure].any()
            assert not drawn[np.abs(image - 128).max(axis=2) < 1].any()
            assert not drawn[(image == np.float32(MEAN_RGB)).all(axis=2)].any()
    assert compared > (4000 if steps else 400)


@pytest.mark.parametrize("masks", [[], [png(np.ones((90, 120), bool))]], ids=["none", "too few"])
def test_without_a_mask_for_each_object_nothing_is_mapped(masks):
    decoder = detection_decoder(TABLE, train_crowds=False, augment=PASTING)
    given = options(image_size=SIZE, augmentation=())
    targets = evaluate(
        lambda: decoder.train(tf.constant(round_record(mask=masks)), tf.constant([1, 2], tf.int64), given).targets
    )
    assert not targets[MAP_TARGET].any()
    assert targets[MAP_TARGET].shape == (SIZE, SIZE)
    assert len(targets["groundtruth_slots"]) == 3


def test_a_bad_mask_is_described():
    def fault(mask):
        found = fault_of_masks(decode_example(round_record(mask=[png(np.ones((90, 120), bool)), mask, mask])))
        return found and found.text

    assert fault(png(np.ones((90, 120), bool))) is None
    assert fault(b"PNG?") == "object 1: its mask (image/object/mask) is not a PNG file"
    assert fault(png(np.ones((9, 12), bool))) == "object 1: its mask (image/object/mask) has 12x9 pixels, not 120x90"
    numbers = fault_of_masks(decode_example(round_record(mask=[1, 0, 1])))
    assert numbers.text.startswith("image/object/mask holds integers")


# Pasted objects


def scenes(seed, count=4, objects=5, side=24):
    """Groundtruth and maps of random rectangles, later ones over earlier ones; the last two rows are padding."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((count, side, side), np.int32)
    boxes = np.zeros((count, objects + 2, 4), np.float32)
    for image in range(count):
        for number in range(objects):
            low, high = np.sort(rng.integers(0, side, (2, 2)), axis=0)
            maps[image, low[0] : high[0] + 1, low[1] : high[1] + 1] = number + 1
            boxes[image, number] = [*low / side, *(high + 1) / side]
    there = np.arange(objects + 2) < objects
    weights = np.where(there, 1, 0) * np.ones((count, 1), np.float32)
    ignored = np.zeros((count, objects + 2), bool)
    weights[1, 0], ignored[1, 0] = 0, True
    labels = np.where(there, rng.integers(1, 9, (count, objects + 2)), 0).astype(np.int32)
    return Groundtruth(boxes, labels, weights.astype(np.float32), ignored), maps


def expected_objects(own, other, own_map, other_map, chosen, least):
    """The objects of one image after the paste: box, label, weight and ignored of each."""
    covered, found, side = np.isin(other_map, np.flatnonzero(chosen) + 1), [], len(own_map)
    for row, (box, *others) in enumerate(zip(*own, strict=True)):
        before = own_map == row + 1
        after = before & ~covered
        if not (others[1] or others[2]) or (after.sum() < before.sum() and after.sum() < max(least * before.sum(), 1)):
            continue
        if after.sum() < before.sum():
            ends = [
                [place[0], place[-1] + 1]
                for mask in (before, after)
                for place in (np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0)))
            ]
            old, new = np.array(ends[:2]).T.ravel(), np.array(ends[2:]).T.ravel()
            box = box if (old == new).all() else np.where(old == new, box, new / side)
        found.append((box, *others))
    for row in np.flatnonzero(chosen):
        if (other_map == row + 1).any():
            found.append((other[0][row], other[1][row], other[2][row], False))
    return found


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_pasted_objects_are_those_of_numpy(least):
    shrunk = dropped = 0
    for seed in range(6):
        (own, own_map), (other, other_map) = scenes(seed), scenes(seed + 100)
        chosen = np.random.default_rng(seed).random(own.weights.shape) < 0.4
        chosen &= other.weights > 0

        def build(own=own, other=other, maps=(own_map, other_map), chosen=chosen):
            both = [Groundtruth(*map(tf.constant, one)) for one in (own, other)]
            pair = tuple(map(tf.constant, maps))
            return pasted_objects(*both, pair, tf.constant(chosen), least), covered_pixels(pair[1], tf.constant(chosen))

        made, covered = evaluate(build)
        for row in range(len(own_map)):
            np.testing.assert_array_equal(covered[row], np.isin(other_map[row], np.flatnonzero(chosen[row]) + 1))
            parts = [[values[row] for values in one] for one in (own, other)]
            expected = expected_objects(*parts, own_map[row], other_map[row], chosen[row], least)
            kept = (made.weights[row] > 0) | made.ignored[row]
            assert kept.sum() == len(expected)
            for part, values in enumerate(made):
                wanted = np.array([one[part] for one in expected]).reshape(values[row][kept].shape)
                np.testing.assert_allclose(values[row][kept], wanted, atol=1e-6)
            assert not made.boxes[row][~kept].any()
            own_kept = made.boxes[row, : own.boxes.shape[1]]
            gone = (own_kept == 0).all(axis=1)
            dropped += (gone & (own.weights[row] > 0)).sum()
            shrunk += (~gone & (own_kept != own.boxes[row]).any(axis=1)).sum()
    assert shrunk > 2
    assert dropped > 2


def test_about_half_of_the_trained_objects_are_chosen_and_none_unless_asked():
    groundtruth, _ = scenes(3)
    draws = np.random.default_rng(5).random((400, len(groundtruth.boxes))).astype(np.float32)
    pasted = np.array([True, True, False, True])

    def build():
        whole = Groundtruth(*map(tf.constant, groundtruth))
        return [chosen_objects(whole, tf.constant(draw), tf.constant(pasted)) for draw in draws]

    found = evaluate(build)
    share = np.mean(found, axis=0)
    assert not share[:, 5:].any()
    assert not share[2].any()
    assert share[1, 0] == 0
    np.testing.assert_allclose(share[[0, 3], :5], 0.5, atol=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_pixels_of_chosen_objects_come_from_another_image_of_the_batch(share):
    groundtruth, maps = scenes(4)
    maps[0, 0, 0] = 99  # a row that counts nowhere
    images = np.random.default_rng(6).random((*maps.shape, 3)).astype(np.float32)
    draws = np.random.default_rng(7).random((len(maps), *DRAWS_SPEC.shape)).astype(np.float32)
    draws[:, 6] = 0.5
    augment = ObjectAugmentConfig(copy_paste=share, mosaic=0.0 if share else 1e-9)
    status = np.array([0, 0, 0, 3], np.int32)

    def build():
        targets = {DRAWS_TARGET: tf.constant(draws), MAP_TARGET: tf.constant(maps)}
        batch = Batch(tf.constant(images), targets, tf.constant(status), tf.constant([4, 2, 8, 6], tf.int64))
        mixing = ObjectMixing(augment=augment, mosaic_steps=9)
        return mixing(batch.images, Groundtruth(*map(tf.constant, groundtruth)), batch, tf.constant(0, tf.int64))

    made, objects = evaluate(build)
    changed = (made != images).any(axis=-1)
    assert objects.boxes.shape == (4, ROWS, 4)
    assert not changed[3].any()
    assert changed.any() == bool(share)
    for row in range(3):
        if changed[row].any():
            sources = [other for other in range(3) if (made[row] == images[other]).all(axis=-1)[changed[row]].all()]
            assert len(sources) == 1
            assert sources != [row]
