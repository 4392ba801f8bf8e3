"""The six modes of a run: what each does, in which order, and what it leaves behind."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.best import Best
from runtime.data_errors import readable_data_errors
from runtime.evaluation import Evaluation
from runtime.export import export_saved_model, prepare_folder
from runtime.plan import measured_warmup, plan_training
from runtime.prediction import predict_files
from runtime.task import Setup
from runtime.trainer import Trainer
from utils.checkpoints import CheckpointDir
from utils.dllogger_utils import SUMMARY, Logger
from utils.errors import EXIT_DONE, EXIT_PREEMPTED
from utils.hooks.bad_records import BadRecordHook
from utils.hooks.checkpoint import CheckpointHook
from utils.hooks.hook import Hook
from utils.hooks.logs import BenchmarkLogHook, SummaryHook, TrainingLogHook, write_event
from utils.hooks.measurement import MeasurementHook
from utils.hooks.nan_guard import NanGuard
from utils.hooks.preemption import PreemptionHook
from utils.hooks.progress import ProgressHook
from utils.hvd_utils import Communicator

_log = logging.getLogger(__name__)
END_OF_EVALUATION = "Evaluation finished."  # scripts that parse the console take the line before the last


class Runner:
    """Runs one launch of one experiment.

    Args:
        setup: What is run.
        communicator: The processes that share the run.
        logger: The log.
        preemption: Knows whether a signal asked the launch to stop.
    """

    def __init__(self, setup: Setup, communicator: Communicator, logger: Logger, preemption: PreemptionHook) -> None:
        self._setup = setup
        self._config = setup.config
        self._communicator = communicator
        self._logger = logger
        self._folder = Path(self._config.run.checkpoint_dir)
        self._checkpoints = CheckpointDir(self._folder, self._config.run.keep_checkpoints)
        self._preemption = preemption

    def run(self) -> int:
        """Runs the configured mode and returns the exit status.

        Raises:
            UsageError: Something that was asked for cannot be done.
            RunError: It failed on the way.
        """
        with self._folders(), readable_data_errors(self._setup.splits):
            mode = getattr(self, self._config.run.mode)
            status: int = mode()
        if self._preemption.received:
            _log.warning("stopped by %s: rerun the same command to continue", self._preemption.received.name)
            return EXIT_PREEMPTED
        return status

    @contextlib.contextmanager
    def _folders(self) -> Iterator[None]:
        """Makes the folders that the mode writes to, before any work; trains alone in the one of the checkpoints."""
        if self._config.run.export_dir:
            prepare_folder(Path(self._config.run.export_dir))
        if self._config.run.is_training and not self._config.run.is_benchmark:
            with self._checkpoints.reserved():
                self._checkpoints.prepare()
                yield
        else:
            yield

    def train(self) -> int:
        """Trains to the end of this launch, saving on the way."""
        with self._trainer() as trainer:
            plan = trainer.plan
            last = plan.last_step(self._config, trainer.step)
            measurement = MeasurementHook(plan.global_batch, measured_warmup(self._config, last - trainer.step))
            for _ in self._stretches(trainer, last, plan.total_steps, measurement):
                pass
            exported = {} if self._preemption.wants_stop else self._export(self._checkpoints.prefix(trainer.step))
        self._logger.log(SUMMARY, {**exported, **self._facts(), **measurement.result("train")})
        return EXIT_DONE

    def train_and_evaluate(self) -> int:
        """Trains, evaluates each n-th epoch and at the end, and keeps the best checkpoint."""
        with contextlib.closing(Evaluation(self._setup)) as evaluation, self._trainer() as trainer:
            plan, run = trainer.plan, self._config.run
            last = plan.last_step(self._config, trainer.step)
            if self._best(trainer).exhausted(run.early_stop_patience):
                _log.warning("step %d: training was stopped early; --early_stop_patience continues it", trainer.step)
                last = trainer.step
            measurement = MeasurementHook(plan.global_batch, measured_warmup(self._config, last - trainer.step))
            stretch = run.eval_every_epochs * plan.steps_per_epoch or plan.total_steps
            metrics: dict[str, float] = {}
            for step in self._stretches(trainer, last, stretch, measurement):
                if self._preemption.wants_stop:
                    break
                metrics = self._evaluate_and_rank(trainer, evaluation)
                if self._best(trainer).exhausted(run.early_stop_patience):
                    _log.warning("step %d: stopped early, %d evaluations were no better", step, run.early_stop_patience)
                    break
            if not metrics and not self._preemption.wants_stop:
                metrics = self._evaluate_and_rank(trainer, evaluation)
            exported = {} if self._preemption.wants_stop else self._export(self._checkpoints.prefix(trainer.step))
        self._logger.log(SUMMARY, {**exported, **self._facts(), **metrics, **measurement.result("train")})
        return EXIT_DONE

    def evaluate(self) -> int:
        """Evaluates a checkpoint on the whole validation split, or on its first batches."""
        prefix = self._setup.required_checkpoint
        with contextlib.closing(Evaluation(self._setup)) as evaluation:
            evaluation.load(prefix)
            result = self._evaluate(evaluation)
        self._finish_evaluation(prefix, result)
        return EXIT_DONE

    def inference_benchmark(self) -> int:
        """Measures the forward pass, with a checkpoint's weights or, saying so, with random ones."""
        prefix = self._setup.checkpoint
        with contextlib.closing(Evaluation(self._setup)) as evaluation:
            if prefix is not None:
                evaluation.load(prefix)
            else:
                _log.warning("no checkpoint in %s: measuring with random weights", self._folder)
            result = self._evaluate(evaluation)
        if prefix is None or not self._setup.splits:  # what was measured is speed; these would be noise
            result = {key: value for key, value in result.items() if not key.endswith("_accuracy") and key != "loss"}
        self._finish_evaluation(prefix, result)
        return EXIT_DONE

    def predict(self) -> int:
        """Classifies image files."""
        return predict_files(self._setup, self._preemption)

    def training_benchmark(self) -> int:
        """Measures training, on the data or on synthetic batches; saves nothing."""
        with self._trainer(save=False) as trainer:
            plan = trainer.plan
            last = plan.last_step(self._config, trainer.step)
            warmup = measured_warmup(self._config, last - trainer.step)
            measurement = MeasurementHook(plan.global_batch, warmup)
            logs = self._benchmark_log(plan.global_batch, warmup)
            trainer.run(last, [NanGuard(), *self._watchers("train", measurement, "total_loss"), logs])
        self._logger.log(SUMMARY, {**self._facts(), **measurement.result("train")})
        return EXIT_DONE

    def _trainer(self, *, save: bool = True) -> Trainer:
        plan = plan_training(self._config, self._setup.task.num_examples("train"), self._communicator.size)
        return Trainer(self._setup, plan, self._communicator, self._checkpoints if save else None)

    def _stretches(self, trainer: Trainer, last: int, stretch: int, measurement: MeasurementHook) -> Iterator[int]:
        """Trains to each multiple of ``stretch`` and to ``last``, saves there, and yields the step."""
        self._say_plan(trainer, last)
        if trainer.step > 0 and trainer.step % stretch == 0 and "evaluation" not in trainer.state:
            yield trainer.step  # a launch was ended between saving this step and evaluating it
        with contextlib.closing(SummaryHook(self._folder, self._config.run.display_every)) as summaries:
            hooks = self._training_hooks(trainer, measurement, summaries)
            while trainer.step < last and not self._preemption.wants_stop:
                trainer.run(min(last, (trainer.step // stretch + 1) * stretch), hooks)
                trainer.save(trainer.step)
                yield trainer.step

    def _training_hooks(self, trainer: Trainer, measurement: MeasurementHook, summaries: Hook) -> Sequence[Hook]:
        """The guards come first, so that nothing is saved that they would refuse."""
        run, plan = self._config.run, trainer.plan
        logs = TrainingLogHook(
            self._logger, every=run.display_every, steps_per_epoch=plan.steps_per_epoch, global_batch=plan.global_batch
        )
        saving = CheckpointHook(run.checkpoint_every, trainer.save)
        return [NanGuard(), *self._watchers("train", measurement, "total_loss"), saving, logs, summaries]

    def _watchers(self, split: str, measurement: MeasurementHook, scalar: str | None = None) -> list[Hook]:
        """What every loop is observed by."""
        allowed, task = self._config.data.max_bad_records, self._setup.task
        bad = BadRecordHook(allowed, lambda index, status: task.describe_bad_example(split, index, status))
        return [bad, measurement, ProgressHook(split, scalar), self._preemption]

    def _evaluate_and_rank(self, trainer: Trainer, evaluation: Evaluation) -> dict[str, float]:
        """Evaluates the checkpoint of the step just saved, remembers the result, and keeps the best."""
        step = trainer.step
        evaluation.load(self._checkpoints.prefix(step))
        result = self._evaluate(evaluation)
        if self._preemption.wants_stop:
            return {}
        epoch = step // trainer.plan.steps_per_epoch
        self._logger.log((epoch, step), result)
        write_event(self._folder / "eval", step, result)
        if trainer.state.get("evaluation") is None:
            best = self._best(trainer).after(step, result[self._setup.task.metric])
            trainer.state |= {"best": best.to_json(), "evaluation": result}
            if best.step == step:  # before it is noted, so that a kill in between has it evaluated and kept again
                self._checkpoints.keep_best(step)
            self._checkpoints.annotate(step, trainer.metadata(step))
        return result

    def _evaluate(self, evaluation: Evaluation) -> dict[str, float]:
        """Metrics and speed over the validation split, or over what the mode asks for."""
        run, batch = self._config.run, self._config.data.batch_size_per_replica
        whole = -(-self._setup.task.num_examples("validation") // batch)
        limited = run.mode == "inference_benchmark" or (run.mode == "evaluate" and run.duration.unit == "batch")
        batches = run.duration.to_steps(whole) if limited else whole
        warmup = measured_warmup(self._config, batches)
        measurement = MeasurementHook(batch, warmup)
        watchers = self._watchers("validation", measurement)
        if run.mode in ("evaluate", "inference_benchmark"):
            watchers.append(self._benchmark_log(batch, warmup))
        metrics = evaluation.run(watchers, batches if limited else None, repeat=run.is_benchmark)
        return {**metrics, **measurement.result("eval")}

    def _finish_evaluation(self, prefix: Path | None, result: Mapping[str, float]) -> None:
        if self._preemption.wants_stop:
            return
        if self._config.run.mode == "evaluate":
            folder = prefix.parent if prefix else self._folder
            write_event(folder / "eval", int(self._setup.metadata.get("step", 0)), result)
        exported = self._export(prefix) if prefix else {}
        weights = {"weights": str(prefix) if prefix else "random"}
        self._logger.log(SUMMARY, {**exported, **self._facts(), **weights, **result})
        if self._communicator.rank == 0:
            print(END_OF_EVALUATION)

    def _export(self, prefix: Path) -> dict[str, str]:
        if not self._config.run.export_dir:
            return {}
        folder = export_saved_model(self._setup, prefix, Path(self._config.run.export_dir))
        _log.info("SavedModel written to %s", folder)
        return {"export_dir": str(folder)}

    def _facts(self) -> dict[str, Any]:
        """What a result must be read with."""
        return {"precision": self._setup.precision.name}

    def _benchmark_log(self, batch: int, warmup: int) -> BenchmarkLogHook:
        return BenchmarkLogHook(
            self._logger, every=self._config.run.display_every, batch_size=batch, warmup_batches=warmup
        )

    @staticmethod
    def _best(trainer: Trainer) -> Best:
        return Best.from_json(trainer.state.get("best"))

    def _say_plan(self, trainer: Trainer, last: int) -> None:
        plan, step = trainer.plan, trainer.step
        if step >= last:
            _log.warning("step %d of %d: nothing left to train", step, plan.total_steps)
            return
        _log.info(
            "training from step %d to %d of %d: %d steps an epoch of %d images, global batch %d, peak learning rate %g",
            step, last, plan.total_steps, plan.steps_per_epoch, plan.num_examples, plan.global_batch,
            plan.schedule.peak,
        )  # fmt: skip
        if plan.schedule.warmup_steps >= plan.total_steps:
            _log.warning(
                "--lr_warmup_epochs %g: is not over when the run ends at step %d, so the learning rate stays below its "
                "peak", self._config.optimizer.warmup_epochs, plan.total_steps,
            )  # fmt: skip
