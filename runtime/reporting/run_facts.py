"""Facts of a launch for people: network, data, device and plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tensorflow as tf

from runtime.classification.class_weights import shown_weights
from runtime.detection.resolve_detector import DEFAULT_BACKBONE
from runtime.planning.model_size import NetworkSize
from runtime.planning.plan import TrainingPlan
from runtime.session import compiles, gpu_names, uses_gpu
from runtime.task import Setup
from utils.augment_config import RAND, AugmentConfig
from utils.config import ExperimentConfig, resolved
from utils.console.figures import plain_name, quantity
from utils.console.screen import Rows
from utils.detection_config import TASK_ALIGNED, DetectionConfig
from utils.flags.table import RAND_FLAGS
from utils.image_sizes import sides_of
from utils.learning_rate import Schedule, rate_scale, scales_by_root
from utils.object_augment_config import ObjectAugmentConfig, text_of_scales
from utils.optimizer_config import FOCAL_GAMMA
from utils.optimizer_table import OPTIMIZERS
from utils.system.machine import cpu_name
from utils.text import plural

_COURSES = {
    "cosine": "a cosine",
    "one_cycle": "a cosine",
    "linear": "a line",
    "poly": "a parabola",
    "wsd": "a line",
}
"""Words for the decay of schedules that end at a rate of their own."""
_USES = {"train": "to train on", "validation": "to evaluate on"}


def facts_of_setup(setup: Setup, size: NetworkSize, processes: int) -> Rows:
    """Network, weights, data, precision and device of a launch."""
    config = setup.config
    return [
        ("Mode", config.run.mode),
        ("Network", _network(setup, size)),
        ("Weights", _weights(setup)),
        ("Data", _data(setup)),
        *([("Batch", setup.auto_batch.told)] if setup.auto_batch else []),
        ("Precision", _precision(setup)),
        *([("Compute", f"convolutions {setup.convolutions.origin}")] if config.run.is_training else []),
        ("Device", _device(config, processes)),
        ("Seed", f"{setup.seed}{', deterministic' if config.run.deterministic else ''}"),
        ("Results", plain_name(config.run.results_dir)),
    ]


def facts_of_training(config: ExperimentConfig, plan: TrainingPlan, start: int, last: int) -> Rows:
    """The steps of a launch from ``start`` to ``last``, and the learning rate."""
    epochs = f"{plural(plan.steps_per_epoch, 'step')} an epoch, {plural(plan.global_batch, 'image')} a step"
    steps = f"steps {start + 1:,} to {last:,}" if start < last else f"no step left, {start:,}"
    augmentation = _augmentation(config)
    sizes, fit = _sizes(config, plan), recipe_fit(config, plan)
    return [
        ("Plan", f"{steps} of {plan.total_steps:,}; {epochs}"),
        *([("Sizes", sizes)] if sizes else []),
        *([("Augmentation", augmentation)] if augmentation else []),
        ("Optimizer", _optimizer(config, plan.total_steps)),
        *_classes(config),
        *_boxes(config, plan.total_steps),
        *([("Recipe", fit)] if fit else []),
        ("Schedule", learning_rate(plan.schedule, plan.total_steps)),
    ]


def recipe_fit(config: ExperimentConfig, plan: TrainingPlan) -> str:
    """The change by ``--scale_recipe`` of a recipe's learning rate and moving average; empty without the flag."""
    optimizer = config.optimizer
    if not optimizer.scale_recipe or optimizer.recipe_batch is None:
        return ""
    published = rate_scale(optimizer, optimizer.recipe_batch) * optimizer.learning_rate_per_256
    how = "by the square root" if scales_by_root(optimizer) else "in proportion"
    average = config.moving_average
    decay = average.decay_in(plan.total_steps)
    averaged = "" if decay is None else f"; moving average {decay:.8g} instead of {average.ema_decay:.8g}"
    return (
        f"global batch {plan.global_batch:,} instead of {optimizer.recipe_batch:,}; peak learning rate "
        f"{plan.schedule.peak:.4g} instead of {published:.4g}, {how}{averaged}"
    )


def _classes(config: ExperimentConfig) -> Rows:
    """The weights of classes and the draw by class; nothing without them."""
    weights, data = config.optimizer.weight_of_class, config.data
    facts = [f"weights {shown_weights(weights, config.model.class_names)}"] if weights else []
    if data.balanced_sampling:
        power = "" if data.balanced_power == 1.0 else f", power {data.balanced_power:g}"
        facts.append(f"images drawn by class{power}")
    return [("Classes", "; ".join(facts))] if facts else []


def _boxes(config: ExperimentConfig, total_steps: int) -> Rows:
    """The heads of a detector beyond the usual ones, and the change of its matching; nothing without them."""
    detection = config.detection or DetectionConfig()
    facts = ["sides as distributions"] if detection.heads.distribution else []
    facts += ["centerness"] if detection.heads.centerness else []
    if detection.matcher.kind == TASK_ALIGNED:
        facts.append(f"matched by predictions after step {detection.matcher.aligned_from(total_steps):,}")
    return [("Boxes", ", ".join(facts))] if facts else []


def _sizes(config: ExperimentConfig, plan: TrainingPlan) -> str:
    """The sizes of training images where they are not those of evaluation, else nothing."""
    side, changes = config.model.image_size, plan.stages[1:]
    first = plan.stages[0].size if plan.stages else config.data.train_image_size
    if first is None:
        return ""
    later = "".join(f", {stage.size} after step {stage.first:,}" for stage in changes)
    return f"trained at {first} pixels{later}; evaluated at {side}"


def _augmentation(config: ExperimentConfig) -> str:
    """The settings of augmentation that are not the defaults, by their flags."""
    given, usual = config.data.augment, AugmentConfig()
    names = [field.name for field in dataclasses.fields(given)]
    changed = [name for name in names if getattr(given, name) != getattr(usual, name) or name in RAND_FLAGS]
    if given.auto_augment != RAND:
        changed = [name for name in changed if name not in RAND_FLAGS]
    texts = [f"{name} {getattr(given, name)}" for name in changed]
    if config.detection is not None:
        texts = [*_of_objects(config.detection.augment), *texts]
    return ", ".join([*texts, f"color_jitter {config.data.color_jitter}"] if config.data.color_jitter else texts)


def _of_objects(augment: ObjectAugmentConfig) -> list[str]:
    """The same of a detector."""
    given = dataclasses.asdict(augment) | {"scale_jitter": text_of_scales(augment.scale_jitter)}
    return [name if value is True else f"{name} {value}" for name, value in given.items() if value]


def _optimizer(config: ExperimentConfig, total_steps: int) -> str:
    optimizer = config.optimizer
    kind = "" if optimizer.name == "momentum" else f"{optimizer.name}, "
    spared = " without biases" if optimizer.no_bias_decay else ""
    facts = [f"{kind}momentum {optimizer.momentum:g}", f"weight decay {optimizer.weight_decay:g}{spared}"]
    facts += [f"{flag} {value:g}" for flag in ("beta2", "epsilon") if (value := getattr(optimizer, flag)) is not None]
    if limit := optimizer.clip_norm or OPTIMIZERS[optimizer.name].clip_norm:
        facts.append(f"gradients clipped to norm {limit:g}")
    if optimizer.adaptive_clip:
        facts.append("gradients clipped by unit")
    if optimizer.accumulate_steps > 1:
        facts.append(f"gradients of {optimizer.accumulate_steps} batches a step")
    if optimizer.loss == "bce":
        limit = optimizer.bce_target_threshold
        facts.append("binary cross-entropy" + ("" if limit is None else f" with targets above {limit:g}"))
    if optimizer.loss == "focal":
        facts.append(f"focal loss, gamma {FOCAL_GAMMA if optimizer.focal_gamma is None else optimizer.focal_gamma:g}")
    if optimizer.label_smoothing:
        facts.append(f"label smoothing {optimizer.label_smoothing:g}")
    if optimizer.mixup_alpha:
        facts.append(f"mixup {optimizer.mixup_alpha:g}")
    if optimizer.cutmix_alpha:
        facts.append(f"CutMix {optimizer.cutmix_alpha:g}")
    if optimizer.stochastic_depth:
        facts.append(f"stochastic depth {optimizer.stochastic_depth:g}")
    if optimizer.dropout:
        facts.append(f"dropout {optimizer.dropout:g}")
    if config.fine_tuning.layer_decay < 1:
        facts.append(f"learning rate times {config.fine_tuning.layer_decay:g} for each group of layers below the head")
    told = config.distillation
    if told.teacher is not None:
        weights = f"weight {told.used_alpha:g}, temperature {told.used_temperature:g}"
        facts.append(f"taught by {plain_name(told.teacher)} ({weights})")
    average = config.moving_average
    if (decay := average.decay_in(total_steps)) is not None:
        every = f" every {average.ema_every} steps" if average.ema_every > 1 else ""
        facts.append(f"exponential moving average {decay:.8g}{every}")
    return ", ".join(facts)


def learning_rate(schedule: Schedule, total_steps: int) -> str:
    """The learning rate during a run of ``total_steps``."""
    peak = f"learning rate {schedule.peak:.4g}"
    if schedule.warmup_steps:
        begin = f" from {schedule.start:.4g}" if schedule.start else ""
        peak += f" after {plural(schedule.warmup_steps, 'warm-up step')}{begin}"
    if schedule.warmup_steps >= total_steps:
        return f"{peak}, which the run does not reach"
    drops = [f"{step:,}" for step in schedule.boundaries if step < total_steps]
    if course := _COURSES.get(schedule.kind):
        held = f" until step {schedule.decay_from:,}" if schedule.kind == "wsd" else ""
        return f"{peak}{held}, then {course} to {schedule.final:.4g} at step {schedule.decay_steps:,}"
    if schedule.kind == "constant":
        return f"{peak}, constant"
    return f"{peak}, divided by 10 after step {', '.join(drops)}" if drops else f"{peak}, constant"


def _network(setup: Setup, size: NetworkSize) -> str:
    model = setup.config.model
    name = str(model.architecture) if setup.artefact is None else f"{setup.checkpoint}, by {setup.artefact.runtime}"
    name += f" on {model.backbone}" if model.backbone not in (None, DEFAULT_BACKBONE) else ""
    classes = len(model.class_names) if model.category_ids and model.class_names else model.num_classes
    height, width = sides_of(size.image_size or resolved(model, "image_size"))
    facts = [plain_name(name), plural(int(classes or 0), "class"), f"{height} x {width} pixels"]
    if setup.config.detection is not None and setup.config.detection.pads:
        facts.append("pictures keep their proportions")
    if model.eval_crop is not None:
        facts.append(f"evaluated on the central {model.eval_crop:.4g} of the shorter side")
    if setup.config.prediction.test_time_augmentation:
        facts.append("each image and its mirror image")
    if size.parameters:
        facts.append(f"{quantity(size.parameters, ' parameters')}, {quantity(size.flops, 'FLOP')} an image")
    return "; ".join(facts)


def _weights(setup: Setup) -> str:
    run = setup.config.run
    if setup.checkpoint is not None:
        step = f", step {setup.metadata['step']:,}" if "step" in setup.metadata else ""
        return f"{'continued from ' if run.is_training else ''}{plain_name(str(setup.checkpoint))}{step}"
    if run.is_training and run.finetune_checkpoint:
        return f"new run from those of {plain_name(run.finetune_checkpoint)}"
    return "new, random"


def _data(setup: Setup) -> str:
    config = setup.config
    if config.run.mode == "predict":
        tiling = config.prediction.tiling
        cut = "" if tiling is None else f" in tiles of {tiling.side} pixels that share {tiling.overlap:.4g} of a side"
        return plain_name(str(config.run.to_predict)) + cut
    if not setup.splits:
        return "synthetic images"
    counts = (f"{plural(files.examples, 'image')} {_USES[split]}" for split, files in setup.splits.items())
    reader = " (DALI)" if config.data.source == "dali" else ""
    fold = "" if config.data.folds is None else f", fold {config.data.fold} of {config.data.folds} (from 0)"
    return f"{plain_name(_folder(setup))}: {', '.join(counts)}{fold}{reader}"


def _folder(setup: Setup) -> str:
    if setup.config.data.data_dir is not None:
        return setup.config.data.data_dir
    return str(Path(next(iter(setup.splits.values())).paths[0]).parent)


def _precision(setup: Setup) -> str:
    facts, precision = [setup.precision.name], setup.precision
    if precision.static_loss_scale is not None:
        facts.append(f"loss scaled by {precision.static_loss_scale:g}")
    elif precision.dynamic_loss_scale:
        facts.append("dynamic loss scale")
    if setup.config.model.quantization is not None:
        facts.append("quantized to 8 bits")
    if compiles(setup.config):
        facts.append("XLA")
    return ", ".join(facts)


def _device(config: ExperimentConfig, processes: int) -> str:
    threads = plural(config.data.threads or 1, "thread")
    shared = f", {plural(processes, 'process')}" if processes > 1 else ""
    if uses_gpu(config):
        return f"GPU, {gpu_names()[config.run.gpu_id or 0]}{shared}"
    missing = "" if config.run.cpu or not tf.test.is_built_with_cuda() else "; TensorFlow finds no GPU"
    return f"CPU, {cpu_name()}, {threads}{' each' if shared else ''}{shared}{missing}"
