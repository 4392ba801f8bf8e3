"""Weights of classes: from counts, from files, in runs and in what a resumed run says."""

import numpy as np
import pytest

from runtime.classification.class_weights import balanced_weights, shown_weights, weights_of_file
from tests.runtime.runs import CLASSES, train
from utils.errors import RunError, UsageError
from utils.records.label_index import LABEL_FOLDER

ONE_STEP = ("--num_iter=1", "--iter_unit=batch")


def test_balanced_weights_are_one_on_average_over_the_images_and_equal_over_the_classes():
    counts = np.array([90, 9, 0, 1])
    weights = np.array(balanced_weights(counts))
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    np.testing.assert_allclose((weights * counts)[[0, 1, 3]], 100 / 3)
    assert weights[2] == 1.0


@pytest.mark.parametrize(
    "text",
    [
        '{"a b": 1, "c": 2.5, "d": 3}',
        '{"0": 1, "2": 3, "1": 2.5}',
        "[1, 2.5, 3]",
        "1\n2.5\n\n3\n",
        "a b, 1\nc\t2.5\n# the rest\nd 3",
        "2 3\n1 2.5\n0 1",
    ],
)
def test_a_file_names_classes_or_their_indices(tmp_path, text):
    (tmp_path / "weights").write_text(text)
    assert weights_of_file(str(tmp_path / "weights"), 3, ("a b", "c", "d")) == (1.0, 2.5, 3.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "has no weight for b, c; each class needs one"),
        ('{"a": 1, "b": 1, "c": 1, "d": 2}', "'d' is no class; the classes are a, b, c"),
        ('{"a": 1, "b": 1, "c": 1, "a": 2}', "gives the class 'a' two weights"),
        ('{"a": 1, "b": 0, "c": 1}', "the weight of 'b' is 0; must be above 0 and at most 1e+06"),
        ('{"a": 1, "b": "x", "c": 1}', "the weight of 'b' is x; must be above 0 and at most 1e+06"),
        ("[1, 1, 1, 1]", "3 is no class; the classes are a, b, c"),
        ("[1, NaN, 1]", "the weight of 1 is nan; must be above 0 and at most 1e+06"),
        ('{"a": 1', "is not valid JSON"),
        ("a 1\nb", "the line 'b' must be a class and its weight, as others are"),
        ("a 1\nb two", "'two' is no number; must be a weight"),
    ],
)
def test_a_file_that_does_not_weigh_each_class_once_is_refused(tmp_path, text, message):
    (tmp_path / "weights").write_text(text)
    with pytest.raises(UsageError) as error:
        weights_of_file(str(tmp_path / "weights"), 3, ("a", "b", "c"))
    assert str(error.value).startswith(f"--class_weights {tmp_path / 'weights'}: ")
    assert message in str(error.value)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"--class_weights .*none: cannot be read \(No such file or directory\)"):
        weights_of_file(str(tmp_path / "none"), 3, None)


def test_many_weights_are_shown_by_the_heaviest():
    assert shown_weights((1.0, 2.0), ("a",)) == "1 2, a 1"
    assert shown_weights(tuple(range(1, 13)), None).endswith("2 3 and 2 more")


def test_a_run_logs_its_weights_and_a_resumed_one_compares_them(data_dir, tmp_path):
    (tmp_path / "weights").write_text("circle 2\nline 1\nsquare 0.5\n")
    flags = (f"--class_weights={tmp_path / 'weights'}", "--loss=focal", "--balanced_sampling")
    first = train(data_dir, tmp_path / "run", *ONE_STEP, *flags, "--console=readable")
    assert first.status == 0, first.error
    assert first.parameters["weight_of_class"] == [2.0, 1.0, 0.5]
    assert "weights circle 2, line 1, square 0.5; images drawn by class" in " ".join(
        (first.output + first.error).split()
    )
    (tmp_path / "weights").write_text("circle 3\nline 1\nsquare 0.5\n")
    second = train(data_dir, tmp_path / "run", "--num_iter=2", "--iter_unit=batch", *flags[:2])
    assert "--class_weights: 2, 1, 0.5 so far in this run, 3, 1, 0.5 from here on" in second.error
    assert "--balanced_sampling: on so far in this run, off from here on" in second.error
    assert "--loss" not in second.error


def test_balanced_weights_come_from_the_labels_of_the_training_split(data_dir, tmp_path):
    run = train(data_dir, tmp_path, *ONE_STEP, "--class_weights=balanced")
    assert run.status == 0, run.error
    np.testing.assert_allclose(run.parameters["weight_of_class"], 20 / 3 / np.array([7, 7, 6]))
    assert len(CLASSES) == 3
    assert {path.name for path in (data_dir / LABEL_FOLDER).iterdir()} == {
        path.name for path in data_dir.glob("train-*")
    }
