"""Augmentation steps: order, seeds, tables, colors against NumPy, and golden pixels."""

import typing

import numpy as np
import pytest
import tensorflow as tf

from object_detection.augmentation.preprocessing import DETECTION_TABLE
from object_detection.input.input_pipeline import detection_decoder
from tests.object_detection.detection_records import GOOD, TABLE, detection_record
from tests.utils.input_records import (
    encode,
    fetch,
    noise,
    options,
    quick_session,
    reader,
    record,
    run_graph,
    train_input,
    write_files,
)
from utils.augment_config import AugmentConfig
from utils.input.augmentation import (
    PHOTOMETRIC_STEPS,
    GeometricStep,
    PhotometricStep,
    augment_view,
    pixel_change,
)
from utils.input.augmentation_specs import (
    DETECTION_STEPS,
    AugmentationStep,
    AutoAugmentSpec,
    BlurSpec,
    ColorSpec,
    CropSpec,
    ErasingSpec,
    FlipSpec,
    GraySpec,
    classification_steps,
    jitter,
)
from utils.input.batching import Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES

DETECTION = detection_decoder(TABLE, train_crowds=False)
ALL = AugmentConfig(
    **{
        "auto_augment": "rand",
        "rand_ops": 1,
        "gray": 0.4,
        "blur": 0.4,
        "random_erasing": 0.4,
        "crop_sampling": "uniform",
    }
)
BOTH = pytest.mark.parametrize("name", ["tf.data", "dali"])


def test_every_step_that_a_task_may_run_has_its_row():
    def types(steps):
        return {type(step) for step in steps}

    steps = classification_steps(min_crop_area=0.08, color_jitter=1.0, augment=ALL)
    assert [type(step) for step in steps] == [
        *(CropSpec, FlipSpec, AutoAugmentSpec, ColorSpec, GraySpec, BlurSpec, ErasingSpec)
    ]
    assert types(steps) <= set(LABELLED_IMAGES.steps)
    assert types(DETECTION_STEPS) <= set(DETECTION.steps)
    assert set(typing.get_args(AugmentationStep)) <= {*LABELLED_IMAGES.steps, *DETECTION.steps}


def test_steps_run_in_their_order_geometry_first_and_each_has_a_seed_of_its_own():
    done = []

    def geometric(view, objects, seed, spec):
        done.append((spec, seed))
        return view, objects

    def photometric(image, seed, spec):
        done.append((spec, seed))
        return image

    table = {
        CropSpec: GeometricStep(geometric), FlipSpec: GeometricStep(geometric), ColorSpec: PhotometricStep(photometric)
    }  # fmt: skip
    steps = (ColorSpec(), CropSpec(), FlipSpec(), CropSpec(), ColorSpec(ordering=1))

    def run():
        seed = tf.constant([5, 6], tf.int64)
        augment_view(None, None, seed, steps, table)
        pixel_change(steps, table)(None, seed)
        return [seed for _, seed in done], tf.random.split(seed, len(steps))

    seeds, expected = run_graph(run)
    assert [spec for spec, _ in done] == [*steps[1:4], steps[0], steps[4]]
    np.testing.assert_array_equal(seeds, expected[[1, 2, 3, 0, 4]])


def test_without_a_step_that_changes_colors_pixels_are_left_alone():
    assert pixel_change((FlipSpec(), CropSpec()), DETECTION_TABLE) is None
    assert pixel_change((), PHOTOMETRIC_STEPS) is None


# Colors


def changed(pixels, spec, count):
    """An image changed by the step with ``count`` seeds."""

    def build():
        change = pixel_change((spec,), PHOTOMETRIC_STEPS)
        image = tf.constant(pixels, tf.float32)
        seeds = tf.stack([tf.range(count, dtype=tf.int64), tf.fill([count], tf.constant(7, tf.int64))], axis=1)
        return tf.map_fn(lambda seed: change(image, seed), seeds, fn_output_signature=tf.float32)

    return run_graph(build)


@pytest.mark.parametrize("spec", [ColorSpec(), ColorSpec(ordering=1), jitter(1.0)])
def test_colors_change_and_stay_in_their_range(spec):
    pixels = noise(5, 16, 16)
    images = changed(pixels, spec, 30)
    assert images.min() >= 0
    assert images.max() <= 255
    assert np.ptp(images.mean(axis=(1, 2, 3))) > 20
    assert np.abs(images - pixels).mean(axis=(1, 2, 3)).min() > 2


NO_CHANGE = {"brightness": 0.0, "saturation": (1.0, 1.0), "hue": 0.0, "contrast": (1.0, 1.0)}


def test_a_distortion_by_nothing_changes_nothing():
    pixels = noise(5, 16, 16)
    np.testing.assert_allclose(changed(pixels, ColorSpec(**NO_CHANGE), 1)[0], pixels, atol=0.05)


def test_brightness_is_added_to_all_pixels_alike():
    pixels = np.full((16, 16, 3), 128, np.uint8)
    shifts = changed(pixels, ColorSpec(**NO_CHANGE | {"brightness": 0.2}), 60) - pixels
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 0.05
    assert -51.1 < shifts.min() < -30
    assert 30 < shifts.max() < 51.1


@pytest.mark.parametrize("ordering", [0, 1])
def test_the_ordering_says_whether_contrast_comes_last(ordering):
    """Without saturation, a pixel equals its largest channel; halving the contrast first would show."""
    pixels = noise(6, 16, 16).astype(np.float64)

    def halved(values):
        mean = values.mean(axis=(0, 1))
        return mean + 0.5 * (values - mean)

    gray = pixels.max(axis=2, keepdims=True).repeat(3, axis=2)
    expected = halved(gray) if ordering == 0 else halved(pixels).max(axis=2, keepdims=True).repeat(3, axis=2)
    spec = ColorSpec(brightness=0.0, saturation=(0.0, 0.0), hue=0.0, contrast=(0.5, 0.5), ordering=ordering)
    np.testing.assert_allclose(changed(pixels, spec, 1)[0], expected, atol=0.05)


def test_jitter_reaches_as_far_as_its_strength_and_keeps_the_hue():
    spec = jitter(0.5)
    assert spec.brightness == pytest.approx(ColorSpec().brightness)
    assert (spec.saturation, spec.contrast) == (ColorSpec().saturation, ColorSpec().contrast)
    red = changed(np.full((4, 4, 3), (200, 100, 100), np.uint8), jitter(0.2), 40)
    np.testing.assert_allclose(red[..., 1], red[..., 2], atol=1e-3)
    assert (red[..., 0] > red[..., 1]).all()


# Through both readers


def batches(name, decoder, folder, records, steps, count=2):
    """The first training batches from records that one step reads completely."""
    files, given = write_files(folder, records, files=2), options(image_size=16, augmentation=steps)
    with tf.Graph().as_default():
        stream = reader(name).train_input(files, decoder, given, Shard(), Position())
        with quick_session() as session:
            session.run(stream.initializer)
            return [session.run(stream.batch) for _ in range(count)]


def where(height, width):
    """An image without edges whose pixels encode their position: red is the row, green the column."""
    return np.stack([*np.mgrid[:height, :width] * 2, np.full((height, width), 60)], axis=-1).astype(np.uint8)


def labelled():
    return [record(encode(where(60 + i, 90 - i)), 1, [[(0.1, 0.2, 0.6, 0.9)], []][i % 2]) for i in range(8)]


def scenes():
    boxes = [GOOD, (0.3, 0.2, 0.9, 0.8), (0.0, 0.0, 1.0, 1.0)]
    return [
        detection_record(boxes[: i % 4], encoded=encode(where(60 + i, 90 - i)), label=[3, 7, 1][: i % 4])
        for i in range(8)
    ]


def corners(batch):
    """Row and column of the upper left and the lower right pixel of each image of a batch."""
    return np.concatenate([batch.images[:, 0, 0, :2], batch.images[:, -1, -1, :2]], axis=1) / 2


def test_color_jitter_changes_colors_alone_and_the_same_way_with_either_reader(tmp_path):
    records = labelled()
    plain, jittered, by_dali = (
        batches(name, LABELLED_IMAGES, tmp_path, records, classification_steps(min_crop_area=0.3, color_jitter=jitter))
        for name, jitter in (("tf.data", 0.0), ("tf.data", 0.3), ("dali", 0.3))
    )
    for one, other, same in zip(plain, jittered, by_dali, strict=True):
        np.testing.assert_array_equal(one.index, other.index)
        assert np.abs(one.images - other.images).mean(axis=(1, 2, 3)).min() > 1
        np.testing.assert_allclose(other.images, same.images, atol=0.1)


def test_the_steps_of_recipes_run_the_same_way_with_either_reader(tmp_path):
    records, usual = labelled(), {"min_crop_area": 0.3, "color_jitter": 0.0}
    plain, changed, by_dali = (
        batches(name, LABELLED_IMAGES, tmp_path, records, classification_steps(augment=augment, **usual), count=1)[0]
        for name, augment in (("tf.data", AugmentConfig()), ("tf.data", ALL), ("dali", ALL))
    )
    np.testing.assert_array_equal(plain.index, changed.index)
    assert np.abs(plain.images - changed.images).mean() > 1
    # Readers round differently, by which a value may fall to the other side of a threshold.
    assert (np.abs(changed.images - by_dali.images) > 2).mean() < 0.02


@pytest.mark.slow
def test_the_steps_of_recipes_draw_the_same_on_two_processes_and_after_a_resume(tmp_path):
    steps = classification_steps(min_crop_area=0.3, color_jitter=0.2, augment=ALL)
    files = write_files(tmp_path, labelled() * 2, files=2)

    def images(batch_size, shard, start, count):
        given = options(image_size=16, augmentation=steps, batch_size=batch_size)
        found = fetch(lambda: train_input(files, LABELLED_IMAGES, given, shard, start), count)
        return [{int(i): image for i, image in zip(b.index, b.images, strict=True)} for b in found]

    whole = images(8, Shard(), Position(), 3)
    halves = [images(4, Shard(index=i, count=2), Position(), 3) for i in range(2)]
    later = images(8, Shard(), Position(epoch=1, example=0), 1)
    for step, batch in enumerate(whole):
        assert batch.keys() == halves[0][step].keys() | halves[1][step].keys()
        for index, image in (*halves[0][step].items(), *halves[1][step].items()):
            np.testing.assert_array_equal(image, batch[index])
    for index, image in later[0].items():
        np.testing.assert_array_equal(image, whole[2][index])


@BOTH
@pytest.mark.parametrize("task", ["classification", "detection"])
def test_a_step_is_run_by_both_readers_once_it_has_its_row(monkeypatch, tmp_path, name, task):
    """The first one swaps red and blue instead of distorting colors; the second one sees only the upper half."""
    decoder, records = {"classification": (LABELLED_IMAGES, labelled()), "detection": (DETECTION, scenes())}[task]

    def upper_half(view, objects, seed, spec):
        return view._replace(window=view.window // tf.constant([1, 1, 2, 1])), objects

    monkeypatch.setitem(decoder.steps, FlipSpec, GeometricStep(upper_half))
    monkeypatch.setitem(decoder.steps, ColorSpec, PhotometricStep(lambda image, seed, spec: image[..., ::-1]))
    for batch in batches(name, decoder, tmp_path, records, (ColorSpec(), FlipSpec()), count=1):
        heights, widths = 60 + batch.index, 90 - batch.index
        np.testing.assert_allclose(batch.images[..., 0], 60, atol=0.05)
        ends = np.stack([heights // 2, widths], axis=1) * 2 * 15 / 16
        np.testing.assert_allclose(batch.images[:, -1, -1, :0:-1], ends, atol=0.2)


# Computed in November 2026, before the tables existed.
CROPS = [[25, 64, 53.12, 33.06], [15, 30, 48.75, 72.19], [11, 69, 48.5, 25.88], [13, 67, 47.69, 32.31]]
TWO_CROPS = [[2, 23, 38.56, 76.44], [20, 15, 43.44, 80.62], [4, 78, 37.75, 33], [14, 18, 37.44, 69.56]]
BOX_SUMS = [[0.365385, 0, 1, 0.342105], [0, 0.103571, 1, 0.421429], [0.786111, 1.016667, 2, 2], [0, 0, 0, 0]]
COLORS = [[62.16, 97.37, 105.08], [73.29, 117.2, 88.04], [21.38, 66.8, 39.56], [42.57, 78.72, 39.18]]


@pytest.mark.slow
@BOTH
def test_images_and_boxes_are_those_that_seeds_have_always_made(tmp_path, name):
    steps = classification_steps(min_crop_area=0.08, color_jitter=0.0)
    (batch,) = batches(name, LABELLED_IMAGES, tmp_path, labelled(), steps, count=1)
    assert batch.index.tolist() == [5, 1, 6, 0]
    np.testing.assert_allclose(corners(batch), CROPS, atol=0.02)
    steps = (FlipSpec(), CropSpec(area=(0.3, 0.9)), FlipSpec(), CropSpec(skip_probability=0.5))
    (batch,) = batches(name, DETECTION, tmp_path, scenes(), steps, count=1)
    np.testing.assert_allclose(corners(batch), TWO_CROPS, atol=0.02)
    np.testing.assert_allclose(batch.targets["groundtruth_boxes"].sum(axis=1), BOX_SUMS, atol=1e-5)
    (batch,) = batches(name, DETECTION, tmp_path, scenes(), (FlipSpec(), CropSpec(), ColorSpec()), count=1)
    np.testing.assert_allclose(batch.images.mean(axis=(1, 2)), COLORS, atol=0.05)
