import json

import pytest

from tools.measure.benchmark_table import main
from utils.dllogger_utils import PARAMETER, SUMMARY, open_log

SUMMARY_OF_A_RUN = {
    "eval_throughput": 40.0,
    "eval_latency_avg": 25.0,
    "eval_latency_p50": 24.0,
    "eval_latency_p90": 26.5,
    "eval_latency_p95": 27.0,
    "eval_latency_p99": 28.25,
}


@pytest.fixture
def run(tmp_path):
    """The folder of a run, with its log and its console output."""

    def make(summary=None, printed=""):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        if summary is not None:
            log = open_log(folder / "log.json", None)
            log.log(PARAMETER, {"precision": "bfloat16"})
            log.log((0, 10), {"total_ips": 1.0})
            log.log(SUMMARY, summary)
            log.close()
        (folder / "console.txt").write_text(printed)
        return folder

    return make


def add(table, folder, status=0, **asked):
    asked = {"configuration": "AMP + XLA", "gpus": 1, "batch_size": 8, "kind": "eval", "title": "Inference"} | asked
    return main([str(table), str(folder), f"--status={status}", *(f"--{name}={asked[name]}" for name in asked)])


def rows(table):
    return json.loads(table.with_name(f"{table.name}.json").read_text())["rows"]


def test_a_run_becomes_a_row_in_both_tables(run, tmp_path, capsys):
    table = tmp_path / "table"
    assert add(table, run(SUMMARY_OF_A_RUN)) == 0
    assert capsys.readouterr().out == "AMP + XLA, 1 x batch 8: 40.00 images/s\n"
    (row,) = rows(table)
    assert (row["outcome"], row["precision"], row["images_per_s"]) == ("measured", "bfloat16", 40.0)
    assert row["latency_ms"] == {"avg": 25.0, "p50": 24.0, "p90": 26.5, "p95": 27.0, "p99": 28.25}
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "# Inference",
        "",
        "| configuration | GPUs | batch size | computed in | images/s | avg ms | p50 ms | p90 ms | p95 ms | p99 ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| AMP + XLA | 1 | 8 | bfloat16 | 40.00 | 25.00 | 24.00 | 26.50 | 27.00 | 28.25 |",
    ]


def test_rows_come_in_the_order_of_the_runs(run, tmp_path):
    table = tmp_path / "table"
    for batch_size in (4, 2, 8):
        add(table, run(SUMMARY_OF_A_RUN), batch_size=batch_size)
    assert [row["batch_size"] for row in rows(table)] == [4, 2, 8]
    assert (tmp_path / "table.md").read_text().count("| AMP + XLA |") == 3


def test_the_figures_of_training_have_names_of_their_own(run, tmp_path):
    folder = run({"train_throughput": 7.0, "train_latency_avg": 9.0, "network_throughput": 8.0})
    assert add(tmp_path / "table", folder, kind="train") == 0
    (row,) = rows(tmp_path / "table")
    assert (row["images_per_s"], row["latency_ms"]) == (7.0, {"avg": 9.0})


@pytest.mark.parametrize(
    ("status", "printed", "why"),
    [
        (
            1,
            "INFO: go\nCRITICAL: out of memory: a smaller --batch_size needs less (OOM)\nCRITICAL: rank 1 ends\n",
            "out of memory: a smaller --batch_size needs less (OOM)",
        ),
        (137, "", "killed, as Linux does when memory runs out"),
    ],
)
def test_a_run_that_does_not_fit_is_said_to_and_is_no_failure(run, tmp_path, status, printed, why, capsys):
    assert add(tmp_path / "table", run(None, printed), status) == 3
    (row,) = rows(tmp_path / "table")
    assert (row["outcome"], row["reason"], row["exit_status"]) == ("does not fit", why, status)
    assert capsys.readouterr().out == f"AMP + XLA, 1 x batch 8: does not fit: {why}\n"
    assert f"| does not fit: {why} |" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("status", "printed", "why"),
    [
        (1, "CRITICAL: --data_dir /d: a | b\n", "--data_dir /d: a | b"),
        (1, "Traceback ...\n", "ended with status 1"),
        (143, "out of memory? no\n", "ended with status 143"),
    ],
)
def test_a_failure_stands_in_the_tables_with_its_reason(run, tmp_path, status, printed, why):
    assert add(tmp_path / "table", run(None, printed), status) == 1
    (row,) = rows(tmp_path / "table")
    assert (row["outcome"], row["reason"]) == ("failed", why)
    assert f"| failed: {why} |".replace("a | b", r"a \| b") in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("summary", [None, {}, {"eval_throughput": "nan"}])
def test_a_run_that_ended_well_and_measured_nothing_failed(run, tmp_path, summary):
    assert add(tmp_path / "table", run(summary)) == 1
    (row,) = rows(tmp_path / "table")
    assert row["outcome"] == "failed"
    assert row["reason"].endswith("log.json has no eval_throughput")


def test_a_table_that_cannot_be_written_is_an_error(run, tmp_path, capsys):
    assert add(tmp_path / "none" / "table", run(SUMMARY_OF_A_RUN)) == 1
    assert "none" in capsys.readouterr().err
