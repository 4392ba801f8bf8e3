"""The table of the files that runs write, and the last lines of the console."""

import dataclasses
import re

import pytest

from object_detection.coco.evaluation import RESULTS_FILE
from runtime.reporting.outputs import OUTPUTS, outputs_of, written_files
from tests.runtime.tiny_classifier import config
from utils.config import MODES
from utils.detection_config import DetectionConfig
from utils.flags.table import BY_NAME
from utils.weights.checkpoint_files import BEST


def changed(settings, section, **values):
    return dataclasses.replace(settings, **{section: dataclasses.replace(getattr(settings, section), **values)})


def running(mode, *, folder="r", **values):
    """A run of a mode without further flags."""
    values |= {"to_predict": "images"} if mode == "predict" else {}
    return changed(config(), "run", **{"mode": mode, "results_dir": str(folder), "export_dir": None} | values)


def names(settings, processes=1):
    return {row.name for row in outputs_of(settings, processes)}


def test_flags_that_request_a_file_work_in_its_modes():
    for row in OUTPUTS:
        for flag in re.findall(r"--(export_dir|profile|no_report)", row.condition):
            assert set(row.modes) == set(BY_NAME[flag].modes), row.name


@pytest.mark.parametrize(
    ("mode", "section", "values", "processes", "more"),
    [
        ("train", "run", {"report": False}, 1, set()),
        ("train", "run", {"export_dir": "EXPORTED"}, 1, {"report.html", "EXPORT_DIR/"}),
        ("train", "diagnostics", {"profile": (2, 3)}, 1, {"report.html", "trace-FROM-TO.json.gz", "plugins/profile/"}),
        ("train", "data", {"source": "dali"}, 1, {"report.html", ".dali_idx/"}),
        ("train", "data", {"source": "dali", "index_dir": "INDEX"}, 1, {"report.html"}),
        ("train", "data", {}, 2, {"report.html", ".dali_idx/"}),
        ("train", "data", {"shuffle": "index"}, 1, {"report.html", ".dali_idx/"}),
        ("training_benchmark", "data", {"data_dir": None, "source": "synthetic"}, 2, set()),
    ],
)
def test_flags_decide_what_is_written_too(mode, section, values, processes, more):
    kept = {"model.ckpt-STEP.*", "events.out.tfevents.*"} if mode == "train" else set()
    assert names(changed(running(mode), section, **values), processes) == {"log.json", *kept, *more}


def test_a_detector_writes_its_detections_and_pictures():
    assert RESULTS_FILE in {row.name for row in OUTPUTS}
    for mode, name in (("evaluate", RESULTS_FILE), ("predict", "pictures/")):
        detector = dataclasses.replace(running(mode), detection=DetectionConfig())
        assert names(detector) - names(running(mode)) == {name}
    assert all("log.json" in names(running(mode)) for mode in MODES)


def test_what_is_there_is_told_in_the_end(tmp_path):
    run = running("train", folder=tmp_path, export_dir=str(tmp_path / "EXPORTED"))
    for folder in (BEST, "EXPORTED", "eval"):
        (tmp_path / folder).mkdir()
    for place in ("model.ckpt-5.index", "model.ckpt-10.index", "best/model.ckpt-5.index", "report.html", "log.json"):
        (tmp_path / place).touch()
    expected = [
        ("checkpoint", str(tmp_path / "model.ckpt-10")),
        ("export", str(tmp_path / "EXPORTED")),
        ("log", str(tmp_path / "log.json")),
        ("report", str(tmp_path / "report.html")),
    ]
    assert written_files(run, 1) == expected
    for place in ("events.out.tfevents.1", "eval/events.out.tfevents.2", "evaluation.json"):
        (tmp_path / place).touch()
    board = ("TensorBoard", f"tensorboard --logdir {tmp_path}")
    assert written_files(run, 1) == [*expected, board]
    both = written_files(changed(run, "run", mode="train_and_evaluate"), 1)
    assert set(both) - set(expected) == {
        board, ("best", str(tmp_path / "best/model.ckpt-5")), ("evaluation", str(tmp_path / "evaluation.json"))
    }  # fmt: skip


def test_what_a_prediction_and_an_evaluation_leave_is_told(tmp_path):
    for place in ("predictions.json", "predictions.csv", "log.json", "evaluation.json"):
        (tmp_path / place).touch()
    predictions = [("predictions", str(tmp_path / name)) for name in ("predictions.json", "predictions.csv")]
    log = ("log", str(tmp_path / "log.json"))
    assert written_files(running("predict", folder=tmp_path), 1) == [*predictions, log]
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "events.out.tfevents.1").touch()
    evaluating = running("evaluate", folder=tmp_path, model_dir=str(tmp_path / "best"))
    evaluation = ("evaluation", str(tmp_path / "evaluation.json"))
    assert written_files(evaluating, 1) == [log, evaluation, ("TensorBoard", f"tensorboard --logdir {tmp_path}")]


def test_the_newest_trace_and_the_index_are_told(tmp_path):
    for place in ("trace-1-2.json.gz", "trace-5-6.json.gz"):
        (tmp_path / place).touch()
    (tmp_path / ".dali_idx").mkdir()
    traced = changed(running("training_benchmark", folder=tmp_path), "diagnostics", profile=(5, 6))
    assert written_files(traced, 1) == [("trace", str(tmp_path / "trace-5-6.json.gz"))]
    reading = changed(running("training_benchmark", folder=tmp_path), "data", source="dali", data_dir=str(tmp_path))
    assert written_files(reading, 1) == [("index", str(tmp_path / ".dali_idx"))]
