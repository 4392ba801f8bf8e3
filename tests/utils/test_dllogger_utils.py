"""The lines of the log on the console and in the file, in the format that parsers expect."""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from utils.dllogger_utils import METRICS, PARAMETER, SUMMARY, DllScreen, Logger, open_log, read_log
from utils.errors import UsageError

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+"


@pytest.fixture
def console():
    return io.StringIO()


@pytest.fixture
def log(tmp_path, console):
    logger = Logger(tmp_path / "log.json", DllScreen(console))
    yield logger
    logger.close()


def lines(tmp_path):
    return (tmp_path / "log.json").read_text().splitlines()


def test_a_console_line_has_the_step_and_every_value_with_its_unit(log, console):
    log.metadata("train_throughput", "images/s")
    log.metadata("top1_accuracy", None)
    log.log(SUMMARY, {"top1_accuracy": 0.5, "train_throughput": 12.25})
    assert re.fullmatch(
        rf"DLL {TIME} - \(\) top1_accuracy : 0\.5 None train_throughput : 12\.25 images/s\n", console.getvalue()
    )


def test_a_value_without_a_unit_leaves_a_space(log, console):
    log.log((3, 40), {"imgs_per_sec": 7.5, "total_loss": 1.0})
    assert re.fullmatch(rf"DLL {TIME} - \(3, 40\) imgs_per_sec : 7\.5  total_loss : 1\.0 \n", console.getvalue())


def test_parameters_have_their_own_step(log, console, tmp_path):
    log.log(PARAMETER, {"arch": "resnet50", "amp": False})
    assert re.fullmatch(rf"DLL {TIME} - PARAMETER arch : resnet50  amp : False \n", console.getvalue())
    assert read_log(tmp_path / "log.json")[0]["step"] == "PARAMETER"


def test_a_json_line_has_the_formats_keys_in_order(log, tmp_path):
    log.log((0, 5), {"total_ips": 3.0})
    (line,) = lines(tmp_path)
    assert line.startswith('DLLL {"timestamp": "')
    record = json.loads(line[5:])
    assert list(record) == ["timestamp", "datetime", "elapsedtime", "type", "step", "data"]
    assert (record["type"], record["step"], record["data"]) == ("LOG", [0, 5], {"total_ips": 3.0})
    assert all(type(record[key]) is str for key in ("timestamp", "datetime", "elapsedtime"))
    assert float(record["timestamp"]) > 1.7e9
    assert 0 <= float(record["elapsedtime"]) < 60
    assert re.fullmatch(TIME, record["datetime"])


def test_tuples_become_lists_and_a_summary_has_an_empty_step(log, tmp_path):
    for step in ((4,), SUMMARY):
        log.log(step, {"loss": 1})
    assert [record["step"] for record in read_log(tmp_path / "log.json")] == [[4], []]


def test_metadata_is_written_to_the_file_alone(log, console, tmp_path):
    log.metadata("eval_latency_p99", "ms")
    record = json.loads(lines(tmp_path)[0][5:])
    assert list(record) == ["timestamp", "datetime", "elapsedtime", "type", "metric", "metadata"]
    assert (record["type"], record["metric"], record["metadata"]) == ("METADATA", "eval_latency_p99", {"unit": "ms"})
    assert console.getvalue() == ""


def test_every_metric_of_the_format_is_declared(tmp_path):
    open_log(tmp_path / "log.json", None).close()
    declared = {r["metric"]: r["metadata"]["unit"] for r in read_log(tmp_path / "log.json")}
    assert declared == METRICS
    assert {name: declared[name] for name in ("train_throughput", "eval_throughput")} == dict.fromkeys(
        ("train_throughput", "eval_throughput"), "images/s"
    )
    assert {declared[f"eval_latency_{kind}"] for kind in ("avg", "p50", "p90", "p95", "p99")} == {"ms"}
    assert declared["top1_accuracy"] is declared["top5_accuracy"] is None


def test_a_second_launch_appends(tmp_path):
    for number in range(3):
        logger = Logger(tmp_path / "log.json", None)
        logger.log((number,), {"launch": number})
        logger.close()
    assert [record["data"]["launch"] for record in read_log(tmp_path / "log.json")] == [0, 1, 2]


def test_every_record_is_in_the_file_at_once(log, tmp_path):
    log.log((1,), {"loss": 2.0})
    assert len(lines(tmp_path)) == 1  # nothing is delayed until close, which a killed process never reaches


def test_a_line_cut_off_by_a_kill_costs_no_other_record(tmp_path):
    first = Logger(tmp_path / "log.json", None)
    first.log((1,), {"loss": 2.0})
    first.close()
    with (tmp_path / "log.json").open("a") as file:
        file.write('DLLL {"timestamp": "17')
    assert len(read_log(tmp_path / "log.json")) == 1
    second = Logger(tmp_path / "log.json", None)
    second.log((2,), {"loss": 1.0})
    second.close()
    assert [record["step"] for record in read_log(tmp_path / "log.json")] == [[1], [2]]


def test_numbers_of_numpy_and_those_that_json_lacks_are_written_readably(log, console, tmp_path):
    data = {"half": np.float32(0.5), "count": np.int64(7), "worse": np.float32("nan"), "bad": float("inf")}
    log.log((1,), data)
    text = lines(tmp_path)[0][5:]
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict["data"] == {"half": 0.5, "count": 7, "worse": "nan", "bad": "inf"}
    assert "half : 0.5  count : 7  worse : nan  bad : inf " in console.getvalue()


def test_names_keep_their_letters(log, tmp_path):
    log.log((1,), {"class_names": ["Müsli", "茶"]})
    assert "Müsli" in lines(tmp_path)[0]
    assert read_log(tmp_path / "log.json")[0]["data"]["class_names"] == ["Müsli", "茶"]


def test_a_logger_with_nowhere_to_write_is_silent():
    logger = Logger(None, None)
    logger.metadata("loss", None)
    logger.log(SUMMARY, {"loss": 1.0})
    logger.close()


def test_the_folder_is_made(tmp_path):
    Logger(tmp_path / "a" / "b" / "log.json", None).close()
    assert (tmp_path / "a" / "b" / "log.json").exists()


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=rf"--results_dir {tmp_path}/file/run: cannot be written to: Not a directory"):
        Logger(tmp_path / "file" / "run" / "log.json", None)


def test_a_file_that_is_no_log_is_left_alone(tmp_path):
    other = tmp_path / "dataset.json"
    other.write_text('{"splits": {}}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"^--log_filename dataset\.json: .*/dataset\.json exists and is not a log"):
        open_log(other, None)
    assert other.read_text(encoding="utf-8") == '{"splits": {}}\n'


def test_records_wait_for_the_disk_on_request_alone(log, tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(Path(f"/proc/self/fd/{number}").read_text()))
    log.log((0, 1), {"loss": 1.0})
    assert flushed == []
    log.flush_to_disk()
    assert flushed == [(tmp_path / "log.json").read_text()]
    assert '"step": [0, 1]' in flushed[0]


def test_a_log_that_is_no_file_is_not_flushed():
    logger = Logger(Path(os.devnull), None)
    logger.log((0, 1), {"loss": 1.0})
    logger.flush_to_disk()
    logger.close()
