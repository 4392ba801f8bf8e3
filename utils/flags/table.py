"""Every flag of ``main.py``, one row each: name and aliases, config field, modes that use it, sentence of ``--help``.

The parser, ``--help``, the way from flags to the config and the way back (``utils/cmdline_helper.py``) all read this
table, so they cannot disagree. Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from utils.config import (
    ARCHITECTURES,
    CLASSIFIERS,
    CONSOLES,
    DATA_FORMATS,
    DETECTORS,
    EVAL_WEIGHTS,
    ITER_UNITS,
    LOG_LEVELS,
    MODES,
    TRAINING_MODES,
    WEIGHT_INITS,
    ExperimentConfig,
    steps_of_text,
    text_of_steps,
)
from utils.detection_config import LARGEST_LOG, DetectionConfig
from utils.input.augmentation_specs import ColorSpec
from utils.optimizer_table import OPTIMIZERS

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
"""The scale that ``--use_static_loss_scaling`` stands for."""

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
"""Values of fields for detectors where no flag sets them: the recipe of the published accuracies."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Flag:
    """One row. A flag without a field stands for another one, or is refused."""

    name: str
    field: str
    """The config field it fills, as ``section.name``."""
    kind: str | tuple[str, ...]
    """The type of its value; a tuple lists the allowed texts."""
    help: str
    """The sentence of ``--help``."""
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
    refused: bool = False
    """Refused for other networks, whose nature it contradicts; else the flag is left out there, with a note."""
    real_data_only: bool = False
    """Without effect on synthetic images."""
    recorded: bool = True
    """Logged among the parameters; flags that only change the console are not."""
    inspected: bool = False
    """Of effect on what ``tools.inspect`` shows: the input and the schedule of training."""
    default: str = ""
    """The default in the words of ``--help``, where the config's own says too little."""
    detector_default: str = ""
    """The same for detectors, where theirs is another."""
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
        """Tell if this is a flag of an architecture.

        Where none is given, the weights tell it; what changes the run alone is checked when it is known.
        """
        if architecture is None:
            return self.architectures != DETECTORS or self.field.startswith("run.")
        return architecture in self.architectures


def _detector_flag(name: str, field: str, kind: Any, help: str, modes: tuple[str, ...] = MODES, **ways: Any) -> Flag:
    return Flag(name, field, kind, help, DETECTION, modes, ours=True, architectures=DETECTORS, **ways)


FLAGS = (
    Flag(
        "arch",
        "model.architecture",
        ARCHITECTURES,
        f"The network: {' and '.join(DETECTORS)} detects objects, all others classify images.",
        default="the checkpoint's, else resnet50",
        inspected=True,
    ),
    Flag("mode", "run.mode", MODES, "What to do."),
    Flag(
        "export_dir",
        "run.export_dir",
        PATH,
        "Folder that receives a SavedModel at the end.",
        GENERAL,
        WITH_EXPORT,
        default="no export",
    ),
    Flag(
        "to_predict",
        "run.to_predict",
        PATH,
        "What to look at: an image, a folder (searched with its subfolders) or a quoted glob.",
        default="none; --mode predict needs it",
    ),
    Flag(
        "batch_size",
        "data.batch_size_per_replica",
        INTEGER,
        "Images per step and process.",
        default="32 for --mode predict; every other mode needs it",
        inspected=True,
    ),
    Flag(
        "num_iter",
        "run.duration.value",
        INTEGER,
        "How long the run is in all, launches that were interrupted included, in the unit of --iter_unit.",
        GENERAL,
        WITH_STEPS,
        inspected=True,
    ),
    Flag(
        "run_iter",
        "run.run_limit.value",
        INTEGER,
        "How much of the run this launch does at most, in the unit of --iter_unit.",
        GENERAL,
        TRAINING_MODES,
        from_field=lambda value: -1 if value is None else value,
        default="-1, everything that is left",
    ),
    Flag(
        "iter_unit",
        "run.duration.unit",
        ITER_UNITS,
        "What --num_iter and --run_iter count.",
        GENERAL,
        WITH_STEPS,
        inspected=True,
    ),
    Flag(
        "warmup_steps",
        "run.warmup_steps",
        INTEGER,
        "First steps left out of throughput and latency; outside the benchmarks at most a tenth of the steps.",
        GENERAL,
        WITH_STEPS,
    ),
    Flag(
        "model_dir",
        "run.model_dir",
        PATH,
        "Where checkpoints are read and written: a folder, its best/, or a checkpoint's prefix; those of NVIDIA's "
        "TensorFlow 1 networks, slim's resnet_v1_50 and TensorFlow's detection library are read too.",
        GENERAL,
        WITH_CHECKPOINTS,
        default="--results_dir",
        inspected=True,
    ),
    Flag(
        "results_dir", "run.results_dir", PATH, "Folder for the log, predictions and, without --model_dir, checkpoints."
    ),
    Flag(
        "log_filename", "run.log_filename", TEXT, "Name of the JSON log inside --results_dir; each run appends to it."
    ),
    Flag("display_every", "run.display_every", INTEGER, "Log every n-th step.", GENERAL, WITH_STEPS),
    Flag("seed", "run.seed", INTEGER, "Seed of all randomness.", default="none, each run differs", inspected=True),
    Flag(
        "gpu_memory_fraction",
        "run.gpu_memory_fraction",
        NUMBER,
        "Share of a GPU's memory that the process may take, above 0 and at most 1.",
        default="memory grows as needed",
    ),
    Flag("gpu_id", "run.gpu_id", INTEGER, "Index of the GPU to use, with one process.", default="the first GPU"),
    Flag(
        "finetune_checkpoint",
        "run.finetune_checkpoint",
        PATH,
        "Checkpoint whose weights, batch-norm statistics included, a new run starts from.",
        GENERAL,
        TRAINING_MODES,
        default="none",
    ),
    Flag(
        "use_final_conv",
        "model.use_final_conv",
        SWITCH,
        "Write the classifier as a 1x1 convolution.",
        architectures=CLASSIFIERS,
        default="as in the checkpoint, else off",
        refused=True,
    ),
    Flag(
        "quant_delay",
        "model.quantization.delay",
        INTEGER,
        "Steps to train before quantization sets in, with --quantize.",
        GENERAL,
        TRAINING_MODES,
        default="0",
    ),
    Flag(
        "quantize",
        "model.quantization",
        SWITCH,
        "Train with weights and activations that are rounded to 8 bits; other modes do as the checkpoint was trained.",
        from_field=lambda quantization: quantization is not None,
        default="off, or as the checkpoint was trained",
    ),
    Flag(
        "use_qdq",
        "model.quantization.qdq",
        SWITCH,
        "With --quantize: quantize by a scale alone, as TensorRT does, without a zero point.",
        from_field=bool,
    ),
    Flag(
        "symmetric",
        "model.quantization.symmetric",
        SWITCH,
        "With --quantize: ranges that have 0 in their middle.",
        from_field=bool,
    ),
    Flag(
        "per_channel_weights",
        "model.quantization.per_channel",
        SWITCH,
        "With --quantize: a range for each output channel of a kernel, not for all.",
        ours=True,
        from_field=bool,
    ),
    Flag(
        "top_k",
        "run.top_k",
        INTEGER,
        "How many guesses a prediction lists and top-k accuracy counts.",
        GENERAL,
        WITH_RESULTS,
        ours=True,
        architectures=CLASSIFIERS,
        real_data_only=True,
    ),
    Flag(
        "log_level",
        "run.log_level",
        LOG_LEVELS,
        "Least severe message shown on the console.",
        ours=True,
        inspected=True,
    ),
    Flag(
        "console",
        "run.console",
        CONSOLES,
        "Show the run for people or, as DLL lines, for programs that read along; the log is the same.",
        ours=True,
        recorded=False,
        default="auto: readable on a terminal, else dllogger",
    ),
    Flag(
        "no_report",
        "run.report",
        SWITCH,
        "Write no report.html with curves, confusions and mistakes to --results_dir at the end.",
        GENERAL,
        WITH_REPORT,
        ours=True,
        to_field=lambda given: not given,
        from_field=lambda report: not report,
    ),
    Flag(
        "histograms_every",
        "diagnostics.histograms_every",
        INTEGER,
        "Write histograms of weights, gradients and activations for TensorBoard every n-th step.",
        GENERAL,
        LONG_TRAINING,
        ours=True,
        default="0, never",
    ),
    Flag(
        "profile",
        "diagnostics.profile",
        TEXT,
        "FROM,TO: write a trace of these steps to --results_dir, for TensorBoard's profile plugin and trace viewers.",
        GENERAL,
        WITH_STEPS,
        ours=True,
        to_field=steps_of_text,
        from_field=lambda steps: steps and text_of_steps(steps),
        default="none",
    ),
    Flag(
        "data_dir",
        "data.data_dir",
        PATH,
        "Folder with TFRecords, as tools.convert or object_detection.create_coco_tfrecord writes them.",
        DATASET,
        WITH_STEPS,
        default="none; the benchmarks then make synthetic images, train and evaluate need it",
    ),
    Flag(
        "data_idx_dir",
        "data.index_dir",
        PATH,
        "Folder with DALI's index files, named as the TFRecords; goes with --dali.",
        DATASET,
        WITH_STEPS,
        default="made where they are missing, beside the TFRecords or in the user's cache",
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "dali",
        "data.source",
        SWITCH,
        "Let NVIDIA DALI decode and crop the images, on the GPU where there is one.",
        DATASET,
        WITH_STEPS,
        to_field=lambda given: "dali" if given else "tfrecord",
        from_field=lambda source: source == "dali",
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "synthetic_data_size",
        "model.image_size",
        INTEGER,
        "Another name of --image_size, kept for synthetic images.",
        DATASET,
        default="as --image_size",
    ),
    Flag(
        "image_size",
        "model.image_size",
        INTEGER,
        "Height and width of the images that the network sees.",
        DATASET,
        ours=True,
        default="the checkpoint's, else 224",
        detector_default="the checkpoint's, else 320",
        inspected=True,
    ),
    Flag(
        "num_classes",
        "model.num_classes",
        INTEGER,
        "Number of outputs of a classifier; the largest category id of a detector.",
        DATASET,
        ours=True,
        default="the checkpoint's, else the data's dataset.json, else 1001",
        detector_default="likewise, else 90",
        inspected=True,
    ),
    Flag(
        "class_names",
        "data.class_names_file",
        PATH,
        "File with one class name a line, or a synset, a tab and a name; stored with the weights.",
        DATASET,
        WITH_NAMES,
        ours=True,
        architectures=CLASSIFIERS,
        default="the checkpoint's, else the data's dataset.json",
        inspected=True,
    ),
    Flag(
        "label_map",
        "data.label_map_file",
        PATH,
        "Text file of the categories: item { id: 1 name: 'person' } and so on.",
        DATASET,
        WITH_NAMES,
        ours=True,
        architectures=DETECTORS,
        default="the checkpoint's, else the data's dataset.json or label_map.pbtxt, else COCO's",
        inspected=True,
    ),
    Flag(
        "min_crop_area",
        "data.min_crop_area",
        NUMBER,
        "Smallest share of an image that a random training crop may cover.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "color_jitter",
        "data.color_jitter",
        NUMBER,
        "Strength, up to 1, of random changes of brightness, saturation and contrast of training images; 0 for none.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "max_bad_records",
        "data.max_bad_records",
        INTEGER,
        "How many images that do not decode, or labels out of range, a run skips before it fails.",
        DATASET,
        WITH_STEPS,
        ours=True,
        real_data_only=True,
    ),
    Flag(
        "lr_init",
        "optimizer.learning_rate_per_256",
        NUMBER,
        "Learning rate for a global batch of 256; it is scaled with the batch.",
        TRAINING,
        TRAINING_MODES,
        inspected=True,
    ),
    Flag(
        "lr_warmup_epochs",
        "optimizer.warmup_epochs",
        NUMBER,
        "Epochs, or a fraction of one, in which the learning rate rises linearly; 0 for none.",
        TRAINING,
        TRAINING_MODES,
        default="5",
        detector_default="8 % of the run",
        inspected=True,
    ),
    Flag(
        "weight_decay",
        "optimizer.weight_decay",
        NUMBER,
        "Coefficient of the L2 penalty on the weights.",
        TRAINING,
        TRAINING_MODES,
    ),
    Flag(
        "weight_init",
        "model.weight_init",
        WEIGHT_INITS,
        "Which side of a filter scales its random initial values.",
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
    ),
    Flag(
        "optimizer",
        "optimizer.name",
        tuple(OPTIMIZERS),
        f"How gradients change the weights: {', '.join(f'{row.name} ({row.help})' for row in OPTIMIZERS.values())}.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag("momentum", "optimizer.momentum", NUMBER, "Momentum of the optimizer.", TRAINING, TRAINING_MODES),
    Flag(
        "label_smoothing",
        "optimizer.label_smoothing",
        NUMBER,
        "Share of the target spread evenly over all classes.",
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
        refused=True,
        inspected=True,
    ),
    Flag(
        "mixup",
        "optimizer.mixup_alpha",
        NUMBER,
        "Alpha of the Beta distribution that mixes pairs of images; 0 mixes none.",
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
        refused=True,
        inspected=True,
    ),
    Flag(
        "cosine_lr",
        "optimizer.schedule",
        SWITCH,
        "Lower the learning rate along a cosine.",
        TRAINING,
        TRAINING_MODES,
        aliases=("cosine", "use_cosine", "use_cosine_lr"),
        odd_aliases=("use_cosine_lr--cosine",),
        to_field=lambda given: "cosine" if given else "step",
        from_field=lambda schedule: schedule == "cosine",
        default="off: a tenth after 30, 60, 80 and 90 epochs",
        detector_default="on",
        inspected=True,
    ),
    Flag(
        "reset_head",
        "run.reset_head",
        SWITCH,
        "Begin with new weights for the classes, whatever those of --finetune_checkpoint are.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        default="off: only where they are other classes",
    ),
    Flag(
        "freeze_backbone",
        "fine_tuning.freeze_backbone",
        SWITCH,
        "Train all but the backbone, which --finetune_checkpoint gives.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "freeze_batch_norm",
        "fine_tuning.freeze_batch_norm",
        SWITCH,
        "Train on the stored batch-norm statistics and leave them as they are.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "head_lr_multiplier",
        "fine_tuning.head_lr_multiplier",
        NUMBER,
        "Factor of the learning rate for the head; the rate that is logged is without it.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "ema_decay",
        "moving_average.ema_decay",
        NUMBER,
        "Keep moving averages of the weights, of which a step keeps this share.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        default="none are kept",
    ),
    Flag(
        "eval_weights",
        "moving_average.eval_weights",
        EVAL_WEIGHTS,
        "Which weights to evaluate, predict with and export: those that were trained, or their averages.",
        TRAINING,
        WITH_CHECKPOINTS,
        ours=True,
        default="ema where the checkpoint has averages, else raw",
    ),
    Flag(
        "checkpoint_every",
        "run.checkpoint_every",
        INTEGER,
        "Write a checkpoint every n steps.",
        TRAINING,
        LONG_TRAINING,
        ours=True,
    ),
    Flag(
        "keep_checkpoints",
        "run.keep_checkpoints",
        INTEGER,
        "How many of the latest checkpoints stay on disk.",
        TRAINING,
        LONG_TRAINING,
        ours=True,
    ),
    Flag(
        "eval_every_epochs",
        "run.eval_every_epochs",
        INTEGER,
        "Evaluate after every n epochs of training.",
        TRAINING,
        TRAIN_AND_EVALUATE,
        ours=True,
        default="0, only at the end",
    ),
    Flag(
        "eval_count",
        "run.eval_count",
        INTEGER,
        "Without --eval_every_epochs: evaluate so often, at equal distances and at the end.",
        TRAINING,
        TRAIN_AND_EVALUATE,
        ours=True,
    ),
    Flag(
        "early_stop_patience",
        "run.early_stop_patience",
        INTEGER,
        "Stop after this many evaluations in a row without a better result.",
        TRAINING,
        TRAIN_AND_EVALUATE,
        ours=True,
        default="0, never",
    ),
    _detector_flag(
        "exact_classes",
        "detection.exact_classes",
        SWITCH,
        "Give each category a class slot, instead of each id up to the largest and the background.",
        inspected=True,
    ),
    _detector_flag(
        "batch_norm_decay",
        "detection.batch_norm_decay",
        NUMBER,
        "Share of a batch-norm statistic that a step keeps; short runs need a smaller one.",
        TRAINING_MODES,
    ),
    _detector_flag(
        "centred_p7",
        "detection.anchors.centred",
        SWITCH,
        "Put the largest anchors in the middle of their cells too, instead of on their corners.",
        inspected=True,
    ),
    _detector_flag(
        "clamp_decode",
        "detection.coder.largest_log",
        SWITCH,
        "Let no box be more than 62.5 times as high or wide as its anchor.",
        WITH_RESULTS,
        to_field=lambda given: LARGEST_LOG if given else None,
        from_field=lambda largest: largest is not None,
    ),
    _detector_flag(
        "train_crowds",
        "detection.train_crowds",
        SWITCH,
        "Train boxes around crowds as if each were one object, as the original did.",
        TRAINING_MODES,
        default="off: left out",
        inspected=True,
    ),
    _detector_flag(
        "no_color_jitter",
        "detection.augmentation",
        SWITCH,
        "Leave the colors of training images as they are.",
        TRAINING_MODES,
        to_field=lambda given: tuple(s for s in DetectionConfig().augmentation if not isinstance(s, ColorSpec)),
        from_field=lambda steps: not any(isinstance(step, ColorSpec) for step in steps or ()),
        inspected=True,
    ),
    _detector_flag(
        "min_score",
        "run.min_score",
        NUMBER,
        "Least score of a detection that a prediction lists and draws.",
        ("predict",),
    ),
    Flag("xla", "precision.xla", SWITCH, "Compile the graph with XLA.", OPTIMIZATION, aliases=("use_xla",)),
    Flag("data_format", "model.data_format", DATA_FORMATS, "Memory layout of the feature maps.", OPTIMIZATION),
    Flag(
        "amp",
        "precision.amp",
        SWITCH,
        "Compute in mixed precision: float16 on GPUs, bfloat16 on CPUs that have it.",
        OPTIMIZATION,
        aliases=("use_tf_amp",),
    ),
    Flag("cpu", "run.cpu", SWITCH, "Use no GPU.", OPTIMIZATION, inspected=True),
    Flag(
        "deterministic",
        "run.deterministic",
        SWITCH,
        "Let a run with the same --seed repeat bit for bit.",
        OPTIMIZATION,
        ours=True,
    ),
    Flag(
        "fp16_compression",
        "distributed.fp16_compression",
        SWITCH,
        "Send gradients between processes as float16.",
        DISTRIBUTION,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "sync_batch_norm",
        "distributed.sync_batch_norm",
        SWITCH,
        "Normalize by the statistics of the global batch, not of each process's own.",
        DISTRIBUTION,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "stall_timeout_s",
        "distributed.stall_timeout_s",
        NUMBER,
        "A process that gives no sign of life for so many seconds ends the run.",
        DISTRIBUTION,
        ours=True,
    ),
    Flag(
        "no_tf32",
        "precision.tf32",
        SWITCH,
        "Do not round float32 products to TensorFloat-32 on GPUs that would.",
        OPTIMIZATION,
        ours=True,
        to_field=lambda given: not given,
        from_field=lambda tf32: not tf32,
    ),
    Flag(
        "static_loss_scale",
        "precision.static_loss_scale",
        NUMBER,
        "Fixed factor on the loss with --amp, so that small gradients survive float16.",
        MIXED_PRECISION,
        TRAINING_MODES,
        aliases=("loss_scale",),
        to_field=lambda scale: None if scale == -1 else scale,
        from_field=lambda scale: -1.0 if scale is None else scale,
        default="-1, dynamic",
    ),
    Flag(
        "use_static_loss_scaling",
        "",
        SWITCH,
        "Stands for --static_loss_scale 128.",
        MIXED_PRECISION,
        TRAINING_MODES,
        hidden=True,
    ),
)

BY_NAME = {flag.name: flag for flag in FLAGS}

QUANTIZATION = "quantization"
QUANTIZATION_FLAGS = {
    flag.field.rpartition(".")[2]: flag.name for flag in FLAGS if flag.field.startswith(f"model.{QUANTIZATION}.")
}
"""The flags that say how a network is quantized, by their field of ``QuantizationSpec``."""
