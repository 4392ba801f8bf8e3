"""Defaults that do not fit a run: a table of rules, each with its evidence (no TF).

A rule speaks only where a value is known to cost accuracy, and names the flag and a value that fits. The published
recipes break none. A run that continues gets no advice: its own came at its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.planning.plan import TrainingPlan
from utils.config import ExperimentConfig
from utils.detection_config import DetectionConfig
from utils.flags.table import DETECTOR_DEFAULTS
from utils.learning_rate import rate_scale, scales_by_root
from utils.optimizer_table import OPTIMIZERS
from utils.text import percent, plural

LONGEST_WARM_UP = 0.5
"""Largest fraction of a run for its warm-up."""
USUAL_WARM_UP = 0.1
FEWEST_STEPS = 200
ENOUGH_STEPS = 1000
LEAST_OF_INITIAL = 0.05
"""Weight of the initial batch-norm statistics below which they no longer matter."""
SMALLEST_BATCH = 8
LARGEST_BATCH = 8192
LARGEST_ADAM_RATE, USUAL_ADAM_RATE = 0.005, 0.001
RANDOM_DETECTOR_RATE = 0.48


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule about one default, a row of the table in ``docs/training.md``.

    Attributes:
        flag: The flag that sets the value.
        breach: The runs that break the rule, in words.
        evidence: What shows that such runs lose accuracy.
        advice: Returns a sentence without the flag, or None if the value fits.
        new_weights: Whether the rule is about training from random weights only.
    """

    flag: str
    breach: str
    evidence: str
    advice: Callable[[ExperimentConfig, TrainingPlan], str | None]
    new_weights: bool = False


def advice(config: ExperimentConfig, plan: TrainingPlan, *, resumed: bool) -> list[str]:
    """The sentences about a run of training whose values do not fit it."""
    if resumed or config.run.is_benchmark:
        return []
    rules = [rule for rule in RULES if not (rule.new_weights and config.run.finetune_checkpoint)]
    found = ((rule.flag, rule.advice(config, plan)) for rule in rules)
    return [f"--{flag}: {sentence}" for flag, sentence in found if sentence]


def _few_steps(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    if plan.total_steps >= FEWEST_STEPS:
        return None
    epochs = -(-ENOUGH_STEPS // plan.steps_per_epoch)
    return (
        f"{plural(plan.total_steps, 'step')} {_be(plan.total_steps)} too few to train random weights; "
        f"{plural(epochs, 'epoch')} {_be(epochs)} "
        f"{ENOUGH_STEPS:,} steps or more (--finetune_checkpoint needs fewer)"
    )


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _long_warm_up(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    warm_up, total = plan.schedule.warmup_steps, plan.total_steps
    if warm_up <= LONGEST_WARM_UP * total:
        return None
    outcome = (
        f"is not over when the run ends at step {total}, so the learning rate stays below its peak"
        if warm_up >= total
        else f"takes more than half of the {total} steps of the run"
    )
    epochs = USUAL_WARM_UP * total / plan.steps_per_epoch
    return f"the warm-up of {warm_up} steps {outcome}; a tenth of the run, {epochs:.2g} epochs, is usual"


def _constant_rate(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    schedule = plan.schedule
    if schedule.kind != "step" or schedule.boundaries[0] < plan.total_steps:
        return None
    return "without it the learning rate stays at its peak to the end, because it first falls after 30 epochs"


def _rate_of_adam(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    peak = plan.schedule.peak
    if config.optimizer.name not in ("adam", "adamw") or peak <= LARGEST_ADAM_RATE:
        return None
    usual = USUAL_ADAM_RATE / rate_scale(config.optimizer, plan.global_batch)
    return f"a peak of {peak:.2g} is for momentum; Adam's usual {USUAL_ADAM_RATE:g} is --lr_init={usual:.2g} here"


def _rate_of_large_batch(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    optimizer = config.optimizer
    if plan.global_batch <= LARGEST_BATCH or optimizer.learning_rate is not None or scales_by_root(optimizer):
        return None
    most = optimizer.learning_rate_per_256 * LARGEST_BATCH / plan.global_batch
    return (
        f"the learning rate follows the batch up to {LARGEST_BATCH:,} images a step, not to {plan.global_batch:,}; "
        f"--lr_init={most:.2g} keeps the peak of {LARGEST_BATCH:,}"
    )


def _rate_of_other_batch(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    optimizer, batch = config.optimizer, plan.global_batch
    if optimizer.recipe_batch in (None, batch) or scales_by_root(optimizer) or not OPTIMIZERS[optimizer.name].adaptive:
        return None
    return (
        f"the learning rate of the recipe is for {optimizer.recipe_batch:,} images a step, not for {batch:,}; with "
        f"this flag it follows the square root of the batch, as suits {optimizer.name}"
    )


def _rate_of_random_detector(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    usual = DETECTOR_DEFAULTS["optimizer.learning_rate_per_256"]
    optimizer = config.optimizer
    if config.detection is None or optimizer.learning_rate is not None or OPTIMIZERS[optimizer.name].adaptive:
        return None  # the usual rate is one of SGD
    if optimizer.learning_rate_per_256 > usual:
        return None
    return (
        f"{optimizer.learning_rate_per_256:g} is for a trained backbone, which --finetune_checkpoint provides; random "
        f"weights need a higher rate, such as {RANDOM_DETECTOR_RATE:g}"
    )


def _lagging_statistics(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    detection, total = config.detection, plan.total_steps
    if detection is None or config.fine_tuning.freeze_batch_norm:
        return None
    left = detection.batch_norm_decay**total
    if detection.batch_norm_decay < DetectionConfig().batch_norm_decay or left <= LEAST_OF_INITIAL:
        return None
    fitting = max(0.9, 1 - 10 / total)
    return (
        f"after {plural(total, 'step')} the batch-norm statistics still hold {percent(left)} of their initial values "
        f"with a decay of {detection.batch_norm_decay:g}; {fitting:.2g} fits this run"
    )


def _small_batch(config: ExperimentConfig, plan: TrainingPlan) -> str | None:
    tuning, per_process = config.fine_tuning, config.data.batch_size_per_replica
    frozen = tuning.freeze_batch_norm or (tuning.freeze_backbone and config.detection is None)
    together = plan.global_batch if config.distributed.sync_batch_norm else per_process
    if frozen or together >= SMALLEST_BATCH:
        return None
    shared = " or --sync_batch_norm" if plan.global_batch > config.images_per_step else ""
    return (
        f"batch norm takes its statistics from {plural(together, 'image')}, so few that they are noise; "
        f"{SMALLEST_BATCH} or more{shared} make them useful, --freeze_batch_norm keeps those of a checkpoint"
    )


RULES = (
    Rule(
        flag="num_iter",
        breach="fewer than 200 steps from random weights",
        evidence="[clothing](results.md#classification-of-clothing): top-1 0.326 after 248 steps, 0.695 after 2,790",
        advice=_few_steps,
        new_weights=True,
    ),
    Rule(
        flag="lr_warmup_epochs",
        breach="a warm-up of more than half of the run",
        evidence="5 of 90 epochs in arXiv:1706.02677, 8 of 90 in the recipes here",
        advice=_long_warm_up,
    ),
    Rule(
        flag="cosine_lr",
        breach="at most 30 epochs without it, from random weights",
        evidence="figure 4 of arXiv:1512.03385: the error falls most where the rate first falls",
        advice=_constant_rate,
        new_weights=True,
    ),
    Rule(
        flag="lr_init",
        breach="`--optimizer=adam` or `adamw` with a peak above 0.005",
        evidence="0.001 is the default of arXiv:1412.6980",
        advice=_rate_of_adam,
    ),
    Rule(
        flag="lr_init",
        breach="a global batch above 8,192",
        evidence="figure 1 of arXiv:1706.02677",
        advice=_rate_of_large_batch,
    ),
    Rule(
        flag="scale_recipe",
        breach="a recipe for an adaptive optimizer at another global batch, without the flag",
        evidence="the square root of the batch in arXiv:1904.00962 and arXiv:2205.10092",
        advice=_rate_of_other_batch,
    ),
    Rule(
        flag="lr_init",
        breach="at most 0.16 for a detector from random weights, with SGD or LARS",
        evidence="all detectors in [Results](results.md) began at 0.48 or 1",
        advice=_rate_of_random_detector,
        new_weights=True,
    ),
    Rule(
        flag="batch_norm_decay",
        breach="0.997 for fewer than 1,000 steps of a detector",
        evidence="0.997^999 = 0.05 of the initial statistics are left",
        advice=_lagging_statistics,
    ),
    Rule(
        flag="batch_size",
        breach="fewer than 8 images normalized together",
        evidence="table 2 of arXiv:1803.08494: 1 point lost with 8 images, 4 with 4, 11 with 2",
        advice=_small_batch,
    ),
)
"""The rules, in the order in which they are told."""
