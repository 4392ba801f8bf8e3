"""Every flag of ``main.py``, one row each: name and aliases, config field, modes that use it, sentence of ``--help``.

The parser, ``--help`` and the conversion between flags and config (``utils/cmdline_helper.py``) all read this table, so
they cannot disagree. Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.specs import BACKBONES
from utils.augment_config import POLICIES, SAMPLERS
from utils.config import (
    AMP_DTYPES,
    ARCHITECTURES,
    CLASSIFIERS,
    CONSOLES,
    DATA_FORMATS,
    DETECTORS,
    EVAL_WEIGHTS,
    HEAD_INITS,
    ITER_UNITS,
    LOG_LEVELS,
    MODES,
    TRAINING_MODES,
    WEIGHT_INITS,
    ExperimentConfig,
    steps_of_text,
    text_of_steps,
)
from utils.data_config import SHUFFLES
from utils.detection_config import (
    BOX_LOSSES,
    CLASS_LOSSES,
    LARGEST_LOG,
    MATCHERS,
    NORMS,
    RESIZES,
    SUPPRESSIONS,
    DetectionConfig,
)
from utils.distillation_config import DEFAULT_ALPHA, DEFAULT_TEMPERATURE
from utils.image_sizes import crop_of_text, text_of_size, text_of_train_sizes, train_sizes_of_text
from utils.input.augmentation_specs import ColorSpec
from utils.object_augment_config import scales_of_text, text_of_scales
from utils.optimizer_config import FOCAL_GAMMA, LOSSES, SCHEDULES
from utils.optimizer_table import OPTIMIZERS
from utils.prediction_config import DEFAULT_OVERLAP

SWITCH, INTEGER, SIZE, NUMBER, TEXT, PATH = "switch", "integer", "size", "number", "text", "path"
INTEGER_OR_AUTO = "integer or auto"

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
"""Fields of detectors that no flag sets: the recipe of the published accuracies."""

ONE_CYCLE_DEFAULTS: dict[str, Any] = {"optimizer.warmup_epochs": None, "optimizer.warmup_share": 0.3}
"""Fields of ``--schedule one_cycle``. Source: PyTorch's documentation of ``OneCycleLR``."""


def _per_optimizer(number: str) -> str:
    """The default of a number for each optimizer that has one."""
    values = {row.name: getattr(row, number) for row in OPTIMIZERS.values()}
    return "; ".join(f"{name} {value:g}" for name, value in values.items() if value is not None)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Flag:
    """One row. A flag without a field stands for another one, or concerns the launch and not the experiment."""

    name: str
    field: str
    """Config field that the flag fills, as ``section.name``."""
    kind: str | tuple[str, ...]
    """Type of the value; a tuple lists the allowed texts."""
    help: str
    """Sentence of ``--help``."""
    group: str = GENERAL
    modes: tuple[str, ...] = MODES
    """Modes in which the flag has an effect."""
    aliases: tuple[str, ...] = ()
    odd_aliases: tuple[str, ...] = ()
    """Accepted, not shown."""
    ours: bool = False
    """Newer than the flags that users of this family of code know: a prefix that meant one of those still does."""
    hidden: bool = False
    rare: bool = False
    """Seldom needed: ``--help`` lists it last."""
    architectures: tuple[str, ...] = ARCHITECTURES
    """Networks for which the flag has a meaning."""
    refused: bool = False
    """Refused for other networks because it contradicts them; other flags are dropped there, with a note."""
    real_data_only: bool = False
    """Has no effect on synthetic images."""
    recorded: bool = True
    """Logged among the parameters; flags that only change the console are not."""
    inspected: bool = False
    """Affects the input or the training schedule, which ``tools.inspect`` shows."""
    default: str = ""
    """Default in the words of ``--help``, if the config's own value says too little."""
    detector_default: str = ""
    """The same for detectors, if theirs differs."""
    to_field: Callable[[Any], Any] = _same
    from_field: Callable[[Any], Any] = _same

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name, *self.aliases, *self.odd_aliases)

    @property
    def is_switch(self) -> bool:
        return self.kind == SWITCH

    def read(self, config: ExperimentConfig) -> Any:
        """The flag's value in ``config``, as typed on the command line."""
        value: Any = config
        for name in self.field.split("."):
            value = None if value is None else getattr(value, name)
        return self.from_field(value)

    def is_of(self, architecture: str | None) -> bool:
        """Returns True if the flag applies to an architecture.

        Without one, the weights decide later; flags that change only the run are then accepted.
        """
        if architecture is None:
            return self.architectures != DETECTORS or self.field.startswith(("run.", "prediction."))
        return architecture in self.architectures


def _detector_flag(name: str, field: str, kind: Any, help: str, modes: tuple[str, ...] = MODES, **ways: Any) -> Flag:
    return Flag(name, field, kind, help, DETECTION, modes, ours=True, architectures=DETECTORS, **ways)


def _augmenting_flag(name: str, kind: Any, help: str, **ways: Any) -> Flag:
    """A flag about the augmentation of images with objects."""
    field = f"detection.augment.{name}"
    return _detector_flag(name, field, kind, help, TRAINING_MODES, real_data_only=True, inspected=True, **ways)


def _recipe_flag(name: str, field: str, kind: Any, help: str, **ways: Any) -> Flag:
    """A flag about the augmentation of labelled images."""
    ways = {"architectures": CLASSIFIERS, "refused": True, "inspected": True, **ways}
    return Flag(name, field, kind, help, DATASET, TRAINING_MODES, ours=True, real_data_only=True, **ways)


FLAGS = (
    Flag(
        "arch",
        "model.architecture",
        ARCHITECTURES,
        f"Network. {' and '.join(DETECTORS)} detects objects; {', '.join(CLASSIFIERS)} classify images.",
        default="the checkpoint's, else resnet50",
        inspected=True,
    ),
    Flag("mode", "run.mode", MODES, "Mode of the run; --help MODE lists the flags of one mode."),
    Flag(
        "dry_run",
        "",
        SWITCH,
        "Print the plan of the run (network, data, steps, memory, files) and write nothing.",
        ours=True,
        default="off",
    ),
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
        "Images to predict: a file, a folder (searched recursively) or a quoted glob; a file may be a video.",
        default="none",
    ),
    Flag(
        "batch_size",
        "data.batch_size_per_replica",
        INTEGER_OR_AUTO,
        "Images per step and process, or auto: the largest batch that fits in memory, measured at the start.",
        default="32",
        inspected=True,
    ),
    Flag(
        "num_iter",
        "run.duration.value",
        INTEGER,
        "Length of the whole run, interrupted launches included, in the unit of --iter_unit.",
        GENERAL,
        WITH_STEPS,
        detector_default="27 in training",
        inspected=True,
    ),
    Flag(
        "run_iter",
        "run.run_limit.value",
        INTEGER,
        "Upper limit for this launch, in the unit of --iter_unit.",
        GENERAL,
        TRAINING_MODES,
        from_field=lambda value: -1 if value is None else value,
        default="-1, no limit",
        rare=True,
    ),
    Flag(
        "iter_unit",
        "run.duration.unit",
        ITER_UNITS,
        "Unit of --num_iter and --run_iter.",
        GENERAL,
        WITH_STEPS,
        inspected=True,
    ),
    Flag(
        "warmup_steps",
        "run.warmup_steps",
        INTEGER,
        "First steps left out of throughput and latency; outside benchmarks at most a tenth of the steps.",
        GENERAL,
        WITH_STEPS,
    ),
    Flag(
        "model_dir",
        "run.model_dir",
        PATH,
        "Folder of the checkpoints to read and write, its best/, or the prefix of one checkpoint. NVIDIA's TensorFlow "
        "1 checkpoints, slim's resnet_v1_50 and those of TensorFlow's detection library are read too.",
        GENERAL,
        WITH_CHECKPOINTS,
        default="--results_dir",
        inspected=True,
    ),
    Flag(
        "results_dir", "run.results_dir", PATH, "Folder for the log, predictions and, without --model_dir, checkpoints."
    ),
    Flag(
        "log_filename",
        "run.log_filename",
        TEXT,
        "Name of the JSON log in --results_dir; every run appends to it.",
        rare=True,
    ),
    Flag("display_every", "run.display_every", INTEGER, "Log every n-th step.", GENERAL, WITH_STEPS),
    Flag("seed", "run.seed", INTEGER, "Seed of all randomness.", default="random", inspected=True),
    Flag(
        "gpu_memory_fraction",
        "run.gpu_memory_fraction",
        NUMBER,
        "Share of the GPU's memory that the process may use, above 0 and at most 1.",
        default="memory grows as needed",
        rare=True,
    ),
    Flag(
        "gpu_id",
        "run.gpu_id",
        INTEGER,
        "Index of the GPU that a single process uses.",
        default="the first GPU",
        rare=True,
    ),
    Flag(
        "finetune_checkpoint",
        "run.finetune_checkpoint",
        PATH,
        "Checkpoint whose weights and batch-norm statistics a new run starts from.",
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
        rare=True,
    ),
    Flag(
        "quant_delay",
        "model.quantization.delay",
        INTEGER,
        "With --quantize: steps to train before quantization starts.",
        GENERAL,
        TRAINING_MODES,
        default="0",
        rare=True,
    ),
    Flag(
        "quantize",
        "model.quantization",
        SWITCH,
        "Train with weights and activations rounded to 8 bits; other modes follow the checkpoint.",
        from_field=lambda quantization: quantization is not None,
        default="off, or as the checkpoint was trained",
        rare=True,
    ),
    Flag(
        "use_qdq",
        "model.quantization.qdq",
        SWITCH,
        "With --quantize: quantize by a scale alone, without a zero point, as TensorRT does.",
        from_field=bool,
        rare=True,
    ),
    Flag(
        "symmetric",
        "model.quantization.symmetric",
        SWITCH,
        "With --quantize: use ranges that are symmetric around 0.",
        from_field=bool,
        rare=True,
    ),
    Flag(
        "per_channel_weights",
        "model.quantization.per_channel",
        SWITCH,
        "With --quantize: use one range per output channel of a kernel instead of one per kernel.",
        ours=True,
        from_field=bool,
        rare=True,
    ),
    Flag(
        "top_k",
        "run.top_k",
        INTEGER,
        "Number of guesses that a prediction lists and that top-k accuracy counts.",
        GENERAL,
        WITH_RESULTS,
        ours=True,
        architectures=CLASSIFIERS,
        real_data_only=True,
    ),
    Flag(
        "min_score",
        "run.min_score",
        NUMBER,
        "Lowest score that a prediction lists: of detections, and of classes after training with --multi_label.",
        GENERAL,
        ("predict",),
        ours=True,
    ),
    Flag(
        "test_time_augmentation",
        "prediction.test_time_augmentation",
        SWITCH,
        "Look at each image and at its mirror image, and merge what is found; takes twice the time.",
        GENERAL,
        ("evaluate", "predict", "inference_benchmark"),
        ours=True,
    ),
    Flag(
        "log_level",
        "run.log_level",
        LOG_LEVELS,
        "Least severe message on the console.",
        ours=True,
        inspected=True,
    ),
    Flag(
        "console",
        "run.console",
        CONSOLES,
        "Show the run for people or, as DLL lines, for log parsers; the log file is the same.",
        ours=True,
        recorded=False,
        default="auto, which is readable on a terminal and dllogger elsewhere",
    ),
    Flag(
        "no_report",
        "run.report",
        SWITCH,
        "Do not write report.html (curves, confusions, mistakes) to --results_dir at the end.",
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
        rare=True,
    ),
    Flag(
        "profile",
        "diagnostics.profile",
        TEXT,
        "Write a trace of the steps FROM,TO to --results_dir, for TensorBoard's profile plugin and trace viewers.",
        GENERAL,
        WITH_STEPS,
        ours=True,
        to_field=steps_of_text,
        from_field=lambda steps: steps and text_of_steps(steps),
        default="none",
        rare=True,
    ),
    Flag(
        "data_dir",
        "data.data_dir",
        PATH,
        "Folder of TFRecords, as tools.convert or object_detection.create_coco_tfrecord writes them.",
        DATASET,
        WITH_STEPS,
        default="synthetic images",
    ),
    Flag(
        "data_idx_dir",
        "data.index_dir",
        PATH,
        "With --dali: folder of index files named like the TFRecords.",
        DATASET,
        WITH_STEPS,
        default="beside the TFRecords or in the user's cache, made if missing",
        real_data_only=True,
        inspected=True,
        rare=True,
    ),
    Flag(
        "dali",
        "data.source",
        SWITCH,
        "Decode and crop the images with NVIDIA DALI, on the GPU if there is one.",
        DATASET,
        WITH_STEPS,
        to_field=lambda given: "dali" if given else "tfrecord",
        from_field=lambda source: source == "dali",
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "scaled_decoding",
        "data.scaled_decoding",
        SWITCH,
        "Decode a JPEG at 1/2, 1/4 or 1/8 where a crop has that many times the network's pixels a side: faster on "
        "large photographs, with other pixels. Not with --dali.",
        DATASET,
        WITH_STEPS,
        ours=True,
        real_data_only=True,
        inspected=True,
        rare=True,
    ),
    Flag(
        "synthetic_data_size",
        "model.image_size",
        INTEGER,
        "Older name of --image_size, kept for synthetic images.",
        DATASET,
        default="as --image_size",
        rare=True,
        from_field=text_of_size,
    ),
    Flag(
        "image_size",
        "model.image_size",
        SIZE,
        "Height and width of the network's input in pixels; for a detector also HEIGHTxWIDTH, such as 320x512.",
        DATASET,
        ours=True,
        default="the checkpoint's, else 224",
        detector_default="the checkpoint's, else 320",
        inspected=True,
        from_field=text_of_size,
    ),
    Flag(
        "train_image_size",
        "data.train_image_size",
        INTEGER,
        "Height and width of training images in pixels, if they differ from those of evaluation.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default="as --image_size",
        inspected=True,
    ),
    Flag(
        "progressive_sizes",
        "data.progressive_sizes",
        TEXT,
        "Sizes of training images from a share of the run on, such as 128:0,160:0.4,192:0.7.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default="one size",
        to_field=train_sizes_of_text,
        from_field=text_of_train_sizes,
    ),
    Flag(
        "eval_crop",
        "model.eval_crop",
        TEXT,
        "Share of an image's resized shorter side that evaluation and prediction see in its center, such as 0.95 or "
        "224/236.",
        DATASET,
        WITH_CHECKPOINTS,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        real_data_only=True,
        default="the checkpoint's, else 0.875, which is 224/256",
        to_field=crop_of_text,
        inspected=True,
    ),
    Flag(
        "num_classes",
        "model.num_classes",
        INTEGER,
        "Outputs of a classifier, or largest category id of a detector.",
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
        rare=True,
    ),
    Flag(
        "color_jitter",
        "data.color_jitter",
        NUMBER,
        "Strength, at most 1, of random changes of brightness, saturation and contrast in training; 0 for none.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        real_data_only=True,
        inspected=True,
    ),
    _recipe_flag(
        "auto_augment",
        "data.augment.auto_augment",
        POLICIES,
        "Policy that draws operations on colors and geometry for each training image.",
    ),
    _recipe_flag(
        "rand_ops",
        "data.augment.rand_ops",
        INTEGER,
        "Number of operations that --auto_augment=rand draws for an image.",
        rare=True,
    ),
    _recipe_flag(
        "rand_magnitude",
        "data.augment.rand_magnitude",
        NUMBER,
        "Mean magnitude of these operations, at most 10.",
        rare=True,
    ),
    _recipe_flag(
        "rand_std",
        "data.augment.rand_std",
        NUMBER,
        "Standard deviation of these magnitudes.",
        rare=True,
    ),
    _recipe_flag(
        "random_erasing",
        "data.augment.random_erasing",
        NUMBER,
        "Share of the training images that lose a random rectangle.",
        architectures=ARCHITECTURES,
    ),
    _recipe_flag(
        "gray",
        "data.augment.gray",
        NUMBER,
        "Share of the training images that lose their colors.",
        rare=True,
    ),
    _recipe_flag(
        "blur",
        "data.augment.blur",
        NUMBER,
        "Share of the training images that are blurred.",
        rare=True,
    ),
    _recipe_flag(
        "crop_sampling",
        "data.augment.crop_sampling",
        SAMPLERS,
        "Sampler of random training crops: TensorFlow's, whose crops are smaller on average, or uniform in area.",
        rare=True,
    ),
    _recipe_flag(
        "max_crop_area",
        "data.augment.max_crop_area",
        NUMBER,
        "Largest share of an image that a random training crop may cover.",
        rare=True,
    ),
    _recipe_flag(
        "crop_aspect",
        "data.augment.crop_aspect",
        NUMBER,
        "Largest ratio of the longer to the shorter side of a random training crop.",
        rare=True,
        default="4/3",
    ),
    _recipe_flag(
        "repeated_augmentation",
        "data.augment.repeated_augmentation",
        INTEGER,
        "Times that an epoch shows each of its images, cropped and changed anew; it shows so many times fewer images.",
        rare=True,
    ),
    Flag(
        "shuffle",
        "data.shuffle",
        SHUFFLES,
        "Shuffle training images in a buffer of the images to come, or the whole index of the records.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        real_data_only=True,
        inspected=True,
        rare=True,
    ),
    Flag(
        "folds",
        "data.folds",
        INTEGER,
        "Divide the training images into this many folds by class and seed, for cross-validation.",
        DATASET,
        WITH_REPORT,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default="none",
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "fold",
        "data.fold",
        INTEGER,
        "With --folds: the fold to validate on, from 0; the others are trained on.",
        DATASET,
        WITH_REPORT,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default="none",
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "max_bad_records",
        "data.max_bad_records",
        INTEGER,
        "Number of undecodable images and labels out of range that a run skips before it fails.",
        DATASET,
        WITH_STEPS,
        ours=True,
        real_data_only=True,
        rare=True,
    ),
    Flag(
        "lr_init",
        "optimizer.learning_rate_per_256",
        NUMBER,
        "Learning rate for a global batch of 256; it scales with the batch.",
        TRAINING,
        TRAINING_MODES,
        inspected=True,
    ),
    Flag(
        "recipe_batch",
        "optimizer.recipe_batch",
        INTEGER,
        "Global batch that the learning rates of a recipe are for; recipes state it.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        rare=True,
        default="none",
    ),
    Flag(
        "scale_recipe",
        "optimizer.scale_recipe",
        SWITCH,
        "Fit a recipe to another global batch, by the square root for adaptive optimizers, and its sizes of training "
        "images to another --image_size after it.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
    ),
    Flag(
        "lr_warmup_epochs",
        "optimizer.warmup_epochs",
        NUMBER,
        "Epochs, or a fraction of one, over which the learning rate rises linearly; 0 for none.",
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
        "accumulate_steps",
        "optimizer.accumulate_steps",
        INTEGER,
        "Batches whose gradients a step sums one after another: the update of an N-fold batch in the memory of one.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        inspected=True,
    ),
    Flag(
        "no_bias_decay",
        "optimizer.no_bias_decay",
        SWITCH,
        "Leave biases out of the weight decay, as batch norm always is.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
    ),
    Flag(
        "weight_init",
        "model.weight_init",
        WEIGHT_INITS,
        "Scale the random initial weights by a filter's number of inputs (fan_in) or outputs (fan_out).",
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
        rare=True,
    ),
    Flag(
        "head_init",
        "model.head_init",
        HEAD_INITS,
        "Start a new classification layer at zeros (small), where all classes are equally probable, or at random "
        "weights as --weight_init scales them (original).",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        rare=True,
    ),
    Flag(
        "zero_init_residual",
        "model.zero_init_residual",
        SWITCH,
        "Start the last batch norm of each residual block at zero, so that a new block passes its input on.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        rare=True,
    ),
    Flag(
        "optimizer",
        "optimizer.name",
        tuple(OPTIMIZERS),
        f"Optimizer: {', '.join(f'{row.name} ({row.help})' for row in OPTIMIZERS.values())}.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag("momentum", "optimizer.momentum", NUMBER, "Momentum of the optimizer.", TRAINING, TRAINING_MODES),
    Flag(
        "beta2",
        "optimizer.beta2",
        NUMBER,
        "Decay of the running mean of squared gradients, for optimizers that have one.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        rare=True,
        default=_per_optimizer("beta2"),
    ),
    Flag(
        "epsilon",
        "optimizer.epsilon",
        NUMBER,
        "Small number that keeps an optimizer from dividing by 0.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        rare=True,
        default=_per_optimizer("epsilon"),
    ),
    Flag(
        "clip_norm",
        "optimizer.clip_norm",
        NUMBER,
        "Scale down gradients whose norm over all variables is larger.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        default="none; lamb 1",
    ),
    Flag(
        "adaptive_clip",
        "optimizer.adaptive_clip",
        SWITCH,
        "Limit the gradient of each output channel to 0.01 times the norm of its weights, the last layer aside.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        rare=True,
    ),
    Flag(
        "loss",
        "optimizer.loss",
        LOSSES,
        "Cross-entropy of the softmax, binary cross-entropy of each class by itself, or focal loss of the softmax.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
    ),
    Flag(
        "multi_label",
        "model.multi_label",
        SWITCH,
        "Train on images with several labels each, or none: a sigmoid for each class, with --loss bce.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        inspected=True,
    ),
    Flag(
        "focal_gamma",
        "optimizer.focal_gamma",
        NUMBER,
        "With --loss focal, how much less images count that the network is already sure of.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        rare=True,
        default=f"{FOCAL_GAMMA:g}",
    ),
    Flag(
        "class_weights",
        "optimizer.class_weights",
        TEXT,
        "Weights of the classes in the loss: none, balanced (one over their number of images), or a file of weights "
        "by class name or index.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        real_data_only=True,
    ),
    Flag(
        "balanced_sampling",
        "data.balanced_sampling",
        SWITCH,
        "Draw as many training images of each class, those of rare classes several times an epoch.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        real_data_only=True,
        inspected=True,
    ),
    Flag(
        "balanced_power",
        "data.balanced_power",
        NUMBER,
        "With --balanced_sampling, 1 draws classes evenly, 0 as often as their images, 0.5 by the square root.",
        DATASET,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        real_data_only=True,
        rare=True,
        inspected=True,
    ),
    Flag(
        "bce_target_threshold",
        "optimizer.bce_target_threshold",
        NUMBER,
        "With --loss bce, the target above which a class counts as wholly present, and up to which as absent.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        rare=True,
        default="none, which keeps mixed and smoothed targets",
    ),
    Flag(
        "label_smoothing",
        "optimizer.label_smoothing",
        NUMBER,
        "Share of the target to spread evenly over all classes.",
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
        refused=True,
        inspected=True,
    ),
    Flag(
        "distill_from",
        "distillation.teacher",
        PATH,
        "Checkpoint, folder of checkpoints or exported model whose predictions the run learns from.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default="none",
    ),
    Flag(
        "distill_alpha",
        "distillation.alpha",
        NUMBER,
        "Weight of the teacher's predictions in the loss; the labels have the rest.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default=f"{DEFAULT_ALPHA:g}",
    ),
    Flag(
        "distill_temperature",
        "distillation.temperature",
        NUMBER,
        "Divisor of the logits of both networks before their softmax is compared.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        default=f"{DEFAULT_TEMPERATURE:g}",
    ),
    Flag(
        "mixup",
        "optimizer.mixup_alpha",
        NUMBER,
        "Alpha of the Beta distribution that mixes pairs of images; 0 for none.",
        TRAINING,
        TRAINING_MODES,
        architectures=CLASSIFIERS,
        refused=True,
        inspected=True,
    ),
    Flag(
        "cutmix",
        "optimizer.cutmix_alpha",
        NUMBER,
        "Alpha of the Beta distribution of the part that an image gets from another; with --mixup, every other batch "
        "on average.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        inspected=True,
    ),
    Flag(
        "stochastic_depth",
        "optimizer.stochastic_depth",
        NUMBER,
        "Probability of leaving out the branch of the last residual block, by image; lower in proportion for blocks "
        "before it.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
    ),
    Flag(
        "dropout",
        "optimizer.dropout",
        NUMBER,
        "Probability of leaving out a feature before the last layer.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
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
        default="off, which divides it by 10 after epochs 30, 60, 80 and 90",
        detector_default="on",
        inspected=True,
    ),
    Flag(
        "schedule",
        "optimizer.schedule",
        SCHEDULES,
        "Course of the learning rate after the warm-up; one_cycle warms up for 30 % of the run, wsd falls in its last "
        "fifth.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        inspected=True,
    ),
    Flag(
        "lr_final",
        "optimizer.lr_final",
        NUMBER,
        "Last learning rate for a global batch of 256; it scales with the batch.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        rare=True,
        default="0; one_cycle a 250,000th of --lr_init",
        inspected=True,
    ),
    Flag(
        "lr_warmup_start",
        "optimizer.lr_warmup_start",
        NUMBER,
        "First learning rate of the warm-up for a global batch of 256; it scales with the batch.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        rare=True,
        default="0; one_cycle a 25th of --lr_init",
        detector_default="0.43 of --lr_init; one_cycle a 25th",
        inspected=True,
    ),
    Flag(
        "reset_head",
        "run.reset_head",
        SWITCH,
        "Start with a new classification layer, even if the classes of --finetune_checkpoint match.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        default="off, only if the classes differ",
    ),
    Flag(
        "freeze_backbone",
        "fine_tuning.freeze_backbone",
        SWITCH,
        "Train everything but the backbone, which --finetune_checkpoint provides.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "freeze_batch_norm",
        "fine_tuning.freeze_batch_norm",
        SWITCH,
        "Normalize with the stored batch-norm statistics and never update them.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "head_lr_multiplier",
        "fine_tuning.head_lr_multiplier",
        NUMBER,
        "Factor on the learning rate of the head; the logged rate excludes it.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        rare=True,
    ),
    Flag(
        "layer_decay",
        "fine_tuning.layer_decay",
        NUMBER,
        "Factor on the learning rate from each group of layers to the one before it: the head, each block, the stem.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        architectures=CLASSIFIERS,
        refused=True,
        rare=True,
    ),
    Flag(
        "ema_decay",
        "moving_average.ema_decay",
        NUMBER,
        "Keep an exponential moving average of the weights with this decay.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        default="no average",
    ),
    Flag(
        "ema_every",
        "moving_average.ema_every",
        INTEGER,
        "Update that average every N steps, with the decay of N steps.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        rare=True,
    ),
    Flag(
        "ema_decay_steps",
        "moving_average.ema_decay_steps",
        INTEGER,
        "Steps of the run that --ema_decay is meant for; this run then uses the decay that remembers the same share of "
        "its own.",
        TRAINING,
        TRAINING_MODES,
        ours=True,
        default="none, the decay as given",
        rare=True,
    ),
    Flag(
        "eval_weights",
        "moving_average.eval_weights",
        EVAL_WEIGHTS,
        "Weights to evaluate, predict with and export: as trained, or their exponential moving average.",
        TRAINING,
        WITH_CHECKPOINTS,
        ours=True,
        default="ema if the checkpoint has it, else raw",
        rare=True,
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
        "Number of latest checkpoints to keep.",
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
        "Number of evaluations, evenly spaced, the last one at the end; excludes --eval_every_epochs.",
        TRAINING,
        TRAIN_AND_EVALUATE,
        ours=True,
        rare=True,
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
        "Use one class slot per category, instead of one per id up to the largest and one for the background.",
        inspected=True,
        rare=True,
    ),
    _detector_flag(
        "batch_norm_decay",
        "detection.batch_norm_decay",
        NUMBER,
        "Decay of the batch-norm statistics; short runs need a smaller one.",
        TRAINING_MODES,
    ),
    _detector_flag(
        "norm",
        "detection.norm",
        NORMS,
        "Normalization of pyramid and heads: over the batch, or over groups of channels of each image.",
        default="the weights', else batch",
        from_field=lambda norm: norm or NORMS[0],
    ),
    _detector_flag(
        "backbone",
        "model.backbone",
        tuple(BACKBONES),
        "Network below the pyramid: a classifier of this program, or that of published detectors (resnet_v1_50).",
        default="that of the weights, else resnet_v1_50",
    ),
    _detector_flag(
        "resize",
        "detection.resize",
        RESIZES,
        "Way to fit a picture into the network's input: stretch it, or keep its proportions and pad with the mean "
        "color, at the right or below.",
        real_data_only=True,
        inspected=True,
        default="the checkpoint's, else stretch",
    ),
    _detector_flag(
        "anchors_per_cell",
        "detection.anchors.single",
        ("6", "1"),
        "Anchors on each cell of the pyramid: three shapes in two sizes, or one square of 8 cells.",
        inspected=True,
        default="the checkpoint's, else 6",
        to_field=lambda count: count == "1",
        from_field=lambda single: "1" if single else "6",
    ),
    _detector_flag(
        "matcher",
        "detection.matcher.kind",
        MATCHERS,
        "Rule for the anchors that train on a box: a fixed overlap, statistics of overlaps (atss), or scores and "
        "overlaps of predictions (task_aligned).",
        TRAINING_MODES,
        inspected=True,
    ),
    _detector_flag(
        "task_aligned_after",
        "detection.matcher.aligned_after",
        NUMBER,
        "With --matcher task_aligned: share of the run that matches as atss does, before predictions are worth a look.",
        TRAINING_MODES,
        rare=True,
    ),
    _detector_flag(
        "box_loss",
        "detection.losses.box_loss",
        BOX_LOSSES,
        "Loss of boxes: of their codes, or by their overlap.",
        TRAINING_MODES,
    ),
    _detector_flag(
        "class_loss",
        "detection.losses.class_loss",
        CLASS_LOSSES,
        "Loss of classes; quality_focal trains a class towards the overlap of its box.",
        TRAINING_MODES,
    ),
    _detector_flag(
        "distribution_focal",
        "detection.heads.distribution",
        SWITCH,
        "Predict the distance of each side of a box as a distribution over 16 cells; a checkpoint keeps its choice.",
    ),
    _detector_flag(
        "centerness",
        "detection.heads.centerness",
        SWITCH,
        "Predict how central an anchor is in its box, and lower the scores of others; a checkpoint keeps its choice.",
    ),
    _detector_flag(
        "box_loss_weight",
        "detection.losses.localization_weight",
        NUMBER,
        "Weight of the loss of boxes.",
        TRAINING_MODES,
        rare=True,
    ),
    _detector_flag(
        "class_loss_weight",
        "detection.losses.classification_weight",
        NUMBER,
        "Weight of the loss of classes.",
        TRAINING_MODES,
        rare=True,
    ),
    _detector_flag(
        "distribution_loss_weight",
        "detection.losses.distribution_weight",
        NUMBER,
        "Weight of the loss of --distribution_focal.",
        TRAINING_MODES,
        rare=True,
    ),
    _detector_flag(
        "centerness_loss_weight",
        "detection.losses.centerness_weight",
        NUMBER,
        "Weight of the loss of --centerness.",
        TRAINING_MODES,
        rare=True,
    ),
    _detector_flag(
        "nms",
        "detection.post_processing.suppression",
        SUPPRESSIONS,
        "Way to suppress boxes that overlap better ones: hard and diou drop them, soft and matrix lower their scores.",
        WITH_RESULTS,
    ),
    _detector_flag(
        "class_agnostic_nms",
        "detection.post_processing.class_agnostic",
        SWITCH,
        "Let boxes of different classes suppress each other too.",
        WITH_RESULTS,
    ),
    _detector_flag(
        "max_detections",
        "detection.post_processing.max_total_detections",
        INTEGER,
        "Largest number of detections in an image.",
        WITH_RESULTS,
    ),
    _detector_flag(
        "tiles",
        "prediction.tiles",
        INTEGER,
        "Side in pixels of the overlapping tiles that a large picture is cut into.",
        ("predict",),
        default="none, the whole picture at once",
    ),
    _detector_flag(
        "tile_overlap",
        "prediction.tile_overlap",
        NUMBER,
        "Least share of its side that a tile has in common with the next one.",
        ("predict",),
        default=f"{DEFAULT_OVERLAP:g}",
    ),
    _detector_flag(
        "draw_frames",
        "prediction.draw_frames",
        SWITCH,
        "Draw pictures of the frames of videos too.",
        ("predict",),
    ),
    _detector_flag(
        "centred_p7",
        "detection.anchors.centred",
        SWITCH,
        "Center the anchors of the coarsest level in their cells, like all others, instead of on the corners.",
        inspected=True,
        rare=True,
    ),
    _detector_flag(
        "clamp_decode",
        "detection.coder.largest_log",
        SWITCH,
        "Limit boxes to 62.5 times the height and width of their anchor.",
        WITH_RESULTS,
        to_field=lambda given: LARGEST_LOG if given else None,
        from_field=lambda largest: largest is not None,
        rare=True,
    ),
    _detector_flag(
        "train_crowds",
        "detection.train_crowds",
        SWITCH,
        "Train crowd boxes as single objects, as the original program did.",
        TRAINING_MODES,
        default="off, which leaves crowds out",
        inspected=True,
        rare=True,
    ),
    _detector_flag(
        "no_color_jitter",
        "detection.augmentation",
        SWITCH,
        "Leave the colors of training images unchanged.",
        TRAINING_MODES,
        to_field=lambda given: tuple(s for s in DetectionConfig().augmentation if not isinstance(s, ColorSpec)),
        from_field=lambda steps: not any(isinstance(step, ColorSpec) for step in steps or ()),
        inspected=True,
        rare=True,
    ),
    _augmenting_flag(
        "vertical_flip",
        SWITCH,
        "Flip half of the training images top to bottom: for images that have no upper side, as from above.",
    ),
    _augmenting_flag(
        "rotate90",
        SWITCH,
        "Turn training images by 0, 90, 180 or 270 degrees, each as often.",
    ),
    _augmenting_flag(
        "scale_jitter",
        TEXT,
        "MIN:MAX, such as 0.1:2.0: resize training images to a random multiple of the network's input and cut them to "
        "it, or leave a margin, in place of the random crop.",
        default="none",
        to_field=scales_of_text,
        from_field=text_of_scales,
    ),
    _augmenting_flag(
        "min_visible",
        NUMBER,
        "Smallest share of its box that a random cut must leave of an object; of less, the object is dropped.",
    ),
    _augmenting_flag(
        "mosaic",
        NUMBER,
        "Share of the training images that show parts of three others of the batch; none in the last tenth of the run.",
    ),
    _augmenting_flag(
        "copy_paste",
        NUMBER,
        "Share of the training images into which objects of another image of the batch are copied by their masks, "
        "which the converter stores with --include_masks.",
    ),
    Flag("xla", "precision.xla", SWITCH, "Compile the graph with XLA.", OPTIMIZATION, aliases=("use_xla",)),
    Flag(
        "data_format",
        "model.data_format",
        DATA_FORMATS,
        "Memory layout of the feature maps.",
        OPTIMIZATION,
        rare=True,
    ),
    Flag(
        "amp",
        "precision.amp",
        SWITCH,
        "Compute in mixed precision: float16 on GPUs, bfloat16 on CPUs that support it.",
        OPTIMIZATION,
        aliases=("use_tf_amp",),
    ),
    Flag(
        "amp_dtype",
        "precision.amp_dtype",
        AMP_DTYPES,
        "With --amp: type to compute in. bfloat16 needs no loss scale, and on GPUs compute capability 8.0 (Ampere); "
        "float16 needs a GPU.",
        OPTIMIZATION,
        ours=True,
        default="auto: float16 on GPUs, bfloat16 on CPUs",
        rare=True,
    ),
    Flag("cpu", "run.cpu", SWITCH, "Use no GPU.", OPTIMIZATION, inspected=True),
    Flag(
        "deterministic",
        "run.deterministic",
        SWITCH,
        "Make runs with the same --seed equal bit for bit.",
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
        rare=True,
    ),
    Flag(
        "sync_batch_norm",
        "distributed.sync_batch_norm",
        SWITCH,
        "Normalize by the statistics of the global batch instead of each process's own.",
        DISTRIBUTION,
        TRAINING_MODES,
        ours=True,
    ),
    Flag(
        "stall_timeout_s",
        "distributed.stall_timeout_s",
        NUMBER,
        "End the run if a process shows no sign of life for this many seconds.",
        DISTRIBUTION,
        ours=True,
        rare=True,
    ),
    Flag(
        "no_tf32",
        "precision.tf32",
        SWITCH,
        "Do not round float32 products to TensorFloat-32 on GPUs that support it.",
        OPTIMIZATION,
        ours=True,
        to_field=lambda given: not given,
        from_field=lambda tf32: not tf32,
        rare=True,
    ),
    Flag(
        "static_loss_scale",
        "precision.static_loss_scale",
        NUMBER,
        "With --amp: fixed loss scale, so that small gradients survive float16.",
        MIXED_PRECISION,
        TRAINING_MODES,
        aliases=("loss_scale",),
        to_field=lambda scale: None if scale == -1 else scale,
        from_field=lambda scale: -1.0 if scale is None else scale,
        default="-1, dynamic",
        rare=True,
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

RAND_FLAGS = tuple(flag.name for flag in FLAGS if flag.name.startswith("rand_"))
"""The flags of RandAugment alone."""
