import io
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask

from tools.convert.instance_masks import check_pycocotools, draw_mask, encode_png, turn_mask
from utils.errors import RunError


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_in_either_form_give_back_what_pycocotools_encoded(seed):
    generator = np.random.default_rng(seed)
    drawn = (generator.random((37, 400)) < (0.5, 0.01, 0.99, 0.0, 1.0)[seed]).astype(np.uint8)
    packed = pycocotools_mask.encode(np.asfortranarray(drawn))
    for counts in (packed["counts"], packed["counts"].decode()):
        np.testing.assert_array_equal(draw_mask({"counts": counts, "size": packed["size"]}, 37, 400), drawn)
    column = drawn.T.ravel()
    edges = np.flatnonzero(np.diff(column)) + 1
    runs = np.diff([0, *edges, column.size]).tolist()
    counts = [0, *runs] if column[0] else runs
    np.testing.assert_array_equal(draw_mask({"counts": counts, "size": [37, 400]}, 37, 400), drawn)


def test_polygons_are_drawn_together():
    drawn = draw_mask([[0, 0, 4, 0, 4, 6, 0, 6], [10, 2, 12, 2, 12, 5, 10, 5]], 24, 36)
    expected = np.zeros((24, 36), np.uint8)
    expected[0:6, 0:4] = 1
    expected[2:5, 10:12] = 1
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("size", [(2, 3), (6, 3), (2, 9), (9, 9)])
def test_run_lengths_of_another_size_are_cut_or_filled(size):
    ones = {"counts": [0, 20], "size": [4, 5]}
    drawn = draw_mask(ones, *size)
    assert drawn.shape == size
    assert drawn.sum() == min(size[0], 4) * min(size[1], 5)


@pytest.mark.parametrize(
    "outline",
    [
        *([[1, 2]], [["a"] * 6], {"counts": [1]}, {"size": [2, 2]}, {"counts": [], "size": [2, 2]}),
        *({"counts": [3], "size": [2, 2]}, {"counts": [-1, 5], "size": [2, 2]}, {"counts": "é", "size": [2, 2]}),
        *({"counts": [4], "size": [2]}, {"counts": [4], "size": "2x2"}, {"counts": [4.5], "size": [2, 2]}),
    ],
)
def test_what_is_no_outline_is_a_value_error(outline):
    with pytest.raises(ValueError, match="is neither polygons nor run lengths"):
        draw_mask(outline, 24, 36)


def test_masks_turn_as_exif_orientations_say():
    mask = np.array([[1, 2, 3], [4, 5, 6]])
    assert [turn_mask(mask, orientation).tolist() for orientation in range(1, 9)] == [
        [[1, 2, 3], [4, 5, 6]],
        [[3, 2, 1], [6, 5, 4]],
        [[6, 5, 4], [3, 2, 1]],
        [[4, 5, 6], [1, 2, 3]],
        [[1, 4], [2, 5], [3, 6]],
        [[4, 1], [5, 2], [6, 3]],
        [[6, 3], [5, 2], [4, 1]],
        [[3, 6], [2, 5], [1, 4]],
    ]


def test_a_missing_package_is_a_sentence(monkeypatch):
    check_pycocotools()
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(RunError, match="--include_masks: needs the package pycocotools"):
        check_pycocotools()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_pixels_as_they_were(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), pixels)
