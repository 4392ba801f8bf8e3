import copy

import numpy as np
import pytest

from tests.utils.reporting.made_runs import comparison as tables
from tests.utils.reporting.made_runs import write_boxes, write_classes, write_several
from utils.reporting.evaluation_file import EVALUATION_NAME, histogram, read_evaluation, write_evaluation


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("classes"), 4, 60)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    return write_boxes(tmp_path_factory.mktemp("boxes"), tables())


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return write_several(tmp_path_factory.mktemp("several"), noise=3.0)


def read(folder, content):
    write_evaluation(folder, content)
    return read_evaluation(folder / EVALUATION_NAME)


def test_what_was_written_is_read(tmp_path, classes, boxes, several):
    for content in (classes, boxes, several):
        assert read(tmp_path, content) == {"format": 1, **content}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("metrics", "loss"), "much", '"loss" is .much'),
        (("confusion",), [[0, 9, 1]], "not one of the 4"),
        (("confusion",), [[0, 1]], "not one of 3 numbers"),
        (("classes", 0), [1, 2], "not one of 3 numbers"),
        (("calibration", 0), [1, "a", None], "not one of 3 numbers"),
        (("class_names",), [3], "every value of the list must be text"),
        (("pictures", 0, "confidence"), None, '"confidence" is None'),
        (("latency_ms", "edges"), [1.0], "1 edges for 30 bins"),
        (("step",), "ten", '"step" is'),
    ],
)
def test_a_classifiers_evaluation_is_checked(tmp_path, classes, place, value, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, changed(classes, place, value))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("classes", 0, "name"), 7, '"name" is 7'),
        (("confusion",), [[1, 77, 2]], "a category that is not"),
        (("confusion",), [[1, 1, None]], "or no count"),
        (("pictures", 0, "boxes", 0, "box"), [0.0, 1.0], "four sides"),
        (("curves", 0, "precision"), ["a"], '"precision" contains'),
        (("operating_score",), None, '"operating_score" is None'),
        (("errors", "kinds", 0, "cost"), "much", '"cost" is .much'),
        (("errors", "kinds", 0, "count"), 0.5, '"count" is 0.5'),
        (("errors", "classes", 0, "id"), 77, '"errors" has a category that is not'),
        (("errors", "classes", 0, "costs"), [0.5], '"costs" has a row that is not one of 8 numbers'),
        (("errors", "classes", 0, "counts"), [1], '"counts" does not have 8 values'),
        (("errors", "by_iou", "small"), [0.5], '"small" does not have 10 values'),
        (("error_pictures", 0, "error"), 3, '"error" is 3'),
        (("error_pictures", 0, "boxes", 0, "box"), [0.0, 1.0], "four sides"),
    ],
)
def test_a_detectors_evaluation_is_checked(tmp_path, boxes, place, value, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, changed(boxes, place, value))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("classes", 0), [1, 2], "not one of 3 numbers"),
        (("class_metrics",), [], "not one row for each of 3 classes"),
        (("class_metrics", 0), [1.0, "a", None, None, None], "not one of 5 numbers"),
        (("pictures", 0, "classes"), [[0.5, 0.5, 1]], "does not begin with a class"),
        (("pictures", 0, "classes"), [[0, None, 1]], "not one of 3 numbers"),
        (("class_names",), [3], "every value of the list must be text"),
    ],
)
def test_an_evaluation_of_several_labels_is_checked(tmp_path, several, place, value, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, changed(several, place, value))


def test_an_evaluation_of_an_older_version_has_no_errors(tmp_path, boxes):
    content = {key: value for key, value in boxes.items() if key not in ("errors", "error_pictures")}
    assert read(tmp_path, content) == {"format": 1, **content}


def changed(content, place, value):
    content = copy.deepcopy(content)
    *way, last = place
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = value
    return content


def test_numbers_that_are_not_finite_are_not_written(tmp_path, classes):
    with pytest.raises(ValueError, match="JSON"):
        write_evaluation(tmp_path, changed(classes, ("metrics", "loss"), float("nan")))
    assert list(tmp_path.iterdir()) == []


def test_a_histogram_counts_every_value():
    values = np.random.default_rng(0).gamma(2, 3, 500)
    found = histogram(values.tolist())
    assert sum(found["counts"]) == 500
    assert (found["edges"][0], found["edges"][-1]) == (values.min(), values.max())
    assert sum(histogram([5.0, 5.0])["counts"]) == 2
    assert histogram([]) == {"edges": [], "counts": []}
