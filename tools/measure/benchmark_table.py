"""Adds the result of one benchmark run to a table in Markdown and JSON: python -m tools.measure.benchmark_table --help.

Exit status: 0 the run was measured, 3 it did not fit into memory, 1 it failed. Imports no TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tools.command import CommandParser, run_command
from utils.dllogger_utils import PARAMETER, SUMMARY, read_log
from utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_SOME_SKIPPED, OUT_OF_MEMORY
from utils.files.atomic_file import write_atomically

MEASURED, NO_FIT, FAILED = "measured", "does not fit", "failed"
LATENCIES = ("avg", "p50", "p90", "p95", "p99")
KILLED = 128 + 9
"""The status of a process ended by SIGKILL, as by Linux when memory runs out."""
_COLUMNS = ("configuration", "GPUs", "batch size", "computed in", "images/s")
_SEVERE = re.compile(r"^(?:\[\d+,\d+\]<std(?:out|err)>: ?)?CRITICAL: (?:rank \d+: )?(.+)$", flags=re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of a benchmark."""

    configuration: str
    gpus: int
    batch_size: int
    """Images per step and GPU."""
    outcome: str
    exit_status: int
    reason: str = ""
    precision: str = ""
    """The precision in use, which may differ from the requested one on some machines."""
    images_per_s: float | None = None
    latency_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Mean and percentiles of the time of a batch."""


def row_of(run: Path, kind: str, asked: Mapping[str, Any], status: int) -> Row:
    """The row of a run, from the files in its folder.

    Args:
        run: The folder with log.json, and with the console output in console.txt.
        kind: "eval" or "train", the prefix of the log keys.
        asked: The requested configuration, GPUs and batch size.
        status: The run's exit status.
    """
    asked = {**asked, "exit_status": status}
    if status != 0:
        reasons = _SEVERE.findall(_text(run / "console.txt")) or [f"ended with status {status}"]
        # The last message of several processes is arbitrary; if any of them ran out of memory, that is the cause.
        memory = [text for text in reasons if text.startswith(OUT_OF_MEMORY)]
        if status == KILLED:
            memory = memory or ["killed, as Linux does when memory runs out"]
        outcome = NO_FIT if memory else FAILED
        return Row(**asked, outcome=outcome, reason=(memory or reasons)[-1])
    records = read_log(run / "log.json") if (run / "log.json").exists() else []
    summary = _last(records, list(SUMMARY))
    speed = summary.get(f"{kind}_throughput")
    if not isinstance(speed, int | float):
        return Row(**asked, outcome=FAILED, reason=f"{run / 'log.json'} has no {kind}_throughput")
    latency = {which: summary.get(f"{kind}_latency_{which}") for which in LATENCIES}
    return Row(
        **asked,
        outcome=MEASURED,
        precision=_last(records, PARAMETER).get("precision", ""),
        images_per_s=speed,
        latency_ms={which: value for which, value in latency.items() if value is not None},
    )


def _last(records: Sequence[Mapping[str, Any]], step: Any) -> Mapping[str, Any]:
    """The data of the last record of a step, or empty."""
    found = [record["data"] for record in records if record.get("type") == "LOG" and record.get("step") == step]
    return found[-1] if found else {}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def markdown(title: str, rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    header = [*_COLUMNS, *(f"{which} ms" for which in LATENCIES)]
    lines = [f"# {title}", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in rows:
        facts = [row.configuration, str(row.gpus), str(row.batch_size), row.precision]
        figures = [_figure(row.images_per_s), *(_figure(row.latency_ms.get(which)) for which in LATENCIES)]
        if row.outcome != MEASURED:
            figures[0] = f"{row.outcome}: {row.reason}".replace("|", "\\|")
        lines.append(f"| {' | '.join([*facts, *figures])} |")
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def add(table: Path, title: str, row: Row) -> None:
    """Appends a row to ``table``.json and rewrites ``table``.md."""
    path = table.with_name(f"{table.name}.json")
    earlier = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [*(Row(**values) for values in earlier), row]
    content = {"title": title, "rows": [dataclasses.asdict(row) for row in rows]}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(table.with_name(f"{table.name}.md"), markdown(title, rows).encode())


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(prog="python -m tools.measure.benchmark_table", description=__doc__.split(":")[0])
    parser.add_argument("table", metavar="TABLE", type=Path, help="the table's path, without .md and .json")
    parser.add_argument("run", metavar="RUN", type=Path, help="the run's folder, with log.json and console.txt")
    parser.add_argument("--title", metavar="TEXT", required=True, help="the table's heading")
    parser.add_argument("--kind", choices=("eval", "train"), required=True, help="whether the run evaluated or trained")
    parser.add_argument(
        "--configuration", metavar="NAME", required=True, help="name of the configuration, for the first column"
    )
    parser.add_argument("--gpus", type=int, required=True, help="number of processes")
    parser.add_argument("--batch_size", type=int, required=True, help="images per step and process")
    parser.add_argument("--status", type=int, required=True, help="the run's exit status")
    return parser


def run(options: argparse.Namespace) -> int:
    """Adds the row, prints it, and returns the exit status for its outcome."""
    asked = {name: getattr(options, name) for name in ("configuration", "gpus", "batch_size")}
    row = row_of(options.run, options.kind, asked, options.status)
    add(options.table, options.title, row)
    result = f"{row.images_per_s:.2f} images/s" if row.images_per_s is not None else f"{row.outcome}: {row.reason}"
    print(f"{row.configuration}, {row.gpus} x batch {row.batch_size}: {result}")
    return {MEASURED: EXIT_DONE, NO_FIT: EXIT_SOME_SKIPPED, FAILED: EXIT_FAILED}[row.outcome]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
