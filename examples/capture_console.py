r"""Draws a terminal during a training run and after an evaluation, as two SVG pictures.

Run it from the clone, with records from ``tools.convert``, a folder for the run and one for the pictures::

    .venv/bin/python -m tools.convert images OUT/records
    .venv/bin/python examples/capture_console.py OUT/records OUT/run docs

``docs`` gets ``console_train.svg``, the terminal in the middle of the last epoch, and ``console_evaluate.svg``. The run
is a real one: resnet18 on images of 64 pixels for three epochs.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.program import begin

    begin()

from rich.console import Console
from rich.terminal_theme import MONOKAI

from runtime.entry_point import start
from utils.cmdline_helper import parse
from utils.console.readable import ReadableScreen
from utils.console.screen import Bar
from utils.console.terminal import BarLine, DrawnBar, RichTerminal

COLUMNS = 96
EPOCHS, MOMENT = 3, 0.9  # the picture is taken after this share of the run
SIZE_PX, BATCH = 64, 32
_WEB_FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class StillCamera:
    """Takes pictures of a console; progress bars appear in the pictures only.

    Args:
        console: Records its output.
        title: Title above the picture.
        path: File of the picture.
    """

    def __init__(self, console: Console, title: str, path: Path) -> None:
        self._console = console
        self._title = title
        self._path = path

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        return _StillBar(self, what, start, total)

    def handler(self) -> logging.Handler:
        return logging.NullHandler()

    def shoot(self, line: BarLine | None = None) -> None:
        """Writes a picture of the output so far, with a bar at the bottom if given, and begins a new record."""
        if line is not None:
            self._console.print(line)
        svg = self._console.export_svg(title=self._title, theme=MONOKAI)
        self._path.write_text(_WEB_FONT.sub("", svg), encoding="utf-8")  # viewers have their own fonts


class _StillBar(DrawnBar):
    """A bar that asks for one picture, at ``MOMENT`` of the training."""

    def __init__(self, camera: StillCamera, what: str, start: int, total: int | None) -> None:
        super().__init__(what, start, total)
        self._camera = camera
        self._moment = MOMENT * total if what == "train" and total else None

    def draw(self) -> None:
        if self._moment is not None and self.done >= self._moment:
            self._moment = None
            self._camera.shoot(self.line)


def show(flags: Sequence[str], path: Path, *, at_end: bool) -> None:
    """Launches ``main.py`` with flags and takes a picture during the run or at its end.

    Raises:
        SystemExit: The launch failed.
    """
    command = parse(flags, os.environ)
    console = Console(
        file=io.StringIO(), width=COLUMNS, record=True, force_terminal=True, highlight=False, markup=False, emoji=False
    )
    console.print(f"$ python main.py {' '.join(flags)}\n", style="bold")
    terminal = RichTerminal(console)
    camera = StillCamera(console, f"main.py --mode={command.config.run.mode}", path)
    status = start(command, screen=ReadableScreen(terminal, camera, terminal))
    if status:
        raise SystemExit(f"main.py {' '.join(flags)}: ended with status {status}")
    if at_end:
        camera.shoot()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    description = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python examples/capture_console.py", description=description)
    parser.add_argument("records", metavar="RECORDS", type=Path, help="folder with TFRecords")
    parser.add_argument("run", metavar="RUN", type=Path, help="folder for the run")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write to; created if missing")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    shared = ("--arch=resnet18", f"--data_dir={given.records}", f"--image_size={SIZE_PX}", f"--batch_size={BATCH}")
    results = f"--results_dir={given.run}"
    rate = ("--lr_init=0.02", "--lr_warmup_epochs=1", "--cosine_lr")
    train = (*shared, results, f"--num_iter={EPOCHS}", "--eval_every_epochs=1", *rate, "--seed=1")
    show(train, given.out / "console_train.svg", at_end=False)
    show(("--mode=evaluate", *shared, results), given.out / "console_evaluate.svg", at_end=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
