"""What tests of launch scripts share: running one, dry-running it, and a shell's environment that is empty."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(script, *arguments, cwd, **environment):
    """Runs a script, named from the repository's root, in an environment of nothing but PATH and HOME."""
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
    """The commands that a dry run prints, each as the launcher's words, the program, and the program's words."""
    done = run(script, *arguments, cwd=cwd, DRY_RUN="1", PYTHON=sys.executable, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(cwd.iterdir()) == []
    return [split(line) for line in done.stdout.splitlines()]


def split(line):
    """One printed command as the launcher's words, the program from the repository's root, and the program's words."""
    words = shlex.split(line)
    interpreter = words.index(sys.executable)
    assert words[interpreter + 1] == "-u"
    return words[:interpreter], Path(words[interpreter + 2]).relative_to(ROOT), words[interpreter + 3 :]


def dry_run(script, *arguments, cwd, **environment):
    """The one command that a script would run."""
    (command,) = commands(script, *arguments, cwd=cwd, **environment)
    return command


def processes(launcher):
    """How many processes the launcher's words ask for."""
    return int(launcher[launcher.index("-np") + 1]) if launcher else 1
