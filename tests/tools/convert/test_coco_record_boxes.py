"""Boxes, areas and masks of a record, and unusable annotations."""

import numpy as np
import pytest
import tensorflow as tf

from tests.object_detection.tiny_coco import annotation, content, image, write_split
from tests.tools.convert.coco_conversion import OBJECT, boxes, convert, one_image
from tests.tools.convert.converting import value, values
from tests.utils.tiny_images import encoded, jpeg

pytestmark = pytest.mark.usefixtures("listening")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_and_masks_turn_with_the_image(tmp_path, orientation):
    # A white rectangle on black: box and mask must match it in every orientation of the image.
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[8:24, 16:56] = 255
    exif = {"exif": _exif(orientation)}
    example = one_image(
        tmp_path,
        [annotation(1, 1, [16, 8, 40, 16], segmentation=[[16, 8, 56, 8, 56, 24, 16, 24]])],
        encoded(pixels, "JPEG", quality=100, **exif),
        image(1, "a.jpg", 80, 48),
        ["--include_masks"],
    )
    upright = tf.io.decode_jpeg(value(example, "image/encoded"), channels=3).numpy()[..., 0] > 128
    assert upright.shape == (value(example, "image/height"), value(example, "image/width"))
    rows, columns = np.flatnonzero(upright.any(axis=1)), np.flatnonzero(upright.any(axis=0))
    height, width = upright.shape
    bright = [[rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width]]
    np.testing.assert_allclose(boxes(example), bright, atol=1e-6)
    mask = tf.io.decode_png(value(example, f"{OBJECT}mask")).numpy()[..., 0]
    np.testing.assert_array_equal(mask, upright)


def _exif(orientation):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_boxes_that_were_drawn_on_the_upright_picture_are_not_turned(tmp_path, caplog):
    # Orientation 6 turns 36x24 pixels to 24x36, and the annotation file says 24x36: its author saw it upright.
    example = one_image(
        tmp_path, [annotation(1, 1, [6, 9, 12, 18])], jpeg(orientation=6), image(1, "a.jpg", width=24, height=36)
    )
    assert (value(example, "image/height"), value(example, "image/width")) == (36, 24)
    np.testing.assert_array_equal(boxes(example), [[0.25, 0.25, 0.75, 0.75]])
    assert "of another size" not in caplog.text


def test_the_size_of_the_picture_counts_and_a_wrong_one_is_told(tmp_path, caplog):
    example = one_image(tmp_path, [annotation(1, 1, [9, 6, 18, 12])], entry=image(1, "a.jpg", width=360, height=240))
    np.testing.assert_array_equal(boxes(example), [[0.25, 0.25, 0.75, 0.75]])
    assert (
        "1 image of another size than annotated, the file's own size was used: train/a.jpg (36x24, not 360x240)"
        in caplog.text
    )


def test_useless_boxes_are_left_out_counted_and_named_and_others_cut(tmp_path, caplog):
    nan, infinite = float("nan"), float("inf")
    bad = [[0, 0, 0, 5], [0, 0, 5, -1], [nan, 0, 1, 1], [0, 0, infinite, 1], [36, 0, 5, 5], [-9, -9, 9, 9]]
    good = [[-9, -6, 18, 12], [27, 18, 18, 12], [0, 0, 36.0001, 24]]
    annotations = [annotation(number, 1, box) for number, box in enumerate([*bad, *good])]
    example = one_image(tmp_path, annotations)
    np.testing.assert_array_equal(boxes(example), [[0, 0, 0.25, 0.25], [0.75, 0.75, 1, 1], [0, 0, 1, 1]])
    assert values(example, f"{OBJECT}area") == [9.0 * 6, 9.0 * 6, 36.0 * 24], "of what is left of them"
    sentences = [record.message for record in caplog.records if record.levelname == "WARNING"]
    place = "train/a.jpg annotation"
    assert sentences == [
        f"2 boxes without width or height, left out: {place} 0, {place} 1",
        f"2 boxes with a non-finite number, left out: {place} 2, {place} 3",
        f"2 boxes outside the image, left out: {place} 4, {place} 5",
        f"2 boxes past the edge of the image, cut to it: {place} 6, {place} 7",
    ]
    caplog.clear()
    arguments = ["--train_image_dir", str(tmp_path / "train"), "--train_annotations_file", str(tmp_path / "train.json")]
    assert convert(tmp_path / "out", *arguments) == 0
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == sentences, "told again"


def test_the_first_few_are_named_and_the_rest_counted_over_all_shards(tmp_path, caplog):
    images = [image(index, f"{index}.jpg") for index in range(4)]
    flat = [annotation(2 * index + number, index, [1, 1, 1, 0]) for index in range(4) for number in range(2)]
    flat.append(annotation(8, 3, [1, 1, 9, 9]))
    pictures = {f"{index}.jpg": jpeg(index) for index in range(4)}
    flags = write_split(tmp_path, "train", content(images, flat), pictures)
    assert convert(tmp_path / "out", *flags, "--train_shards", "2", workers=2) == 0
    named = ", ".join(
        f"train/{index}.jpg annotation {number}" for index, number in ((0, 0), (0, 1), (2, 4), (2, 5), (1, 2))
    )
    assert f"8 boxes without width or height, left out: {named} and 3 more" in caplog.text


def test_areas_that_are_none_are_taken_from_the_box(tmp_path):
    areas = [7.5, None, float("nan"), -1, 0]
    example = one_image(tmp_path, [annotation(number, 1, [0, 0, 4, 3], area=area) for number, area in enumerate(areas)])
    assert values(example, f"{OBJECT}area") == pytest.approx([7.5, 12, 12, 12, 0])


def test_masks_of_polygons_and_run_lengths_are_stored_beside_their_boxes(tmp_path):
    # Run lengths go down the columns: 24 rows, so 24 zeros are the first column, then 24 ones the second.
    column = {"counts": [24, 24, 24 * 34], "size": [24, 36]}
    outlines = [
        (annotation(1, 1, [0, 0, 0, 1], segmentation=column), None),
        (annotation(2, 1, [1, 0, 1, 24], segmentation=column), (slice(None), slice(1, 2))),
        (annotation(3, 1, [0, 0, 4, 6], segmentation=[[0, 0, 4, 0, 4, 6, 0, 6]]), (slice(0, 6), slice(0, 4))),
        (
            annotation(4, 1, [1, 0, 1, 9], segmentation={"counts": [30, 9, 30 * 40 - 39], "size": [30, 40]}),
            (slice(0, 9), slice(1, 2)),
        ),
    ]
    example = one_image(tmp_path, [one for one, _ in outlines], flags=["--include_masks=true"])
    masks = values(example, f"{OBJECT}mask")
    assert len(masks) == len(boxes(example)) == 3, "the first has no area, so its mask goes too"
    for data, (_, place) in zip(masks, outlines[1:], strict=True):
        expected = np.zeros((24, 36, 1), np.uint8)
        expected[place] = 1
        np.testing.assert_array_equal(tf.io.decode_png(data).numpy(), expected)


def test_packed_run_lengths_are_masks_too(tmp_path):
    from pycocotools import mask

    drawn = np.zeros((24, 36), np.uint8)
    drawn[3:9, 5:20] = 1
    packed = mask.encode(np.asfortranarray(drawn))
    segmentation = {"size": packed["size"], "counts": packed["counts"].decode()}
    example = one_image(
        tmp_path, [annotation(1, 1, [5, 3, 15, 6], segmentation=segmentation)], flags=["--include_masks"]
    )
    np.testing.assert_array_equal(tf.io.decode_png(value(example, f"{OBJECT}mask")).numpy()[..., 0], drawn)


@pytest.mark.parametrize(
    "outline",
    [
        *([[1, 2]], [["a", "b", "c", "d", "e", "f"]], {"counts": [1]}, {"size": [2, 2]}),
        *([[0, 0, 1e9, 0, 1e9, 1e9]], [[0, 0, 1, 0, float("nan"), 1]], [[0, 0, 1, 0, float("-inf"), 1]]),
        {"counts": [1 << 40], "size": [1 << 20, 1 << 20]},
        {"counts": "o" * 1_000_000, "size": [24, 36]},
    ],
)
def test_an_outline_that_cannot_be_drawn_names_its_annotation(tmp_path, capsys, outline):
    coco = content([image(1, "a.jpg")], [annotation(9, 1, [0, 0, 4, 6], segmentation=outline)])
    flags = write_split(tmp_path, "train", coco, {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *flags, "--include_masks") == 1
    error = capsys.readouterr().err
    assert "error: train/a.jpg: annotation 9: its segmentation is neither polygons nor run lengths" in error
    assert convert(tmp_path / "out", *flags, "--include_masks=false") == 0
