import base64
import re
import time
from pathlib import Path

import pytest

from tests.utils.reporting.made_runs import ODD_NAMES, write_boxes, write_classes, write_log
from tests.utils.reporting.made_runs import comparison as tables
from tools.report import main
from utils.dllogger_utils import PARAMETER, open_log
from utils.reporting.evaluation_file import write_evaluation

CHART = re.compile(r'<img class="chart" style="[^"]*" alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]+)">')

COLORS = {"wrong": "#ef4444", "right": "#22c55e", "missed": "#f59e0b", "object": "#3b82f6"}


def report_of(tmp_path, *runs, status=0):
    target = tmp_path / "out" / "report.html"
    assert main([*map(str, runs), f"--output={target}"]) == status
    return target.read_bytes().decode()


def charts_in(page):
    return {title: base64.b64decode(source).decode() for title, source in CHART.findall(page)}


def test_the_numbers_of_a_report_are_those_of_the_log(tmp_path):
    run = write_log(tmp_path / "run")
    content = write_classes(run, 6, 300)
    page = report_of(tmp_path, run)
    for tile in (
        "0.5938</b><span>top-1",
        "0.9375</b><span>top-5",
        "1.125</b><span>validation",
        "41.5</b><span>images/s",
    ):
        assert tile in page
    assert "Last logged step: 40, total loss 0.5625." in page
    assert "Best of 2 evaluations during training: 0.5938 at step 40." in page
    right = sum(row[2] for row in content["classes"]) / 300
    assert f"300 images: top-1 accuracy {right:.4f}" in page
    of, answer, count = max((pair for pair in content["confusion"] if pair[0] != pair[1]), key=lambda pair: pair[2])
    assert (
        f"<td>&#x27;class {of}&#x27;</td><td>&#x27;class {answer}&#x27;</td>"
        f'<td class="number">{count}</td><td>{100 * count / content["classes"][of][0]:.1f} %</td>' in page
    )
    for entry in content["pictures"]:
        assert entry["jpeg"] in page


def test_a_report_has_all_charts_of_a_classifier(tmp_path):
    run = write_log(tmp_path / "run")
    write_classes(run, 6, 300)
    assert set(charts_in(report_of(tmp_path, run))) == {
        "Loss, weight decay included",
        "Parts of the loss, and validation",
        "Learning rate",
        "top-1",
        "loss",
        "Predictions in percent of each class",
        "Accuracy by confidence",
        "Training throughput",
        "Share of time waiting for input",
        "Batch latency in evaluation",
    }


def test_a_report_of_a_detector_draws_the_boxes_where_they_are(tmp_path):
    run = write_log(tmp_path / "run")
    content = write_boxes(run, tables())
    page = report_of(tmp_path, run)
    assert "Precision by recall at IoU 0.5" in charts_in(page)
    entry = content["pictures"][0]
    figure = page[page.index(f'aria-label="image {entry["image_id"]}"') :].split("</figure>")[0]
    assert entry["jpeg"] in figure
    boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', figure)
    assert len(boxes) == len(entry["boxes"])
    for drawn, box in zip(boxes, entry["boxes"], strict=True):
        ymin, xmin, ymax, xmax = box["box"]
        expected = (200 * xmin, 100 * ymin, 200 * (xmax - xmin), 100 * (ymax - ymin))
        assert [float(value) for value in drawn] == pytest.approx(expected, abs=0.01)
    for row in content["classes"]:
        assert f"</span>{row['average_precision']:.3f}</td>" in page


def test_a_report_tells_what_each_kind_of_error_costs_and_shows_the_worst(tmp_path):
    run = write_log(tmp_path / "run")
    content = write_boxes(run, tables())
    page = report_of(tmp_path, run)
    assert "Average precision by IoU and object size" in charts_in(page)
    section = page.split("<h2>What the errors cost</h2>")[1].split("</section>")[0]
    for row in content["errors"]["kinds"]:
        line = next(line for line in section.splitlines() if line.startswith(f"<tr><td>{row['kind']}</td>"))
        numbers = re.findall(r'<td class="number">([\d.]+)</td>', line)
        assert [float(number) for number in numbers] == pytest.approx(
            [row["cost"], row["sure"], row["count"]], abs=1e-4
        )
    worst = page.split("<h2>The worst errors of each kind</h2>")[1].split("</section>")[0]
    assert [figure.count("<rect") for figure in worst.split("</figure>")[:-1]] == [
        len(entry["boxes"]) for entry in content["error_pictures"]
    ]
    found = {kind: worst.count(f'stroke="{color}" stroke-width') for kind, color in COLORS.items()}
    boxes = [box["kind"] for entry in content["error_pictures"] for box in entry["boxes"]]
    assert {kind: boxes.count(kind) for kind in COLORS} == found


def test_runs_are_compared_by_what_their_errors_cost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = {name: write_boxes(write_log(Path(name)), tables(seed=seed)) for seed, name in enumerate(("one", "two"))}
    write_log(Path("unfinished"), ended=False)
    page = report_of(tmp_path, *contents, "unfinished", status=3)
    section = page.split("<h2>What the errors cost</h2>")[1].split("</section>")[0]
    lines = [line for line in section.splitlines() if line.startswith("<tr><td>")]
    assert len(lines) == 2
    for name, content in contents.items():
        (line,) = (line for line in lines if line.startswith(f"<tr><td>{name}<"))
        numbers = [float(number) for number in re.findall(r'<td class="number">([\d.]+)</td>', line)]
        costs = [row["cost"] for row in content["errors"]["kinds"]]
        assert numbers == pytest.approx([content["errors"]["average_precision"], *costs], abs=1e-3)


def test_a_detectors_evaluation_of_an_older_version_has_a_report(tmp_path):
    run = write_log(tmp_path / "run")
    content = write_boxes(run, tables())
    write_evaluation(run, {key: value for key, value in content.items() if not key.startswith("error")})
    page = report_of(tmp_path, run)
    assert "False alarms and misses" in page
    assert "What the errors cost" not in page


def test_a_page_needs_no_network_and_no_script(tmp_path):
    run = write_log(tmp_path / "run")
    write_classes(run, 6, 300)
    page = report_of(tmp_path, run)
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"}


def test_names_of_any_kind_are_escaped_and_cut_but_not_lost(tmp_path):
    run = write_log(tmp_path / "run", data_dir="/data/<i>&", arch="\udc80ünïcode")
    write_classes(run, len(ODD_NAMES), 300, names=list(ODD_NAMES))
    page = report_of(tmp_path, run)
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "日本語の名前" in page
    assert f'title="{"n" * 500}"' in page
    assert "\x00" not in page
    for svg in charts_in(page).values():
        assert "mathdefault" not in re.sub("<!--.*?-->", "", svg)
        assert not re.search(r"[\x00-\x08]", svg)
    assert "$x^2$ \\alpha" in charts_in(page)["Predictions in percent of each class"]


def test_a_detectors_names_are_escaped_too(tmp_path):
    run = write_log(tmp_path / "run")
    write_boxes(run, tables(), dict(enumerate(ODD_NAMES, 1)))
    page = report_of(tmp_path, run)
    assert "<b>bold" not in page
    assert "日本語の名前" in page


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "examples"), [(1, 20), (2, 0), (200, 2000), (1000, 3000)])
def test_there_is_a_report_for_any_number_of_classes(tmp_path, classes, examples):
    run = write_log(tmp_path / "run")
    if examples:
        write_classes(run, classes, examples)
    else:
        write_classes(run, classes, 1)
    began = time.process_time()
    page = report_of(tmp_path, run)
    assert time.process_time() - began < 5.0
    assert len(page) < 3e6
    if classes > 25:
        assert f"All {classes} classes, the worst first" in page
        assert "The 25 most confused classes, in percent" in charts_in(page)


def test_a_run_that_was_killed_has_a_report_that_says_what_is_missing(tmp_path):
    run = write_log(tmp_path / "run", steps=10, ended=False)
    with (run / "log.json").open("ab") as file:
        file.write(b'DLLL {"type": "LOG", "step": [1, 20], "data": {"total_\xff')
    page = report_of(tmp_path, run)
    assert "There was no evaluation: metrics, confusions and pictures are missing." in page
    assert "1 lines of the log could not be read" in page
    assert set(charts_in(page)) >= {"Loss, weight decay included", "Learning rate"}


def test_a_log_of_nothing_and_one_of_nonsense_have_reports(tmp_path):
    empty = tmp_path / "empty"
    open_log(empty / "log.json", None).close()
    assert "The log contains no launch" in report_of(tmp_path, empty)
    log = open_log(tmp_path / "odd" / "log.json", None)
    log.log(PARAMETER, {"mode": ["a", {"b": None}], "arch": 3, "results_dir": 7})
    log.log("x", {"total_loss": 1})
    log.log((0, 3), {"total_loss": {"a": 1}, "imgs_per_sec": True, "learning_rate": "inf"})
    log.close()
    assert "What was run" in report_of(tmp_path, tmp_path / "odd")


def test_runs_are_compared_with_the_best_first_and_what_differs(tmp_path):
    good, bad = write_log(tmp_path / "good", lr_init=0.2), write_log(tmp_path / "bad", ended=False, lr_init=0.05)
    page = report_of(tmp_path, bad, good)
    results, differences = page.split("<h2>Results</h2>")[1].split("<h2>What differs</h2>")
    assert results.index(str(good)) < results.index(str(bad))
    assert '<td class="number">0.5938</td>' in results
    row = next(line for line in differences.splitlines() if "lr_init" in line)
    assert row == "<tr><td>lr_init</td><td>0.2</td><td>0.05</td></tr>"
    assert "<td>batch_size</td>" not in differences.split("<h2>Curves</h2>")[0]
    assert {"Loss of training, weight decay included", "Validation: top-1"} <= set(charts_in(page))


def test_tables_and_charts_name_metrics_as_the_console_does(tmp_path):
    for name in ("run", "other"):
        write_log(tmp_path / name)
    one, both = (report_of(tmp_path, *runs) for runs in ([tmp_path / "run"], [tmp_path / "run", tmp_path / "other"]))
    assert "<th>top-1</th><th>top-5</th>" in one
    assert "<th>top-1</th><th>loss</th><th>images/s in training</th>" in both
    for page in (one, both):
        assert not re.search(r"(top1_accuracy|cross_entropy|train_throughput)<", page)


def test_hundreds_of_runs_are_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [write_log(Path(f"run{n}"), lr_init=0.1 + 0.1 * (n == 7), ended=n != 3) for n in range(200)]
    page = report_of(tmp_path, *runs)
    assert "200 runs compared" in page
    assert all(f"<td>{run}</td>" in page for run in runs)
    assert "Most frequent: lr_init 0.1" in page
    assert f"<td>{runs[7]}</td><td>lr_init 0.2" in page
    assert len(page) < 3e6


def test_runs_that_cannot_be_read_are_left_out_and_named(tmp_path, capsys):
    run = write_log(tmp_path / "run")
    (tmp_path / "none").mkdir()
    page = report_of(tmp_path, run, tmp_path / "none", status=3)
    assert page.count("<h1>Run ") == 1
    assert capsys.readouterr().err.startswith(f"left out: {tmp_path / 'none'}: contains no log of a run")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nowhere",), 1, "nowhere: cannot be read (No such file or directory)"),
        (("run", "--output=run"), 2, "--output run: is a folder; name the file to write"),
        (("run", "--output=run/log.json"), 2, "--output run/log.json: is the log of a run; name another file"),
        (("run", "--output=run/log.json/report.html"), 1, "--output run/log.json/report.html: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    before = (write_log(tmp_path / "run") / "log.json").read_bytes()
    assert main(list(arguments)) == status
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert (tmp_path / "run" / "log.json").read_bytes() == before
