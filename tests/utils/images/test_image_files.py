import io
import warnings

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.utils.tiny_images import encoded, jpeg, pattern
from utils.images.image_files import FAINT_PIXELS, UnreadableImage, load_rgb, read_header


def _orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def _decode(image):
    if image.format == "JPEG":
        pixels = tf.io.decode_jpeg(image.data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    else:
        pixels = tf.io.decode_png(image.data, channels=3).numpy()
    assert pixels.shape == (image.height, image.width, 3)
    return pixels


def _pillows_upright_rgb(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _largest_difference(first, second):
    return np.abs(first.astype(int) - second.astype(int)).max()


def _pillow(mode):
    return Image.fromarray(pattern()).convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(progressive=True),
        jpeg(subsampling=0),
        jpeg(orientation=1),
        encoded(_pillow("L"), "JPEG"),
        encoded(pattern(), "JPEG", keep_rgb=True),
        jpeg() + b"what some program appended",
        encoded(pattern()),
        encoded(_pillow("L")),
        encoded(pattern(), transparency=(1, 2, 3)),
    ],
    ids=["jpeg", "progressive", "444", "exif1", "grey", "rgb", "appended", "png", "png-grey", "png-key"],
)
def test_what_tensorflow_reads_well_passes_byte_for_byte(data):
    image = load_rgb(data)
    assert image.data == data
    assert image.orientation == 1
    assert _largest_difference(_decode(image), _pillows_upright_rgb(data)) <= 2  # the decoders round differently


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_rotated_jpeg_comes_upright(orientation):
    data = jpeg(orientation=orientation)
    image = load_rgb(data)
    assert (image.format, image.orientation) == ("JPEG", orientation)
    assert (image.height, image.width) == ((36, 24) if orientation >= 5 else (24, 36))
    assert _largest_difference(_decode(image), _pillows_upright_rgb(data)) <= 4  # quality 100, written once more


def test_a_rotated_jpeg_by_hand():
    pixels = np.full((16, 32, 3), 255, np.uint8)
    pixels[:, :16] = 0  # stored dark on the left; orientation 6 means turn clockwise: dark at the top
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = _decode(load_rgb(encoded(pixels, "JPEG", exif=exif, quality=100)))
    assert upright.shape == (32, 16, 3)
    assert upright[:15].max() < 20
    assert upright[17:].min() > 235


def test_a_rotated_png_comes_upright():
    data = encoded(pattern(), exif=_orientation(8))
    image = load_rgb(data)
    assert (image.format, image.orientation) == ("PNG", 8)
    np.testing.assert_array_equal(_decode(image), _pillows_upright_rgb(data))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(orientation):
    data = jpeg(orientation=orientation)
    assert load_rgb(data).data == data


def test_a_cmyk_jpeg_comes_as_rgb():
    data = encoded(_pillow("CMYK"), "JPEG", quality=100)
    image = load_rgb(data)
    assert image.format == "JPEG"
    assert image.data != data
    with Image.open(io.BytesIO(image.data)) as written:
        assert written.mode == "RGB"
    assert _largest_difference(_decode(image), _pillows_upright_rgb(data)) <= 4


def test_a_16_bit_grey_png_keeps_its_upper_8_bits():
    values = np.array([[0, 255, 256, 511], [0x1234, 0x8000, 0xFF00, 0xFFFF]], np.uint16)
    image = load_rgb(encoded(Image.fromarray(values)))
    expected = np.array([[0, 0, 1, 1], [0x12, 0x80, 0xFF, 0xFF]])
    np.testing.assert_array_equal(_decode(image), np.repeat(expected[:, :, None], 3, axis=2))


def _png_of_16_bit(values):
    """A 16-bit PNG written by TensorFlow, because Pillow writes 16 bits only for grey images."""
    return tf.io.encode_png(tf.constant(values, tf.uint16)).numpy()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_pngs_of_any_channels_keep_their_upper_8_bits(channels):
    values = np.random.default_rng(0).integers(0, 2**16, (5, 7, channels)).astype(np.uint16)
    color = values[..., : 1 if channels < 3 else 3]
    expected = np.broadcast_to(color >> 8, (5, 7, 3))
    np.testing.assert_array_equal(_decode(load_rgb(_png_of_16_bit(values))), expected)


def test_a_16_bit_tiff_keeps_its_upper_8_bits():
    values = np.arange(0, 2**16, 97, dtype=np.uint16).reshape(26, 26)
    for data in (encoded(Image.fromarray(values), "TIFF"), encoded(Image.fromarray(values), "PPM")):
        image = load_rgb(data)
        np.testing.assert_array_equal(_decode(image)[..., 1], values >> 8)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(_pillow("P")), "palette"),
        (encoded(_pillow("1")), "1-bit"),
        (encoded(Image.fromarray(pattern()).quantize(4), bits=2), "2-bit palette"),
        (encoded(_pillow("RGBA")), "alpha"),
        (encoded(_pillow("LA")), "grey with alpha"),
        (encoded(pattern(), "BMP"), "BMP"),
        (encoded(pattern(), "GIF"), "GIF"),
        (encoded(pattern(), "WEBP", lossless=True), "WebP"),
        (encoded(pattern(), "TIFF"), "TIFF"),
        (encoded(pattern(), "TIFF", tiffinfo={0x0112: 6}), "rotated TIFF"),
        (encoded(_pillow("CMYK"), "TIFF"), "CMYK TIFF"),
        (encoded(pattern(), "JPEG2000"), "JPEG 2000"),
        (encoded(pattern(), "PPM"), "PPM"),
        (encoded(_pillow("L"), "PPM"), "PGM"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_other_kind_comes_as_png_with_pillows_pixels(data, kind):
    image = load_rgb(data)
    assert image.format == "PNG", kind
    np.testing.assert_array_equal(_decode(image), _pillows_upright_rgb(data))
    header = image.data[24:26]
    assert header == bytes([8, 2]), "8 bits, RGB"


def test_transparency_is_dropped_and_not_blended():
    pixels = np.dstack([pattern(), np.zeros((24, 36), np.uint8)])  # all of it invisible
    np.testing.assert_array_equal(_decode(load_rgb(encoded(pixels))), pattern())
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    for transparency in (0, bytes([0, 128])):
        image = load_rgb(encoded(palette, transparency=transparency))
        np.testing.assert_array_equal(_decode(image), [[[10, 20, 30], [40, 50, 60]]])


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.fromarray(pattern(seed=seed)) for seed in (1, 2)]
    expected = _pillows_upright_rgb(encoded(frames[0], "GIF"))
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(_decode(load_rgb(data)), expected)
    data = encoded(frames[0], "JPEG", quality=95)
    two = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    image = load_rgb(two)
    assert image.format == "JPEG"
    assert _largest_difference(_decode(image), _pillows_upright_rgb(data)) <= 2


def test_no_color_profile_or_exif_is_left_beside_new_pixels():
    data = jpeg(orientation=3, icc_profile=b"profile of the old pixels")
    for image in (load_rgb(data), load_rgb(encoded(_pillow("P"), icc_profile=b"profile of the old pixels"))):
        with Image.open(io.BytesIO(image.data)) as written:
            assert "icc_profile" not in written.info
            assert not written.getexif()


def test_the_content_decides_and_not_the_name(tmp_path):
    path = tmp_path / "n02105855_2933.JPEG"  # ImageNet has a PNG of this name
    path.write_bytes(encoded(pattern()))
    assert load_rgb(path).format == "PNG"
    assert load_rgb(str(path)).data == path.read_bytes()


def test_a_conversion_is_the_same_every_time():
    for data in (jpeg(orientation=5), encoded(_pillow("RGBA"))):
        assert load_rgb(data) == load_rgb(data)


def test_a_jpeg_that_only_lacks_its_end_marker_is_written_anew_since_tensorflow_refuses_it():
    data = jpeg()[:-2]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_jpeg(data)
    image = load_rgb(data)
    assert image.format == "JPEG"
    assert _largest_difference(_decode(image), _pillows_upright_rgb(jpeg())) <= 4


def _bad_checksum_png():
    data = bytearray(encoded(pattern()))
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start], "big")
    data[start + 4 + length] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"This is no image at all, but it has a good many letters.", "is not an image of a known kind"),
        (jpeg()[:-3], "does not decode (image file is truncated"),
        (jpeg()[:-100], "does not decode (image file is truncated"),
        (jpeg()[:10], "does not decode ("),
        (encoded(pattern())[:-30], "does not decode ("),
        (encoded(pattern())[:-12], "does not decode ("),
        (_bad_checksum_png(), "does not decode (broken PNG file (bad header checksum in b'IDAT'))"),
        (encoded(Image.new("F", (3, 3)), "TIFF"), "has 32-bit pixels, whose range is unknown"),
        (encoded(Image.new("I", (3, 3)), "TIFF"), "has 32-bit pixels, whose range is unknown"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image of a known kind"),
    ],
)
def test_what_does_not_decode_is_said_with_its_reason(data, reason):
    with pytest.raises(UnreadableImage) as error:
        load_rgb(data, "cat/1.jpg")
    assert (error.value.path, error.value.reason[: len(reason)]) == ("cat/1.jpg", reason)
    assert str(error.value).startswith(f"cat/1.jpg: {reason}")


def test_a_file_that_cannot_be_read_is_said_with_its_reason(tmp_path):
    with pytest.raises(UnreadableImage) as error:
        load_rgb(tmp_path / "absent.jpg")
    assert str(error.value) == f"{tmp_path / 'absent.jpg'}: cannot be read (No such file or directory)"
    with pytest.raises(UnreadableImage, match=r"cannot be read \(Is a directory\)"):
        load_rgb(tmp_path)


def test_an_image_too_large_to_be_true_is_unreadable(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="exceeds limit"):
        load_rgb(jpeg())


def test_the_reason_survives_the_way_from_a_worker_process():
    import pickle

    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "is empty")))
    assert (error.path, error.reason, str(error)) == ("a.jpg", "is empty", "a.jpg: is empty")


_KINDS = [
    *(jpeg(), jpeg(progressive=True), jpeg(orientation=6), encoded(pattern()), encoded(_pillow("P"))),
    *(encoded(pattern(), "GIF"), encoded(pattern(), "TIFF"), encoded(pattern(), "WEBP"), encoded(pattern(), "BMP")),
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(_KINDS), st.data())
def test_damaged_bytes_are_refused_or_else_tensorflow_reads_what_comes_out(data, draws):
    damaged = bytearray(data)
    for _ in range(draws.draw(st.integers(1, 4))):
        damaged[draws.draw(st.integers(0, len(data) - 1))] = draws.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, about damaged metadata
        try:
            image = load_rgb(bytes(damaged[: draws.draw(st.sampled_from([None, None, -1, len(data) // 2]))]))
        except UnreadableImage:
            return
    _decode(image)


@pytest.mark.parametrize(
    ("data", "orientation"),
    [
        (jpeg(), 1),
        (jpeg(progressive=True), 1),
        (jpeg(comment=b"c" * 60_000), 1),
        (encoded(_pillow("CMYK"), "JPEG"), 1),
        (jpeg(orientation=6), 6),
        (jpeg(orientation=6, icc_profile=bytes(100_000)), 6),
        (jpeg(xmp=b'<x tiff:Orientation="8"/>'), 8),
        (encoded(pattern()), 1),
        (encoded(pattern(), exif=_orientation(7)), 7),
        (encoded(pattern(), "WEBP", exif=_orientation(5)), 5),
        (encoded(pattern(), "TIFF", tiffinfo={274: 6}), 1),
    ],
)
def test_a_header_says_what_the_conversion_does(tmp_path, data, orientation):
    (tmp_path / "image").write_bytes(data)
    header, image = read_header(tmp_path / "image"), load_rgb(data)
    assert (header.orientation, image.orientation) == (orientation, orientation)
    sides = (image.height, image.width)
    assert (header.height, header.width) == (sides[::-1] if orientation >= 5 else sides)


def test_what_is_no_image_has_no_header(tmp_path):
    (tmp_path / "text").write_text("no image")
    assert read_header(tmp_path / "text") is None
    assert read_header(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("channels", "top", "remark"),
    [
        *((channels, 0xFFF, FAINT_PIXELS) for channels in (1, 2, 3, 4)),
        *((channels, 0x1000, "") for channels in (1, 2, 3, 4)),
        (1, 0, ""),
        (1, 0x100, FAINT_PIXELS),
    ],
)
def test_12_bit_data_in_a_16_bit_png_is_remarked(channels, top, remark):
    values = np.zeros((5, 7, channels), np.uint16)
    values[2, 3] = top
    if channels in (2, 4):
        values[..., -1] = 0xFFFF  # opaque
    assert load_rgb(_png_of_16_bit(values)).remark == remark


def test_16_bit_pixels_of_which_8_bits_keep_nothing_are_unreadable():
    with pytest.raises(UnreadableImage, match="has 16-bit pixels of at most 255, of which 8 bits keep nothing"):
        load_rgb(_png_of_16_bit(np.full((5, 7, 1), 0xFF, np.uint16)))
