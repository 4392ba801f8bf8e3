"""Trials that launch ``main.py``: exact resume, two processes beside one, and the memory that a process takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tools.doctor.gpu.cards import has_gpu, require_gpus
from tools.doctor.horovod_probe import HOW, launcher, run_program
from tools.doctor.probe import ProbeResult, version_of
from utils.checkpoints import find_checkpoint
from utils.errors import RunError
from utils.text import percent

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 240.0
LOSS_TOLERANCE = 2e-4
_SIZE, _CLASSES, _IMAGES = 64, 2, 16
# With a head of zeros, the loss would hardly depend on the rest of the network in these few steps.
_NETWORK = (
    *("--arch=resnet18", f"--image_size={_SIZE}", "--head_init=original", "--num_iter=6"),
    *("--seed=1", "--display_every=1", "--no_report"),
)


def exact_resume() -> ProbeResult:
    """A run in two launches ends with the same weights, bit for bit, as in one.

    Raises:
        RunError: A tensor of the checkpoints differs.
    """
    with random_records() as (records, folder):
        flags = (*_NETWORK, "--iter_unit=batch", "--batch_size=8", "--amp", "--deterministic", f"--data_dir={records}")
        _train(folder / "whole", flags)
        for _ in range(2):
            _train(folder / "halves", (*flags, "--run_iter=3"))
        whole, halves = (_tensors(folder / name) for name in ("whole", "halves"))
    differing = [name for name in whole if name not in halves or not np.array_equal(whole[name], halves[name])]
    if differing or len(whole) != len(halves):
        raise RunError(f"{len(differing)} of {len(whole)} tensors differ after a resumed run: {differing[:3]}")
    return ProbeResult(f"6 steps in one launch and in two end in {len(whole)} equal tensors", {"tensors": len(whole)})


def two_processes() -> ProbeResult:
    """Two processes with half of the batch each report the losses of one process.

    Raises:
        RunError: A loss differs by more than the tolerance, or a run fails.
    """
    if has_gpu():
        require_gpus(2)
    version_of("horovod", how=HOW)
    name, command = launcher(os.environ.get("PATH", ""))
    with random_records() as (records, folder):
        # Four steps at a small learning rate: rounding errors grow from step to step, a hundredfold in the two after.
        flags = (
            *_NETWORK,
            "--num_iter=4",
            "--iter_unit=batch",
            "--lr_init=0.0001",
            "--sync_batch_norm",
            "--no_tf32",
            f"--data_dir={records}",
        )
        _train(folder / "one", (*flags, "--batch_size=8"))
        _train(folder / "two", (*flags, "--batch_size=4"), command)
        one, two = (_losses(folder / part) for part in ("one", "two"))
    if len(one) != len(two) or not one:
        raise RunError(f"one process logged {len(one)} losses, two processes {len(two)}")
    error = max(abs(a - b) / abs(a) for a, b in zip(one, two, strict=True))
    if not error <= LOSS_TOLERANCE:
        raise RunError(f"losses of two processes differ from those of one by {error:.1e} (at most {LOSS_TOLERANCE:g})")
    text = f"losses of {len(one)} steps differ by {error:.1e} (at most {LOSS_TOLERANCE:g})"
    return ProbeResult(f"{text} under {name}", {"loss_error": error, "launcher": name})


def memory_options() -> ProbeResult:
    """The memory of the first GPU that a small training takes: as needed, and limited to a quarter.

    Raises:
        RunError: It takes more than half of the memory, or more than the limit and CUDA's own context.
    """
    require_gpus()
    growing, limited = (_gpu_memory(flags) for flags in ([], ["--gpu_memory_fraction=0.25"]))
    facts = {"growing": growing, "limited": limited}
    taken = (
        f"{percent(growing['taken'])} of the memory as needed, {percent(limited['taken'])} with a limit of a quarter"
    )
    if growing["taken"] > 0.5 or limited["taken"] > 0.25 + limited["context"]:
        raise RunError(f"takes {taken}")
    return ProbeResult(f"a small training takes {taken}", facts)


_MEMORY_PROOF = """
import json, subprocess, sys
from tools.doctor.gpu.training_step import stepping, training_graph
import tensorflow as tf
from utils.system.gpus import ask_driver
cards = ask_driver().cards
number = f"GPU-{cards[0].identity}" if cards and cards[0].identity else "0"
def used():
    query = ["--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    query = ["nvidia-smi", f"--id={number}", *query]
    return [float(x) for x in subprocess.check_output(query, text=True).split(",")]
before, total = used()
flags = ["--arch=resnet18", "--batch_size=8", "--image_size=64", *sys.argv[1:]]
with training_graph(flags) as (setup, graph):
    session = tf.compat.v1.Session(graph=graph.graph, config=setup.session_config)
    with session, stepping(session, graph) as step:
        step()
        print(json.dumps({"taken": (used()[0] - before) / total, "context": 2048 / total}))
"""


def _gpu_memory(flags: Sequence[str]) -> dict[str, float]:
    done = launch([sys.executable, "-c", _MEMORY_PROOF, *flags])
    found: dict[str, float] = json.loads(done.splitlines()[-1])
    return found


@contextmanager
def random_records() -> Iterator[tuple[Path, Path]]:
    """A folder of records with random smooth images as JPEGs, and a folder for results."""
    with tempfile.TemporaryDirectory() as name:
        images, records = Path(name) / "images", Path(name) / "records"
        generator = np.random.default_rng(0)
        for split in ("train", "validation"):
            for number in range(_IMAGES):
                path = images / split / f"class{number % _CLASSES}" / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8))
                coarse.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC).save(path, quality=95)
        launch([sys.executable, "-m", "tools.convert", str(images), str(records)])
        yield records, Path(name)


def _train(results: Path, flags: Sequence[str], command: Sequence[str] = ()) -> None:
    launch([*command, sys.executable, "main.py", "--mode=train", f"--results_dir={results}", *flags])


def launch(command: Sequence[str]) -> str:
    """Runs a command without a launcher's variables and returns its output.

    Raises:
        RunError: It fails or takes too long.
    """
    try:
        done = run_program(command, SECONDS)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"`{' '.join(command[:4])}` did not end within {SECONDS:g} s") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if re.search("error|critical", line, re.IGNORECASE)] or lines or ["no output"]
        raise RunError(f"`{' '.join(command[:4])}` ended with status {done.returncode}: {telling[-1]}")
    return done.stdout


def _tensors(folder: Path) -> Mapping[str, Any]:
    prefix = find_checkpoint(folder)
    if prefix is None:
        raise RunError("the run left no checkpoint")
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _losses(folder: Path) -> list[float]:
    lines = (folder / "log.json").read_text(encoding="utf-8").splitlines()
    data = [json.loads(line.removeprefix("DLLL ")).get("data", {}) for line in lines]
    return [float(row["total_loss"]) for row in data if isinstance(row, dict) and "total_loss" in row]
