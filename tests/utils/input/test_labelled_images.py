"""Records of labelled images: the crops and flips of an image by seed."""

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import (
    coordinates,
    encode,
    fetch,
    legacy_resize,
    noise,
    options,
    reader,
    run_graph,
    write_files,
)
from tests.utils.input_records import record as record_of
from utils.input.augmentation_specs import FlipSpec, classification_steps
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES, images_with_labels

STEPS = classification_steps(min_crop_area=0.08, color_jitter=0.0)


def crops(encoded, count, steps=STEPS, boxes=()):
    """``[count, 4]`` training windows (y, x, height, width) of an image."""
    record, given = record_of(encoded, boxes=boxes), options(augmentation=steps)

    def window(number):
        seed = tf.stack([tf.constant(7, tf.int64), number])
        return LABELLED_IMAGES.parse_for_training(record, seed, given).view.window

    return run_graph(lambda: tf.map_fn(window, tf.range(count, dtype=tf.int64), fn_output_signature=tf.int32))


def test_crop_areas_and_aspect_ratios_stay_in_range():
    y, x, height, width = crops(encode(coordinates(200, 240)), 2000).T
    assert (y + height).max() <= 200
    assert (x + width).max() <= 240
    area = height * width / (200 * 240)
    # Sides are whole pixels, so the ratio of a window may be off by half a pixel of either side.
    assert ((width + 0.5) / (height - 0.5)).min() >= 3 / 4
    assert ((width - 0.5) / (height + 0.5)).max() <= 4 / 3
    assert ((height + 0.5) * (width + 0.5) / (200 * 240)).min() >= 0.08
    assert area.max() <= 1
    # ... and use that range: uniform over area would have a mean of about 0.5 if every shape fitted.
    assert area.min() < 0.085
    assert area.max() > 0.9
    assert 0.3 < area.mean() < 0.6
    assert (width / height).min() < 0.8
    assert (width / height).max() > 1.25


@pytest.mark.parametrize("min_area", [0.05, 0.5])
def test_the_smallest_area_can_be_chosen(min_area):
    steps = classification_steps(min_crop_area=min_area, color_jitter=0.0)
    _, _, height, width = crops(encode(coordinates(200, 240)), 500, steps).T
    assert ((height + 0.5) * (width + 0.5) / (200 * 240)).min() >= min_area
    assert (height * width / (200 * 240)).min() < min_area + 0.02


def test_crops_cover_a_tenth_of_the_box():
    box = (0.8, 0.8, 1.0, 1.0)
    y, x, height, width = crops(encode(coordinates(200, 240)), 100, boxes=[box]).T
    inside = np.maximum(y + height - 160, 0) * np.maximum(x + width - 192, 0) / (40 * 48)
    assert inside.min() >= 0.1 - 0.02  # within a pixel of the box's borders
    elsewhere = crops(encode(coordinates(200, 240)), 100)
    assert ((elsewhere[:, 0] + elsewhere[:, 2] <= 160) | (elsewhere[:, 1] + elsewhere[:, 3] <= 192)).any()


def test_boxes_without_area_count_as_none():
    encoded = encode(coordinates(60, 50))
    boxes = [[0.5, 0.5, 0.5, 0.9], [0.6, 0.1, 0.2, 0.9], [np.nan, 0, 1, 1], [1.2, 1.3, 1.5, 1.6]]
    np.testing.assert_array_equal(crops(encoded, 20, boxes=boxes), crops(encoded, 20))


def test_a_box_that_sticks_out_is_clipped():
    encoded = encode(coordinates(60, 50))
    outside, inside = [(-0.2, 0.5, 0.4, 1.7)], [(0.0, 0.5, 0.4, 1.0)]
    np.testing.assert_array_equal(crops(encoded, 20, boxes=outside), crops(encoded, 20, boxes=inside))


def test_the_whole_image_is_taken_where_no_crop_fits():
    np.testing.assert_array_equal(crops(encode(coordinates(10, 250)), 5), [[0, 0, 10, 250]] * 5)


def test_training_mirrors_half_of_the_crops_and_then_resizes():
    pixels = noise(10, 60, 50)
    record = record_of(encode(pixels))

    def of_seed(number):
        seed = tf.stack([tf.constant(3, tf.int64), number])
        window = LABELLED_IMAGES.parse_for_training(record, seed, options()).view.window
        return LABELLED_IMAGES.train(record, seed, options(image_size=16)).image, window

    signature = (tf.float32, tf.int32)
    images, windows = run_graph(
        lambda: tf.map_fn(of_seed, tf.range(400, dtype=tf.int64), fn_output_signature=signature)
    )
    mirrored = 0
    for image, (y, x, height, width) in zip(images, windows, strict=True):
        part = pixels[y : y + height, x : x + width]
        kinds = [np.abs(legacy_resize(kind, 16, 16) - image).max() < 1e-3 for kind in (part, part[:, ::-1])]
        assert sum(kinds) == 1
        mirrored += kinds[1]
    assert 160 < mirrored < 240  # four standard deviations


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others():
    record = record_of(encode(noise(10, 60, 60)))
    seeds = ([1, 2], [1, 2], [1, 3], [2, 2])
    first, same, other, another = run_graph(
        lambda: [LABELLED_IMAGES.train(record, tf.constant(seed, tf.int64), options()).image for seed in seeds]
    )
    assert first.shape == (8, 8, 3)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert (first != another).any()


def test_boxes_steer_no_crop_that_comes_after_another_step():
    """Boxes refer to the whole, unmirrored image."""
    encoded, flip_first = encode(coordinates(60, 50)), STEPS[::-1]
    assert isinstance(flip_first[0], FlipSpec)
    box = [(0.8, 0.8, 1.0, 1.0)]
    np.testing.assert_array_equal(crops(encoded, 20, flip_first, box), crops(encoded, 20, flip_first))
    assert (crops(encoded, 20, STEPS, box) != crops(encoded, 20)).any()


def test_scaled_decoding_is_for_training_and_evaluation_alike():
    record = record_of(encode(noise(1, 200, 240), "JPEG"))

    def build():
        seed = tf.constant([7, 0], tf.int64)
        given = [options(augmentation=(FlipSpec(),), scaled_decoding=scaled) for scaled in (False, True)]
        trained = [LABELLED_IMAGES.train(record, seed, each).image for each in given]
        return trained, [LABELLED_IMAGES.evaluate(record, each).image for each in given]

    for full, scaled in run_graph(build):
        # Noise: an eighth of the size averages 64 pixels, and the standard deviation is an eighth, about.
        assert full.std() > 4 * scaled.std()


@pytest.mark.parametrize("name", ["tf.data", "dali"])
def test_several_labels_become_one_row_of_classes_and_a_wrong_one_spoils_the_example(tmp_path, name):
    given = [[1, 3], [], [2, 2], [1, 4], [0]]
    files = write_files(tmp_path, [record_of(encode(noise(n)), labels) for n, labels in enumerate(given)])
    how, decoder = options(batch_size=5, num_classes=3), images_with_labels(3)
    (evaluated,) = fetch(lambda: reader(name).eval_input(files, decoder, how, Shard()))
    assert evaluated.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert evaluated.status.tolist() == [STATUS_OK] * 3 + [STATUS_BAD_LABEL] * 2
    (trained,) = fetch(lambda: reader(name).train_input(files, decoder, how, Shard(), Position()), 1)
    np.testing.assert_array_equal(trained.labels, evaluated.labels[trained.index])


def test_training_sees_the_same_view_of_an_image_however_many_labels_it_has():
    encoded, how = encode(noise(1)), options(num_classes=3)

    def build():
        seed = tf.constant([3, 4], tf.int64)
        several = images_with_labels(3).parse_for_training(record_of(encoded, [2]), seed, how)
        return several.view, LABELLED_IMAGES.parse_for_training(record_of(encoded, 2), seed, how).view

    one, other = run_graph(build)
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)
