import pytest

from tests.utils.reporting.made_runs import comparison as tables
from tests.utils.reporting.made_runs import write_boxes
from utils.reporting.findings import confused_pairs, findings, speed_findings, summary_line


def classifier(rows, pairs, names=("shirt", "dress", "hat"), calibration=((0, None, None),)):
    return {
        "task": "classification",
        "class_names": list(names),
        "classes": [list(row) for row in rows],
        "confusion": [list(pair) for pair in pairs],
        "calibration": [list(row) for row in calibration],
        "metrics": {"top1_accuracy": 0.5, "loss": 1.25, "images": 20},
    }


def test_a_class_that_is_never_predicted_is_named():
    said = findings(classifier([[10, 20, 10], [10, 0, 0], [0, 0, 0]], [[0, 0, 10], [1, 0, 10]]), {})
    assert said == ["Every image is taken for 'shirt': the network does not distinguish classes."]
    said = findings(classifier([[10, 15, 9], [9, 0, 0], [5, 9, 5]], [[0, 0, 9], [1, 0, 6], [1, 2, 3], [0, 2, 1]]), {})
    assert said[0] == "Never predicted, although there are examples: 'dress'."
    assert "6 examples of 'dress', 66.7 % of them, are taken for 'shirt'." in said


def test_classes_without_examples_and_classes_never_right_are_named():
    said = findings(classifier([[4, 3, 3], [4, 5, 0], [0, 0, 0]], [[0, 0, 3], [0, 1, 1], [1, 0, 4]]), {})
    assert "Predicted, but never correctly: 'dress'." in said
    assert "Not evaluated, for lack of examples in this split: 'hat'." in said


def test_a_good_evaluation_is_silent_and_outputs_beyond_the_names_are_no_classes():
    good = classifier([[10, 10, 10], [10, 10, 10], [10, 10, 10], [0, 0, 0]], [[n, n, 10] for n in range(3)])
    assert findings(good, {}) == []


@pytest.mark.parametrize(("examples", "confused"), [(10, 2), (100, 14)])
def test_a_few_examples_or_a_small_share_of_a_class_are_no_confusion(examples, confused):
    right = examples - confused
    rows = [[examples, right, right], [examples, examples + confused, examples]]
    assert findings(classifier(rows, [[0, 0, right], [0, 1, confused], [1, 1, examples]], ("a", "b")), {}) == []


@pytest.mark.parametrize(("confidence", "accuracy", "word"), [(0.9, 0.6, "over"), (0.4, 0.7, "under")])
def test_a_gap_between_confidence_and_accuracy_is_told(confidence, accuracy, word):
    said = findings(classifier([[5, 5, 5]], [[0, 0, 5]], ("a",), [[10, confidence, accuracy]]), {})
    assert said == [f"The network is {word}confident: mean confidence {confidence:.2f}, accuracy {accuracy:.2f}."]


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (
            0.75,
            "Input-bound: 40.0 images/s, 75.0 % of the time waiting for input; without waiting it would be 160",
        ),
        (0.05, "Compute-bound: 40.0 images/s, 5.0 % of the time waiting"),
        (0.3, "Neither input nor computation"),
    ],
)
def test_what_limits_the_speed_is_said_with_its_numbers(share, verdict):
    (said,) = speed_findings({"eval_throughput": 40.0, "input_wait_share": share})
    assert said.startswith(verdict)
    assert speed_findings({"eval_throughput": 40.0}) == []


def test_a_detectors_faults_are_named(tmp_path):
    content = write_boxes(tmp_path, tables())
    content["findings"] = ["Average precision of small objects is -1: the groundtruth has none."]
    content["classes"] += [
        {**content["classes"][0], "id": 7, "name": "cup", "objects": 0, "detections": 0, "average_precision": -1},
        {**content["classes"][0], "id": 8, "name": "fork", "objects": 4, "detections": 0, "average_precision": 0},
        {**content["classes"][0], "id": 9, "name": "knife", "objects": 4, "detections": 6, "average_precision": 0},
    ]
    said = findings(content, {})
    assert said[0] == content["findings"][0]
    assert "Average precision -1, for lack of objects in this split: 'cup'." in said
    assert "Never detected, although there are objects: 'fork'." in said
    assert any(line.startswith("Detected, but never on an object") and "'knife'" in line for line in said)
    of, answer, count, share = confused_pairs(content)[0]
    assert any(f"{count} objects of 'thing {of}', {100 * share:.1f} %" in s and f"'thing {answer}'" in s for s in said)


def test_the_summary_line_has_the_numbers_of_the_metrics(tmp_path):
    assert summary_line(classifier([], [])) == "20 images: top-1 accuracy 0.5000, loss 1.25."
    content = write_boxes(tmp_path, tables())
    assert f"average precision {content['metrics']['Precision/mAP']:.4f}" in summary_line(content)


def several(rows, names=("sky", "tree", "car")):
    metrics = {"macro_average_precision": 0.625, "macro_f1": 0.5, "micro_f1": 0.25, "images": 20}
    return {"task": "several_labels", "class_names": list(names), "classes": rows, "metrics": metrics}


def test_classes_of_images_with_several_labels_that_are_never_named_are_told():
    said = findings(several([[4, 3, 2], [5, 0, 0], [3, 2, 0]]), {})
    assert said == ["Never named, although there are images with it: 'tree'.", "Named, but never correctly: 'car'."]
    assert findings(several([[4, 0, 0], [5, 0, 0], [0, 0, 0]]), {}) == [
        "No class is ever named with a probability of 0.5 or more: train longer, or look at lower probabilities.",
        "Not evaluated, for lack of images in this split: 'car'.",
    ]
    line = "20 images: mean average precision 0.6250, F1 macro 0.5000, micro 0.2500."
    assert summary_line(several([[4, 3, 2]])) == line
