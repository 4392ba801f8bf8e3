import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.loading import load_example

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "examples" / "SSD320_inference.py"
SUMMARY = {
    "images": 1200,
    "eval_throughput": 40.0,
    "eval_latency_avg": 25.0,
    "eval_latency_p50": 24.0,
    "eval_latency_p90": 26.126,
    "eval_latency_p95": 27.0,
    "eval_latency_p99": 30.5,
}


@pytest.fixture(scope="module")
def inference():
    return load_example("SSD320_inference")


CONFIG = ROOT / "object_detection" / "configs" / "ssd320_full_1gpus.config"


def translated(inference, *arguments, environ=None):
    """Returns the config of the run for these flags."""
    options = inference.build_parser().parse_args(arguments)
    command = inference.parse(inference.to_model_main_arguments(options, "empty"), environ or {})
    assert not [note for note in command.notes if "no effect with" in note]
    return command.config


def read(path):
    return [json.loads(line.removeprefix("DLLL ")) for line in path.read_text().splitlines()]


class Program:
    """Stands in for the benchmark: keeps its command and writes a log."""

    def __init__(self, summary=SUMMARY, status=0):
        self._summary = summary
        self._status = status
        self.command = None

    def __call__(self, command):
        self.command = command
        if self._summary is not None:
            record = {"type": "LOG", "step": [], "data": self._summary}
            with Path(command.config.run.report_file).open("a") as file:
                file.write(f"DLLL {json.dumps(record)}\n")
        return self._status


def test_without_flags_it_is_the_originals_benchmark_of_the_1_gpu_config(inference):
    config = translated(inference)
    run = config.run
    assert inference.build_parser().parse_args([]).pipeline_config_path == str(CONFIG)
    assert (run.mode, run.model_dir, run.report_file) == ("inference_benchmark", None, "summary.json")
    assert (run.duration.value, run.duration.unit, run.warmup_steps) == (400, "batch", 100)
    assert run.percentiles == (90, 95, 99)
    assert (config.data.batch_size_per_replica, config.precision.amp) == (1, False)
    assert (config.model.architecture, config.model.image_size) == ("ssd320", 320)
    assert config.data.source == "synthetic"  # the config's /data/coco2017_tfrecords does not exist


def test_each_flag_arrives(inference):
    given = [f"--pipeline_config_path={CONFIG}", "--checkpoint_dir", "my run", "--batch_size", "8", "--amp"]
    given += ["--warmup_iters=5", "--benchmark_iters=20", "--percentiles=50,99"]
    given += ["--hparams_overrides=eval_input_path=/my data/*val*,num_classes=3"]
    config = translated(inference, *given)
    run = config.run
    assert (run.model_dir, run.results_dir) == ("my run", "empty")
    assert (run.duration.value, run.warmup_steps, run.percentiles) == (25, 5, (50, 99))
    assert (config.data.batch_size_per_replica, config.precision.amp) == (8, True)
    assert (config.data.validation_files, config.model.num_classes) == (("/my data/*val*",), 3)


def test_the_variable_that_the_scripts_set_means_mixed_precision(inference):
    assert translated(inference, environ={"TF_ENABLE_AUTO_MIXED_PRECISION": "1"}).precision.amp


@pytest.mark.parametrize("spelling", ["report_file", "raport_file"])
def test_the_log_has_the_originals_name_too(inference, spelling):
    assert translated(inference, f"--{spelling}=mine.json").run.report_file == "mine.json"


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--pipeline_config_path=no.config", "no.config"),
        ("--hparams_overrides=no_such_field=1", "no_such_field"),
    ],
)
def test_a_config_that_cannot_be_understood_is_a_usage_error_and_a_sentence(inference, capsys, flag, why):
    program = Program()
    assert inference.main([flag], program) == 2
    error = capsys.readouterr().err
    assert error.startswith("SSD320_inference.py: error: ")
    assert why in error
    assert program.command is None


@pytest.mark.slow
def test_a_folder_without_a_checkpoint_is_refused_before_anything_is_measured(inference, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inference.os, "environ", dict(inference.os.environ))
    assert inference.main([f"--checkpoint_dir={tmp_path}", f"--report_file={tmp_path / 'log'}"]) == 1
    assert f"--checkpoint_dir {tmp_path}: holds no checkpoint" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_result_is_printed_and_logged_in_the_originals_words(inference, tmp_path, capsys):
    log = tmp_path / "summary.json"
    assert inference.main([f"--report_file={log}"], Program()) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Benchmark result: 40.00 img/s",
        "eval_avg_latency: 25.00 ms",
        "eval_90%_latency: 26.13 ms",
        "eval_95%_latency: 27.00 ms",
        "eval_99%_latency: 30.50 ms",
    ]
    records = read(log)
    assert records[-1]["step"] == []
    assert records[-1]["data"] == {
        "infer_throughput": 40.0,
        "eval_avg_latency": 25.0,
        "eval_90%_latency": 26.126,
        "eval_95%_latency": 27.0,
        "eval_99%_latency": 30.5,
    }
    units = {record["metric"]: record["metadata"]["unit"] for record in records if record.get("type") == "METADATA"}
    assert units == {name: "images/s" if name == "infer_throughput" else "ms" for name in records[-1]["data"]}


def test_a_second_run_reports_its_own_figures(inference, tmp_path, capsys):
    arguments = [f"--report_file={tmp_path / 'summary.json'}", "--percentiles=50"]
    assert inference.main(arguments, Program()) == 0
    assert inference.main(arguments, Program({**SUMMARY, "eval_throughput": 80.0})) == 0
    assert "Benchmark result: 80.00 img/s" in capsys.readouterr().out


@pytest.mark.parametrize("status", [1, 2, 75])
def test_a_run_that_fails_reports_nothing_and_its_status_is_kept(inference, tmp_path, capsys, status):
    log = tmp_path / "summary.json"
    assert inference.main([f"--report_file={log}"], Program(None, status)) == status
    assert capsys.readouterr().out == ""
    assert not log.exists()


def test_a_run_that_leaves_no_figures_is_a_sentence(inference, tmp_path, capsys):
    log = tmp_path / "summary.json"
    assert inference.main([f"--report_file={log}"], Program({"images": 0})) == 1
    assert f"error: {log}: the run logged no eval_throughput" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "allowed"),
    [
        ("--batch_size=0", "must be a positive integer"),
        ("--benchmark_iters=-1", "must be a positive integer"),
        ("--warmup_iters=some", "must be 0 or a positive integer"),
        ("--percentiles=90,101", "must be integers from 1 to 100"),
        ("--percentiles=", "must be integers from 1 to 100"),
    ],
)
def test_a_value_out_of_range_is_a_usage_error(inference, flag, allowed, capsys):
    with pytest.raises(SystemExit) as ended:
        inference.main([flag], Program())
    assert ended.value.code == 2
    assert allowed in capsys.readouterr().err


def test_help_is_there_from_any_folder_without_tensorflow(tmp_path):
    code = "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv[1:] = ['--help']\n"
    code += f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--benchmark_iters" in done.stdout
