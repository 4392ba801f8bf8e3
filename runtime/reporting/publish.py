"""Evaluation results in addition to the log: lines on the console, and files."""

from __future__ import annotations

from pathlib import Path

from runtime.task import Evaluator
from utils.console.screen import Screen
from utils.errors import RunError
from utils.files.atomic_file import write_atomically


def publish(evaluator: Evaluator, folder: Path, screen: Screen) -> None:
    """Shows the evaluator's report to programs that read along, and writes its files to a folder.

    Raises:
        RunError: A file cannot be written.
    """
    report = evaluator.report()
    if report:
        screen.lines(report)
    for name, content in evaluator.artefacts().items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
        except OSError as error:
            raise RunError(f"--results_dir {folder}: {name} cannot be written: {error.strerror}") from error
