"""Training: a graph in a session that is initialized, resumed or warm-started, run and saved."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

from model.specs import CHOSEN_CONVOLUTIONS
from runtime.classification.teacher import FINGERPRINT, other_teacher
from runtime.graphs import TrainGraph, build_train_graph
from runtime.loop import run_loop
from runtime.planning.plan import TrainingPlan
from runtime.session import training_options
from runtime.stopping import Stopping
from runtime.task import Setup
from runtime.training.convolutions import choices_to_store, notes_on_use
from runtime.training.fine_tuning import require_frozen
from runtime.training.stored_options import changed_options, numbers_to_store, options_to_store
from runtime.training.warm_start import class_renamed, load_warm_start
from utils.checkpoints import CheckpointDir, find_checkpoint
from utils.errors import RunError
from utils.hooks.hook import Hook, StepRecord
from utils.hvd_utils import Communicator
from utils.image_sizes import Stage
from utils.input.batching import Position
from utils.input.staging import BatchesAhead
from utils.suggestions import absence, path_hint
from utils.text import first_and_more
from utils.weights.checkpoint_contents import is_weight, load_matched, match_variables
from utils.weights.checkpoint_files import read_metadata

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)


class Trainer:
    """The training of one launch.

    Images that change their size need a graph and a session for each stage of the run, so that every graph has fixed
    shapes. A stage continues from the state of the last one as a resumed launch would, but in memory.

    Args:
        setup: The resolved launch; training continues from its checkpoint if there is one.
        plan: The run in steps.
        communicator: The processes that train together; rank 0 reads and writes checkpoints.
        stopping: Knows when the processes stop.
        checkpoints: Folder for checkpoints, or None for runs without checkpoints.

    Attributes:
        plan: As given.
        state: Entries of the next checkpoint's description.
        graph: The training graph, of the stage of the last step.
        step: The last completed step.
        has_new_head: Whether the head begins with new weights; known on rank 0 once the training is entered.
    """

    def __init__(
        self,
        setup: Setup,
        plan: TrainingPlan,
        communicator: Communicator,
        stopping: Stopping,
        checkpoints: CheckpointDir | None,
    ) -> None:
        self.plan = plan
        self.state: dict[str, Any] = {
            key: setup.metadata[key] for key in ("best", "evaluation") if key in setup.metadata
        }
        self._setup = setup
        self._checkpoints = checkpoints
        self._communicator = communicator
        self._stopping = stopping
        self._start = _start_position(setup, plan)
        self._consumed = _BatchCounter()
        self._begin_stage(int(setup.metadata.get("step", 0)) if setup.checkpoint else 0)
        self.step = 0
        self.has_new_head = True
        self._saved_step: int | None = None

    def _begin_stage(self, step: int) -> None:
        """Makes graph and session for the step after ``step``."""
        setup, self._stage = self._setup, self.plan.stage(step)
        self.graph = self.graph_of(self._stage)
        self._convolutions = self.graph.graph.get_collection(CHOSEN_CONVOLUTIONS)
        for sentence in notes_on_use(setup.convolutions, self._convolutions):
            _log.warning("%s", sentence)
        self._session = tf1.Session(graph=self.graph.graph, config=training_options(setup.session_config, setup.config))
        self._ahead = BatchesAhead(self._session, self.graph.input)

    def graph_of(self, stage: Stage | None) -> TrainGraph:
        """The training graph of a stage, which reads on where the batches so far end."""
        setup, start = self._setup, advance(self._start, self._consumed.batches, self.plan)
        task = setup.task if stage is None else setup.task.training_at(stage.size)
        return build_train_graph(
            task, setup.config, self.plan, setup.precision, self._communicator, self._stopping, start
        )

    def _next_stage(self) -> None:
        """Continues with the graph of the stage that the next step belongs to."""
        values = self._session.run({variable.op.name: variable for variable in self.graph.variables})
        self.__exit__(None, None, None)
        self._begin_stage(self.step)
        # The operation that initializes a variable assigns any value in place of the initial one.
        given = {variable.initializer.inputs[1]: values[variable.op.name] for variable in self.graph.variables}
        self._session.run(self.graph.initializer, given)
        self._ahead.restart()
        self._load_teacher()
        if self._stage is not None:
            _log.info("step %d: training images have %d pixels a side from here on", self.step, self._stage.size)

    def __enter__(self) -> Trainer:
        """Initializes the variables, then loads the checkpoint to resume or to warm-start from."""
        self._session.run(self.graph.initializer)
        self._ahead.restart()
        self._load_teacher()
        if self._communicator.rank == 0:
            self._load()
        self.step = int(self._session.run(self.graph.taken_over))
        if self._setup.checkpoint is not None:
            self._saved_step = self._setup.metadata.get("step")
        return self

    def _load_teacher(self) -> None:
        if self._setup.teacher is not None:
            self._setup.teacher.load(self._session, self._setup.session_config)

    def _load(self) -> None:
        checkpoint, warm_start = self._setup.checkpoint, self._setup.config.run.finetune_checkpoint
        loaded: Collection[str] = ()
        if checkpoint is not None:
            if warm_start:
                _log.warning("--finetune_checkpoint %s: not used, the run continues from %s", warm_start, checkpoint)
            loaded = self._resume(checkpoint)
            self.has_new_head = False
        elif warm_start:
            self._warm_start(Path(warm_start))
        fresh = [begin for name, begin in self.graph.begin_averages.items() if name not in loaded]
        self._session.run(fresh)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()
        self._session.close()

    def run(self, last: int, hooks: Sequence[Hook]) -> int:
        """Trains to step ``last`` or until a hook requests a stop; returns the step reached."""
        hooks = [self._consumed, *hooks]
        while True:
            if self.plan.stage(self.step) != self._stage:
                self._next_stage()
            end = min(last, self.plan.end_of_stage(self.step))
            self.step = run_loop(self._session, self.graph, hooks, start=self.step, last=end, ahead=self._ahead)
            if self.step != end or end == last or any(hook.wants_stop for hook in hooks):
                return self.step

    def save(self, step: int) -> Path:
        """Writes the checkpoint of the completed step, on rank 0, unless it exists.

        Raises:
            RunError: A weight is not finite, or the checkpoint cannot be written; earlier checkpoints are intact.
        """
        if self._checkpoints is None:
            raise ValueError("this run has no folder for checkpoints")
        if step == self._saved_step:
            return self._checkpoints.prefix(step)
        self.state.pop("evaluation", None)
        self._saved_step = step
        if self._communicator.rank > 0:
            return self._checkpoints.prefix(step)
        broken = [name for name, finite in self._session.run(self.graph.finite()).items() if not finite]
        if broken:
            raise RunError(
                f"step {step}: the values of {first_and_more(broken, 'variable')} are not finite; not saved, earlier "
                "checkpoints are intact; a lower --lr_init or a longer --lr_warmup_epochs often helps"
            )
        return self._checkpoints.save(self._session, self.graph.saver(), step, self.metadata(step))

    def metadata(self, step: int) -> dict[str, Any]:
        """The description to write beside the weights of ``step``."""
        position = advance(self._start, self._consumed.batches, self.plan)
        return {
            **self._setup.task.metadata,
            "step": step,
            "total_steps": self.plan.total_steps,
            "steps_per_epoch": self.plan.steps_per_epoch,
            "global_batch": self.plan.global_batch,
            "seed": self._setup.seed,
            "position": {"epoch": position.epoch, "example": position.example},
            **options_to_store(self._setup.config),
            **numbers_to_store(self._setup.config, self.plan.schedule.peak),
            **({} if self._setup.teacher is None else {FINGERPRINT: self._setup.teacher.fingerprint}),
            **choices_to_store(self._convolutions, self._setup.convolutions if self.plan.stages else None),
            **self.state,
        }

    def _resume(self, prefix: Path) -> Collection[str]:
        """Loads a checkpoint to continue from; returns the names of the loaded variables."""
        found = match_variables(prefix, self.graph.variables, self._setup.task.network.stored_names)
        found.require({v.op.name for v in self.graph.variables if is_weight(v.op.name)} | _needed_state(self._setup))
        wanted = [v for v in self.graph.variables if v.op.name in found.sources]
        with self.graph.graph.as_default():
            load_matched(self._session, tf1.train.Saver(wanted), wanted, found)
        _log.info("%s:\n%s", prefix, found.table())
        taught = other_teacher(self._setup.config, self._setup.teacher, self._setup.metadata)
        for sentence in (*changed_options(self._setup.config, self._setup.metadata), *filter(None, [taught])):
            _log.warning("%s", sentence)
        self._log_extension()
        return found.sources

    def _log_extension(self) -> None:
        """Logs the effect of a changed run length on the schedule."""
        former, plan = self._setup.metadata.get("total_steps"), self.plan
        if former is None or former == plan.total_steps:
            return
        step = int(self._session.run(self.graph.global_step))
        _log.warning(
            "--num_iter: the run was planned for %d steps and now has %d; the learning rate of its %s schedule at step "
            "%d is %.6g",
            former, plan.total_steps, plan.schedule.kind, step, float(plan.schedule.rate(float(step))),
        )  # fmt: skip

    def _warm_start(self, path: Path) -> None:
        prefix = find_checkpoint(path)
        if prefix is None:
            raise RunError(f"--finetune_checkpoint {path}: {absence(path)}{path_hint(path)}")
        task, run = self._setup.task, self._setup.config.run
        weights = [v for v in self.graph.variables if is_weight(v.op.name)]
        chosen = [v for v in weights if v.op.name.startswith(run.finetune_scope)]
        found = load_warm_start(self._session, prefix, chosen, task.training.warm_start_map, reset=run.reset_head)
        _log.info("--finetune_checkpoint %s:\n%s", prefix, found.table)
        self.has_new_head = not any(task.training.part_of(name) == "head" for name in found.loaded)
        if found.other_classes:
            _log.warning(
                "--finetune_checkpoint %s: has other classes, so the classification layer starts with new weights; "
                "all other layers are loaded", prefix,
            )  # fmt: skip
        elif not (run.reset_head or self.has_new_head) and (
            difference := class_renamed(read_metadata(prefix) or {}, task.metadata)
        ):
            _log.warning(
                "--finetune_checkpoint %s: %s; the classification layer is loaded nevertheless, --reset_head starts "
                "it with new weights", prefix, difference,
            )  # fmt: skip
        if self._setup.config.fine_tuning.freeze_backbone:
            frozen = {v.op.name for v in weights if task.training.part_of(v.op.name) == "backbone"}
            require_frozen(prefix, frozen - found.loaded)


class _BatchCounter(Hook):
    """Counts the batches consumed by a launch, including those of skipped updates."""

    def __init__(self) -> None:
        self.batches = 0

    def after_step(self, record: StepRecord) -> None:
        self.batches += 1


def advance(start: Position, batches: int, plan: TrainingPlan) -> Position:
    """The position in the data ``batches`` global batches after ``start``."""
    used = plan.steps_per_epoch * plan.global_batch
    begun = min(-(-start.example // plan.global_batch) * plan.global_batch, used)
    epochs, example = divmod(begun + batches * plan.global_batch, used)
    return Position(epoch=start.epoch + epochs, example=example)


def _start_position(setup: Setup, plan: TrainingPlan) -> Position:
    """The data position of the checkpoint, rounded up to a whole global batch of this launch."""
    stored = setup.metadata.get("position")
    if setup.checkpoint is None or stored is None:
        return Position()
    return advance(Position(epoch=int(stored["epoch"]), example=int(stored["example"])), 0, plan)


def _needed_state(setup: Setup) -> set[str]:
    """The state that resuming requires beside the weights; another program's checkpoint without a step resumes at 0."""
    return set() if setup.metadata.get("origin") else {"global_step"}
