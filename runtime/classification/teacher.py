"""The teacher of a run: a trained network that predicts in the training graph and is never trained itself.

Its variables are in no collection: they are neither trained nor decayed, averaged, counted or saved.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from runtime.artefacts.artefact import Artefact, run_by
from runtime.artefacts.formats import find_artefact
from runtime.artefacts.model_dir import open_artefact
from runtime.classification.resolve_classifier import resolve_model
from runtime.evaluation import load_weights
from runtime.inference.logits import log_probabilities
from runtime.inference.network import PlacedNetwork, PreparedNetwork, prepared_network
from runtime.planning.model_size import UNCOUNTED
from runtime.task import Task
from runtime.training.warm_start import class_renamed
from utils.checkpoints import find_checkpoint
from utils.config import DETECTORS, ExperimentConfig, ModelConfig, resolved
from utils.errors import RunError, UsageError
from utils.hvd_utils import Communicator
from utils.suggestions import absence, path_hint
from utils.weights.pretrained_config import stored_pretrained_config

FINGERPRINT = "teacher"
"""Key of the teacher's fingerprint in the description of the student's checkpoints."""

Describe = Callable[[Path], Mapping[str, Any]]
Build = Callable[[ModelConfig], Task]


class Teacher(ABC):
    """A trained network that predicts for the images of its student.

    Attributes:
        path: What the network was read from.
        fingerprint: Text that differs between different weights.
        held: The variables that ``logits`` reads.
    """

    path: Path
    fingerprint: str
    held: PlacedNetwork = ()

    @abstractmethod
    def logits(self, images: Any) -> Any:
        """The logits [N, K] for raw images [N, H, W, 3] in 0..255, in the current graph; no gradient flows back."""

    @abstractmethod
    def load(self, session: Any, options: Any) -> None:
        """Fills what ``logits`` reads in a session of its graph; all processes call it together."""


@dataclass(kw_only=True, eq=False)
class ArtefactTeacher(Teacher):
    """An exported network, which any of the runtimes of ``runtime.artefacts`` runs."""

    path: Path
    fingerprint: str
    artefact: Artefact

    def logits(self, images: Any) -> Any:
        with tf.name_scope(UNCOUNTED):
            found = self.artefact.forward(images)
        if "logits" in found:
            return tf.stop_gradient(found["logits"])
        return tf.stop_gradient(log_probabilities(found["probabilities"]))

    def load(self, session: Any, options: Any) -> None:
        del session, options  # an artefact has its weights in it


@dataclass(kw_only=True, eq=False)
class CheckpointTeacher(Teacher):
    """A network of this program, with the moving averages of its weights if its checkpoint has them.

    Batch normalization is folded into the kernels, once for each launch.
    """

    path: Path
    fingerprint: str
    task: Task
    communicator: Communicator
    _prepared: PreparedNetwork | None = None
    held: PlacedNetwork = ()
    _graph: Any = None

    def logits(self, images: Any) -> Any:
        graph = images.graph
        while getattr(graph, "outer_graph", None) is not None:  # the body of a loop reads the variables outside of it
            graph = graph.outer_graph
        if self._prepared is None or graph is not self._graph:
            self._prepared = prepared_network(self.task, images, self.communicator)
            with graph.as_default():
                self.held, self._graph = self._prepared.placed(), graph
        return tf.stop_gradient(self._prepared.endpoints(images, self.held, UNCOUNTED)["logits"])

    def load(self, session: Any, options: Any) -> None:
        if self._prepared is None:
            raise ValueError("a teacher is loaded after its student's graph is built")

        def restore(own: Any, weights: Any) -> None:
            load_weights(own, weights, self.path)

        self._prepared.load(session, options, self.held, restore if self.communicator.rank == 0 else None)


def open_teacher(
    config: ExperimentConfig, student: Mapping[str, Any], communicator: Communicator, describe: Describe, build: Build
) -> Teacher | None:
    """The teacher that ``--distill_from`` names, or None.

    Args:
        config: The resolved configuration of the student.
        student: The description of the student's weights.
        communicator: The processes that train together; rank 0 reads a checkpoint, each process an artefact.
        describe: Returns the description of a checkpoint.
        build: Builds the task of a network.

    Raises:
        UsageError: The teacher is for another task or other classes, or needs other images.
        RunError: There is no such teacher, or it is damaged.
    """
    if config.distillation.teacher is None or not config.run.is_training:
        return None
    given = Path(config.distillation.teacher)
    found = find_artefact(given, "--distill_from")
    if found is not None:
        return _open_artefact(found, config, student, communicator, build)
    prefix, metadata, fingerprint = communicator.broadcast(
        _checkpoint(given, config, describe) if communicator.rank == 0 else None
    )
    asked = ModelConfig(image_size=config.model.image_size, data_format=config.model.data_format)
    model, _ = resolve_model(asked, None, metadata, None)
    _check(prefix, {**metadata, "num_classes": model.num_classes}, student)
    task = build(replace(model, pretrained=stored_pretrained_config(metadata)))
    return CheckpointTeacher(path=prefix, fingerprint=fingerprint, task=task, communicator=communicator)


def _checkpoint(given: Path, config: ExperimentConfig, describe: Describe) -> tuple[Path, Mapping[str, Any], str]:
    prefix = find_checkpoint(given)
    if prefix is None:
        raise RunError(f"--distill_from {given}: {absence(given)}{path_hint(given)}")
    if not config.run.is_benchmark and prefix.parent.resolve() == Path(config.run.checkpoint_dir).resolve():
        raise UsageError(f"--distill_from {given}: is the folder of this run, whose network cannot teach itself")
    return prefix, describe(prefix), fingerprint_of([prefix, Path(f"{prefix}.index")])


def _open_artefact(
    path: Path, config: ExperimentConfig, student: Mapping[str, Any], communicator: Communicator, build: Build
) -> Teacher:
    threads = communicator.threads if communicator.size > 1 else config.data.threads
    artefact = open_artefact(path, threads or len(os.sched_getaffinity(0)))
    _check(path, artefact.metadata, student)
    for one in config.data.train_sizes(resolved(config.model, "image_size")):
        artefact.check(config.data.batch_size_per_replica, one.size)
    run_by(build(config.model), artefact)  # refuses a network without predictions
    parts = sorted(path.rglob("*")) if path.is_dir() else [path, path.with_suffix(".bin")]
    return ArtefactTeacher(path=path, fingerprint=fingerprint_of(parts), artefact=artefact)


def _check(path: Path, teacher: Mapping[str, Any], student: Mapping[str, Any]) -> None:
    """Refuses a teacher that cannot teach the student.

    Raises:
        UsageError: It is for another task, has other classes, or reads other pixels.
    """
    begin = f"--distill_from {path}"
    if teacher.get("task", "classification") != "classification":
        raise UsageError(f"{begin}: is a detector ({', '.join(DETECTORS)}); only a classifier can teach one")
    theirs, ours = teacher.get("num_classes"), student["num_classes"]
    if theirs not in (None, ours):
        raise UsageError(f"{begin}: has {theirs} classes, but this run has {ours}; both must have the same classes")
    if difference := class_renamed(teacher, student):
        raise UsageError(f"{begin}: {difference}; both must have the same classes in the same order")
    offsets = [found.get("label_offset") for found in (teacher, student)]
    if None not in offsets and offsets[0] != offsets[1]:
        raise UsageError(
            f"{begin}: its logit 0 is label {offsets[0]} of the records, but that of this run is label {offsets[1]}"
        )
    pixels = teacher.get("preprocessing", {}).get("range", [0, 255])
    if list(pixels) != [0, 255]:
        raise UsageError(f"{begin}: was trained on pixels in {pixels}; only those in [0, 255] can be given to it")


def fingerprint_of(files: Sequence[Path]) -> str:
    """A fingerprint of the contents of those of the files that exist; an index has the checksums of its tensors."""
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:16]


def other_teacher(config: ExperimentConfig, teacher: Teacher | None, metadata: Mapping[str, Any]) -> str | None:
    """A sentence if a run goes on with another teacher than before, or None."""
    before, now = metadata.get(FINGERPRINT), teacher and teacher.fingerprint
    if before == now:
        return None
    if now is None:
        return "--distill_from: a teacher so far in this run, none from here on"
    so_far = "no teacher" if before is None else "other weights of a teacher"
    return f"--distill_from {config.distillation.teacher}: {so_far} so far in this run, this one from here on"
