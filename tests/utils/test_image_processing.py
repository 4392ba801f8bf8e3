import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.utils.input_records import coordinates, encode, legacy_resize, noise, run_graph
from utils import image_processing as ip

NO_BOXES = np.zeros([0, 4], np.float32)


def crops(encoded, count, min_area=0.08, boxes=NO_BOXES):
    """``[count, 4]`` windows (y, x, height, width) that random crops of a ``coordinates`` image show."""

    def window(number):
        seed = tf.stack([tf.constant(7, tf.int64), number])
        crop = ip.decode_and_random_crop(tf.constant(encoded), tf.constant(boxes, tf.float32), seed, min_area)
        return tf.concat([tf.cast(crop[0, 0, :2], tf.int32), tf.shape(crop)[:2]], axis=0)

    return run_graph(lambda: tf.map_fn(window, tf.range(count, dtype=tf.int64), fn_output_signature=tf.int32))


def evaluate(encoded, size):
    return run_graph(lambda: ip.eval_preprocess(tf.constant(encoded), size))


def resize(image, height, width):
    return run_graph(lambda: ip.resize_bilinear_legacy(tf.constant(image), height, width))


def resize_gray(values, height, width):
    return resize(np.repeat(np.asarray(values, np.float32)[:, :, None], 3, axis=2), height, width)[:, :, 0]


def test_the_first_pixel_is_normalized_as_by_hand():
    pixels = np.array([[[[0, 0, 0]], [[123.68, 116.28, 103.53]], [[255, 255, 255]]]], np.float32)
    result = run_graph(lambda: ip.normalize(tf.constant(pixels)))
    # -123.68 / 58.395, -116.28 / 57.12, -103.53 / 57.385; then (255 - 123.68) / 58.395 and so on.
    np.testing.assert_allclose(result[0, 0, 0], [-2.117990, -2.035714, -1.804130], atol=1e-6)
    np.testing.assert_allclose(result[0, 1, 0], [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(result[0, 2, 0], [2.248823, 2.428571, 2.639540], atol=1e-6)
    assert result.dtype == np.float32


def test_a_ramp_shrinks_and_grows_to_the_known_values():
    ramp = np.arange(16).reshape(4, 4)
    small = [[0, 1.33333, 2.66667], [5.33333, 6.66667, 8], [10.66667, 12, 13.33333]]
    np.testing.assert_allclose(resize_gray(ramp, 3, 3), small, atol=1e-5)
    large = resize_gray(ramp, 6, 6)
    np.testing.assert_allclose(large[0], [0, 0.66667, 1.33333, 2, 2.66667, 3], atol=1e-5)
    np.testing.assert_allclose(large[:, 0], [0, 2.66667, 5.33333, 8, 10.66667, 12], atol=1e-5)


def test_a_plane_of_480_by_640_shrinks_to_the_known_values():
    rows, columns = np.mgrid[:480, :640]
    result = resize_gray(0.3 * rows + 0.2 * columns, 320, 320)
    known = {(0, 0): 0, (1, 1): 0.85, (10, 20): 12.5, (319, 319): 271.15}
    for place, value in known.items():
        assert result[place] == pytest.approx(value, abs=1e-4)
    assert result.mean() == pytest.approx(135.575, abs=1e-3)


@pytest.mark.parametrize(("height", "width"), [(20, 24), (7, 7), (31, 50), (1, 1), (224, 9)])
def test_resizing_agrees_with_numpy(height, width):
    image = noise(3)
    np.testing.assert_allclose(resize(image, height, width), legacy_resize(image, height, width), atol=1e-3)


# By hand: 256 / 400 = 0.64, 533 * 0.64 = 341.1; 256 / 333 * 500 = 384.4; in float32 41 * (256 / 41) is 255.99998.
@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (400, 533, 224, (256, 341)),
        (533, 400, 224, (341, 256)),
        (333, 500, 224, (256, 384)),
        (41, 50, 224, (255, 312)),
        (94, 47, 224, (511, 255)),
        (256, 256, 224, (256, 256)),
        (400, 533, 64, (73, 97)),  # 64 * 256 / 224 = 73.1
        (400, 533, 32, (36, 47)),  # 36.6
        (41, 41, 1, (1, 1)),  # 1.14, a pixel short of the crop: raised to it
        (37, 100, 3, (3, 8)),
    ],
)
def test_evaluation_resizes_to_the_truncated_sides(height, width, size, expected):
    assert run_graph(lambda: ip.eval_resized_shape(tf.constant(height), tf.constant(width), size)) == expected


def test_the_truncation_is_float32_for_all_sides():
    sides = np.stack(np.meshgrid(np.arange(1, 900), [1, 41, 255, 333, 400, 899]), axis=-1).reshape(-1, 2)
    height, width = sides[:, 0], sides[:, 1]
    ratio = np.float32(256) / np.minimum(height, width).astype(np.float32)
    expected = [np.maximum((side.astype(np.float32) * ratio).astype(np.int32), 224) for side in (height, width)]
    result = run_graph(lambda: ip.eval_resized_shape(tf.constant(height), tf.constant(width), 224))
    np.testing.assert_array_equal(result, expected)
    assert 255 in np.minimum(*result)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(256, 256, 16, 16), (256, 281, 16, 28), (259, 256, 17, 16)]
)
def test_the_central_crop_starts_at_half_the_rest_rounded_down(height, width, top, left):
    image = noise(4, height, width)  # shorter side 256 already: resizing changes nothing
    np.testing.assert_array_equal(evaluate(encode(image), 224), image[top : top + 224, left : left + 224])


@pytest.mark.parametrize(("height", "width", "size"), [(53, 40, 32), (41, 60, 64), (33, 100, 7), (20, 24, 2)])
def test_evaluation_agrees_with_pillow_and_numpy(height, width, size):
    encoded = encode(noise(5, height, width))
    image = np.asarray(Image.open(io.BytesIO(encoded)))
    ratio = np.float32(size * 256 // 224) / np.float32(min(height, width))
    new_height, new_width = (max(int(np.float32(side) * ratio), size) for side in (height, width))
    top, left = (new_height - size) // 2, (new_width - size) // 2
    expected = legacy_resize(image, new_height, new_width)[top : top + size, left : left + size]
    np.testing.assert_allclose(evaluate(encoded, size), expected, atol=1e-3)


def test_the_smallest_sizes_come_out_exact():
    # Of these sides, float32 makes the first a pixel short at sizes 1 and 2, the second at 3 and 6.
    encoded = [encode(noise(6, side, side + 3)) for side in (41, 37)]
    sizes = (1, 2, 3, 6, 7)
    images = run_graph(lambda: [[ip.eval_preprocess(tf.constant(data), size) for size in sizes] for data in encoded])
    assert [[image.shape for image in row] for row in images] == [[(size, size, 3) for size in sizes]] * 2


def test_an_endless_strip_is_seen_at_its_center_without_filling_the_memory():
    strip = noise(7, 2, 4001)
    first = (4001 - 64) // 2
    np.testing.assert_array_equal(evaluate(encode(strip), 32), evaluate(encode(strip[:, first : first + 64]), 32))
    assert evaluate(encode(noise(8, 20000, 1)), 224).shape == (224, 224, 3)


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
    _, _, height, width = crops(encode(coordinates(200, 240)), 500, min_area=min_area).T
    assert ((height + 0.5) * (width + 0.5) / (200 * 240)).min() >= min_area
    assert (height * width / (200 * 240)).min() < min_area + 0.02


def test_crops_cover_a_tenth_of_the_box():
    box = np.array([0.8, 0.8, 1.0, 1.0])
    y, x, height, width = crops(encode(coordinates(200, 240)), 100, boxes=box[None]).T
    inside = np.maximum(y + height - 160, 0) * np.maximum(x + width - 192, 0) / (40 * 48)
    assert inside.min() >= 0.1 - 0.02  # within a pixel of the box's borders
    elsewhere = crops(encode(coordinates(200, 240)), 100)
    assert ((elsewhere[:, 0] + elsewhere[:, 2] <= 160) | (elsewhere[:, 1] + elsewhere[:, 3] <= 192)).any()


def test_boxes_without_area_count_as_none():
    encoded = encode(coordinates(60, 50))
    boxes = [[0.5, 0.5, 0.5, 0.9], [0.6, 0.1, 0.2, 0.9], [np.nan, 0, 1, 1], [1.2, 1.3, 1.5, 1.6]]
    np.testing.assert_array_equal(crops(encoded, 20, boxes=np.array(boxes)), crops(encoded, 20))


def test_a_box_that_sticks_out_is_clipped():
    encoded = encode(coordinates(60, 50))
    outside, inside = np.array([[-0.2, 0.5, 0.4, 1.7]]), np.array([[0, 0.5, 0.4, 1.0]])
    np.testing.assert_array_equal(crops(encoded, 20, boxes=outside), crops(encoded, 20, boxes=inside))


def test_the_whole_image_is_taken_where_no_crop_fits():
    np.testing.assert_array_equal(crops(encode(coordinates(10, 250)), 5), [[0, 0, 10, 250]] * 5)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_cropping_a_jpeg_before_decoding_gives_the_pixels_of_cropping_after(subsampling):
    smooth = np.asarray(Image.fromarray(noise(9, 30, 36)).resize((240, 200), Image.Resampling.BICUBIC))
    jpeg = encode(smooth, "JPEG", subsampling=subsampling, quality=90)
    windows = crops(encode(coordinates(200, 240)), 5)

    def build():
        seeds = [tf.constant([7, number], tf.int64) for number in range(len(windows))]
        parts = [ip.decode_and_random_crop(tf.constant(jpeg), tf.constant(NO_BOXES), seed, 0.08) for seed in seeds]
        return ip.decode_full(tf.constant(jpeg)), parts

    full, parts = run_graph(build)
    for (y, x, height, width), part in zip(windows, parts, strict=True):
        # No tolerance: without fancy upsampling a block's pixels do not depend on its neighbors.
        np.testing.assert_array_equal(part, full[y : y + height, x : x + width])


def test_training_mirrors_half_of_the_crops_and_then_resizes():
    encoded = encode(coordinates(200, 240))

    def build():
        def both(number):
            seed = tf.stack([tf.constant(3, tf.int64), number])
            crop_seed = tf.random.split(seed, 2)[0]
            part = ip.decode_and_random_crop(tf.constant(encoded), tf.constant(NO_BOXES), crop_seed, 0.08)
            image = ip.train_preprocess(tf.constant(encoded), tf.constant(NO_BOXES), seed, 16, 0.08)
            kinds = [ip.resize_bilinear_legacy(kind, 16, 16) for kind in (part, part[:, ::-1])]
            return tf.stack([tf.reduce_all(tf.equal(image, kind)) for kind in kinds])

        return tf.map_fn(both, tf.range(400, dtype=tf.int64), fn_output_signature=tf.bool)

    plain, mirrored = run_graph(build).T
    assert (plain ^ mirrored).all()
    assert 0.4 < mirrored.mean() < 0.6  # four standard deviations


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others():
    encoded = encode(noise(10, 60, 60))

    def build():
        seeds = ([1, 2], [1, 2], [1, 3], [2, 2])
        return [
            ip.train_preprocess(tf.constant(encoded), tf.constant(NO_BOXES), tf.constant(seed, tf.int64), 16, 0.08)
            for seed in seeds
        ]

    first, same, other, another = run_graph(build)
    assert first.shape == (16, 16, 3)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert (first != another).any()


def test_png_pixels_come_out_as_pillow_reads_them():
    encoded = encode(noise(11))
    np.testing.assert_array_equal(run_graph(lambda: ip.decode_full(tf.constant(encoded))), noise(11))


@pytest.mark.parametrize("kind", ["rgb", "gray", "cmyk"])
def test_jpegs_come_out_as_rgb_close_to_what_pillow_reads(kind):
    rgb = Image.fromarray(noise(12, 6, 8)).resize((64, 48), Image.Resampling.BICUBIC)
    image = {"rgb": rgb, "gray": rgb.convert("L"), "cmyk": rgb.convert("CMYK")}[kind]
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    expected = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    full, crop = run_graph(
        lambda: (
            ip.decode_full(tf.constant(buffer.getvalue())),
            ip.decode_and_random_crop(tf.constant(buffer.getvalue()), tf.constant(NO_BOXES), tf.constant([1, 1]), 0.9),
        )
    )
    # The fast integer DCT is off by a few of the 255 steps in single pixels.
    assert full.shape == (48, 64, 3)
    assert np.abs(full - expected).mean() < 2
    assert crop.shape[2] == 3


@pytest.mark.parametrize("cut", [0.3, 0.98])
def test_a_jpeg_that_ends_early_is_refused_whatever_the_crop(cut):
    jpeg = encode(noise(13, 64, 64), "JPEG")
    short = jpeg[: int(len(jpeg) * cut)]
    for number in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError):
            run_graph(
                lambda number=number: ip.decode_and_random_crop(
                    tf.constant(short), tf.constant(NO_BOXES), tf.constant([0, number]), 0.08
                )
            )


def test_bytes_after_the_end_of_a_jpeg_do_no_harm():
    jpeg = encode(noise(14, 64, 64), "JPEG")
    clean, padded = run_graph(
        lambda: [
            ip.decode_and_random_crop(tf.constant(data), tf.constant(NO_BOXES), tf.constant([0, 4]), 0.08)
            for data in (jpeg, jpeg + b"\0\0")
        ]
    )
    np.testing.assert_array_equal(clean, padded)
