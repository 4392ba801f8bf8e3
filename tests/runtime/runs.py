"""Runs of tiny networks in this process on tiny record files, shared by the tests of the runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf

from model.specs import BACKBONES, BASIC_NAMES, RESNETS, SSDS, ResNetSpec
from runtime.launch import launch
from runtime.messages import show_messages
from tests.utils.input_records import encode, noise, record
from utils.cmdline_helper import Command, parse
from utils.dllogger_utils import read_log
from utils.hooks.hook import StepRecord
from utils.hooks.nan_guard import NanGuard
from utils.hooks.preemption import PreemptionHook
from utils.records.manifest import Manifest, ShardFile, Split, write_manifest
from utils.system.watchdog import Watchdog, Watched

_SIZES = {"blocks": (1,), "widths": (4,), "expansion": 2, "stem_width": 4}
TINY = {
    "resnet50": ResNetSpec(name="resnet50", **_SIZES),
    "resnext101-32x4d": ResNetSpec(name="resnext101-32x4d", cardinality=2, **_SIZES),
    "se-resnext101-32x4d": ResNetSpec(name="se-resnext101-32x4d", cardinality=2, se_ratio=4, **_SIZES),
    "resnet18": ResNetSpec(
        name="resnet18", block="basic", blocks=(1, 1), widths=(4, 8), expansion=1, stem_width=4, names=BASIC_NAMES
    ),
}
_TINY_PARTS = {"blocks": (1, 1, 1, 1), "widths": (4, 8, 8, 8), "stem_width": 4}
TINY_BACKBONES = {
    name: replace(spec, **_TINY_PARTS, cardinality=min(spec.cardinality, 2), se_ratio=min(spec.se_ratio, 4))
    for name, spec in BACKBONES.items()
}
TINY_SSDS = {name: replace(spec, width=8, tower_layers=1) for name, spec in SSDS.items()}
CLASSES = ("circle", "line", "square")


@dataclass(frozen=True)
class Run:
    """The results of a launch: its exit status, its log records, and its output."""

    status: int
    log: list[dict]
    output: str
    error: str

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(step, total loss) of each logged step."""
        steps = [record for record in self.logged if len(record["step"]) == 2 and "total_loss" in record["data"]]
        return [(record["step"][1], record["data"]["total_loss"]) for record in steps]

    @property
    def logged(self) -> list[dict]:
        """The records of steps, epochs and summaries, without PARAMETER and METADATA."""
        return [record for record in self.log if record["type"] == "LOG" and record["step"] != "PARAMETER"]

    @property
    def parameters(self) -> dict:
        return next(record["data"] for record in self.log if record.get("step") == "PARAMETER")

    @property
    def summary(self) -> dict:
        assert self.log[-1]["step"] == []
        return self.log[-1]["data"]


@contextlib.contextmanager
def tiny_networks() -> Iterator[None]:
    """Shrinks the known architectures to a handful of channels."""
    with (
        mock.patch.dict(RESNETS, TINY),
        mock.patch.dict(BACKBONES, TINY_BACKBONES),
        mock.patch.dict(SSDS, TINY_SSDS),
    ):
        yield


def run(
    *arguments: str | Path,
    read: Callable[..., Command] = parse,
    report: bool = False,
    stream: Callable[[], io.StringIO] = io.StringIO,
) -> Run:
    """Launches tiny networks from a command line, as main.py does once the environment is set.

    Reports take longer than tiny networks, so they are written only on request. ``stream`` makes standard output and
    standard error.
    """
    command = read([str(argument) for argument in arguments], {})
    if not report:
        command = replace(command, config=replace(command.config, run=replace(command.config.run, report=False)))
    path = Path(
        command.config.run.report_file or Path(command.config.run.results_dir) / command.config.run.log_filename
    )
    before = len(read_log(path)) if path.is_file() else 0
    output, error = stream(), stream()
    with (
        tiny_networks(),
        root_logger(),
        PreemptionHook() as preemption,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
    ):
        unwatched = Watchdog(None, 60.0, Watched(lambda: None, preemption.pass_on))
        status = launch(command, preemption, show_messages(command), unwatched)
    log = read_log(path)[before:] if path.is_file() else []
    return Run(status, log, output.getvalue(), error.getvalue())


def train(data: Path, results: Path, *more: str, mode: str = "train", seed: int | None = 3) -> Run:
    """A training launch: 20 examples in batches of 4 make 5 steps per epoch."""
    seeded = () if seed is None else (f"--seed={seed}",)
    return run(*network(data, results, mode), "--batch_size=4", "--lr_warmup_epochs=0", *seeded, *more)


def network(data: Path, results: Path, mode: str, arch: str = "resnet50") -> tuple[str, ...]:
    """The common flags of all launches on the tiny data set."""
    return (f"--arch={arch}", f"--mode={mode}", f"--data_dir={data}", f"--results_dir={results}", "--image_size=16")


def several_labels(number: int) -> list[int]:
    """The labels of an example in a data set of images with several labels: that of its color and others, or none."""
    return [] if number % 5 == 4 else sorted({1 + number % len(CLASSES), 1 + number // 3 % len(CLASSES)})


def write_data(
    folder: Path, train: int = 20, validation: int = 10, manifest: bool = True, several: bool = False
) -> Path:
    """A data set of three classes with noise around the color of the class."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for name, count, files in (("train", train, 2), ("validation", validation, 1)):
        labels = [several_labels(i) if several else 1 + i % len(CLASSES) for i in range(count)]
        examples = [record(picture(i, name), label=label) for i, label in enumerate(labels)]
        splits[name] = Split(shards=tuple(write_split(folder, name, examples, files)))
    if manifest:
        write_manifest(
            folder,
            Manifest(
                class_names=CLASSES,
                class_count=len(CLASSES),
                head_size=len(CLASSES),
                splits=splits,
                multi_label=several,
            ),
        )
    return folder


def picture(number: int, split: str = "train") -> bytes:
    """The encoded picture of an example; its class is its number modulo three."""
    color = np.zeros(3)
    color[number % len(CLASSES)] = 120
    pixels = 0.5 * noise(number + 1000 * (split == "validation")) + color
    return encode(pixels.astype(np.uint8))


def write_split(folder: Path, name: str, examples: list[bytes], files: int) -> Iterator[ShardFile]:
    for number, block in enumerate(np.array_split(np.arange(len(examples)), files)):
        path = folder / f"{name}-{number:05d}-of-{files:05d}"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for i in block:
                writer.write(examples[i])
        yield ShardFile(file=path.name, examples=len(block), bytes=path.stat().st_size)


def values(prefix: Path | str) -> dict[str, np.ndarray]:
    """All variables in a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same_checkpoint(one: Path, other: Path) -> None:
    """Asserts that all variables are equal bit for bit."""
    first, second = values(one), values(other)
    assert set(first) == set(second)
    different = [name for name in first if first[name].tobytes() != second[name].tobytes()]
    assert not different


@contextlib.contextmanager
def root_logger() -> Iterator[None]:
    """Undoes the logging set-up of a launch, so that later tests do not write to its closed streams."""
    loggers = [logging.getLogger(), logging.getLogger("tensorflow")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    try:
        yield
    finally:
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)


@contextlib.contextmanager
def at_step(step: int, act: Callable[[], object]) -> Iterator[list[np.ndarray]]:
    """Calls a function once after a given training step; returns the examples of each batch."""
    seen: list[np.ndarray] = []
    genuine = NanGuard.after_step

    def after_step(self: NanGuard, record: StepRecord) -> None:
        seen.append(np.asarray(record.values["index"]))
        genuine(self, record)
        if record.step == step:
            act()

    with mock.patch.object(NanGuard, "after_step", after_step):
        yield seen


def send(number: signal.Signals) -> Callable[[], object]:
    """Sends a real signal to this process."""
    return lambda: os.kill(os.getpid(), number)
