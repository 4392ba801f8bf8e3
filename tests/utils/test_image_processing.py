import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.utils.input_records import encode, legacy_resize, noise, run_graph
from utils import image_processing as ip
from utils.image_sizes import EVAL_CROP, LARGEST_IMAGE_SIZE


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


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [(224, 224 / 236, 236), (224, 224 / 232, 232), (160, 160 / 168, 168), (224, 0.95, 235), (224, 1.0, 224)],
)
def test_a_crop_is_the_given_share_of_the_shorter_side(size, crop, expected):
    assert ip.resized_side(size, crop) == expected
    shape = run_graph(lambda: ip.eval_resized_shape(tf.constant(expected), tf.constant(900), size, crop))
    assert shape == (expected, 900)


def test_the_usual_crop_is_that_of_224_from_256_at_every_size():
    assert all(ip.resized_side(size, EVAL_CROP) == size * 256 // 224 for size in range(1, LARGEST_IMAGE_SIZE + 1))


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
    # With these sides, float32 makes the first one pixel short at sizes 1 and 2, the second at 3 and 6.
    encoded = [encode(noise(6, side, side + 3)) for side in (41, 37)]
    sizes = (1, 2, 3, 6, 7)
    images = run_graph(lambda: [[ip.eval_preprocess(tf.constant(data), size) for size in sizes] for data in encoded])
    assert [[image.shape for image in row] for row in images] == [[(size, size, 3) for size in sizes]] * 2


def test_an_endless_strip_is_seen_at_its_center_without_filling_the_memory():
    strip = noise(7, 2, 4001)
    first = (4001 - 64) // 2
    np.testing.assert_array_equal(evaluate(encode(strip), 32), evaluate(encode(strip[:, first : first + 64]), 32))
    assert evaluate(encode(noise(8, 20000, 1)), 224).shape == (224, 224, 3)


@pytest.mark.slow
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_cropping_a_jpeg_before_decoding_gives_the_pixels_of_cropping_after(subsampling):
    smooth = np.asarray(Image.fromarray(noise(9, 30, 36)).resize((240, 200), Image.Resampling.BICUBIC))
    jpeg = encode(smooth, "JPEG", subsampling=subsampling, quality=90)
    windows = [(0, 0, 200, 240), (0, 0, 17, 9), (31, 77, 100, 101), (150, 3, 50, 237)]

    def build():
        parts = [ip.decode_window(tf.constant(jpeg), tf.constant(window)) for window in windows]
        return ip.decode_full(tf.constant(jpeg)), parts

    full, parts = run_graph(build)
    for (y, x, height, width), part in zip(windows, parts, strict=True):
        # No tolerance: without fancy upsampling a block's pixels do not depend on its neighbors.
        np.testing.assert_array_equal(part, full[y : y + height, x : x + width])


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
            ip.decode_window(tf.constant(buffer.getvalue()), tf.constant([3, 5, 40, 50])),
        )
    )
    # The fast integer DCT is off by a few of the 255 steps in single pixels.
    assert full.shape == (48, 64, 3)
    assert np.abs(full - expected).mean() < 2
    assert crop.shape == (40, 50, 3)


@pytest.mark.parametrize("cut", [0.3, 0.98])
def test_a_jpeg_that_ends_early_is_refused_whatever_its_window(cut):
    jpeg = encode(noise(13, 64, 64), "JPEG")
    short = jpeg[: int(len(jpeg) * cut)]
    for window in ([0, 0, 64, 64], [0, 0, 8, 8], [30, 20, 9, 30]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            run_graph(lambda window=window: ip.decode_window(tf.constant(short), tf.constant(window)))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm():
    jpeg = encode(noise(14, 64, 64), "JPEG")
    window = [5, 6, 40, 30]
    clean, padded = run_graph(
        lambda: [ip.decode_window(tf.constant(data), tf.constant(window)) for data in (jpeg, jpeg + b"\0\0")]
    )
    np.testing.assert_array_equal(clean, padded)


def view(jpeg, window, resized, corner=(0, 0), *, mirrored=False):
    whole = (tf.constant(part) for part in (window, mirrored, resized, corner))
    return ip.View(tf.constant(jpeg), *whole)


def slope(height=403, width=642):
    """A photograph of a slope: it brightens by 0.35 grey levels a row and 0.15 a column."""
    rows, columns = np.mgrid[:height, :width]
    return np.repeat((0.35 * rows + 0.15 * columns + 5).round().astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_window_of_a_jpeg_decoded_at_a_part_of_its_size_has_the_pixels_of_the_whole(subsampling):
    smooth = np.asarray(Image.fromarray(noise(15, 30, 36)).resize((243, 205), Image.Resampling.BICUBIC))
    jpeg = encode(smooth, "JPEG", subsampling=subsampling, quality=90)
    windows = {2: (15, 38, 50, 51), 4: (7, 3, 44, 57), 8: (11, 9, 15, 20)}

    def build():
        crops = [tf.io.decode_and_crop_jpeg(jpeg, at, ratio=ratio, **ip.JPEG_OPTIONS) for ratio, at in windows.items()]
        return crops, [tf.io.decode_jpeg(jpeg, ratio=ratio, **ip.JPEG_OPTIONS) for ratio in windows]

    for (y, x, height, width), crop, whole in zip(windows.values(), *run_graph(build), strict=True):
        np.testing.assert_array_equal(crop, whole[y : y + height, x : x + width])


@pytest.mark.parametrize("mirrored", [False, True])
def test_scaled_decoding_samples_where_full_decoding_does(mirrored):
    # Halved, in quarters and in eighths. Sampled from the corner of each pixel of the small image and not from its
    # center, the pixels would be brighter by 0.25, 0.75 and 1.75 grey levels in the mean.
    size = 40
    views = [((11, 37, 301, 555), (100, 120), (5, 9)), ((3, 101, 399, 402), (80, 90), (0, 0))]
    views += [((0, 0, 403, 642), (46, 80), (3, 24))]
    jpeg = encode(slope(), "JPEG", quality=100)
    squares = run_graph(
        lambda: [ip.decode_view(view(jpeg, *parts, mirrored=mirrored), size, scaled=True) for parts in views]
    )
    for (window, resized, corner), square in zip(views, squares, strict=True):
        y, x = (
            (first + np.arange(size)) * extent / side
            for first, extent, side in zip(corner, window[2:], resized, strict=True)
        )
        columns = window[3] - 1 - x if mirrored else x
        expected = 0.35 * (window[0] + y)[:, None] + 0.15 * (window[1] + columns)[None, :] + 5
        np.testing.assert_allclose(square[..., 1], expected, atol=1.2)
        assert abs((square[..., 1] - expected).mean()) < 0.15


def test_scaled_decoding_takes_the_smallest_part_that_has_a_pixel_for_each(monkeypatch):
    monkeypatch.setattr(ip, "_decode_view", lambda view, size, padded: tf.fill([size, size, 3], 1.0))
    monkeypatch.setattr(ip, "_decode_view_scaled", lambda view, size, ratio: tf.fill([size, size, 3], float(ratio)))
    jpeg, png = encode(slope(), "JPEG"), encode(slope(), "PNG")
    sides = [(63, 90), (64, 63), (64, 64), (127, 300), (128, 128), (255, 600), (256, 256), (400, 600)]

    def build():
        cut = view(jpeg[:-2], (0, 0, 400, 600), (32, 32))
        views = [*(view(jpeg, (0, 0, *side), (32, 32)) for side in sides), view(png, (0, 0, 400, 600), (32, 32)), cut]
        return [ip.decode_view(one, 8, scaled=True)[0, 0, 0] for one in views]

    taken = run_graph(build)
    assert taken == [1, 1, 2, 2, 4, 4, 8, 8, 1, 1]


def test_an_image_that_is_not_scaled_keeps_its_pixels():
    for encoded in (encode(noise(16, 60, 60), "JPEG"), encode(noise(17, 300, 300))):
        plain, scaled = run_graph(
            lambda encoded=encoded: [
                ip.decode_view(view(encoded, (2, 1, 56, 58), (30, 30), mirrored=True), 30, scaled=scaled)
                for scaled in (False, True)
            ]
        )
        np.testing.assert_array_equal(plain, scaled)
