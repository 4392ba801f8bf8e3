"""The typed configuration of a run: one frozen dataclass per concern, validated on construction.

``None`` in a field of ``ModelConfig`` means "not given": ``runtime/classification/resolve_classifier.py`` fills it
from the checkpoint, the data's manifest or the default, in this order. Everything else is final as parsed. Imports no
TensorFlow.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.specs import RESNETS, SSDS, QuantizationSpec
from utils.data_config import DataConfig
from utils.detection_config import DetectionConfig
from utils.distillation_config import DistillationConfig
from utils.errors import UsageError, require
from utils.image_sizes import EVAL_CROPS, SMALLEST_EVAL_CROP, ImageSize, check_size
from utils.number_rules import is_fraction
from utils.optimizer_config import OptimizerConfig
from utils.prediction_config import PredictionConfig
from utils.weights.pretrained_config import PretrainedConfig

CLASSIFIERS = tuple(RESNETS)
DETECTORS = tuple(SSDS)
ARCHITECTURES = (*CLASSIFIERS, *DETECTORS)
MODES = ("train", "train_and_evaluate", "evaluate", "predict", "training_benchmark", "inference_benchmark")
TRAINING_MODES = ("train", "train_and_evaluate", "training_benchmark")
BENCHMARK_MODES = ("training_benchmark", "inference_benchmark")
ITER_UNITS = ("epoch", "batch")
LOG_LEVELS = ("debug", "info", "warning", "error")
AUTO, READABLE, DLLOGGER = "auto", "readable", "dllogger"
CONSOLES = (AUTO, READABLE, DLLOGGER)
DATA_FORMATS = ("NHWC", "NCHW")
WEIGHT_INITS = ("fan_in", "fan_out")
HEAD_INITS = ("small", "original")
RAW, EMA = "raw", "ema"
EVAL_WEIGHTS = (RAW, EMA)
SYNTHETIC_EPOCH_BATCHES = 1000
MOST_CLASSES = 1_000_000  # the classifier of resnet50 then holds 8 GB of weights
LARGEST_QUANTIZATION_DELAY = 2**62
MOST_TRACED_STEPS = 100  # a step of a large network has about ten thousand events, and viewers hold about a million
_TRACED_STEPS = f"FROM,TO: the first and the last step, counted from 1, at most {MOST_TRACED_STEPS} of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """An amount of training, in epochs or in batches."""

    value: int
    unit: str = "epoch"
    flag: str = "num_iter"

    def __post_init__(self) -> None:
        require(self.value > 0, self.flag, self.value, "a positive integer")
        require(self.unit in ITER_UNITS, "iter_unit", self.unit, "epoch or batch")

    def to_steps(self, steps_per_epoch: int) -> int:
        """The same amount in steps; one step is one update of all replicas together."""
        return self.value * steps_per_epoch if self.unit == "epoch" else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The network and its label space.

    For a classifier, ``num_classes`` counts logits, and a record's label minus ``label_offset`` is the index of its
    logit. For a detector, ``num_classes`` is the largest category id, or the number of categories with exact classes;
    ``category_ids`` belong to ``class_names``, and ``backbone`` is a row of ``model.specs.BACKBONES``. ``pretrained``
    holds the settings that the weights were trained with.
    """

    architecture: str | None = None
    num_classes: int | None = None
    image_size: ImageSize | None = None
    """Size of the network's input; that of a classifier is square."""
    eval_crop: float | None = None
    """Share of the resized shorter side that the central crop of evaluation takes; None for ``EVAL_CROP``."""
    data_format: str = "NHWC"
    weight_init: str = "fan_out"
    head_init: str = "small"
    zero_init_residual: bool = False
    label_offset: int | None = None
    use_final_conv: bool = False
    """Write the classifier as a 1x1 convolution: the same numbers, its kernel [1, 1, C, K]."""
    class_names: tuple[str, ...] | None = None
    category_ids: tuple[int, ...] | None = None
    backbone: str | None = None
    quantization: QuantizationSpec | None = None
    data_class_names: tuple[str, ...] | None = None
    """Class names in the training data; --class_names may give others."""
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    multi_label: bool = False
    """An image may have several labels, or none."""

    def __post_init__(self) -> None:
        if self.architecture is not None:
            require(self.architecture in ARCHITECTURES, "arch", self.architecture, f"one of {', '.join(ARCHITECTURES)}")
        if self.num_classes is not None:
            require(0 < self.num_classes <= MOST_CLASSES, "num_classes", self.num_classes, f"1 to {MOST_CLASSES}")
        if self.image_size is not None:
            check_size("image_size", self.image_size)
        if self.eval_crop is not None:
            require(SMALLEST_EVAL_CROP <= self.eval_crop <= 1, "eval_crop", f"{self.eval_crop:g}", EVAL_CROPS)
        require(self.data_format in DATA_FORMATS, "data_format", self.data_format, "NHWC or NCHW")
        require(self.weight_init in WEIGHT_INITS, "weight_init", self.weight_init, "fan_in or fan_out")
        require(self.head_init in HEAD_INITS, "head_init", self.head_init, "small or original")
        if self.quantization is not None:
            delay, allowed = self.quantization.delay, f"0 to {LARGEST_QUANTIZATION_DELAY} steps"
            require(0 <= delay <= LARGEST_QUANTIZATION_DELAY, "quant_delay", delay, allowed)


AMP_DTYPES = ("auto", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionConfig:
    """Requested mixed precision and compilation; ``runtime/devices/precision.py`` decides what the machine can do."""

    amp: bool = False
    amp_dtype: str = "auto"
    static_loss_scale: float | None = None
    loss_scaling: bool = True
    xla: bool = False
    tf32: bool = True

    def __post_init__(self) -> None:
        require(self.amp_dtype in AMP_DTYPES, "amp_dtype", self.amp_dtype, "auto, float16 or bfloat16")
        if self.amp_dtype != "auto" and not self.amp:
            raise UsageError(f"--amp_dtype {self.amp_dtype}: only used with --amp, which is not given")
        scale = self.static_loss_scale
        if scale is not None:
            require(math.isfinite(scale) and scale > 0, "static_loss_scale", scale, "positive, or -1 for dynamic")
            if not self.amp:
                raise UsageError(f"--static_loss_scale {scale:g}: only used with --amp, which is not given")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Mode, length, files and device of one launch."""

    mode: str = "train_and_evaluate"
    duration: Duration = field(default_factory=lambda: Duration(value=1))
    run_limit: Duration | None = None
    warmup_steps: int = 50
    results_dir: str = "."
    model_dir: str | None = None
    log_filename: str = "log.json"
    report_file: str | None = None
    """Path of the log, instead of ``log_filename`` in ``results_dir``."""
    display_every: int = 10
    log_level: str = "info"
    console: str = AUTO
    report: bool = True
    seed: int | None = None
    deterministic: bool = False
    export_dir: str | None = None
    to_predict: str | None = None
    finetune_checkpoint: str | None = None
    finetune_scope: str = ""  # load only variables under this scope from finetune_checkpoint
    reset_head: bool = False
    checkpoint_every: int = 1000
    keep_checkpoints: int = 5
    eval_every_epochs: int = 0
    eval_count: int = 1
    """Number of evaluations if ``eval_every_epochs`` is 0: equally spaced, the last one at the end."""
    watch_checkpoints: bool = False
    """Evaluate each new checkpoint until the last one of the training run."""
    early_stop_patience: int = 0
    top_k: int = 5
    min_score: float = 0.5
    percentiles: tuple[int, ...] = (50, 90, 95, 99)
    cpu: bool = False
    gpu_id: int | None = None
    gpu_memory_fraction: float | None = None

    def __post_init__(self) -> None:
        require(self.mode in MODES, "mode", self.mode, f"one of {', '.join(MODES)}")
        require(self.log_level in LOG_LEVELS, "log_level", self.log_level, f"one of {', '.join(LOG_LEVELS)}")
        require(self.console in CONSOLES, "console", self.console, f"one of {', '.join(CONSOLES)}")
        require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "0 or more")
        for flag in ("display_every", "checkpoint_every", "keep_checkpoints", "top_k", "eval_count"):
            require(getattr(self, flag) > 0, flag, getattr(self, flag), "a positive integer")
        for flag in ("eval_every_epochs", "early_stop_patience"):
            require(getattr(self, flag) >= 0, flag, getattr(self, flag), "0 or more")
        require(is_fraction(self.min_score), "min_score", self.min_score, "at least 0 and at most 1")
        if self.seed is not None:
            require(0 <= self.seed < 2**31, "seed", self.seed, "at least 0 and below 2^31")
        if self.gpu_id is not None:
            require(self.gpu_id >= 0, "gpu_id", self.gpu_id, "0 or more")
        if self.gpu_memory_fraction is not None:
            fraction = self.gpu_memory_fraction
            require(0.0 < fraction <= 1.0, "gpu_memory_fraction", fraction, "above 0 and at most 1")
        plain = self.log_filename not in ("", ".", "..") and "/" not in self.log_filename
        require(plain, "log_filename", self.log_filename, "a file name")
        self._check_mode()

    def _check_mode(self) -> None:
        if self.mode == "predict" and not self.to_predict:
            raise UsageError("--mode predict: needs --to_predict, an image, a folder or a glob")
        if self.mode != "predict" and self.to_predict is not None:
            raise UsageError(f"--to_predict {self.to_predict}: only used with --mode predict, not --mode {self.mode}")
        if self.early_stop_patience and not (self.mode == "train_and_evaluate" and self.eval_every_epochs):
            raise UsageError(
                f"--early_stop_patience {self.early_stop_patience}: counts evaluations during training, so it needs "
                "--mode train_and_evaluate and --eval_every_epochs of at least 1"
            )
        if self.eval_every_epochs and self.mode != "train_and_evaluate":
            raise UsageError(
                f"--eval_every_epochs {self.eval_every_epochs}: only used with --mode train_and_evaluate, "
                f"not --mode {self.mode}"
            )
        if self.cpu and (self.gpu_id is not None or self.gpu_memory_fraction is not None):
            raise UsageError("--cpu: contradicts --gpu_id and --gpu_memory_fraction")

    @property
    def checkpoint_dir(self) -> str:
        """The folder of the checkpoints: ``--model_dir``, else ``--results_dir``."""
        return self.model_dir if self.model_dir else self.results_dir

    @property
    def log_path(self) -> Path:
        """The JSON log."""
        return Path(self.report_file) if self.report_file else Path(self.results_dir) / self.log_filename

    @property
    def is_training(self) -> bool:
        return self.mode in TRAINING_MODES

    @property
    def is_benchmark(self) -> bool:
        return self.mode in BENCHMARK_MODES


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedConfig:
    """Communication between several processes; a single process ignores it.

    Attributes:
        fp16_compression: Send gradients as float16.
        sync_batch_norm: Normalize by the statistics of the global batch instead of each process's own.
        stall_timeout_s: The run ends if a process is unresponsive for this many seconds.
    """

    fp16_compression: bool = False
    sync_batch_norm: bool = False
    stall_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        timeout = self.stall_timeout_s
        require(math.isfinite(timeout) and timeout >= 1, "stall_timeout_s", timeout, "1 or more seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningConfig:
    """Parts of a network that a run freezes, or trains at another learning rate.

    Attributes:
        freeze_backbone: Train everything but the backbone; its batch normalization uses the stored statistics.
        freeze_batch_norm: Normalize by the stored batch-norm statistics and do not update them.
        head_lr_multiplier: Factor of the learning rate for the head.
        layer_decay: Factor of the learning rate from each group of layers to the one before it, from the head on.

    Raises:
        UsageError: A value is out of range.
    """

    freeze_backbone: bool = False
    freeze_batch_norm: bool = False
    head_lr_multiplier: float = 1.0
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        factor = self.head_lr_multiplier
        require(math.isfinite(factor) and factor > 0, "head_lr_multiplier", f"{factor:g}", "a number above 0")
        decay = self.layer_decay
        require(is_fraction(decay) and decay > 0, "layer_decay", f"{decay:g}", "above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingAverageConfig:
    """The exponential moving average of the weights, and the weights that evaluation uses.

    Attributes:
        ema_decay: Decay of the exponential moving average of the weights, saved beside the weights; None keeps no
            average.
        ema_every: Number of steps between two updates of the average.
        ema_decay_steps: Length of the run that ``ema_decay`` is meant for, in steps; None takes it as it is.
        eval_weights: "raw" or "ema", the weights that evaluation, prediction and export use; None uses the moving
            averages if the checkpoint stores them.

    Raises:
        UsageError: A value is out of range.
    """

    ema_decay: float | None = None
    ema_every: int = 1
    ema_decay_steps: int | None = None
    eval_weights: str | None = None

    def __post_init__(self) -> None:
        decay = self.ema_decay
        if decay is not None:
            require(0.0 < decay < 1.0, "ema_decay", f"{decay:g}", "above 0 and below 1")
        require(self.ema_every > 0, "ema_every", self.ema_every, "a positive integer")
        if self.ema_every > 1 and decay is None:
            raise UsageError(f"--ema_every {self.ema_every}: only used with --ema_decay, which is not given")
        steps = self.ema_decay_steps
        if steps is not None:
            require(steps > 0, "ema_decay_steps", steps, "a positive integer")
            if decay is None:
                raise UsageError(f"--ema_decay_steps {steps}: only used with --ema_decay, which is not given")
        if self.eval_weights is not None:
            require(self.eval_weights in EVAL_WEIGHTS, "eval_weights", self.eval_weights, "raw or ema")

    def decay_in(self, total_steps: int) -> float | None:
        """The decay of a step in a run of ``total_steps`` steps.

        The average remembers some 1 / (1 - decay) steps. With ``ema_decay_steps``, these are the same share of this run
        as of the one that the decay is meant for: decay^(ema_decay_steps / total_steps).
        """
        if self.ema_decay is None or self.ema_decay_steps is None:
            return self.ema_decay
        return float(self.ema_decay ** (self.ema_decay_steps / total_steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticsConfig:
    """Optional histograms and traces of a run.

    Attributes:
        histograms_every: Write histograms of weights, gradients and activations every n training steps; 0 for never.
        profile: First and last step of the trace, both included; None for no trace.

    Raises:
        UsageError: A value is out of range.
    """

    histograms_every: int = 0
    profile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        require(self.histograms_every >= 0, "histograms_every", self.histograms_every, "0 or more")
        if self.profile is not None:
            first, last = self.profile
            fits = 0 < first <= last < first + MOST_TRACED_STEPS
            require(fits, "profile", text_of_steps(self.profile), _TRACED_STEPS)

    def check_length(self, steps: int, what: str = "steps") -> None:
        """Raises ``UsageError`` if the trace would begin after the end of a run of ``steps``."""
        if self.profile is not None and self.profile[0] > steps:
            raise UsageError(
                f"--profile {text_of_steps(self.profile)}: begins after the end of the run, which has {steps} {what}"
            )


def steps_of_text(text: str) -> tuple[int, int]:
    """The two step numbers in ``FROM,TO``.

    Raises:
        UsageError: The text is not two numbers.
    """
    match = re.fullmatch(r"\s*(\d{1,18})\s*,\s*(\d{1,18})\s*", text, re.ASCII)
    if match is None:
        raise UsageError(f"--profile {text or repr(text)}: must be {_TRACED_STEPS}")
    return int(match[1]), int(match[2])


def text_of_steps(steps: tuple[int, int]) -> str:
    """The inverse of ``steps_of_text``: ``FROM,TO``."""
    return f"{steps[0]},{steps[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """Everything that defines a run; ``detection`` is None for classifiers."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    run: RunConfig = field(default_factory=RunConfig)
    detection: DetectionConfig | None = None
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
    moving_average: MovingAverageConfig = field(default_factory=MovingAverageConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    prediction: PredictionConfig = field(default_factory=PredictionConfig)

    def __post_init__(self) -> None:
        mode = self.run.mode
        if self.data.source == "synthetic" and not self.run.is_benchmark and mode != "predict":
            raise UsageError(f"--mode {mode}: needs --data_dir; only the two benchmark modes can run on synthetic data")
        if self.run.is_benchmark and self.run.duration.unit == "batch":
            check_benchmark_length(self.run.duration.value, self.run.warmup_steps)
        if self.model.multi_label:
            self._check_multi_label()
        if self.prediction.test_time_augmentation and self.run.export_dir:
            raise UsageError(
                f"--export_dir {self.run.export_dir}: exports look at each image once, which --test_time_augmentation "
                "contradicts; leave one of them out"
            )
        depth = self.optimizer.stochastic_depth
        if depth and self.fine_tuning.freeze_backbone:
            raise UsageError(
                f"--stochastic_depth {depth:g}: drops branches of the backbone, which --freeze_backbone does not "
                "train; leave one of them out"
            )
        steps = self.optimizer.accumulate_steps
        if steps > 1 and self.distributed.sync_batch_norm:
            raise UsageError(
                f"--accumulate_steps {steps}: batch norm takes its statistics from one part of the batch at a time, "
                "which --sync_batch_norm contradicts; leave one of them out"
            )
        if self.detection is not None:
            self.detection.check_accumulation(steps)

    def _check_multi_label(self) -> None:
        loss = self.optimizer.loss
        if self.run.is_training and loss != "bce":
            raise UsageError(
                f"--loss {loss}: contradicts --multi_label, whose classes exclude no other; give --loss bce"
            )
        if self.data.balanced_sampling:
            raise UsageError("--balanced_sampling: draws by the one class of an image, which --multi_label contradicts")
        if self.distillation.teacher:
            raise UsageError("--distill_from: a teacher's classes exclude each other, which --multi_label contradicts")

    @property
    def images_per_step(self) -> int:
        """Images of a training step in one process."""
        return self.data.batch_size_per_replica * self.optimizer.accumulate_steps


def check_benchmark_length(steps: int, warmup_steps: int) -> None:
    """Raises ``UsageError`` if no step of a benchmark would be left to measure after its warm-up."""
    if steps <= warmup_steps:
        raise UsageError(
            f"--num_iter gives {steps} steps: must be above --warmup_steps {warmup_steps}, or nothing is measured"
        )


def resolved(section: Any, name: str) -> Any:
    """The value of a field that is None until the configuration is resolved.

    Raises:
        ValueError: The field is still None.
    """
    value = getattr(section, name)
    if value is None:
        raise ValueError(f"{type(section).__name__}.{name} is None; must be filled in by resolving the configuration")
    return value
