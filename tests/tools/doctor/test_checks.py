"""Checks: every part gets a row whatever it does, and the remaining parts are tried."""

import os
import time

import pytest

from tools.doctor.checks import Check, format_line, not_in_order, run_checks

PROBES = "tests.tools.doctor.sample_probes"


def check(part, **options):
    return Check(**{"name": part, "probe": f"{PROBES}:{part}", **options})


def rows_of(*checks):
    return list(run_checks(checks, os.environ))


def test_each_outcome_is_a_row_and_the_rest_is_tried():
    parts = ("works", "is_missing", "raises", "ends", "crashes", "hangs", "works")
    started = time.monotonic()
    rows = rows_of(*(check(part, seconds=3 if part == "hangs" else 60) for part in parts))
    assert [row.name for row in rows] == list(parts)
    assert [(row.state, row.text) for row in rows] == [
        ("ok", "3.1, used"),
        ("missing", "not installed; `pip install it`"),
        ("broken", "ImportError: libother.so.3: cannot open shared object file"),
        ("broken", "SystemExit: goodbye"),
        ("broken", "ended the process (SIGSEGV): about to crash"),
        ("broken", "did not end within 3 s"),
        ("ok", "3.1, used"),
    ]
    assert rows[0].facts == {"version": "3.1"}
    assert time.monotonic() - started < 60


def test_a_module_that_is_not_there_is_broken():
    (row,) = rows_of(Check(name="gone", probe="tests.tools.doctor.gone:works"))
    assert row.state == "broken"
    assert "ModuleNotFoundError" in row.text


def test_one_process_tries_all_until_one_part_ends_it():
    rows = rows_of(check("counts"), check("counts"), check("crashes"), check("counts"))
    assert [row.text for row in rows if row.state == "ok"] == ["0", "1", "0"]


def test_what_needs_a_broken_part_is_not_tried():
    rows = rows_of(
        check("raises"), check("hangs", needs="raises"), check("is_missing"), check("works", needs="is_missing")
    )
    assert rows[1].text == "needs raises, which is broken"
    assert rows[3].state == "ok"


def test_the_process_ends_with_the_caller():
    rows = run_checks([check("works"), check("hangs")], os.environ)
    assert next(rows).state == "ok"
    started = time.monotonic()
    rows.close()
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(("part", "fit"), [("works", True), ("is_missing", False), ("raises", False)])
def test_only_what_works_is_fit(part, fit):
    rows = rows_of(check(part))
    assert (not_in_order(rows, {part}) == []) == fit
    assert not_in_order(rows, ()) == []
    assert format_line(rows[0], 12, lambda state, text: text).startswith(f"{part:<12}  {rows[0].state:<7}  ")
