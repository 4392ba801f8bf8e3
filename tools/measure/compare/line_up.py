"""The contestants of each cell, and the reasons why some cannot take part (no TF)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.artefacts.formats import FORMATS, INSTALL
from tools.measure.compare.cells import PRECISIONS, Cell
from tools.measure.compare.launches import FOLDER
from tools.measure.compare.protocol import answer_of
from tools.measure.compare.turns import ROOT, Contestant
from utils.errors import UsageError
from utils.suggestions import path_hint
from utils.system.machine import BFLOAT16_FEATURES, cpu_features
from utils.system.versions import DALI_PACKAGES, PACKAGES, installed
from utils.text import one_line

US = "this program"
SIDE = 4096
"""Side of the matrices whose product is the machine's peak."""
PEAK = "matrix product"
_PHOTOGRAPH = (500, 375)
_PACKAGE = "tools.measure.compare"
_PROBE_S = 300


class UnavailableError(Exception):
    """Something that a contestant needs is not there; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contestant that may take part.

    Attributes:
        name: Its name in tables.
        peer: Whether this program's contestants are compared with it.
        needs: Names of what it needs, as ``Hall.lack`` knows them.
        command: Returns its command, after the preparations that this takes.
    """

    name: str
    peer: bool
    needs: tuple[str, ...] = ()
    command: Callable[[], Sequence[str]]


class Hall:
    """The place that contestants share: interpreters, records, and files that are made once.

    Args:
        folder: Folder for these files.
        threads: Threads of each contestant.
        oracle_python: Interpreter of the peers, or None.
        data_dir: Folder of TFRecords, or None.

    Raises:
        UsageError: The interpreter is not there or does not run.
    """

    def __init__(
        self, folder: Path, threads: int, oracle_python: str | None = None, data_dir: str | None = None
    ) -> None:
        self.folder = folder
        self.threads = threads
        self.oracle_python = absolute(oracle_python)
        self.data_dir = data_dir
        self.peers = probed(self.oracle_python) if self.oracle_python else {"versions": {}, "errors": {}}
        self._made: dict[str, Path | UnavailableError] = {}

    def lack(self, need: str) -> str | None:
        """The reason why something is not available; None if it is."""
        if need in ("torch", "timm", "torchvision"):
            if not self.oracle_python:
                return f"needs {need}: --oracle_python names an interpreter that has it (requirements/oracle.txt)"
            error = self.peers["errors"].get(need)
            return error and f"{self.oracle_python} (--oracle_python) cannot import {need}: {error}"
        if need == "dali":
            return None if installed(DALI_PACKAGES) else "needs DALI: python -m pip install -r requirements/dali.txt"
        if need == "records":
            return None if self.data_dir else "needs images: --data_dir names a folder of TFRecords for classification"
        if need == "bfloat16":
            return None if BFLOAT16_FEATURES & cpu_features() else "this CPU has no bfloat16 instructions"
        missing_packages = [package for package in FORMATS[need].packages if find_spec(package) is None]
        return f"needs {', '.join(missing_packages)}: {INSTALL}" if missing_packages else None

    def lacks(self, needs: Sequence[str]) -> str | None:
        """The first reason among several needs; None if all are available."""
        return next((reason for need in needs if (reason := self.lack(need))), None)

    def checkpoint(self, arch: str) -> Path:
        """The folder of a checkpoint of new weights."""
        folder = self.folder / arch / "run"
        return self._once(folder, ours("ours", entry="checkpoint", arch=arch, folder=str(folder)))

    def artefact(self, arch: str, form: str) -> Path:
        """An exported network of new weights."""
        folder = self.folder / arch / form
        flags = [f"--model_dir={self.checkpoint(arch)}", f"--format={form}", f"--export_dir={folder}", "--cpu"]
        return self._once(folder / FORMATS[form].file, [sys.executable, "-m", "tools.export", *flags])

    def timm_weights(self, arch: str) -> Path:
        """A file of timm's network."""
        path = self.folder / arch / "timm.pt"
        path.parent.mkdir(exist_ok=True)
        return self._once(path, self.theirs(entry="state", arch=arch, path=str(path)))

    def photograph(self) -> Path:
        """A smooth image with the size of a photograph in ImageNet."""
        from PIL import Image

        path = self.folder / "photograph.jpg"
        if not path.exists():
            Image.radial_gradient("L").resize(_PHOTOGRAPH).convert("RGB").save(path)
        return path

    def encoded_images(self) -> Path:
        """A folder of the images in the records, as files."""
        from tools.measure.compare.example_images import write_images

        folder = self.folder / "images"
        if not folder.exists():
            folder.mkdir()
            write_images(str(self.data_dir), folder)
        return folder

    def theirs(self, **description: Any) -> list[str]:
        """The command of a contestant in the environment of the peers."""
        return _python(str(self.oracle_python), "peers", description)

    def _once(self, target: Path, command: Sequence[str]) -> Path:
        """Runs the command that makes a file or folder, the first time.

        Raises:
            UnavailableError: The command failed.
        """
        key = str(target)
        if key not in self._made:
            done = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            words = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
            made = target.exists()
            self._made[key] = target if made else UnavailableError(f"cannot be prepared: {one_line(words[-1])}")
        found = self._made[key]
        if isinstance(found, UnavailableError):
            raise found
        return found


def absolute(interpreter: str | None) -> str | None:
    """The path of an interpreter from anywhere; a name without a folder is looked up in PATH."""
    return str(Path(interpreter).absolute()) if interpreter and os.sep in interpreter else interpreter


def probed(interpreter: str) -> dict[str, Any]:
    """The versions of the peers' packages, and the errors of those that cannot be imported.

    Raises:
        UsageError: The interpreter is not there or does not run.
    """
    flag = f"--oracle_python {interpreter}"
    way = "make the environment that requirements/oracle.txt describes, or leave out the flag"
    try:
        done = subprocess.run(
            _python(interpreter, "peers", {"entry": "versions"}),
            cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise UsageError(f"{flag}: no such file; {way}{path_hint(interpreter)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{flag}: cannot be run as a Python interpreter ({type(error).__name__}); {way}") from error
    answers = [answer for line in done.stdout.splitlines() if (answer := answer_of(line))]
    if not answers:
        words = one_line((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        raise UsageError(f"{flag}: does not work as a Python interpreter ({words}); {way}")
    return answers[-1]


def _python(interpreter: str, module: str, description: Mapping[str, Any]) -> list[str]:
    """The command of a contestant; it takes its description in JSON."""
    code = f"from {_PACKAGE}.{module} import main; main()"
    return [interpreter, "-c", code, json.dumps(description)]


def ours(module: str, **description: Any) -> list[str]:
    """The command of a contestant in this program's environment."""
    return _python(sys.executable, module, description)


def peak(precision: str, threads: int) -> Contestant:
    """The machine's matrix product."""
    command = ours("ours", entry="gemm", side=SIDE, precision=precision, threads=threads)
    return Contestant(name=f"{PEAK}, {precision}", command=tuple(command), peer=False, work=2 * SIDE**3 / 1e9)


def needs_of(cell: Cell) -> tuple[str, ...]:
    """Names of the things that no contestant of a cell can do without."""
    return (
        *(["bfloat16"] if cell.precision == PRECISIONS["bf16"] else []),
        *(["records"] if cell.what == "input" else []),
    )


def entrants(cell: Cell, hall: Hall) -> list[Entrant]:
    """The contestants of a cell, this program's first."""
    if cell.what == "input":
        return _of_input(cell, hall)
    if cell.what in ("predict", "start"):
        return _of_launches(cell, hall)
    if cell.xla:
        with_xla = Entrant(name=f"{US}, --xla", peer=False, command=partial(_network, cell, hall, "--xla"))
        return [with_xla, Entrant(name=f"{US}, without --xla", peer=True, command=partial(_network, cell, hall))]
    own = Entrant(name=US, peer=False, command=partial(_network, cell, hall))
    if cell.detects:
        return [own, _retinanet(cell, hall)]
    if cell.what == "train":
        return [own, *_timm(cell, hall)]
    formats = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
    if cell.precision != PRECISIONS["f32"]:
        del formats["onnx"]
    artefacts = [
        Entrant(
            name=f"{US}, {title} artefact",
            peer=False,
            needs=(form,),
            command=partial(_artefact, cell, hall, form),
        )
        for form, title in formats.items()
    ]
    return [own, *artefacts, *_timm(cell, hall), *(_runtime(cell, hall, form, formats[form]) for form in formats)]


def _flags(cell: Cell, *more: str) -> list[str]:
    mode = "training_benchmark" if cell.what in ("train", "start") else "inference_benchmark"
    amp = [] if cell.precision == PRECISIONS["f32"] else ["--amp"]
    sizes = [f"--batch_size={cell.batch}", f"--image_size={cell.image_size}"]
    return [f"--arch={cell.arch}", f"--mode={mode}", *sizes, *amp, *more]


def _network(cell: Cell, hall: Hall, *more: str) -> Sequence[str]:
    return ours("ours", entry="network", flags=_flags(cell, *more), threads=hall.threads)


def _artefact(cell: Cell, hall: Hall, form: str) -> Sequence[str]:
    path = hall.artefact(cell.arch, form)
    return _network(cell, hall, f"--model_dir={path}")


def _runtime(cell: Cell, hall: Hall, form: str, title: str) -> Entrant:
    def command() -> Sequence[str]:
        kind = {"onnx": "onnx_runtime", "openvino": "openvino"}[form]
        precision = {"precision": cell.precision} if form == "openvino" else {}
        path = str(hall.artefact(cell.arch, form))
        sizes = {"batch": cell.batch, "image_size": cell.image_size}
        return ours("runtimes", entry=kind, path=path, threads=hall.threads, **sizes, **precision)

    return Entrant(name=title, peer=True, needs=(form,), command=command)


def _timm(cell: Cell, hall: Hall) -> list[Entrant]:
    def command(compiled: bool) -> Sequence[str]:
        sizes = {"batch": cell.batch, "image_size": cell.image_size, "threads": hall.threads}
        kind = {"entry": cell.what, "arch": cell.arch, "precision": cell.precision}
        return hall.theirs(**kind, **sizes, compiled=compiled)

    return [
        Entrant(name=f"timm, {name}", peer=True, needs=("torch", "timm"), command=partial(command, compiled))
        for name, compiled in (("eager", False), ("compiled", True))
    ]


def _retinanet(cell: Cell, hall: Hall) -> Entrant:
    def command() -> Sequence[str]:
        sizes = {"batch": cell.batch, "image_size": cell.image_size, "threads": hall.threads}
        return hall.theirs(entry="detector", what=cell.what, precision=cell.precision, **sizes)

    return Entrant(name="torchvision RetinaNet", peer=True, needs=("torch", "torchvision"), command=command)


def _of_input(cell: Cell, hall: Hall) -> list[Entrant]:
    sizes = {"batch": cell.batch, "image_size": cell.image_size, "threads": hall.threads}
    records = {"data_dir": str(Path(hall.data_dir or "").absolute()), **sizes}

    def own(dali: bool) -> Sequence[str]:
        return ours("ours", entry="training_input", dali=dali, **records)

    def loader() -> Sequence[str]:
        return hall.theirs(entry="loader", folder=str(hall.encoded_images()), **sizes)

    return [
        Entrant(name=US, peer=False, command=partial(own, False)),
        Entrant(name=f"{US}, --dali", peer=False, needs=("dali",), command=partial(own, True)),
        Entrant(name="DALI", peer=True, needs=("dali",), command=lambda: ours("dalis_own", **records)),
        Entrant(name="torchvision loader", peer=True, needs=("torch", "torchvision"), command=loader),
    ]


def _of_launches(cell: Cell, hall: Hall) -> list[Entrant]:
    """Whole processes: a prediction of one image, or a launch up to its first training step."""

    def launched(command: Sequence[str], version: str | None, **more: Any) -> Sequence[str]:
        folder = hall.folder / cell.name
        folder.mkdir(exist_ok=True)
        return ours("launches", command=command, folder=str(folder), facts={"version": version}, **more)

    tensorflow = f"TensorFlow {installed(PACKAGES['tensorflow_version'])}"

    def start() -> Sequence[str]:
        length = ("--iter_unit=batch", "--num_iter=2", "--warmup_steps=0", "--display_every=1")
        flags = [*_flags(cell), *length, "--cpu", f"--results_dir={FOLDER}"]
        return launched([sys.executable, "main.py", *flags], tensorflow, until_step=True)

    def predict() -> Sequence[str]:
        named = [f"--model_dir={hall.checkpoint(cell.arch)}", f"--to_predict={hall.photograph()}"]
        flags = ["--mode=predict", *named, "--cpu", f"--results_dir={FOLDER}"]
        return launched([sys.executable, "main.py", *flags], tensorflow)

    def script() -> Sequence[str]:
        files = {"weights": str(hall.timm_weights(cell.arch)), "image": str(hall.photograph())}
        sizes = {"image_size": cell.image_size, "threads": hall.threads}
        command = hall.theirs(entry="predict", arch=cell.arch, **files, **sizes)
        return launched(command, f"torch {hall.peers['versions'].get('torch')}")

    if cell.what == "start":
        return [Entrant(name=US, peer=False, command=start)]
    own = Entrant(name=US, peer=False, command=predict)
    timm = Entrant(name="timm script", peer=True, needs=("torch", "timm"), command=script)
    return [own] if cell.detects else [own, timm]
