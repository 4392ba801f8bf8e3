"""Presentation of detections as entries, rows, lines and pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from object_detection.drawing import class_color
from object_detection.presenter import BoxPresenter
from utils.errors import RunError
from utils.images.lettering import MISSED, RIGHT, WRONG

NAMES = {1: "cat", 7: "bird"}


def arrays(boxes, scores, classes, *, rows=5):
    """Returns the graph's outputs for one image: padded with zeros, classes and count as floats."""
    padded = np.zeros((rows, 4), np.float32)
    padded[: len(boxes)] = boxes
    filled = [np.array([*values, *[0] * (rows - len(values))], np.float32) for values in (scores, classes)]
    return {
        "detection_boxes": padded,
        "detection_scores": filled[0],
        "detection_classes": filled[1],
        "num_detections": np.float32(len(boxes)),
    }


FOUND = arrays([(0.1, 0.2, 0.5, 0.75), (0, 0, 1, 1), (0, 0, 0.5, 0.5)], [0.9, 0.5, 0.4999999], [7, 1, 1])


def test_boxes_are_given_in_shares_and_in_pixels_of_the_original():
    first, second = BoxPresenter(NAMES, 0.5).entries(FOUND, (200, 400))
    assert first == {
        "category_id": 7,
        "name": "bird",
        "score": 0.9,
        "box": [0.1, 0.2, 0.5, 0.75],
        "box_px": [20.0, 80.0, 100.0, 300.0],
    }
    assert (second["name"], second["score"], second["box_px"]) == ("cat", 0.5, [0.0, 0.0, 200.0, 400.0])


def test_entries_are_plain_values_for_json():
    entries = BoxPresenter(NAMES, 0.0).entries(FOUND, (200, 400))
    assert json.loads(json.dumps(entries)) == entries


@pytest.mark.parametrize(("least", "count"), [(0.0, 3), (0.5, 2), (0.6, 1), (1.0, 0)])
def test_detections_below_the_least_score_and_rows_after_the_last_are_left_out(least, count):
    assert len(BoxPresenter(NAMES, least).entries(FOUND, (10, 10))) == count


def test_each_detection_is_a_row():
    presenter = BoxPresenter(NAMES, 0.5)
    rows = presenter.rows(presenter.entries(FOUND, (200, 400)))
    assert rows == [[7, "bird", 0.9, 0.1, 0.2, 0.5, 0.75], [1, "cat", 0.5, 0.0, 0.0, 1.0, 1.0]]
    assert {len(row) for row in rows} == {len(presenter.columns)}
    assert presenter.rows(()) == []


def test_the_line_names_all_or_says_that_there_is_nothing():
    presenter = BoxPresenter(NAMES, 0.5)
    assert presenter.line(presenter.entries(FOUND, (1, 1))) == "bird 0.9000  cat 0.5000"
    assert presenter.line([]) == "nothing with a score of 0.5 or more"


def test_boxes_are_drawn_in_the_colors_of_their_categories():
    presenter = BoxPresenter(NAMES, 0.6)
    image = Image.new("RGB", (400, 200))
    picture = presenter.picture(image, presenter.entries(FOUND, (200, 400)))
    assert picture.getpixel((190, 20)) == class_color(7)  # the upper edge, 20 pixels from above
    assert picture.getpixel((190, 60)) == (0, 0, 0)
    assert image.getextrema() == ((0, 0),) * 3
    assert np.array_equal(presenter.picture(image, []), image)


@pytest.mark.parametrize("name", ["detection_boxes", "detection_scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_an_error(name, value):
    broken = {key: np.copy(array) for key, array in FOUND.items()}
    broken[name][0] = value
    with pytest.raises(RunError, match="the network's boxes are not finite: the weights are damaged"):
        BoxPresenter(NAMES, 0.5).entries(broken, (10, 10))


def test_what_lies_after_the_last_detection_does_not_matter():
    rest = {key: np.copy(array) for key, array in FOUND.items()}
    rest["detection_scores"][3:] = np.nan
    assert len(BoxPresenter(NAMES, 0.5).entries(rest, (10, 10))) == 2


def test_an_example_has_a_frame_in_the_color_of_what_became_of_each_box():
    boxes = [
        ("right", 0.9, (0.1, 0.1, 0.4, 0.4)),
        ("wrong", 0.8, (0.1, 0.6, 0.4, 0.9)),
        ("missed", None, (0.6, 0.1, 0.9, 0.4)),
    ]
    entry = {"boxes": [{"kind": kind, "category": 7, "score": score, "box": box} for kind, score, box in boxes]}
    seen = np.asarray(BoxPresenter(NAMES, 0.5).example(Image.new("RGB", (400, 400), (90, 90, 90)), entry))
    for (_, _, (ymin, xmin, _, xmax)), color in zip(boxes, (RIGHT, WRONG, MISSED), strict=True):
        line = seen[round(400 * ymin), round(400 * xmin) : round(400 * xmax)]
        assert (line == color).all(axis=1).mean() > 0.9
