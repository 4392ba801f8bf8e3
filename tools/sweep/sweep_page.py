"""The page of a sweep, and the same results as a table of plain text (no TF)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from tools.sweep.launches import DONE, FAILED, Result
from tools.sweep.plan import Launch, Plan
from tools.sweep.results import Findings, Summary
from utils.reporting.page import folded, notes, page, section, table
from utils.reporting.paired_tests import sentence
from utils.text import one_line, plural

_GAP = "  "


def sweep_page(plan: Plan, findings: Findings, ended: Sequence[tuple[Launch, Result]]) -> bytes:
    """The HTML file."""
    folds = "" if plan.folds is None else f" in {plan.folds} folds"
    lead = escape(
        f"{plural(len(plan.settings), 'setting')}, {plural(plan.seeds, 'seed')}{folds}, the best setting first: "
        f"{findings.metric} of all images, the mean over seeds, with its 95 % interval. Flags of all launches: "
        f"{shlex.join(plan.flags)}"
    )
    headers, rows = _rows(findings)
    told = notes(sentences(findings))
    lacking = notes([*findings.notes, *findings.tests.refused, *failures(ended)], "note")
    return page(
        "Sweep",
        lead,
        [
            section("Settings", table(headers, rows)),
            section("Larger than chance?", told, _about_seeds(plan), lacking),
            section("Flags of the settings", table(["setting", "flags"], _flags(plan))),
            section("Launches", folded("Each launch", table(*_launches(findings, ended)))),
        ],
    )


def plain_table(findings: Findings) -> Iterator[str]:
    """The lines of the table of settings."""
    headers, rows = _rows(findings)
    cells = [headers, *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
        yield _GAP.join((row[0].ljust(widths[0]), *padded)).rstrip()


def sentences(findings: Findings) -> list[str]:
    """The tests in words."""
    return [sentence(test, len(findings.tests.pairs)) for test in findings.tests.pairs]


def failures(ended: Sequence[tuple[Launch, Result]]) -> list[str]:
    """A sentence about each launch that failed."""
    return [f"{launch.name}: failed. {result.reason}" for launch, result in ended if result.state == FAILED]


def _rows(findings: Findings) -> tuple[list[str], list[list[Any]]]:
    """The headings and the rows of the table of settings; numbers are not yet text."""
    seeds = any(one.spread is not None for one in findings.summaries)
    headers = ["setting", "images", findings.metric, "95 % interval", *(["spread over seeds"] if seeds else [])]
    return [*headers, "processor s", "launches"], [_row(one, seeds=seeds) for one in findings.summaries]


def _row(one: Summary, *, seeds: bool) -> list[Any]:
    ends = "" if one.interval is None else f"{one.interval[0]:.4f} to {one.interval[1]:.4f}"
    spread = [_figure(one.spread)] if seeds else []
    done, whole = one.launches
    return [
        one.setting, one.images, _figure(one.value), ends, *spread, f"{one.processor_seconds:.1f}", f"{done} of {whole}"
    ]  # fmt: skip


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    return one_line(f"{value:,}" if isinstance(value, int) else str(value))


def _about_seeds(plan: Plan) -> str:
    """A note on what the tests of several seeds are about."""
    if plan.seeds == 1:
        return ""
    told = "The tests resample images, and take the mean over seeds each time. The spread over seeds tells how much "
    return notes([f"{told}training varies by itself."])


def _flags(plan: Plan) -> Iterator[tuple[str, str]]:
    for setting in plan.settings:
        yield setting.name, shlex.join(setting.flags) or "none"


def _launches(findings: Findings, ended: Sequence[tuple[Launch, Result]]) -> tuple[list[str], Iterator[list[Any]]]:
    by_name = {one.setting: one.by_cell for one in findings.summaries}
    headers = ["setting", "seed", "fold", findings.metric, "processor s", "seconds", "starts", "state"]
    rows = (
        [
            launch.setting,
            launch.seed,
            "" if launch.fold is None else launch.fold,
            _figure(by_name[launch.setting].get(launch.cell)),
            result.processor_seconds,
            result.seconds,
            result.attempts,
            DONE if result.state == DONE else f"{result.state}: {result.reason}",
        ]
        for launch, result in ended
    )
    return headers, rows
