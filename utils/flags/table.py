"""Every flag of ``main.py``, one row each: its name and aliases, the config field it fills, the modes that use it.

The parser, the way from flags to the config and the way back (``utils/cmdline_helper.py``) all read this table, so they
cannot disagree. What a flag means is said in ``utils/flags/help.py``. Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from utils.config import (
    ARCHITECTURES,
    CLASSIFIERS,
    DATA_FORMATS,
    DETECTORS,
    ITER_UNITS,
    LOG_LEVELS,
    MODES,
    TRAINING_MODES,
    WEIGHT_INITS,
    ExperimentConfig,
)
from utils.detection_config import LARGEST_LOG, ColorSpec, DetectionConfig
from utils.observation_config import steps_of_text, text_of_steps
from utils.tuning_config import EVAL_WEIGHTS

SWITCH, INTEGER, NUMBER, TEXT, PATH = "switch", "integer", "number", "text", "path"

GENERAL = ""
DATASET = "Dataset arguments"
TRAINING = "Training arguments"
DETECTION = "Detection arguments, for --arch ssd320"
OPTIMIZATION = "Generic optimization arguments"
DISTRIBUTION = "Arguments for several processes"
MIXED_PRECISION = "Automatic Mixed Precision arguments"
GROUPS = (GENERAL, DATASET, TRAINING, DETECTION, OPTIMIZATION, DISTRIBUTION, MIXED_PRECISION)

WITH_STEPS = tuple(mode for mode in MODES if mode != "predict")
LONG_TRAINING = ("train", "train_and_evaluate")
TRAIN_AND_EVALUATE = ("train_and_evaluate",)
WITH_RESULTS = ("train_and_evaluate", "evaluate", "predict", "inference_benchmark")
WITH_NAMES = (*LONG_TRAINING, "evaluate", "predict")
WITH_REPORT = (*LONG_TRAINING, "evaluate")
WITH_EXPORT = (*LONG_TRAINING, "evaluate", "inference_benchmark")
WITH_CHECKPOINTS = tuple(mode for mode in MODES if mode != "training_benchmark")

STATIC_LOSS_SCALE = 128.0
"""What ``--use_static_loss_scaling`` stands for."""

DETECTOR_DEFAULTS: dict[str, Any] = {
    "run.duration.value": 27,
    "optimizer.learning_rate_per_256": 0.16,
    "optimizer.warmup_epochs": None,
    "optimizer.warmup_share": 0.08,
    "optimizer.warmup_start": 0.43332,
    "optimizer.schedule": "cosine",
    "optimizer.cosine_from_peak": True,
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 4e-4,
}
"""What fields are set to for detectors where no flag says otherwise: the recipe of the published accuracies."""

NO_DETECTOR = ("mixup", "label_smoothing", "use_final_conv")
"""Flags whose absence is part of what a detector is: they are refused, not left out."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Flag:
    """One row. A flag without a field stands for another one, or is refused."""

    name: str
    field: str
    """The config field it fills, as ``section.name``."""
    kind: str | tuple[str, ...]
    """What a value looks like; a tuple lists the texts that it may be."""
    group: str = GENERAL
    modes: tuple[str, ...] = MODES
    """The modes in which the flag has an effect."""
    aliases: tuple[str, ...] = ()
    odd_aliases: tuple[str, ...] = ()
    """Accepted, not shown."""
    ours: bool = False
    """Newer than the flags that users of this family of code know: a prefix that meant one of those still does."""
    hidden: bool = False
    architectures: tuple[str, ...] = ARCHITECTURES
    """The networks for which the flag has a meaning."""
    to_field: Callable[[Any], Any] = _same
    from_field: Callable[[Any], Any] = _same

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name, *self.aliases, *self.odd_aliases)

    @property
    def is_switch(self) -> bool:
        return self.kind == SWITCH

    def read(self, config: ExperimentConfig) -> Any:
        """The flag's value in ``config``, as a person would type it."""
        value: Any = config
        for name in self.field.split("."):
            value = None if value is None else getattr(value, name)
        return self.from_field(value)

    def is_of(self, architecture: str | None) -> bool:
        """Whether this is a flag of an architecture.

        Where none is given, the weights tell it; what changes the run alone is checked when it is known.
        """
        if architecture is None:
            return self.architectures != DETECTORS or self.field.startswith("run.")
        return architecture in self.architectures


def _detector_flag(name: str, field: str, kind: Any, modes: tuple[str, ...] = MODES, **ways: Any) -> Flag:
    return Flag(name, field, kind, DETECTION, modes, ours=True, architectures=DETECTORS, **ways)


FLAGS = (
    Flag("arch", "model.architecture", ARCHITECTURES),
    Flag("mode", "run.mode", MODES),
    Flag("export_dir", "run.export_dir", PATH, GENERAL, WITH_EXPORT),
    Flag("to_predict", "run.to_predict", PATH),
    Flag("batch_size", "data.batch_size_per_replica", INTEGER),
    Flag("num_iter", "run.duration.value", INTEGER, GENERAL, WITH_STEPS),
    Flag(
        "run_iter",
        "run.run_limit.value",
        INTEGER,
        GENERAL,
        TRAINING_MODES,
        from_field=lambda value: -1 if value is None else value,
    ),
    Flag("iter_unit", "run.duration.unit", ITER_UNITS, GENERAL, WITH_STEPS),
    Flag("warmup_steps", "run.warmup_steps", INTEGER, GENERAL, WITH_STEPS),
    Flag("model_dir", "run.model_dir", PATH, GENERAL, WITH_CHECKPOINTS),
    Flag("results_dir", "run.results_dir", PATH),
    Flag("log_filename", "run.log_filename", TEXT),
    Flag("display_every", "run.display_every", INTEGER, GENERAL, WITH_STEPS),
    Flag("seed", "run.seed", INTEGER),
    Flag("gpu_memory_fraction", "run.gpu_memory_fraction", NUMBER),
    Flag("gpu_id", "run.gpu_id", INTEGER),
    Flag("finetune_checkpoint", "run.finetune_checkpoint", PATH, GENERAL, TRAINING_MODES),
    Flag("use_final_conv", "model.use_final_conv", SWITCH, architectures=CLASSIFIERS),
    Flag("quant_delay", "model.quantization.delay", INTEGER, GENERAL, TRAINING_MODES),
    Flag("quantize", "model.quantization", SWITCH, from_field=lambda quantization: quantization is not None),
    Flag("use_qdq", "model.quantization.qdq", SWITCH, from_field=bool),
    Flag("symmetric", "model.quantization.symmetric", SWITCH, from_field=bool),
    Flag("per_channel_weights", "model.quantization.per_channel", SWITCH, ours=True, from_field=bool),
    Flag("top_k", "run.top_k", INTEGER, GENERAL, WITH_RESULTS, ours=True, architectures=CLASSIFIERS),
    Flag("log_level", "run.log_level", LOG_LEVELS, ours=True),
    Flag(
        "no_report",
        "run.report",
        SWITCH,
        GENERAL,
        WITH_REPORT,
        ours=True,
        to_field=lambda given: not given,
        from_field=lambda report: not report,
    ),
    Flag("histograms_every", "observation.histograms_every", INTEGER, GENERAL, LONG_TRAINING, ours=True),
    Flag(
        "profile",
        "observation.profile",
        TEXT,
        GENERAL,
        WITH_STEPS,
        ours=True,
        to_field=steps_of_text,
        from_field=lambda steps: steps and text_of_steps(steps),
    ),
    Flag("data_dir", "data.data_dir", PATH, DATASET, WITH_STEPS),
    Flag("data_idx_dir", "data.index_dir", PATH, DATASET, WITH_STEPS),
    Flag(
        "dali",
        "data.source",
        SWITCH,
        DATASET,
        WITH_STEPS,
        to_field=lambda given: "dali" if given else "tfrecord",
        from_field=lambda source: source == "dali",
    ),
    Flag("synthetic_data_size", "model.image_size", INTEGER, DATASET),
    Flag("image_size", "model.image_size", INTEGER, DATASET, ours=True),
    Flag("num_classes", "model.num_classes", INTEGER, DATASET, ours=True),
    Flag("class_names", "data.class_names_file", PATH, DATASET, WITH_NAMES, ours=True, architectures=CLASSIFIERS),
    Flag("label_map", "data.label_map_file", PATH, DATASET, WITH_NAMES, ours=True, architectures=DETECTORS),
    Flag(
        "min_crop_area",
        "data.min_crop_area",
        NUMBER,
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
    ),
    Flag("max_bad_records", "data.max_bad_records", INTEGER, DATASET, WITH_STEPS, ours=True),
    Flag("lr_init", "optimizer.learning_rate_per_256", NUMBER, TRAINING, TRAINING_MODES),
    Flag("lr_warmup_epochs", "optimizer.warmup_epochs", NUMBER, TRAINING, TRAINING_MODES),
    Flag("weight_decay", "optimizer.weight_decay", NUMBER, TRAINING, TRAINING_MODES),
    Flag("weight_init", "model.weight_init", WEIGHT_INITS, TRAINING, TRAINING_MODES, architectures=CLASSIFIERS),
    Flag("momentum", "optimizer.momentum", NUMBER, TRAINING, TRAINING_MODES),
    Flag(
        "label_smoothing",
        "optimizer.label_smoothing",
        NUMBER,
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
    ),
    Flag("mixup", "optimizer.mixup_alpha", NUMBER, TRAINING, TRAINING_MODES, architectures=CLASSIFIERS),
    Flag(
        "cosine_lr",
        "optimizer.schedule",
        SWITCH,
        TRAINING,
        TRAINING_MODES,
        aliases=("cosine", "use_cosine", "use_cosine_lr"),
        odd_aliases=("use_cosine_lr--cosine",),
        to_field=lambda given: "cosine" if given else "step",
        from_field=lambda schedule: schedule == "cosine",
    ),
    Flag("reset_head", "run.reset_head", SWITCH, TRAINING, TRAINING_MODES, ours=True),
    Flag("freeze_backbone", "tuning.freeze_backbone", SWITCH, TRAINING, TRAINING_MODES, ours=True),
    Flag("freeze_batch_norm", "tuning.freeze_batch_norm", SWITCH, TRAINING, TRAINING_MODES, ours=True),
    Flag("head_lr_multiplier", "tuning.head_lr_multiplier", NUMBER, TRAINING, TRAINING_MODES, ours=True),
    Flag("ema_decay", "tuning.ema_decay", NUMBER, TRAINING, TRAINING_MODES, ours=True),
    Flag("eval_weights", "tuning.eval_weights", EVAL_WEIGHTS, TRAINING, WITH_CHECKPOINTS, ours=True),
    Flag("checkpoint_every", "run.checkpoint_every", INTEGER, TRAINING, LONG_TRAINING, ours=True),
    Flag("keep_checkpoints", "run.keep_checkpoints", INTEGER, TRAINING, LONG_TRAINING, ours=True),
    Flag("eval_every_epochs", "run.eval_every_epochs", INTEGER, TRAINING, TRAIN_AND_EVALUATE, ours=True),
    Flag("eval_count", "run.eval_count", INTEGER, TRAINING, TRAIN_AND_EVALUATE, ours=True),
    Flag("early_stop_patience", "run.early_stop_patience", INTEGER, TRAINING, TRAIN_AND_EVALUATE, ours=True),
    _detector_flag("exact_classes", "detection.exact_classes", SWITCH),
    _detector_flag("batch_norm_decay", "detection.batch_norm_decay", NUMBER, TRAINING_MODES),
    _detector_flag("centred_p7", "detection.anchors.centred", SWITCH),
    _detector_flag(
        "clamp_decode",
        "detection.coder.largest_log",
        SWITCH,
        WITH_RESULTS,
        to_field=lambda given: LARGEST_LOG if given else None,
        from_field=lambda largest: largest is not None,
    ),
    _detector_flag("train_crowds", "detection.train_crowds", SWITCH, TRAINING_MODES),
    _detector_flag(
        "no_color_jitter",
        "detection.augmentation",
        SWITCH,
        TRAINING_MODES,
        to_field=lambda given: tuple(s for s in DetectionConfig().augmentation if not isinstance(s, ColorSpec)),
        from_field=lambda steps: not any(isinstance(step, ColorSpec) for step in steps or ()),
    ),
    _detector_flag("min_score", "run.min_score", NUMBER, ("predict",)),
    Flag("xla", "precision.xla", SWITCH, OPTIMIZATION, aliases=("use_xla",)),
    Flag("data_format", "model.data_format", DATA_FORMATS, OPTIMIZATION),
    Flag("amp", "precision.amp", SWITCH, OPTIMIZATION, aliases=("use_tf_amp",)),
    Flag("cpu", "run.cpu", SWITCH, OPTIMIZATION),
    Flag("deterministic", "run.deterministic", SWITCH, OPTIMIZATION, ours=True),
    Flag("fp16_compression", "distributed.fp16_compression", SWITCH, DISTRIBUTION, TRAINING_MODES, ours=True),
    Flag("sync_batch_norm", "distributed.sync_batch_norm", SWITCH, DISTRIBUTION, TRAINING_MODES, ours=True),
    Flag("stall_timeout_s", "distributed.stall_timeout_s", NUMBER, DISTRIBUTION, ours=True),
    Flag(
        "no_tf32",
        "precision.tf32",
        SWITCH,
        OPTIMIZATION,
        ours=True,
        to_field=lambda given: not given,
        from_field=lambda tf32: not tf32,
    ),
    Flag(
        "static_loss_scale",
        "precision.static_loss_scale",
        NUMBER,
        MIXED_PRECISION,
        TRAINING_MODES,
        aliases=("loss_scale",),
        to_field=lambda scale: None if scale == -1 else scale,
        from_field=lambda scale: -1.0 if scale is None else scale,
    ),
    Flag("use_static_loss_scaling", "", SWITCH, MIXED_PRECISION, TRAINING_MODES, hidden=True),
)

BY_NAME = {flag.name: flag for flag in FLAGS}
