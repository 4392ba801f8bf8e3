"""Helpers for tests of launch scripts: running or dry-running one in an empty environment."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(script, *arguments, cwd, **environment):
    """Runs a script, named from the repository's root, in an environment of only PATH and HOME."""
    return subprocess.run(
        ["bash", ROOT / script, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def commands(script, *arguments, cwd, **environment):
    """Returns the commands that a dry run prints, each as launcher's words, program and program's words."""
    done = run(script, *arguments, cwd=cwd, DRY_RUN="1", PYTHON=sys.executable, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(cwd.iterdir()) == []
    return [split(line) for line in done.stdout.splitlines()]


def split(line):
    """Splits a printed command into launcher's words, program (from the repository's root) and program's words."""
    words = shlex.split(line)
    interpreter = words.index("-u") - 1
    assert words[interpreter] == sys.executable
    return words[:interpreter], Path(words[interpreter + 2]).relative_to(ROOT), words[interpreter + 3 :]


def dry_run(script, *arguments, cwd, **environment):
    """Returns the one command that a script would run."""
    (command,) = commands(script, *arguments, cwd=cwd, **environment)
    return command


def processes(launcher):
    """Returns the number of processes that the launcher's words ask for."""
    return int(launcher[launcher.index("-np") + 1]) if launcher else 1
