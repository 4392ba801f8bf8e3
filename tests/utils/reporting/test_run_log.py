import pytest

from tests.utils.reporting.made_runs import comparison as tables
from tests.utils.reporting.made_runs import write_boxes, write_classes, write_log
from utils.dllogger_utils import PARAMETER, SUMMARY, open_log
from utils.errors import RunError
from utils.reporting.evaluation_file import EVALUATION_NAME
from utils.reporting.run_log import read_run


def test_curves_and_metrics_are_those_of_the_log(tmp_path):
    run = read_run(write_log(tmp_path))
    assert run.curve("total_loss") == ([10, 20, 30, 40], [0.75, 0.625, 0.5 + 2.5 / 30, 0.5625])
    assert run.curve("imgs_per_sec")[1] == [30.0, 40.0, 50.0, 60.0]
    assert run.evaluation_curve("top1_accuracy") == ([20, 40], [0.4375, 0.59375])
    assert run.metrics()["top1_accuracy"] == 0.59375
    assert run.parameters["lr_init"] == 0.1


def test_a_resumed_launch_replaces_what_it_repeats(tmp_path):
    write_log(tmp_path, steps=40, ended=False)
    log = open_log(tmp_path / "log.json", None)
    log.log(PARAMETER, {"arch": "resnet50", "mode": "train"})
    log.log((1, 25), {"total_loss": 7.0})
    log.log(SUMMARY, {"train_throughput": 1.0})
    log.close()
    run = read_run(tmp_path)
    assert run.curve("total_loss") == ([10, 20, 25], [0.75, 0.625, 7.0])
    assert len(run.launches) == 2
    assert run.launches[0].summary is None
    assert run.summary == {"train_throughput": 1.0}


def test_numbers_that_are_not_finite_are_left_out_of_curves(tmp_path):
    log = open_log(tmp_path / "log.json", None)
    log.log((0, 1), {"total_loss": 2.0})
    log.log((0, 2), {"total_loss": float("nan")})
    log.close()
    assert read_run(tmp_path).curve("total_loss") == ([1], [2.0])


def missing(run):
    return " ".join(run.missing())


def test_a_run_that_was_killed_before_its_evaluation_says_so(tmp_path):
    write_log(tmp_path, steps=10, ended=False)
    with (tmp_path / "log.json").open("a") as file:
        file.write('DLLL {"timestamp": "17953')
    run = read_run(tmp_path)
    assert run.curve("total_loss")[0] == [10]
    assert run.damaged_lines == 1
    assert "1 lines of the log could not be read" in missing(run)
    assert "The last launch has no summary" in missing(run)
    assert "There was no evaluation" in missing(run)


def test_a_log_of_flags_alone_and_an_empty_one_say_what_is_missing(tmp_path):
    log = open_log(tmp_path / "log.json", None)
    log.close()
    assert "contains no launch" in missing(read_run(tmp_path))
    log = open_log(tmp_path / "log.json", None)
    log.log(PARAMETER, {"mode": "train"})
    log.close()
    assert "No training step was logged" in missing(read_run(tmp_path))


def test_a_whole_run_misses_nothing(tmp_path):
    write_log(tmp_path)
    assert EVALUATION_NAME in missing(read_run(tmp_path))
    write_classes(tmp_path, 3, 40)
    assert read_run(tmp_path).missing() == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 2}', '{"format": 1, "metrics": {}, "task": "poetry"}', "[" * 100_000]
)
def test_an_evaluation_that_is_damaged_is_named_and_not_used(tmp_path, content):
    write_log(tmp_path)
    (tmp_path / EVALUATION_NAME).write_text(content)
    run = read_run(tmp_path)
    assert run.evaluation is None
    assert f"{EVALUATION_NAME} cannot be used: " in missing(run)


def test_a_log_of_any_name_is_found_and_the_results_beside_another(tmp_path):
    write_log(tmp_path / "run", results_dir=str(tmp_path / "results"))
    (tmp_path / "run" / "log.json").rename(tmp_path / "run" / "summary.json")
    written = write_boxes(tmp_path / "results", tables())
    run = read_run(tmp_path / "run")
    assert run.path.name == "summary.json"
    assert run.evaluation["metrics"] == written["metrics"]
    assert read_run(tmp_path / "run" / "summary.json").metrics() == run.metrics()


def test_what_is_no_run_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"contains no log of a run \(log.json"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="cannot be read"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "other.txt").write_text("hello\n")
    with pytest.raises(RunError, match="is not the log of a run"):
        read_run(tmp_path / "other.txt")
