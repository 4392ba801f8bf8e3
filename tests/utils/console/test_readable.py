"""The readable console at widths of 40, 80 and 200 columns."""

import re

import pytest
from rich.cells import cell_len

from tests.utils.console.terminals import readable
from utils.dllogger_utils import PARAMETER, SUMMARY

WIDTHS = (40, 80, 200)
TRAINING = {
    "imgs_per_sec": 123.45678901234567,
    "input_wait_share": 0.012345678901234567,
    "cross_entropy": 2.302585092994046,
    "l2_loss": 0.33333333333333331,
    "total_loss": 2.6359184263273793,
    "learning_rate": 0.00012300000000000001,
}
SCALARS = {key: TRAINING[key] for key in ("cross_entropy", "l2_loss", "total_loss", "learning_rate")}
SPEED = {"eval_throughput": 310.25, "eval_latency_avg": 100.123456, "eval_latency_p99": 120.0, "input_wait_share": 0.01}
DETECTION = {
    "Precision/mAP": 0.2512345678,
    "Precision/mAP@.50IOU": 0.42,
    "Precision/mAP@.75IOU": 0.26,
    "Precision/mAP (small)": -1.0,
    "Precision/mAP (medium)": 0.2,
    "Precision/mAP (large)": 0.4,
    "Recall/AR@1": 0.25,
}


def evaluated(top1):
    return {"top1_accuracy": top1, "top5_accuracy": 0.9, "loss": 1.234567890123456, "images": 360, **SPEED}


def train(screen, epochs=3):
    """Three epochs of 44 steps with an evaluation each; the second one is the best."""
    screen.best("top1_accuracy", -1, float("-inf"))
    screen.header([("Network", "resnet18; " + "a long description " * 20), ("Data", "OUT")])
    screen.record(PARAMETER, {"seed": 3, "data_idx_dir": None}, {})
    for epoch in range(epochs):
        bar = screen.bar("train", 44 * epoch, 44 * epochs)
        for step in (10, 20):
            screen.record((epoch, 44 * epoch + step), TRAINING, {})
        bar.advance(44 * (epoch + 1), 2.6)
        screen.record((epoch,), SCALARS, {})
        bar.close()
        screen.record((epoch + 1, 44 * (epoch + 1)), evaluated((0.5, 0.75, 0.625)[epoch % 3]), {})
    screen.record(SUMMARY, {"precision": "float32", **evaluated(0.625), "train_throughput": 120.0}, {})
    screen.footer([("checkpoint", "RUN/model.ckpt-132"), ("log", "R" * 300)])


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_terminal_but_a_path_that_shall_be_copied(width):
    screen, lines = readable(width)
    train(screen)
    assert [line for line in lines() if cell_len(line) > width] == [f"log         {'R' * 300}"]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_has_more_digits_than_four_and_nothing_is_none(width):
    screen, lines = readable(width)
    train(screen)
    text = "\n".join(lines())
    assert "None" not in text
    assert re.findall(r"\d\.\d{5,}|\d{6,}", text) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_are_aligned_with_their_heading(width):
    screen, lines = readable(width)
    train(screen, epochs=1)
    start = next(number for number, line in enumerate(lines()) if line.startswith("epoch"))
    heading, *rows = lines()[start : start + 4]
    ends = [match.end() for match in re.finditer(r"\S+( \S+)*", heading)]
    for row in rows:
        assert {match.end() for match in re.finditer(r"\S+( \S+)*", row)} <= set(ends), row


def test_a_line_has_units_or_a_heading_that_says_them():
    screen, lines = readable(80)
    screen.record((0, 10), TRAINING, {})
    assert lines()[-2].split() == ["epoch", "step", "images/s", "waiting", "cross", "entropy", "loss", "LR"]
    assert lines()[-1].split() == ["1", "10", "123.5", "1.2", "%", "2.303", "2.636", "1.230e-04"]


@pytest.mark.parametrize("step", [(0, 10), (0,)])
def test_the_loss_of_the_first_step_is_told_once_and_takes_no_column(step):
    screen, lines = readable(80)
    first = {"initial_cross_entropy": 2.302585092994046, "ln_num_classes": 2.302585092994046}
    screen.record(step, {**(TRAINING if len(step) == 2 else SCALARS), **first}, {})
    screen.record((0, 20), TRAINING, {})
    assert [line for line in lines() if "ln K" in line] == ["cross entropy at step 0: 2.303, ln K: 2.303"]
    assert sum("images/s" in line and "step" in line for line in lines()) == 1


def test_what_matters_most_stays_on_a_narrow_terminal():
    screen, lines = readable(40)
    screen.record((0, 10), TRAINING, {})
    assert lines()[-2].split() == ["epoch", "step", "images/s", "loss"]


def test_an_epoch_ends_with_a_line_that_says_how_long_it_took():
    screen, lines = readable(80)
    train(screen, epochs=1)
    (line,) = [line for line in lines() if line.startswith("    1") and " in " in line]
    assert line.split()[:4] == ["1", "44", "in", "0:00"]


def test_a_heading_comes_once_and_again_where_the_terminal_was_resized():
    screen, lines = readable(80)
    for width, headings in ((80, 1), (80, 1), (50, 2), (50, 2), (80, 3)):
        screen._out.console.width = width
        screen.record((0, 10), TRAINING, {})
        assert sum("images/s" in line for line in lines()) == headings


@pytest.mark.parametrize("width", WIDTHS)
def test_the_best_evaluation_is_marked(width):
    screen, lines = readable(width)
    train(screen)
    last = max(number for number, line in enumerate(lines()) if line == "Evaluation")
    rows = [line.split() for line in lines()[last + 2 : last + 5]]
    assert [row[-1] == "best" for row in rows] == [False, True, False]
    assert [row[0 if width == 40 else 1] for row in rows] == ["44", "88", "132"]
    assert [("0.5000" in row, "0.7500" in row, "0.6250" in row).index(True) for row in rows] == [0, 1, 2]


def test_of_many_evaluations_the_last_and_the_best_are_shown():
    screen, lines = readable(80)
    screen.best("top1_accuracy", -1, float("-inf"))
    for step in range(1, 11):
        screen.record((step, step), evaluated(0.9 if step == 2 else 0.1), {})
    last = max(number for number, line in enumerate(lines()) if line == "Evaluation")
    assert [line.split()[1] for line in lines()[last + 2 :]] == ["2", "6", "7", "8", "9", "10"]
    assert lines()[last + 2].endswith("best")


def test_a_run_that_goes_on_remembers_its_best():
    screen, lines = readable(80)
    screen.best("top1_accuracy", 44, 0.8)
    screen.record((2, 88), evaluated(0.7), {})
    assert lines()[-2].split() == ["44", "0.8000", "best"]
    assert not lines()[-1].endswith("best")


def test_of_equal_evaluations_the_first_is_the_best_as_on_disk():
    screen, lines = readable(80)
    screen.best("top1_accuracy", -1, float("-inf"))
    for step in (44, 88):
        screen.record((1, step), evaluated(0.5), {})
    assert [line.endswith("best") for line in lines()[-2:]] == [True, False]


def test_an_evaluation_alone_is_a_table_of_all_metrics_and_of_its_speed():
    screen, lines = readable(80)
    screen.record(SUMMARY, {"precision": "float32", "weights": "W", **DETECTION, "images": 36, **SPEED}, {})
    text = [line.split() for line in lines() if line]
    assert text[0] == ["Evaluation"]
    assert text[1] == ["AP", "0.2512"]
    assert ["AP", "small", "-1.000"] in text
    assert ["images", "36"] in text
    assert text[-2] == ["Speed", "images/s", "ms", "a", "batch", "p99", "waiting"]
    assert text[-1] == ["evaluation", "310.2", "100.1", "120.0", "1.0", "%"]


def test_a_benchmark_shows_batches_and_the_network_alone():
    screen, lines = readable(80)
    screen.record((0, 60), {"total_ips": 12.3456, "input_wait_share": 0.5}, {})
    screen.record(SUMMARY, {"network_throughput": 20.0, "train_throughput": 10.0, "input_wait_share": 0.25}, {})
    text = [line.split() for line in lines() if line]
    assert text[:2] == [["batch", "images/s", "waiting"], ["60", "12.35", "50.0", "%"]]
    assert text[-2:] == [["training", "10.00", "25.0", "%"], ["network", "alone", "20.00"]]


def test_any_file_name_leaves_the_columns_of_a_table_alone():
    screen, lines = readable(40)
    screen.table([("a" * 300, "cat 0.91  dog 0.01"), ("b\x1b[2J.jpg", "שלום 0.5"), ("c.jpg", "not read: broken")])
    first, second, third = lines()[:3]
    assert first.startswith("aaaa")
    assert "...aaa" in first
    assert second.startswith(r"b\x1b[2J.jpg")
    assert second.endswith("\u2068שלום 0.5\u2069")
    assert first.index("cat") == third.index("not")


def test_the_names_of_files_in_a_deep_folder_stay():
    screen, lines = readable(40)
    screen.table([(f"/home/somebody/pictures/of/cats/{number}.jpg", "cat 0.91") for number in (1, 2)])
    assert [line.split() for line in lines() if line] == [
        ["/home/...ats/1.jpg", "cat", "0.91"],
        ["/home/...ats/2.jpg", "cat", "0.91"],
    ]


def test_a_heading_wraps():
    screen, lines = readable(40)
    screen.header([("Mode", "train")], "The plan of this command; nothing is run and nothing is written:")
    assert [line.rstrip() for line in lines()][:3] == [
        "The plan of this command; nothing is run",
        "and nothing is written:",
        "Mode  train",
    ]


def test_it_says_where_everything_lies():
    screen, lines = readable(80)
    screen.footer([("checkpoint", "RUN/model.ckpt-88"), ("log", "RUN/log.json")])
    assert lines()[-3].startswith("Done in 0:")
    assert lines()[-2:] == ["checkpoint  RUN/model.ckpt-88", "log         RUN/log.json"]


def test_lines_for_programs_are_left_out():
    screen, lines = readable(80)
    screen.lines("Evaluation finished.")
    assert lines() == []


def test_intervals_stand_beside_their_metrics_and_below_evaluations_of_training():
    intervals = {"Precision/mAP": [0.2, 0.3125]}
    screen, lines = readable(80)
    screen.record(SUMMARY, {**DETECTION, "intervals": intervals}, {})
    text = [line.split() for line in lines() if line]
    assert text[1] == ["AP", "0.2512", "0.2000", "to", "0.3125"]
    assert "on the right: the 95 % interval of each metric" in lines()
    screen, lines = readable(80)
    screen.record((1, 44), {**DETECTION, "intervals": intervals}, {})
    assert lines()[-1] == "95 % intervals: AP 0.2000 to 0.3125"
