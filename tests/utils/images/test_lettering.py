"""Names in pictures."""

import numpy as np
from PIL import Image

from utils.images.lettering import RIGHT, Lettering, with_caption


def test_what_the_font_lacks_is_written_without_accents_or_as_a_question_mark():
    assert Lettering(12).readable("naïve\n  Ǻ \u4e2d") == "naive A ?"


def test_names_are_shortened_and_ends_are_not():
    letters = Lettering(12)
    text = letters.fitting("a name that is far too long for this", 100, " 0.93")
    assert text.startswith("a name")
    assert text.endswith("… 0.93")
    assert letters.length_px(text) <= 100
    assert letters.fitting("ant", 100, " 0.93") == "ant 0.93"
    assert letters.fitting("ant", 1, " 0.93") == ""


def test_a_caption_stands_below_the_picture_and_leaves_it_as_it_is():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 200, 3), np.uint8))
    whole = with_caption(picture, [("shirt", " 0.93")], RIGHT)
    assert whole.width == 200
    assert np.array_equal(np.asarray(whole)[:50], np.asarray(picture))
    below = np.asarray(whole)[50:].reshape(-1, 3)
    assert (below == RIGHT).all(axis=1).mean() > 0.7
    assert (below.sum(axis=1) < 100).any()  # letters


def test_small_pictures_are_enlarged_without_blur_and_lines_add_up():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (10, 30), np.uint8))
    one, two = (with_caption(picture, [("x", "")] * count, RIGHT) for count in (1, 2))
    assert one.width == 180
    assert np.array_equal(np.asarray(one)[:60:6, ::6, 0], np.asarray(picture))
    assert two.height - one.height == Lettering(14).height_px + Lettering(14).margin_px
