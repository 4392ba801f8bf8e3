"""tests/run.sh and .ci/run, also if an optional part cannot be installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TWO_PROCESSES = "-n 2 --no-loadscope-reorder"
PARTS = [("horovod", "Horovod"), ("dali", "DALI"), ("export", "ONNX/LiteRT")]
PROGRAM = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'


@pytest.fixture
def run(tmp_path):
    """Runs a script in a clone whose programs only record their calls; returns (status, output, calls)."""
    clone = tmp_path / "a clone"
    for script in ("tests/run.sh", "tests/gpu/run.sh", ".ci/run"):
        (clone / script).parent.mkdir(parents=True)
        shutil.copy(ROOT / script, clone / script)
    (clone / "utils" / "shell").mkdir(parents=True)
    (clone / "utils" / "shell" / "setup_venv.sh").write_text(
        'setup_venv() { echo "${VENV:+$VENV: }setup_venv $*" >> "$CALLS"; [ "$*" != "requirements/$BROKEN.txt" ]; }\n'
    )
    for tool in (".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/python", ".venv-gpu/bin/python"):
        (clone / tool).parent.mkdir(parents=True, exist_ok=True)
        (clone / tool).write_text(PROGRAM)
        (clone / tool).chmod(0o755)

    def do(script, *arguments, broken="", **environment):
        last = "exit 1\n" if broken == "horovod" else ""
        (clone / "utils" / "install_horovod.sh").write_text(PROGRAM + last)
        calls = tmp_path / "calls"
        calls.write_text("")
        done = subprocess.run(
            ["bash", clone / script, *arguments],
            env={"PATH": "/usr/bin:/bin", "CALLS": str(calls), "BROKEN": broken, **environment},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr, calls.read_text().splitlines()

    return do


def test_everything_is_installed_then_checked_then_tested(run):
    status, said, calls = run("tests/run.sh", "-k", "x")
    assert (status, said) == (0, "")
    assert calls == [
        "setup_venv requirements/dev.txt",
        *("install_horovod.sh .venv/bin/python", "setup_venv requirements/dali.txt"),
        *("setup_venv requirements/export.txt", "setup_venv requirements/video.txt"),
        *("ruff check .", "ruff format --check .", "mypy ", f"python -m pytest {TWO_PROCESSES} -k x"),
    ]


def test_what_needs_the_cuda_build_runs_in_an_environment_of_its_own(run):
    status, said, calls = run("tests/gpu/run.sh", "-k", "x")
    assert (status, said) == (0, "")
    assert calls == [
        ".venv-gpu: setup_venv requirements/gpu_tests.txt",
        "python -m pytest -p no:cacheprovider tests/gpu -k x",
    ]


def test_a_named_file_is_all_that_runs(run):
    status, _, calls = run("tests/run.sh", "tests/run.sh::test_x", "-x")
    assert status == 0
    assert calls == ["setup_venv requirements/dev.txt", "python -m pytest tests/run.sh::test_x -x"]


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_installs_and_runs_nothing(run, flag):
    assert run("tests/run.sh", flag) == (0, "", [])


def test_coverage_is_told_of_each_package(run):
    status, _, calls = run("tests/run.sh", "--coverage")
    assert status == 0
    assert f"python -m coverage run -m pytest {TWO_PROCESSES}" in calls
    packages = ("model", "object_detection", "runtime", "utils", "tools")
    assert [call.partition("=total ")[2] for call in calls[-5:]] == [
        f"--precision=1 --include={package}/*" for package in packages
    ]


def test_a_fast_run_installs_no_optional_part(run):
    status, _, calls = run("tests/run.sh", "--fast")
    assert status == 0
    assert not [call for call in calls if call.startswith("install") or "dali" in call or "export" in call]
    assert calls[-1] == f"python -m pytest -m not slow {TWO_PROCESSES}"


@pytest.mark.parametrize(("broken", "name"), PARTS)
def test_a_part_that_cannot_be_had_is_a_notice_outside_continuous_integration(run, broken, name):
    status, said, calls = run("tests/run.sh", broken=broken)
    assert (status, said) == (0, f"{name} could not be installed: its tests are skipped\n")
    assert calls[-1].startswith("python -m pytest")


@pytest.mark.parametrize(("broken", "name"), PARTS)
@pytest.mark.parametrize("start", [("tests/run.sh", {"CI": "true"}), (".ci/run", {})], ids=["CI=true", ".ci/run"])
def test_a_part_that_cannot_be_had_ends_continuous_integration(run, start, broken, name):
    status, said, calls = run(start[0], broken=broken, **start[1])
    assert status == 1
    assert said == f"{name} could not be installed, and in continuous integration its tests must run: CI=true\n"
    assert not [call for call in calls if "pytest" in call]


def test_pre_commit_runs_the_same_lint():
    lint = re.findall(r"^    (\.venv/bin/(?:ruff|mypy).*)$", (ROOT / "tests/run.sh").read_text(), re.MULTILINE)
    hooks = re.findall(r"^ +entry: (.*)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE)
    assert len(lint) == 3
    assert hooks == lint
