from __future__ import annotations

import ast
import functools
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.catalogue import AREAS, ROOT, Fault, read_faults

FAULTS = read_faults()


def test_every_fault_still_fits_its_file_once_and_leaves_a_program():
    assert [fault.name for fault in FAULTS if not _fits(fault)] == []


def _fits(fault: Fault) -> bool:
    """Returns whether the fault applies, changes the program, and leaves a file that compiles, if it is Python."""
    sound = (ROOT / fault.file).read_text(encoding="utf-8")
    meaning = _meaning if fault.file.endswith(".py") else str
    try:
        return meaning(fault.apply(sound)) != meaning(sound) and "\n" not in fault.before + fault.after
    except (ValueError, SyntaxError):
        return False


@functools.cache
def _meaning(text: str) -> str:
    return ast.dump(ast.parse(text))


def test_the_tests_of_every_fault_are_there():
    named = [(fault.name, test) for fault in FAULTS for test in fault.tests or [""]]
    assert [pair for pair in named if not _is_a_test(pair[1])] == []


def _is_a_test(name: str) -> bool:
    file, _, function = name.partition("::")
    return (ROOT / file).is_file() and (not function or function in _functions(ROOT / file))


@functools.cache
def _functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_faults_are_in_their_packages_and_spread_over_all_of_them():
    assert [fault.name for fault in FAULTS if not fault.file.startswith(f"{fault.area}/")] == []
    assert len(FAULTS) >= 60
    assert min(Counter(fault.area for fault in FAULTS)[area] for area in AREAS) >= 10


def test_faults_have_names_of_their_own_and_reasons():
    assert [name for name, times in Counter(fault.name for fault in FAULTS).items() if times > 1] == []
    places = Counter((fault.file, fault.before, fault.after) for fault in FAULTS)
    assert [place for place, times in places.items() if times > 1] == []
    assert [fault.name for fault in FAULTS if not fault.why or fault.why.endswith(".")] == []


@pytest.mark.parametrize("text", ["x = 1\n", "x = 2\nx = 2\n"])
def test_a_fault_that_does_not_fit_once_is_an_error(text):
    fault = Fault(name="n", area="utils", why="w", file="utils/a.py", before="x = 2", after="x = 3", tests=())

    with pytest.raises(ValueError, match=r"n: utils/a\.py holds 'x = 2' [02] times; must hold it once"):
        fault.apply(text)
