"""Damaged inputs for every reader, given to all commands that read them, whose verdicts are compared.

What the validator calls clean, a run or the converter must take; a damaged checkpoint is refused or gives the same
metrics as before.
"""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.children import Children, fresh, last_line
from tests.torture.damage import damaged, damaged_json, damaged_records
from tests.torture.figures import Figures

LONGEST_S = 300.0
_MEMORY = 2 * 10**9  # beyond that of a sound input

Verdicts = Mapping[str, tuple[int, Any]]
"""By command: its exit status, and its result if it has one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Inputs of one kind.

    Attributes:
        make: Writes a sound input into a folder.
        victims: Patterns of the files in it to damage.
        read: Reads the input with every command that does; ``folder`` is where results may be written.
    """

    make: Callable[[Path], None]
    victims: tuple[str, ...]
    read: Callable[[Path, Path], Verdicts]


class Inputs:
    """Damages one input after another, of each kind in turn."""

    def __init__(self, children: Children, folder: Path, chance: random.Random) -> None:
        self._children, self._folder, self._chance = children, folder, chance
        self._sound: dict[str, Verdicts] = {}
        self._peaks: dict[str, int] = {}
        for name in KINDS:
            done = children.run(_make, name, folder / name, fresh(folder / "sound", len(self._sound)), longest=300.0)
            if done.hung or done.error:
                raise RuntimeError(f"sound {name} cannot be read: {done.error or 'it hangs'}")
            if refused := {command: status for command, (status, _) in done.value.items() if status}:
                raise RuntimeError(f"sound {name} are refused: {refused}")
            self._sound[name], self._peaks[name] = done.value, done.peak_bytes

    def attempt(self, figures: Figures, number: int) -> None:
        """Damages a copy of an input and has it read."""
        name = [*KINDS][number % len(KINDS)]
        copy, results = self._folder / "copy", fresh(self._folder / "results", number)
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._folder / name, copy)
        victims = sorted(path for pattern in KINDS[name].victims for path in copy.glob(pattern) if path.stat().st_size)
        victim = self._chance.choice(victims)
        how = _hurt(victim, self._chance)
        done = self._children.run(_read, name, copy, results, longest=LONGEST_S)
        shutil.rmtree(results)
        text = f"{name} {number}: {victim.relative_to(copy)} {how}"
        if done.hung:
            return figures.found("hangs", text)
        if done.error:
            return figures.found("tracebacks", f"{text}: {last_line(done.error)}")
        if done.peak_bytes > self._peaks[name] + _MEMORY:
            figures.found("hangs", f"{text}: took {done.peak_bytes / 1e9:.1f} GB")
        for fault in self._faults(name, done.value):
            figures.found("silent differences", f"{text}: {fault}")
        return None

    def _faults(self, name: str, verdicts: Verdicts) -> list[str]:
        statuses = {command: status for command, (status, _) in verdicts.items()}
        faults = []
        if statuses.get("validate") == 0 and (refused := [c for c, status in statuses.items() if status]):
            faults.append(f"the validator finds it clean, and {', '.join(refused)} refuse it")
        for command, (status, result) in verdicts.items():
            if status == 0 and name == "checkpoints" and result != self._sound[name][command][1]:
                faults.append(f"{command} takes it and gives other numbers")
        return faults


def _hurt(victim: Path, chance: random.Random) -> str:
    """Damages a file and returns how."""
    if victim.suffix == ".json" and chance.random() < 0.7:
        victim.write_bytes(damaged_json(victim.read_bytes(), chance))
        return "with odd values"
    if victim.name.startswith(("train-", "validation-")) and chance.random() < 0.7:
        victim.write_bytes(damaged_records(victim, chance))
        return "with an odd record"
    victim.write_bytes(damaged(victim.read_bytes(), chance))
    return "with odd bytes"


def _make(name: str, folder: Path, results: Path) -> Verdicts:
    folder.mkdir(parents=True)
    KINDS[name].make(folder)
    return KINDS[name].read(folder, results)


def _read(name: str, folder: Path, results: Path) -> Verdicts:
    return KINDS[name].read(folder, results)


def _status(main: Callable[[list[str]], int], *arguments: object) -> tuple[int, Any]:
    """Runs a command.

    Raises:
        RuntimeError: Its output holds a traceback.
    """
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status = main([*map(str, arguments)])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    output.seek(0)
    text = output.read()
    if "Traceback" in text:
        raise RuntimeError(f"a traceback in the output: {last_line(text)}")
    return status, None


def _trained_records(folder: Path) -> None:
    from tests.trained import classifier

    classifier(folder)


def _evaluated(folder: Path, results: Path) -> tuple[int, Any]:
    from tests.runtime.runs import network, run

    flags = network(folder / "data", results / "evaluate", "evaluate")
    done = run(*flags, f"--model_dir={folder / 'trained'}", "--batch_size=4")
    if "Traceback" in done.output + done.error:
        raise RuntimeError(f"a traceback in the output: {last_line(done.error)}")
    metrics = {name: value for name, value in done.summary.items() if "accuracy" in name} if done.status == 0 else None
    return done.status, metrics


def _read_records(folder: Path, results: Path) -> Verdicts:
    from tools.validate.__main__ import main

    return {
        "validate": _status(main, folder / "data", "--workers=1"),
        "evaluate": _evaluated(folder, results),
    }


def _read_checkpoints(folder: Path, results: Path) -> Verdicts:
    return {"evaluate": _evaluated(folder, results)}


def _make_coco(folder: Path) -> None:
    from tests.object_detection.tiny_coco import tiny_split

    tiny_split(folder)


def _read_coco(folder: Path, results: Path) -> Verdicts:
    from tools.convert.coco_command import main as convert
    from tools.validate.__main__ import main as validate

    source = (f"--train_image_dir={folder / 'train'}", f"--train_annotations_file={folder / 'train.json'}")
    return {
        "validate": _status(validate, folder / "train.json", f"--image_dir={folder / 'train'}", "--workers=1"),
        "convert": _status(convert, *source, f"--output_dir={results / 'records'}", "--workers=1"),
    }


def _make_images(folder: Path) -> None:
    from tests.utils.tiny_images import two_classes

    two_classes(folder / "images")


def _read_images(folder: Path, results: Path) -> Verdicts:
    from tools.convert.__main__ import main as convert
    from tools.validate.__main__ import main as validate

    return {
        "validate": _status(validate, folder / "images", "--workers=1"),
        "convert": _status(convert, folder / "images", results / "records", "--workers=1"),
    }


def _make_weights(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from tests.tools.weights.torch_files import Tensor, save

    kernel = np.ones((4, 3, 3, 3), np.float32)
    save(folder / "weights.pth", {"state_dict": {"conv1.weight": Tensor(kernel)}})
    save_file({"conv1.weight": kernel}, folder / "weights.safetensors")


def _read_weights(folder: Path, results: Path) -> Verdicts:
    from tools.weights.weights_file import open_weights

    def read(path: Path) -> None:
        weights = open_weights(path)
        for name in weights.shapes:
            weights.read(name)

    return {path.suffix: _tried(read, path) for path in sorted(folder.iterdir())}


def _tried(read: Callable[[Any], object], file: Path | str) -> tuple[int, Any]:
    """Calls a reader; it may refuse its file."""
    from utils.errors import RunError, UsageError

    try:
        read(file)
    except (RunError, UsageError):
        return 1, None
    return 0, None


def _make_configs(folder: Path) -> None:
    from tests.object_detection.pipeline.pipelines import CONFIGS

    shutil.copy(CONFIGS / "ssd320_full_8gpus.config", folder / "pipeline.config")
    (folder / "map.pbtxt").write_text('item {\n  id: 1\n  name: "cat"\n}\nitem {\n  id: 3\n  name: "dog"\n}\n')


def _read_configs(folder: Path, results: Path) -> Verdicts:
    from object_detection.label_map import read_label_map
    from object_detection.pipeline.config import load_pipeline

    return {
        "config": _tried(load_pipeline, str(folder / "pipeline.config")),
        "map": _tried(read_label_map, str(folder / "map.pbtxt")),
    }


KINDS = {
    "records": Kind(_trained_records, ("data/*-of-*",), _read_records),
    "manifests": Kind(_trained_records, ("data/dataset.json",), _read_records),
    "checkpoints": Kind(_trained_records, ("trained/model.ckpt-*",), _read_checkpoints),
    "annotations": Kind(_make_coco, ("train.json",), _read_coco),
    "images": Kind(_make_images, ("images/**/*.*",), _read_images),
    "weights": Kind(_make_weights, ("weights.*",), _read_weights),
    "configs": Kind(_make_configs, ("pipeline.config", "map.pbtxt"), _read_configs),
}
