import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.utils.input_records import encode, legacy_resize, noise, run_graph
from utils import image_processing as ip


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
