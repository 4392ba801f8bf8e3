import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.loading import load_example

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "examples" / "benchmark_speed.py"


@pytest.fixture(scope="module")
def benchmark_speed():
    return load_example("benchmark_speed")


def records(speeds, every=10):
    return [
        {"step": [0, every * number], "data": {"imgs_per_sec": speed}} for number, speed in enumerate(speeds, start=1)
    ]


def test_the_average_is_images_over_time_and_no_mean_of_rates(benchmark_speed):
    # the last 300 of 1,200 steps: 150 of them at 30 images/s and 150 at 10, 1 image each: 300 / (5 + 15)
    assert benchmark_speed.average_speed(records([1.0] * 90 + [30.0] * 15 + [10.0] * 15)) == pytest.approx(15.0)


def test_a_short_run_counts_its_last_quarter_and_a_long_one_300_steps(benchmark_speed):
    assert benchmark_speed.average_speed(records([1.0, 1.0, 1.0, 8.0])) == 8.0
    assert benchmark_speed.average_speed(records([1.0] * 170 + [8.0] * 30)) == 8.0


def test_a_longer_interval_weighs_more(benchmark_speed):
    uneven = [*records([1.0] * 9, every=100), {"step": [0, 1000], "data": {"imgs_per_sec": 10.0}}]
    uneven += [{"step": [0, 1200], "data": {"imgs_per_sec": 20.0}}]
    assert benchmark_speed.average_speed(uneven) == pytest.approx(300 / (100 / 10 + 200 / 20))


def test_records_of_other_kinds_do_not_count(benchmark_speed):
    others = [
        {"step": "PARAMETER", "data": {"imgs_per_sec": 1.0}},
        {"type": "METADATA", "metric": "imgs_per_sec", "metadata": {"unit": None}},
        {"step": [0], "data": {"loss": 1.0}},
        {"step": [0, 45], "data": {"loss": 1.0}},
        {"step": [], "data": {"train_throughput": 1.0}},
    ]
    assert benchmark_speed.average_speed([*others, *records([5.0] * 8), *others]) == 5.0


@pytest.mark.parametrize(
    ("speeds", "why"),
    [
        ([], "has no imgs_per_sec of the last steps"),
        ([5.0], "has no imgs_per_sec of the last steps"),
        ([5.0, 5.0, 5.0, 0], "imgs_per_sec 0: must be a positive number"),
        ([5.0, 5.0, 5.0, "inf"], "imgs_per_sec inf: must be a positive number"),
    ],
)
def test_a_log_without_speeds_is_a_sentence(benchmark_speed, tmp_path, capsys, speeds, why):
    log = tmp_path / "log.json"
    log.write_text("".join(f"DLLL {json.dumps(record)}\n" for record in records(speeds)))
    assert benchmark_speed.main([str(log), "--gpus=1", "--precision=single"]) == 1
    assert capsys.readouterr().err.startswith(f"benchmark_speed.py: error: {log}: {why}")


def test_the_log_of_two_runs_is_refused(benchmark_speed, tmp_path, capsys):
    log = tmp_path / "log.json"
    log.write_text("".join(f"DLLL {json.dumps(record)}\n" for record in records([5.0] * 8) * 2))
    assert benchmark_speed.main([str(log), "--gpus=1", "--precision=single"]) == 1
    assert "holds more than one run" in capsys.readouterr().err


def test_a_log_that_is_not_there_is_a_sentence_and_needs_no_tensorflow(tmp_path):
    code = (
        "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv[1:] = ['log', '--gpus=1', '--precision=mixed']\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "benchmark_speed.py: error: log: No such file or directory\n"
