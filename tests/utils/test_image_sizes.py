"""Sizes of images: one number, or height and width."""

import json

import pytest

from utils.errors import UsageError
from utils.image_sizes import Sides, aspect_of, side_of, sides_of, size_of_json, size_of_text, text_of_size


@pytest.mark.parametrize(
    ("text", "size", "aspect"), [("320", 320, 1), ("320x320", 320, 1), ("320x512", Sides(320, 512), 1.6)]
)
def test_a_size_is_height_and_width(text, size, aspect):
    found = size_of_text("image_size", text)
    assert (found, type(found)) == (size, type(size))
    assert aspect_of(found) == aspect
    assert size_of_text("image_size", f"{sides_of(found)[0]}x{sides_of(found)[1]}") == size
    assert size_of_text("image_size", str(text_of_size(found))) == size
    assert size_of_json(json.loads(json.dumps(found))) == size


def test_a_size_is_shown_height_first_and_may_be_unknown():
    assert f"{Sides(320, 512)}" == text_of_size(Sides(320, 512)) == "320x512"
    assert (text_of_size(None), size_of_json(None)) == (None, None)


@pytest.mark.parametrize(
    "text", ["", "x", "320x", "x320", "320X512", "320x-512", "3.5", "320x512x3", "320 x 512", "³²⁰"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError) as error:
        size_of_text("image_size", text)
    shown = text or "''"
    assert str(error.value) == f"--image_size {shown}: must be an integer, or HEIGHTxWIDTH such as 320x512"


def test_only_squares_have_one_side():
    assert side_of(320) == 320
    with pytest.raises(ValueError, match="320x512 pixels: must be square"):
        side_of(Sides(320, 512))
