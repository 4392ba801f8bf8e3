"""Every command opens through every door: by its path or ``-m``, without streams, in ASCII, and Ctrl-C at any time."""

import ast
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT

STARTED = '\nif __name__ == "__main__":'
COMMANDS = sorted(
    path.relative_to(ROOT)
    for folder in (".", "examples", "object_detection", "tools")
    for path in (ROOT / folder).glob("*.py" if folder in (".", "examples") else "**/*.py")
    if STARTED in path.read_text(encoding="utf-8")
)
ODD = "--\x1b[31mü\udcff\n"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": ""}
SLEEPING = "import os, time\nos.write(1, b'importing\\n')\ntime.sleep(60)\n"
NETWORK = ("--mode=training_benchmark", "--batch_size=1", "--image_size=32")


def module_of(path):
    return ".".join(path.with_suffix("").parts).removesuffix(".__main__")


def start(*arguments, closed="", cwd=ROOT, **environment):
    """Runs Python; ``closed`` is a shell's redirection that closes a stream."""
    command = ["bash", "-c", f'exec "$@" {closed}', "bash", sys.executable, *map(os.fsencode, map(str, arguments))]
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | ASCII | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def problems_of(path, folder):
    """Starts a command twice, through several doors at once, and returns what is wrong with it."""
    helped = start(ROOT / path, "--help", closed="2>&-", cwd=folder)
    wrong = start("-m", module_of(path), ODD, closed=">&-")
    said = wrong.stderr
    expected = {
        "--help by its path, elsewhere, without standard error": helped.returncode == 0 and b"usage" in helped.stdout,
        "a wrong flag by its module, without standard output": wrong.returncode == 2 and len(said) > 0,
        "plain ASCII": helped.stdout.isascii() and said.isascii() and not re.search(rb"[\x00-\x09\x0b-\x1f]", said),
        "no traceback": b"Traceback" not in said,
    }
    return [f"{path}: {what}: {helped} {wrong}" for what, ok in expected.items() if not ok]


@pytest.mark.slow
def test_every_command_opens_by_its_path_and_its_module_without_streams_and_in_ascii(tmp_path):
    assert len(COMMANDS) > 20
    with ThreadPoolExecutor(2) as workers:
        found = workers.map(problems_of, COMMANDS, [tmp_path] * len(COMMANDS))
        assert [problem for problems in found for problem in problems] == []


def test_every_command_begins_before_it_imports_anything_large():
    offenders = []
    for path in COMMANDS:
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        first = next(node for node in body if isinstance(node, ast.If))
        imports = [node for node in body[: body.index(first)] if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or node.names[0].name for node in imports}
        before = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
        if before or "begin()" not in ast.unparse(first):
            offenders.append((str(path), before))
    assert offenders == []


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("argparse", ("tools/report.py", "--help")),
        ("argparse", ("-m", "tools", "validate", "--help")),
        ("tensorflow", ("main.py", *NETWORK)),
        ("tensorflow", ("-m", "tools.average_weights", "--output=y", "x")),
    ],
)
def test_ctrl_c_during_an_import_ends_a_command_silently(module, arguments, tmp_path):
    (tmp_path / f"{module}.py").write_text(SLEEPING, encoding="utf-8")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdout.readline() == b"importing\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=20)
    assert (process.returncode, output, error) == (-signal.SIGINT, b"", b"")  # a shell's 130


def test_a_file_that_is_opened_while_a_stream_is_closed_gets_no_messages(tmp_path):
    code = (
        "from utils.program import begin\nbegin()\nimport os, sys\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "print('out'), print('error', file=sys.stderr), os.write(1, b'x')"
    )
    done = start("-c", code, closed="<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert Path(tmp_path / "file").read_bytes() == b""
