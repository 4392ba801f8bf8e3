"""``python -m tools``: the list of the tools, their names, and their start by path."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tools.measure.__main__ import MEASUREMENTS


def run(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def names():
    before = os.times()
    done = run("-X", "importtime", "-m", "tools")
    after = os.times()
    assert done.returncode == 0, done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"tensorflow", "numpy", "PIL"}
    assert (after.children_user + after.children_system) - (before.children_user + before.children_system) < 1
    usage, tools = done.stdout.split("\n\n")
    assert usage.startswith("usage: python -m tools NAME")
    found = dict(re.fullmatch(r"  (\S+) +(\S.*[^.])", line).groups() for line in tools.splitlines())
    assert not any("python -m" in sentence for sentence in found.values())
    return set(found)


def test_every_tool_is_listed_with_a_sentence(names):
    modules = {path for path in (ROOT / "tools").rglob("*.py") if "\nif __name__ == " in path.read_text("utf-8")}
    assert len(names) == len(modules) - 1
    assert {"convert", "export", "report", "measure.scaling_model"} < names


def test_a_tool_runs_under_its_name(tmp_path):
    for name in ("report", "tools.report"):
        done = run("-m", "tools", name, tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {tmp_path}: contains no log of a run")
    assert run("-m", "tools", "validate", "--help").stdout.startswith("usage: python -m tools.validate ")


def test_a_measurement_runs_under_its_name():
    assert run("-m", "tools.measure", "soak", "--help").stdout.startswith("usage: python -m tools.measure.soak ")
    done = run("-m", "tools.measure", "soak", "--minutes=0")
    assert (done.returncode, done.stderr) == (2, "error: --minutes 0.0: must be a positive number\n")
    done = run("-m", "tools.measure", "soap")
    assert done.returncode == 2
    assert "did you mean soak?" in done.stderr


def test_every_measurement_is_listed():
    folder = ROOT / "tools" / "measure"
    commands = {path.stem for path in folder.glob("*.py") if "\nif __name__ ==" in path.read_text()}
    packages = {path.parent.name for path in folder.glob("*/__main__.py")}
    assert commands - {"__main__"} | packages == set(MEASUREMENTS)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("exprot", "export"), ("measure.scaling", r"measure\.scaling_model")],
)
def test_an_unknown_tool_is_refused_with_the_nearest(name, nearest):
    done = run("-m", "tools", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"error: {name}: no such tool; it must be one of .*, validate; did you mean {nearest}\?\n", done.stderr
    )


def test_a_tool_can_be_started_by_its_path_from_anywhere(names, tmp_path):
    folder = ROOT / "tools"
    paths = [folder / f"{name.replace('.', '/')}.py" for name in names]
    paths = [path if path.exists() else path.with_suffix("") for path in paths]
    for path in [folder, ROOT / "object_detection" / "create_coco_tfrecord.py", *paths]:
        done = run(path, "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage: ")
