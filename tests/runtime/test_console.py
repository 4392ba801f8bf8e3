"""The console of launches: the same lines as ever for programs, a readable one for people, in order to the end."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path
from signal import SIGTERM

import pytest
from rich.cells import cell_len

from runtime.reporting.outputs import OUTPUTS
from tests.conftest import ROOT
from tests.runtime.runs import CLASSES, at_step, network, picture, run, send, train
from tests.utils.console.terminals import CONTROL, Terminal, seen
from utils.dllogger_utils import read_log

GOLDEN = (
    Path(__file__).parent / "golden_console.txt"
)  # as it was when programs read nothing else, with new keys at the end
TWO_EPOCHS = ("--num_iter=2", "--eval_every_epochs=1", "--display_every=4", "--lr_init=2")
COLUMNS = 80


@pytest.fixture
def on_terminal(monkeypatch):
    """The options of ``run`` for a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("TERM", "xterm")
    return {"stream": Terminal}


@pytest.fixture
def images(tmp_path):
    """Two pictures, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(picture(number))
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def shown(launch):
    """The lines that are on a terminal after a launch, without empty ones."""
    return [line.rstrip() for line in seen(launch.output) if line.strip()]


def assert_readable(lines):
    """Numbers of four significant digits, no ``None``, and nothing wider than the terminal but a path."""
    text = "\n".join(lines)
    assert "None" not in text
    assert "DLL " not in text
    assert re.findall(r"[1-9]\d*\.\d{4,}|\b0\.0*[1-9]\d{4,}", text) == []
    wide = [line for line in lines if cell_len(line) > COLUMNS]
    labels = {row.label for row in OUTPUTS}
    assert [line for line in wide if line.split()[0] not in labels] == []


def plain(text, root):
    """A console's text without what differs from run to run, and from one machine to another."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "TIME", text.replace(str(root), "ROOT"))
    text = re.sub(r"(?<=PARAMETER ).*", "...", text)
    text = re.sub(rf"\b({'|'.join(CLASSES)})\b", "CLASS", text)
    return re.sub(r"(?<![\w.-])-?\d+\.\d+(e-?\d+)?(?![\w.])", "NUMBER", text)


def test_programs_that_read_along_find_the_same_lines_as_ever(data_dir, tmp_path, images):
    launches = (
        train(data_dir, tmp_path / "run", *TWO_EPOCHS, mode="train_and_evaluate"),
        run(
            *network(data_dir, tmp_path / "evaluated", "evaluate"),
            *(f"--model_dir={tmp_path / 'run'}", "--batch_size=4", "--display_every=1"),
        ),
        run(
            *("--mode=predict", f"--model_dir={tmp_path / 'run'}", f"--to_predict={images}", "--top_k=2"),
            f"--results_dir={tmp_path / 'predicted'}",
        ),
        train(
            *(data_dir, tmp_path / "timed", "--num_iter=6", "--iter_unit=batch", "--warmup_steps=2"),
            *("--display_every=2", "--console=dllogger"),
            mode="training_benchmark",
        ),
    )
    printed = "".join(f"{launch.status}\n{plain(launch.output, tmp_path)}" for launch in launches)
    assert printed == GOLDEN.read_text(encoding="utf-8")
    errors = [line for launch in launches for line in launch.error.splitlines()]
    assert [line for line in errors if not re.match(r"(INFO|WARNING): |  +\d+  ", line)] == []


def test_a_person_sees_a_run_from_its_header_to_where_everything_lies(data_dir, tmp_path, on_terminal):
    flags = (*TWO_EPOCHS, "--batch_size=4", "--seed=3", "--lr_warmup_epochs=0")
    launch = run(*network(data_dir, tmp_path, "train_and_evaluate"), *flags, **on_terminal, report=True)
    assert launch.status == 0
    lines = shown(launch)
    assert_readable(lines)
    labels = [line.split()[0] for line in lines[:24]]
    assert {"Mode", "Network", "Weights", "Data", "Precision", "Device", "Plan", "Optimizer"} <= set(labels)
    text = "\n".join(lines)
    assert re.search(r"^Network .*resnet50; 3 classes; 16 x 16 pixels; \d+ parameters, [\d.]+ kFLOP an", text, re.M)
    assert "20 images to train on, 10 images to evaluate on" in " ".join(text.split())
    assert "steps 1 to 10 of 10; 5 steps an epoch, 4 images a step" in text
    assert sum(line.startswith("Evaluation") for line in lines) == 2
    assert sum(line.endswith("  best") for line in lines) == 2
    assert [line.split()[0] for line in lines[-6:]] == [
        *("checkpoint", "best", "log", "report", "evaluation", "TensorBoard"),
    ]
    assert "train " in CONTROL.sub("", launch.output)  # a bar was there
    assert launch.error == ""


def test_the_log_is_the_same_whatever_the_console_shows(data_dir, tmp_path, on_terminal):
    flags = ("--num_iter=1", "--display_every=1", "--batch_size=4", "--seed=3")
    for name, more in (("readable", on_terminal), ("lines", {})):
        run(*network(data_dir, tmp_path / name, "train"), *flags, **more)
    readable, lines = (read_log(tmp_path / name / "log.json") for name in ("readable", "lines"))
    assert [(r["type"], r.get("step"), list(r.get("data", ()))) for r in readable] == [
        (r["type"], r.get("step"), list(r.get("data", ()))) for r in lines
    ]


def test_an_evaluation_is_a_table_and_a_sentence(data_dir, trained, tmp_path, on_terminal):
    flags = (f"--model_dir={trained}", "--batch_size=4", "--display_every=1")
    lines = shown(run(*network(data_dir, tmp_path, "evaluate"), *flags, **on_terminal))
    assert_readable(lines)
    start = lines.index("Evaluation")
    assert lines[start + 1].split()[0] == "top-1"
    assert any(line.startswith("Speed ") and line.endswith("waiting") for line in lines)
    assert any(line.startswith("10 images: top-1 accuracy ") for line in lines)
    assert not any("finished" in line for line in lines)


def test_a_detectors_evaluation_names_its_metrics(scenes, detector, tmp_path, on_terminal):
    flags = ("--arch=ssd320", "--mode=evaluate", f"--data_dir={scenes}", f"--model_dir={detector}", "--batch_size=2")
    lines = shown(run(*flags, f"--results_dir={tmp_path}", **on_terminal))
    assert_readable(lines)
    start = lines.index("Evaluation")
    assert [line.split("  ")[0] for line in lines[start + 1 : start + 5]] == ["AP", "AP50", "AP75", "AP small"]


def test_predictions_are_a_table(trained, images, tmp_path, on_terminal):
    (images / "0.png").rename(images / f"{'a' * 200}\x1b[2J.png")
    flags = ("--mode=predict", f"--model_dir={trained}", f"--to_predict={images}", "--top_k=2")
    launch = run(*flags, f"--results_dir={tmp_path / 'predicted'}", **on_terminal)
    assert launch.status == 3
    assert "\x1b[2J" not in launch.output
    lines = shown(launch)
    assert any("..." in line and line.count("0.") == 2 for line in lines)
    assert any("not read: " in line for line in lines)


def test_a_signal_leaves_the_terminal_in_order_and_its_sentence_last(data_dir, tmp_path, on_terminal):
    with at_step(2, send(SIGTERM)):
        launch = run(*network(data_dir, tmp_path, "train"), "--batch_size=4", "--num_iter=9", **on_terminal)
    assert launch.status == 75
    assert shown(launch)[-1] == "WARNING: stopped by SIGTERM: rerun the same command to continue"
    assert_order(launch.output)


def test_an_error_in_the_middle_leaves_the_terminal_in_order_and_its_sentence_last(data_dir, tmp_path, on_terminal):
    flags = ("--batch_size=4", "--num_iter=9", "--lr_init=1e25", "--lr_warmup_epochs=0")
    launch = run(*network(data_dir, tmp_path, "train"), *flags, **on_terminal)
    assert launch.status == 1
    sentence = shown(launch)
    start = next(number for number, line in enumerate(sentence) if line.startswith("CRITICAL: step "))
    assert all(line.startswith(" " * len("CRITICAL: ")) for line in sentence[start + 1 :])
    assert_order(launch.output)


def assert_order(written):
    """No bar is left, the cursor is there, and colors are as they were."""
    assert not [line for line in seen(written) if line.startswith("train ")]
    assert "\x1b[?25l" not in written
    assert "\x1b[?1049h" not in written
    styles = re.findall(r"\x1b\[[\d;]*m", written)
    assert not styles or styles[-1] == "\x1b[0m"


@pytest.mark.slow
def test_a_process_on_a_terminal_of_its_own_draws_there_and_tensorflow_keeps_silent(data_dir, tmp_path):
    """With XLA, which would say that it was initialized and what it compiled, after a warning of Abseil's."""
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (30, 60))
    flags = (*network(data_dir, tmp_path, "train"), "--batch_size=4", "--num_iter=2", "--display_every=2", "--xla")
    environment = {name: os.environ[name] for name in os.environ if name not in ("COLUMNS", "TF_CPP_MIN_LOG_LEVEL")}
    environment["TF_XLA_FLAGS"] = "--tf_xla_cpu_global_jit=true"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.tiny_main", *flags, "--no_report"],
        cwd=ROOT, stdin=other, stdout=other, stderr=other, env=environment | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(other)
    written = read_all(main)
    assert process.wait(60) == 0, written
    lines = [line for line in seen(written) if line.strip()]
    known = re.compile(
        r"[A-Z][a-z]+ +\S|  +\S|epoch +step|cross entropy at|Speed|training|Done in|checkpoint|log|INFO|WARN|Tens"
    )
    assert [line for line in lines if not known.match(line)] == []
    assert "InitializeLog" not in written
    assert_order(written)
    assert lines[-1].startswith("TensorBoard")


def read_all(descriptor):
    """All output of a terminal until its last user is gone."""
    parts = []
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while True:
            try:
                part = file.read(4096)
            except OSError:  # Linux says so where others end the file
                part = b""
            if not part:
                return b"".join(parts).decode().replace("\r\n", "\n")
            parts.append(part)
