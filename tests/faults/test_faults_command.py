from __future__ import annotations

import functools

import pytest

from tests.faults.__main__ import main
from tests.faults.catalogue import AREAS
from tests.faults.scratch import Scratch

TABLE = """
[sign]
why = "the sum is a difference"
file = "utils/add.py"
before = "a + b"
after = "a - b"
tests = ["tests/test_add.py"]

[unseen]
why = "no test looks"
file = "utils/add.py"
before = "0.5"
after = "0.25"
tests = ["tests/test_add.py"]
"""
TESTS = """
from utils.add import add

def test_it_adds():
    assert add(1, 2) == 3
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A program of one function with two faults; its test catches one of them."""
    monkeypatch.setattr("tests.faults.__main__.Scratch", functools.partial(Scratch, libraries=["pytest"]))
    clone = tmp_path / "clone"
    for folder in ("utils", "tests/faults"):
        (clone / folder).mkdir(parents=True)
    for area in AREAS:
        (clone / "tests" / "faults" / f"{area}.toml").write_text(TABLE if area == "utils" else "")
    (clone / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    (clone / "utils" / "add.py").write_text("HALF = 0.5\n\n\ndef add(a, b):\n    return a + b\n")
    (clone / "tests" / "test_add.py").write_text(TESTS)
    return clone


def test_a_fault_that_a_test_notices_is_caught_and_one_that_none_does_is_told(clone, capsys):
    assert main([], clone) == 1

    caught, missed, summary = capsys.readouterr().out.splitlines()
    assert caught.split()[:4] == ["sign", "utils", "utils/add.py", "tests/test_add.py::test_it_adds"]
    assert missed.split()[:5] == ["unseen", "utils", "utils/add.py", "NOT", "CAUGHT"]
    assert summary.startswith("1 of 2 faults caught, ")
    assert (clone / "utils" / "add.py").read_text().endswith("a + b\n")


def test_where_all_are_caught_the_status_is_0(clone, capsys):
    assert main(["sign"], clone) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 of 1 faults caught, ")


def test_a_test_that_fails_without_the_fault_too_has_not_caught_it(clone, capsys):
    (clone / "tests" / "test_add.py").write_text(TESTS.replace("== 3", "== 4"))

    assert main(["sign"], clone) == 1
    _, told, summary = capsys.readouterr().out.splitlines()
    assert told == "NOT CAUGHT: sign: tests/test_add.py::test_it_adds also fails without it"
    assert summary.startswith("0 of 1 faults caught, ")


def test_a_fault_that_lets_nothing_be_imported_proves_nothing(clone, capsys):
    (clone / "utils" / "add.py").write_text((clone / "utils" / "add.py").read_text() + "assert HALF * 2 == 1\n")

    assert main(["unseen"], clone) == 1
    assert "NOT CAUGHT: tests/test_add.py: E   AssertionError" in capsys.readouterr().out


def test_the_list_tries_nothing(capsys):
    assert main(["--list", "--area", "tools"]) == 0
    *faults, count = capsys.readouterr().out.splitlines()
    assert count == f"{len(faults)} faults"
    assert {row.split()[1] for row in faults} == {"tools"}


@pytest.mark.parametrize("arguments", [["nonsense"], ["--area", "model", "crc-mask"]])
def test_what_is_not_there_is_wrong_usage(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
