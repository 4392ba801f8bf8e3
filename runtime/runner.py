"""The six modes of a run: what each does, in which order, and what it leaves behind."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.artefacts.exporting import check_folder
from runtime.artefacts.serving_export import export_for_serving
from runtime.data_errors import readable_data_errors
from runtime.evaluation import Evaluation
from runtime.observers import Observers
from runtime.planning.advice import advice
from runtime.planning.model_size import NetworkSize
from runtime.planning.plan import batches_to_evaluate, measured_warmup, plan_training
from runtime.prediction.prediction import predict_files
from runtime.reporting.evaluation_details import leave_details
from runtime.reporting.publish import publish
from runtime.reporting.run_facts import facts_of_setup, facts_of_training, recipe_fit
from runtime.stopping import Stopping
from runtime.task import Setup
from runtime.trainer import Trainer
from runtime.training.best_checkpoint import BestCheckpoint
from utils.checkpoints import CheckpointDir, next_checkpoint
from utils.config import EMA, RAW
from utils.console.screen import Rows
from utils.dllogger_utils import SUMMARY, Logger
from utils.errors import EXIT_DONE, EXIT_PREEMPTED
from utils.hooks.measurement import MeasurementHook
from utils.hvd_utils import Communicator, of_rank
from utils.reporting.event_file import EVALUATIONS, write_event
from utils.weights.checkpoint_files import read_metadata

_log = logging.getLogger(__name__)
END_OF_EVALUATION = "Evaluation finished."  # scripts that parse the console take the line before the last


class Runner:
    """Runs one launch of one experiment.

    Args:
        setup: What is run.
        communicator: The processes that share the run; rank 0 writes the files.
        logger: The log.
        stopping: Knows when the processes stop because of a signal.
    """

    def __init__(self, setup: Setup, communicator: Communicator, logger: Logger, stopping: Stopping) -> None:
        self._setup = setup
        self._config = setup.config
        self._communicator = communicator
        self._logger = logger
        self._screen = logger.screen
        self._folder = Path(self._config.run.checkpoint_dir)
        self._checkpoints = CheckpointDir(self._folder, self._config.run.keep_checkpoints)
        self._stopping = stopping
        self._observers = Observers(setup, communicator, logger, stopping)
        self._writes = communicator.rank == 0

    def run(self) -> int:
        """Runs the configured mode and returns the exit status.

        Raises:
            UsageError: A flag does not suit the data, the checkpoint or the machine.
            RunError: The run failed.
        """
        with self._folders(), readable_data_errors(self._setup.splits, self._place):
            mode = getattr(self, self._config.run.mode)
            status: int = mode()
        self._observers.close()
        return EXIT_PREEMPTED if self._stopping.ends_run() else status

    def _place(self) -> str:
        run = self._config.run
        place = f"after training step {self._stopping.step}" if run.is_training else f"in --mode {run.mode}"
        return place + of_rank(self._communicator)

    @contextlib.contextmanager
    def _folders(self) -> Iterator[None]:
        """Checks the output folders before any work; a training run creates and reserves its checkpoint folder."""
        if self._config.run.export_dir and self._writes:
            check_folder(Path(self._config.run.export_dir))
        if self._config.run.is_training and not self._config.run.is_benchmark and self._writes:
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
            measurement = self._observers.measurement(plan.global_batch, last - trainer.step)
            for _ in self._stretches(trainer, last, plan.total_steps, measurement):
                pass
            exported = {} if self._stopping.wants_stop else self._export(self._checkpoints.prefix(trainer.step))
        self._logger.log(SUMMARY, {**exported, **self._facts(), **measurement.result("train")})
        return EXIT_DONE

    def train_and_evaluate(self) -> int:
        """Trains, evaluates each n-th epoch and at the end, and keeps the best checkpoint."""
        with contextlib.closing(self._evaluation()) as evaluation, self._trainer() as trainer:
            plan, run = trainer.plan, self._config.run
            last = plan.last_step(self._config, trainer.step)
            best = self._best(trainer)
            self._screen.best(self._setup.task.metrics.best, best.step, best.value)
            if best.exhausted(run.early_stop_patience):
                _log.warning("step %d: training was stopped early; --early_stop_patience continues it", trainer.step)
                last = trainer.step
            measurement = self._observers.measurement(plan.global_batch, last - trainer.step)
            stretch = run.eval_every_epochs * plan.steps_per_epoch or -(-plan.total_steps // run.eval_count)
            metrics: dict[str, Any] = {}
            for step in self._stretches(trainer, last, stretch, measurement):
                if self._stopping.agree():
                    break
                metrics = self._evaluate_and_rank(trainer, evaluation, final=step >= last)
                if self._best(trainer).exhausted(run.early_stop_patience):
                    _log.warning("step %d: stopped early, %d evaluations were no better", step, run.early_stop_patience)
                    break
            if not metrics and not self._stopping.wants_stop:
                metrics = self._evaluate_and_rank(trainer, evaluation)
            exported = {} if self._stopping.wants_stop else self._export(self._checkpoints.prefix(trainer.step))
        facts = self._facts(evaluation.weights)
        self._logger.log(SUMMARY, {**exported, **facts, **metrics, **measurement.result("train")})
        return EXIT_DONE

    def evaluate(self) -> int:
        """Evaluates a checkpoint on the whole validation split, or on its first batches; or every new checkpoint."""
        prefix: Path | None = self._setup.required_checkpoint
        with contextlib.closing(self._evaluation()) as evaluation:
            self._introduce(evaluation.graph.network.size)
            while prefix is not None and not self._stopping.agree():
                evaluation.load(prefix)
                self._finish_evaluation(prefix, evaluation, self._evaluate(evaluation))
                watches = self._config.run.watch_checkpoints and self._setup.artefact is None
                prefix = self._next(prefix) if watches else None
        return EXIT_DONE

    def _next(self, prefix: Path) -> Path | None:
        found = next_checkpoint(prefix, self._stopping.asked_here) if self._communicator.rank == 0 else None
        following: Path | None = self._communicator.broadcast(found)
        return following

    def inference_benchmark(self) -> int:
        """Measures the forward pass, with a checkpoint's weights or, after a message, with random ones."""
        prefix = self._setup.checkpoint
        with contextlib.closing(self._evaluation()) as evaluation:
            self._introduce(evaluation.graph.network.size)
            if prefix is not None:
                evaluation.load(prefix)
            else:
                _log.warning("no checkpoint in %s: measuring with random weights", self._folder)
            meaningful = prefix is not None and bool(self._setup.splits)  # else metrics would be noise
            result = self._evaluate(evaluation, score=meaningful)
            if evaluation.graph.alone is not None:
                result |= self._measure_network(evaluation)
        self._finish_evaluation(prefix, evaluation, result)
        return EXIT_DONE

    def predict(self) -> int:
        """Predicts for image files."""
        return predict_files(self._setup, self._communicator, self._stopping.asked_here, self._introduce, self._screen)

    def training_benchmark(self) -> int:
        """Measures training, on the data or on synthetic batches; saves nothing."""
        with self._trainer(save=False) as trainer:
            plan = trainer.plan
            last = plan.last_step(self._config, trainer.step)
            batches = last - trainer.step
            measurement = self._observers.measurement(plan.global_batch, batches)
            network = self._observers.measurement(plan.global_batch, batches, without_input=True)
            warmup = measured_warmup(self._config, batches)
            self._introduce(trainer.graph.size, facts_of_training(self._config, plan, trainer.step, last))
            trainer.run(last, self._observers.training_benchmark(plan, measurement, network, warmup))
        self._logger.log(SUMMARY, {**self._facts(), **network.result("network"), **measurement.result("train")})
        return EXIT_DONE

    def _trainer(self, *, save: bool = True) -> Trainer:
        plan = plan_training(self._config, self._setup.task.data.num_examples("train"), self._communicator.size)
        return Trainer(self._setup, plan, self._communicator, self._stopping, self._checkpoints if save else None)

    def _evaluation(self) -> Evaluation:
        once = not (self._config.run.is_training or self._config.run.watch_checkpoints)
        return Evaluation(self._setup, self._communicator, once=once)

    def _stretches(self, trainer: Trainer, last: int, stretch: int, measurement: MeasurementHook) -> Iterator[int]:
        """Trains to each multiple of ``stretch`` and to ``last``, saves there, and yields the step."""
        self._introduce(trainer.graph.size, facts_of_training(self._config, trainer.plan, trainer.step, last))
        self._say_plan(trainer, last)
        if trainer.step > 0 and trainer.step % stretch == 0 and "evaluation" not in trainer.state:
            yield trainer.step  # a launch was ended between saving this step and evaluating it
        with self._observers.training(trainer, measurement, self._folder) as hooks:
            while trainer.step < last and not self._stopping.agree():
                trainer.run(min(last, (trainer.step // stretch + 1) * stretch), hooks)
                self._observers.save(trainer, trainer.step)
                yield trainer.step

    def _evaluate_and_rank(self, trainer: Trainer, evaluation: Evaluation, *, final: bool = True) -> dict[str, Any]:
        """Evaluates the checkpoint of the step just saved, remembers the result, and keeps the best."""
        step = trainer.step
        evaluation.load(self._checkpoints.prefix(step))
        result = self._evaluate(evaluation, final=final)
        if self._stopping.agree():
            return {}
        epoch = step // trainer.plan.steps_per_epoch
        self._logger.log((epoch, step), result)
        if self._writes:
            write_event(self._folder / EVALUATIONS, step, result, evaluation.examples)
        if trainer.state.get("evaluation") is None:
            best = self._best(trainer).after(step, result[self._setup.task.metrics.best])
            trainer.state |= {"best": best.to_json(), "evaluation": result}
            if best.step == step and self._writes:  # before it is noted, so that a kill in between repeats both
                self._checkpoints.keep_best(step)
            if self._writes:
                self._logger.flush_to_disk()  # a launch that finds the note does not evaluate and log again
                self._checkpoints.annotate(step, trainer.metadata(step))
        return result

    def _evaluate(self, evaluation: Evaluation, *, score: bool = True, final: bool = True) -> dict[str, Any]:
        """Metrics and speed over the validation split, or over the part that the mode asks for."""
        run, batch = self._config.run, self._global_batch
        batches = self._batches_to_evaluate()
        measurement, bad = self._observers.measurement(batch, batches), self._observers.bad_records("validation")
        hooks = self._observers.evaluation(measurement, bad, batch, measured_warmup(self._config, batches))
        evaluator = evaluation.run(hooks, batches, repeat=run.is_benchmark)
        bad.share()
        if evaluator is None or not score:
            return measurement.result("eval")
        metrics: dict[str, Any] = evaluator.result()
        if not run.is_benchmark and self._writes:
            metrics |= evaluator.statistics()
            publish(evaluator, Path(run.results_dir), self._screen)
            printed = not self._screen.is_readable
            evaluation.examples = leave_details(
                evaluator, self._setup, evaluation.prefix, metrics, measurement, printed=printed, final=final
            )
        return {**metrics, **measurement.result("eval")}

    def _batches_to_evaluate(self) -> int:
        examples = self._setup.task.data.num_examples("validation")
        return batches_to_evaluate(self._config, examples, self._communicator.size)

    def _measure_network(self, evaluation: Evaluation) -> dict[str, float]:
        """The speed of the network alone, without input and post-processing."""
        batches = self._batches_to_evaluate()
        network = self._observers.measurement(self._global_batch, batches, without_input=True)
        evaluation.run_network(self._observers.network(network), batches)
        return network.result("network")

    @property
    def _global_batch(self) -> int:
        return self._config.data.batch_size_per_replica * self._communicator.size

    def _finish_evaluation(self, prefix: Path | None, evaluation: Evaluation, result: Mapping[str, Any]) -> None:
        if self._stopping.agree() or not self._writes:
            return
        if self._config.run.mode == "evaluate" and prefix:
            metadata = self._setup.metadata if self._setup.artefact else read_metadata(prefix) or {}
            step = int(metadata.get("step", 0))
            write_event(Path(self._config.run.results_dir) / EVALUATIONS, step, result, evaluation.examples)
        exported = self._export(prefix) if prefix else {}
        weights = {"weights": str(prefix) if prefix else "random"}
        self._logger.log(SUMMARY, {**exported, **self._facts(evaluation.weights), **weights, **result})
        self._screen.lines(END_OF_EVALUATION)

    def _export(self, prefix: Path) -> dict[str, str]:
        if not self._config.run.export_dir or not self._writes:
            return {}
        folder = export_for_serving(self._setup, prefix, Path(self._config.run.export_dir))
        _log.info("SavedModel written to %s", folder)
        return {"export_dir": str(folder)}

    def _facts(self, evaluated: str = RAW) -> dict[str, Any]:
        """Facts needed to interpret a result."""
        averages = {"eval_weights": EMA} if evaluated == EMA else {}
        mirrors = self._config.prediction.test_time_augmentation
        views = {"test_time_augmentation": True} if mirrors else {}
        return {"precision": self._setup.precision.name, **averages, **views}

    @staticmethod
    def _best(trainer: Trainer) -> BestCheckpoint:
        return BestCheckpoint.from_json(trainer.state.get("best"))

    def _introduce(self, size: NetworkSize, more: Rows = ()) -> None:
        """Shows the header of the readable console."""
        if self._screen.is_readable:
            self._screen.header([*facts_of_setup(self._setup, size, self._communicator.size), *more])

    def _say_plan(self, trainer: Trainer, last: int) -> None:
        plan, step = trainer.plan, trainer.step
        if step >= last:
            _log.warning("step %d of %d: nothing left to train", step, plan.total_steps)
            return
        if not self._screen.is_readable:  # its header has it
            _log.info(
                "training from step %d to %d of %d: %d steps an epoch of %d images, global batch %d, peak learning "
                "rate %g", step, last, plan.total_steps, plan.steps_per_epoch, plan.num_examples, plan.global_batch,
                plan.schedule.peak,
            )  # fmt: skip
            if fit := recipe_fit(self._config, plan):
                _log.info("recipe: %s", fit)
        for sentence in advice(self._config, plan, resumed=step > 0):
            _log.warning("%s", sentence)
