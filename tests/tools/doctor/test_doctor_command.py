"""The doctor: its command line, its table, its JSON and its exit status."""

import importlib
import json
import os

import pytest

from tools.doctor import __main__ as doctor
from tools.doctor.__main__ import CHECKS, environment, main, parse_arguments, run
from tools.doctor.checks import Check
from tools.doctor.gpu.trials import TRIALS
from utils.errors import UsageError

PROBES = "tests.tools.doctor.sample_probes"


def check(part, **options):
    return Check(name=part, probe=f"{PROBES}:{part}", **options)


def test_an_unknown_name_is_a_usage_error_that_lists_the_names(capsys):
    assert main(["--require", "horovod,dalli"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --require dalli: must be one of python, cpu, ")
    assert error.endswith("; did you mean dali?\n")
    assert all(part.name in error for part in CHECKS)


def test_names_may_have_blanks_around_them():
    assert parse_arguments(["--require", " horovod, dali,"]).require == ["horovod", "dali"]
    with pytest.raises(UsageError):
        parse_arguments(["--require", "a"])


def test_names_are_all_different_and_needs_are_names():
    names = [part.name for part in CHECKS]
    assert len(set(names)) == len(names)
    assert {part.needs for part in CHECKS} - {None} <= set(names)
    assert {"horovod", "dali", "bf16"} <= set(names)


def test_the_table_has_a_row_for_each_part(capsys):
    assert run(parse_arguments([]), [check("works", essential=True), check("is_missing"), check("raises")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "works       ok       3.1, used",
        "is_missing  missing  not installed; `pip install it`",
        "raises      broken   ImportError: libother.so.3: cannot open shared object file",
    ]


@pytest.mark.parametrize("part", ["is_missing", "raises"])
def test_a_part_that_is_required_and_not_in_order_is_status_1(part, monkeypatch, capsys):
    checks = (check("works"), check(part))
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert run(parse_arguments([f"--require={part}"]), checks) == 1
    assert f"error: {part} is " in capsys.readouterr().err
    assert run(parse_arguments(["--require=works"]), checks) == 0


def test_an_essential_part_that_is_broken_is_status_1():
    assert run(parse_arguments([]), [check("raises", essential=True)]) == 1


def test_json_has_the_rows_with_their_facts(capsys):
    assert run(parse_arguments(["--json"]), [check("works"), check("raises")]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "fit": True,
        "checks": {
            "works": {"state": "ok", "text": "3.1, used", "seconds": 0.0, "version": "3.1"},
            "raises": {
                "state": "broken",
                "text": "ImportError: libother.so.3: cannot open shared object file",
                "seconds": 0.0,
            },
        },
    }


def test_trials_on_gpus_follow_the_checks_and_all_results_are_written(tmp_path, capsys):
    output = tmp_path / "gpu.json"
    trials = [Check(name="resnet18", probe=f"{PROBES}:named:resnet18"), check("is_skipped"), check("counts")]
    assert run(parse_arguments(["--gpu", f"--output={output}"]), [check("counts")], trials) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in said[:4]] == [
        ["counts", "ok", "0"],
        ["resnet18", "ok", "tried"],
        ["is_skipped", "skipped", "needs"],
        ["counts", "ok", "0"],  # in a process of their own, without what the checks left on the GPU
    ]
    assert said[4] == f"all results: {output}"
    written = json.loads(output.read_text(encoding="utf-8"))
    assert written["fit"]
    assert written["checks"]["is_skipped"]["state"] == "skipped"


def test_a_trial_that_fails_is_status_1(tmp_path, capsys):
    flags = parse_arguments(["--gpu", f"--output={tmp_path / 'gpu.json'}"])
    assert run(flags, [check("works")], [check("raises")]) == 1
    assert "error: raises is broken: ImportError" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_refused_before_the_trials(capsys):
    assert main(["--gpu", "--output=/proc/none/gpu.json"]) == 1
    assert "/proc/none" in capsys.readouterr().err
    assert main(["--output=gpu.json"]) == 2
    assert "--output gpu.json: only used with --gpu" in capsys.readouterr().err


def test_the_trials_have_names_of_their_own_and_probes_that_exist():
    names = [trial.name for trial in (*CHECKS, *TRIALS)]
    assert len(set(names)) == len(names)
    for trial in TRIALS:
        module, function, *_ = trial.probe.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_parts_find_the_environment_of_a_run():
    found = environment({"PATH": "/bin", "TF_CPP_MIN_LOG_LEVEL": "1"})
    assert found["PATH"] == "/bin"
    assert found["TF_CPP_MIN_LOG_LEVEL"] == "1"
    assert found["TF_ENABLE_ONEDNN_OPTS"] == "1"
    assert found["PWD"] == os.getcwd()  # noqa: PTH109


@pytest.mark.slow
def test_the_whole_of_it_on_this_machine(capsys):
    assert main(["--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert list(checks) == [part.name for part in CHECKS]
    for name in ("tensorflow", "grouped_convolution", "coco_evaluator", "numpy", "pillow", "crc32c", "xla"):
        assert checks[name]["state"] == "ok", checks[name]
    assert not [(name, row) for name, row in checks.items() if row["state"] == "broken"]
