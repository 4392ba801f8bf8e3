"""Probabilities formatted for people."""

from unittest import mock

import numpy as np
import pytest
from PIL import Image

from runtime.classification.presenter import ClassPresenter
from utils.errors import RunError
from utils.images.lettering import RIGHT, WRONG, with_caption

PROBABILITIES = {"probabilities": np.array([0.25, 0.1234567, 0.25, 0.3765433], np.float32)}


def test_the_best_come_first_and_of_equals_the_first():
    entries = ClassPresenter(("ant", "bee", "cat", "dog"), 3).entries(PROBABILITIES, (10, 20))
    assert entries == [
        {"class": 3, "name": "dog", "probability": 0.376543},
        {"class": 0, "name": "ant", "probability": 0.25},
        {"class": 2, "name": "cat", "probability": 0.25},
    ]


def test_classes_without_a_name_have_their_number():
    presenter = ClassPresenter(("ant", "bee", "cat"), 4)
    assert [entry["name"] for entry in presenter.entries(PROBABILITIES, (1, 1))] == ["3", "ant", "cat", "bee"]
    assert ClassPresenter(None, 1).entries(PROBABILITIES, (1, 1))[0]["name"] == "3"


def test_an_image_is_one_row_of_the_table_and_one_line():
    presenter = ClassPresenter(("ant", "bee", "cat", "dog"), 2)
    entries = presenter.entries(PROBABILITIES, (1, 1))
    assert presenter.columns == ("class_1", "name_1", "probability_1", "class_2", "name_2", "probability_2")
    assert presenter.rows(entries) == [[3, "dog", 0.376543, 0, "ant", 0.25]]
    assert presenter.line(entries) == "dog 0.3765  ant 0.2500"
    assert presenter.rows(()) == [[]]


def test_classes_are_not_drawn():
    presenter = ClassPresenter(None, 1)
    assert not presenter.draws
    with pytest.raises(NotImplementedError, match="predicted classes cannot be drawn"):
        presenter.picture(None, [])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_are_an_error(value):
    broken = {"probabilities": np.array([0.5, value], np.float32)}
    with pytest.raises(RunError, match="probabilities are not finite: the weights are damaged"):
        ClassPresenter(None, 1).entries(broken, (1, 1))


@pytest.mark.parametrize(("answer", "color", "lines"), [(1, RIGHT, 1), (3, WRONG, 2)])
def test_an_example_says_below_it_what_it_was_taken_for(answer, color, lines):
    entry = {"index": 5, "label": 1, "answer": answer, "confidence": 0.75, "of_label": 0.125}
    with mock.patch("runtime.classification.presenter.with_caption", wraps=with_caption) as caption:
        whole = ClassPresenter(("ant", "bee", "cat", "dog"), 1).example(Image.new("RGB", (200, 100)), entry)
    written = [("bee", " 0.75")] if answer == 1 else [("dog", " 0.75"), ("is bee", " 0.12")]
    assert caption.call_args.args[1:] == (written, color)
    assert whole.height > 100 + 10 * lines
