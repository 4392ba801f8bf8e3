"""The training of a range test, and the chart and numbers that it leaves."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.data_errors import readable_data_errors
from runtime.planning.plan import TrainingPlan, plan_training
from runtime.setup.set_up import set_up
from runtime.stopping import Stopping
from runtime.task import Setup
from runtime.trainer import Trainer
from tools.find_lr.request import CHART, NUMBERS, Request
from tools.find_lr.suggestion import Divergence, Finding, find_rate
from utils.errors import EXIT_DONE, EXIT_PREEMPTED, RunError
from utils.files.atomic_file import write_atomically
from utils.hooks.bad_records import BadRecordHook
from utils.hooks.hook import Hook, StepRecord
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import SerialCommunicator
from utils.learning_rate import IMAGES_PER_RATE, Schedule
from utils.reporting.charts import COLORS, png
from utils.text import one_line

_ROWS = 20
_FEWEST = 5


@dataclass(slots=True)
class _RangeHook(Hook):
    """Notes the rate of each update with the loss of the next batch, which that update led to.

    The loss is that of the data: a penalty for large weights says little about the rate.
    """

    steps: int
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    diverged: bool = False
    _divergence: Divergence = field(default_factory=Divergence)

    def after_step(self, record: StepRecord) -> None:
        loss = float(record.values["total_loss"]) - float(record.values["l2_loss"])
        if self.rates:
            self.losses.append(loss)
        self.diverged = self._divergence.after(loss)
        if not self.wants_stop:
            self.rates.append(float(record.values["learning_rate"]))

    @property
    def wants_stop(self) -> bool:
        return self.diverged or len(self.losses) >= self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """The rates and losses of the steps with a finite loss, and the finding about them."""

    global_batch: int
    rates: list[float]
    losses: list[float]
    finding: Finding
    diverged_at: float | None

    def per_256(self, rate: float) -> float:
        """The value of ``--lr_init`` for a rate."""
        return rate * IMAGES_PER_RATE / self.global_batch

    def both(self, rate: float) -> dict[str, float]:
        """A rate for the batch of the test, and the value of ``--lr_init``."""
        return {"learning_rate": rate, "lr_init": self.per_256(rate)}


def test_range(request: Request, stop: PreemptionHook) -> int:
    """Trains, writes chart and numbers, prints the table and the suggestion, and returns the exit status.

    Raises:
        UsageError: Flags contradict the data or the machine.
        RunError: The training failed, or no rate stands out.
    """
    processes = SerialCommunicator()
    setup = set_up(request.command.config, processes, writes=False)
    plan = _plan(setup, request)
    noted = _RangeHook(request.steps)
    bad = BadRecordHook(
        setup.config.data.max_bad_records,
        lambda index, status: setup.task.data.describe_bad_example("train", index, status),
        processes,
    )
    stopping = Stopping(stop, processes)
    with (
        readable_data_errors(setup.splits, lambda: f"after step {stopping.step} of the range test"),
        Trainer(setup, plan, processes, stopping, None) as trainer,
    ):
        trainer.run(plan.total_steps, [bad, noted, stopping])
    if stopping.wants_stop:
        return EXIT_PREEMPTED
    course = _course(noted, plan)
    _write(request.output, course, setup, request)
    for line in _report(course):
        print(line)
    print(f"{one_line(str(request.output))}: {CHART}, {NUMBERS}")
    if course.finding.suggestion is None:
        raise RunError(
            "no rate stands out: the loss neither falls nor rises by more than its batches differ; more --steps or a "
            "larger --batch_size may help, or other bounds --lr_low and --lr_high"
        )
    return EXIT_DONE


def _plan(setup: Setup, request: Request) -> TrainingPlan:
    """The plan of the test: a rising rate, and no change of the size of images."""
    plan = plan_training(setup.config, setup.task.data.num_examples("train"), 1)
    low, high = (rate * plan.global_batch / IMAGES_PER_RATE for rate in (request.lowest, request.highest))
    schedule = Schedule(
        kind="exponential", peak=high, start=low, final=high, warmup_steps=0, decay_steps=request.steps - 1
    )
    # The loss of one more step shows where the last rate led.
    return dataclasses.replace(plan, total_steps=request.steps + 1, schedule=schedule, stages=plan.stages[:1])


def _course(noted: _RangeHook, plan: TrainingPlan) -> _Course:
    """The course of a test that has ended.

    Raises:
        RunError: The loss diverged too early to tell anything.
    """
    finite = next((n for n, loss in enumerate(noted.losses) if not math.isfinite(loss)), len(noted.losses))
    if finite < _FEWEST:
        raise RunError(f"the loss diverged after {finite} rates; a lower --lr_low may help")
    return _Course(
        global_batch=plan.global_batch,
        rates=noted.rates[:finite],
        losses=noted.losses[:finite],
        finding=find_rate(noted.rates[:finite], noted.losses[:finite], noted.steps),
        diverged_at=noted.rates[len(noted.losses) - 1] if noted.diverged else None,
    )


def _report(course: _Course) -> Iterator[str]:
    """The lines of the table, and the suggestion."""
    yield f"{'rate':>10}  {'--lr_init':>10}  {'loss':>9}  {'smoothed':>9}"
    every = max(1, math.ceil(len(course.rates) / _ROWS))
    finding = course.finding
    marks = {finding.lowest: "  lowest"}
    if finding.suggestion in course.rates:
        marks[course.rates.index(finding.suggestion)] = "  steepest"
    for number, (rate, loss) in enumerate(zip(course.rates, course.losses, strict=True)):
        if number % every == 0 or number in marks or number == len(course.rates) - 1:
            smoothed = finding.smoothed[number]
            row = f"{rate:10.3g}  {course.per_256(rate):10.3g}  {loss:9.4g}  {smoothed:9.4g}"
            yield row + marks.get(number, "")
    if course.diverged_at is None:
        yield "the loss did not diverge"
    else:
        yield f"the loss diverged at a rate of {course.diverged_at:.3g}"
    if finding.suggestion is not None:
        yield (
            f"suggestion: --lr_init={course.per_256(finding.suggestion):.2g}, which is a learning rate of "
            f"{finding.suggestion:.2g} for this global batch of {course.global_batch}: {finding.rule}"
        )


def _write(output: Path, course: _Course, setup: Setup, request: Request) -> None:
    config, finding = setup.config, course.finding
    rows = zip(course.rates, course.losses, finding.smoothed, strict=True)
    facts: dict[str, Any] = {
        "arch": config.model.architecture,
        "optimizer": config.optimizer.name,
        "precision": setup.precision.name,
        "global_batch": course.global_batch,
        "seed": setup.seed,
        "steps": request.steps,
        "suggestion": None if finding.suggestion is None else course.both(finding.suggestion),
        "rule": finding.rule if finding.suggestion is not None else None,
        "lowest": course.both(course.rates[finding.lowest]),
        "diverged": None if course.diverged_at is None else course.both(course.diverged_at),
        "rates": [{**course.both(rate), "loss": loss, "smoothed": float(mean)} for rate, loss, mean in rows],
    }
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / CHART, png(lambda figure: _draw(figure, course), (8.5, 4.6)))
    write_atomically(output / NUMBERS, (json.dumps(facts, indent=1) + "\n").encode())


def _draw(figure: Any, course: _Course) -> None:
    """Draws the losses over ``--lr_init``, with the rate for the batch of the test on top."""
    axes, scale = figure.subplots(), course.per_256(1.0)
    across = [course.per_256(rate) for rate in course.rates]
    axes.plot(across, course.losses, ".", color="#8b95a1", markersize=4, label="loss of a batch")
    axes.plot(across, course.finding.smoothed, color=COLORS[0], label="smoothed")
    if course.finding.suggestion is not None:
        value = course.per_256(course.finding.suggestion)
        axes.axvline(value, color=COLORS[1], linestyle="--", label=f"suggestion: --lr_init={value:.2g}")
    axes.set_xscale("log")
    first, lowest = course.losses[0], min(course.losses)
    room = max(first - lowest, abs(first))
    axes.set_ylim(lowest - 0.05 * room, first + 0.6 * room)  # above, it only diverges
    axes.set_xlabel("--lr_init, the learning rate for a global batch of 256")
    axes.set_ylabel("loss")
    axes.legend(fontsize=8, loc="upper left")
    upper = axes.secondary_xaxis("top", (lambda x: x / scale, lambda x: x * scale))
    upper.set_xlabel(f"learning rate for this global batch of {course.global_batch}")
