"""Sets up a launch from its configuration: checkpoint, data, label space, precision and task."""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from model.checkpoint_names import describe
from model.layers.choices import Choice, Choices
from model.layers.conv2d import probe_grouped_convolution
from model.layers.formulations import fault_of
from model.layers.options import LayerOptions
from model.specs import BACKBONES, RESNETS
from model.warm_start import backbone_of
from object_detection.label_map import COCO_LABEL_MAP, read_label_map
from object_detection.records.object_records import has_objects
from runtime.artefacts.artefact import Artefact, run_by
from runtime.artefacts.formats import artefacts_in
from runtime.artefacts.model_dir import open_model_dir, precision_of
from runtime.class_weights import resolve_class_weights
from runtime.classification import classification_task
from runtime.convolutions import BUILT_IN, Convolutions, choose_convolutions, kind_of_cpu
from runtime.detection import detection_task
from runtime.device_errors import device_failure
from runtime.devices import GPU, ChosenGpu, take_gpu, try_gpu
from runtime.fine_tuning import check_frozen
from runtime.images_to_predict import FoundFiles, images_to_predict
from runtime.mirroring import check_views
from runtime.precision import Precision, choose_precision
from runtime.prediction_input import count_pieces
from runtime.resolve_classifier import resolve_model
from runtime.resolve_detector import (
    DEFAULT_BACKBONE,
    Categories,
    check_turns,
    disagreement,
    numbered_categories,
    resolve_detector,
    stored_categories,
    stored_norm,
)
from runtime.session import compiles, compute_capability, note_on_xla, session_config, uses_gpu
from runtime.stored_options import check_folds, check_optimizer
from runtime.task import Setup, Task
from runtime.teacher import open_teacher
from utils.checkpoints import find_checkpoint
from utils.config import CLASSIFIERS, DETECTORS, ExperimentConfig, ModelConfig, RunConfig, resolved
from utils.convolution_table import this_machine
from utils.dali_utils import DaliReader
from utils.data_utils import Reader, TensorFlowReader
from utils.detection_config import DetectionConfig
from utils.errors import RunError, UsageError, reason
from utils.hvd_utils import Communicator, SerialCommunicator, gpu_warning
from utils.records.class_names import read_names_in_order
from utils.records.folds import folds_of, split_by_fold
from utils.records.manifest import LABEL_MAP_NAME, LABEL_OFFSET, Manifest, SplitFiles, load_pattern, load_split
from utils.suggestions import absence, path_hint
from utils.system.machine import cpu_features
from utils.weights.checkpoint_contents import stored_shapes
from utils.weights.checkpoint_files import read_metadata
from utils.weights.pretrained_config import ORIGINS, PretrainedConfig, stored_pretrained_config

COCO_LARGEST_ID = 90
VALIDATOR = "`python -m tools.validate`"
LOOKED_AT = 1000  # examples of a split, before it is said to have no objects
SPLITS_READ = {
    "train": ("train",),
    "train_and_evaluate": ("train", "validation"),
    "evaluate": ("validation",),
    "training_benchmark": ("train",),
    "inference_benchmark": ("validation",),
    "predict": (),
}


def set_up(config: ExperimentConfig, communicator: Communicator, *, writes: bool = True) -> Setup:
    """Resolves a configuration against the checkpoint, the data and the machine.

    Args:
        config: The configuration as given.
        communicator: The processes of the launch.
        writes: Whether facts about the records that are slow to find may be kept in files.

    Raises:
        UsageError: Flags contradict the checkpoint, the data or the machine.
        RunError: Checkpoint, data or images are missing or damaged.
    """
    _check_batch(config)
    gpu, options = _device(config, communicator)
    artefact = open_model_dir(config, communicator)
    if artefact is None:
        checkpoint, metadata, pretrained = communicator.broadcast(_stored(config) if communicator.rank == 0 else None)
    else:
        checkpoint, metadata = artefact.path, dict(artefact.metadata)
        pretrained = stored_pretrained_config(metadata)
    config = _detector_of_checkpoint(config, metadata)
    seed, splits = _data(config, checkpoint, metadata, communicator, keep=writes)
    config, notes = _resolved(config, splits, metadata)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained=pretrained))
    config = _with_threads(resolve_class_weights(config, splits, keep=writes), communicator)
    images = _images(config, artefact)
    config = _with_batches_for(config, images, artefact, communicator)
    precision = precision_of(artefact) or _precision(config)
    notes += notes_on_objects(splits) if config.detection else ()
    convolutions = _convolutions(config, precision, communicator, metadata)
    _say((*notes, *_notes_on_run(config, checkpoint, precision, communicator), *convolutions.notes))
    layers = dataclasses.replace(_layers(config, precision, communicator, seed), choices=_choices(convolutions))
    if artefact is None:
        layers = _with_grouped_convolution(layers, config.model, options)
    build = detection_task if config.detection else classification_task
    task = build(config, splits, seed, layers, communicator, _reader(config, gpu))
    setup = Setup(
        config=config,
        task=task if artefact is None else run_by(task, artefact),
        precision=precision,
        session_config=options,
        seed=seed,
        splits=splits,
        checkpoint=checkpoint,
        metadata=metadata,
        artefact=artefact,
        images=images,
        convolutions=convolutions,
    )
    return _taught(setup, layers, communicator)


def _with_grouped_convolution(layers: LayerOptions, model: ModelConfig, options: Any) -> LayerOptions:
    """The options of layers with a grouped convolution that runs in a session with ``options``."""
    return dataclasses.replace(layers, grouped_convolution=_grouped_convolution(model, layers.compute_dtype, options))


def _check_batch(config: ExperimentConfig) -> None:
    if config.data.auto_batch:
        raise UsageError("--batch_size auto: only main.py measures the largest batch; give a number here")


def _resolved(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """The configuration with the values that weights and data decide, and sentences for the log."""
    _check_task(config, splits, metadata)
    resolve = resolve_detection if config.detection else _resolve_classification
    return resolve(config, splits, metadata)


def _with_threads(config: ExperimentConfig, communicator: Communicator) -> ExperimentConfig:
    """The configuration with a number of threads."""
    threads = communicator.threads if config.data.threads is None else config.data.threads
    return dataclasses.replace(config, data=dataclasses.replace(config.data, threads=threads))


def _taught(setup: Setup, layers: LayerOptions, communicator: Communicator) -> Setup:
    """The setup with the teacher that ``--distill_from`` names, if any."""

    def build(model: ModelConfig) -> Task:
        own = _with_grouped_convolution(layers, model, setup.session_config)
        own = dataclasses.replace(own, quantization=model.quantization)
        return classification_task(dataclasses.replace(setup.config, model=model), {}, 0, own)

    teacher = open_teacher(setup.config, setup.task.metadata, communicator, described, build)
    if teacher is None:
        return setup
    training: Any = setup.task.training
    task = dataclasses.replace(setup.task, training=dataclasses.replace(training, teacher=teacher))
    return dataclasses.replace(setup, task=task, teacher=teacher)


def _notes_on_run(
    config: ExperimentConfig, checkpoint: Path | None, precision: Precision, communicator: Communicator
) -> tuple[str, ...]:
    """Sentences about frozen parts, the precision, averaging on GPUs and XLA; some may be empty."""
    gpus = gpu_warning(communicator) if uses_gpu(config) else ""
    return *check_frozen(config, checkpoint), precision.note, gpus, note_on_xla(config)


def _say(notes: tuple[str, ...]) -> None:
    for note in notes:
        if note:
            logging.getLogger(__name__).warning("%s", note)


def _images(config: ExperimentConfig, artefact: Artefact | None) -> FoundFiles | None:
    """The images to predict on, in that mode; the network must be able to look at them as the flags ask."""
    check_views(config, artefact)
    return images_to_predict(config.run) if config.run.mode == "predict" else None


def _with_batches_for(
    config: ExperimentConfig, images: FoundFiles | None, artefact: Artefact | None, communicator: Communicator
) -> ExperimentConfig:
    """The configuration with batches no larger than a process's number of images or tiles, so that few are padded."""
    if images is None or (artefact is not None and artefact.batch_size is not None):
        return config
    pieces = count_pieces(images.images, config.prediction.tiling)
    if pieces is None:
        return config
    of_process = -(-pieces // communicator.size)
    batch = min(config.data.batch_size_per_replica, max(of_process, 1))
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size_per_replica=batch))


def _precision(config: ExperimentConfig) -> Precision:
    """The types to compute in on the device of this run."""
    return choose_precision(
        config.precision,
        gpu=uses_gpu(config),
        cpu_features=cpu_features(),
        compute_capability=compute_capability(),
    )


def _layers(config: ExperimentConfig, precision: Precision, communicator: Communicator, seed: int) -> LayerOptions:
    return LayerOptions(
        data_format=config.model.data_format,
        device="gpu" if uses_gpu(config) else "cpu",
        weight_init=config.model.weight_init,
        head_init=config.model.head_init,
        zero_init_residual=config.model.zero_init_residual,
        compute_dtype=precision.compute_dtype,
        freeze_batch_norm=config.fine_tuning.freeze_batch_norm,
        freeze_backbone=config.fine_tuning.freeze_backbone,
        average=communicator.average if config.distributed.sync_batch_norm and communicator.size > 1 else None,
        replicas=communicator.size,
        quantization=config.model.quantization,
        seed=seed,
    )


def _convolutions(
    config: ExperimentConfig, precision: Precision, communicator: Communicator, metadata: Mapping[str, Any]
) -> Convolutions:
    """The choices of formulations of convolutions, the same in all processes: those of rank 0."""
    if not config.run.is_training or uses_gpu(config) or config.model.data_format != "NHWC":
        return Convolutions()
    if compiles(config):  # the table was measured without it
        return Convolutions(origin=BUILT_IN)
    chosen: Convolutions | None = None
    if communicator.rank == 0:
        threads, dtype = communicator.threads, precision.compute_dtype.name
        chosen = choose_convolutions(this_machine(tf.__version__, threads, "NHWC", dtype), metadata, fault_of)
    found: Convolutions = communicator.broadcast(chosen)
    return found


def _choices(convolutions: Convolutions) -> Choices:
    measured = {key: Choice(*names) for key, names in convolutions.chosen.items()}
    return Choices(machine=kind_of_cpu(cpu_features()), measured=measured)


def _device(config: ExperimentConfig, communicator: Communicator) -> tuple[ChosenGpu | None, Any]:
    """Takes and tries the GPU of this process; returns it, or None on the CPU, and the options of every session."""
    tf.config.experimental.enable_tensor_float_32_execution(config.precision.tf32)
    gpu = take_gpu(config, communicator)
    options = session_config(config, communicator, gpu)
    try_gpu(gpu, options, communicator)
    return gpu, options


def set_up_alone(config: ExperimentConfig) -> Setup:
    """``set_up`` for a single process."""
    return set_up(config, SerialCommunicator())


def _stored(config: ExperimentConfig) -> tuple[Path | None, dict[str, Any], PretrainedConfig]:
    """The checkpoint to start from, its description, and the settings of its training."""
    checkpoint = _checkpoint(config)
    metadata = described(checkpoint) if checkpoint else {}
    if checkpoint:
        check_optimizer(config, checkpoint, metadata)
    origin, pretrained = metadata.get("origin"), stored_pretrained_config(metadata)
    if checkpoint and origin:
        logging.getLogger(__name__).warning("%s: %s", checkpoint, _assumptions(metadata, pretrained))
    warm_start = config.run.finetune_checkpoint if config.run.is_training else None
    if checkpoint is None and warm_start:
        prefix = find_checkpoint(Path(warm_start))
        begun = described(prefix) if prefix else {}
        pretrained = warm_start_pretrained_config(begun, detector=config.detection is not None)
    return checkpoint, metadata, pretrained


def _assumptions(metadata: Mapping[str, Any], pretrained: PretrainedConfig) -> str:
    """A sentence with the assumptions about a checkpoint without a description."""
    classes = metadata.get("num_classes")
    labels = ""
    if metadata["task"] == "classification":
        labels = f"; logit i is label i + {LABEL_OFFSET} of the records unless their dataset.json says otherwise"
    ranges = ""
    if metadata.get("has_ranges"):
        ranges = "; it has quantization ranges, which --quantize uses (with --symmetric, --use_qdq as in its training)"
    return (
        f"has no description; by its names it is {ORIGINS[metadata['origin']]}, taken for {metadata['architecture']} "
        f"with {classes or 'no known number of'} classes, {pretrained.summary()}{labels}{ranges}"
    )


def _detector_of_checkpoint(config: ExperimentConfig, metadata: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration of a detector if the weights are a detector's and --arch is missing; training needs --arch."""
    if config.model.architecture or metadata.get("task") != "detection" or config.run.is_training:
        return config
    model = dataclasses.replace(config.model, architecture=metadata["architecture"])
    return dataclasses.replace(config, model=model, detection=DetectionConfig())


def _check_task(config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]) -> None:
    """Rejects weights or data of a detector for a classifier, and vice versa."""
    ours, other = ("detection", CLASSIFIERS) if config.detection else ("classification", DETECTORS)
    flag = f"--arch {config.model.architecture}" if config.model.architecture else "--arch is not given"
    stored = metadata.get("task", ours)
    if stored != ours:
        raise UsageError(f"{flag}: the checkpoint holds {metadata.get('architecture')}, which is for {stored}")
    several = bool(metadata.get("multi_label"))
    if several and not config.run.is_training and config.run.top_k != RunConfig().top_k:
        raise UsageError(
            f"--top_k {config.run.top_k}: not used with networks trained with --multi_label; see --min_score"
        )
    if not config.detection and not several and config.run.min_score != RunConfig().min_score:
        raise UsageError(
            f"--min_score {config.run.min_score:g}: only used with {DETECTORS[0]}, which detects objects, and with "
            "networks trained with --multi_label"
        )
    for files in splits.values():
        if files.manifest and files.manifest.task != ours:
            raise UsageError(
                f"{flag}: the records in {Path(files.paths[0]).parent} are for {files.manifest.task}; networks for it: "
                f"{', '.join(other)}"
            )


def _resolve_classification(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    manifest = next((files.manifest for files in splits.values()), None)
    names = read_names_in_order(config.data.class_names_file) if config.data.class_names_file else None
    config = _with_labels_of(config, manifest, metadata)
    model, notes = resolve_model(config.model, manifest, metadata or None, names)
    return dataclasses.replace(config, model=model), notes


def _with_labels_of(
    config: ExperimentConfig, manifest: Manifest | None, metadata: Mapping[str, Any]
) -> ExperimentConfig:
    """The configuration for one label an image or several: as in the checkpoint, else as the flag says.

    Raises:
        UsageError: Flag, checkpoint and data contradict each other.
    """
    asked = config.model.multi_label
    several = bool(metadata.get("multi_label")) if metadata else asked
    if config.run.is_training and several != asked:
        kinds = ("one label an image", "several labels an image (--multi_label)")
        raise UsageError(
            f"--multi_label is {'given' if asked else 'not given'}: the checkpoint was trained on {kinds[several]}, "
            "and a run has to continue so; start a new run from its weights with --finetune_checkpoint"
        )
    if manifest is not None and manifest.multi_label and not several:
        remedy = "give --multi_label" if config.run.is_training else "the network knows one label an image"
        raise UsageError(f"--data_dir {config.data.data_dir}: its images have several labels each; {remedy}")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, multi_label=several))


def _checkpoint(config: ExperimentConfig) -> Path | None:
    """The checkpoint to start from, or None; a training benchmark always starts without one."""
    run, folder = config.run, Path(config.run.checkpoint_dir)
    if run.mode == "training_benchmark":
        return None
    found, flag = find_checkpoint(folder), "--model_dir" if run.model_dir else "--results_dir"
    if run.is_training and found is not None and found.parent.resolve() != folder.resolve():
        raise UsageError(f"{flag} {folder}: training writes checkpoints, so name a folder, not a checkpoint")
    if found is None and run.mode in ("evaluate", "predict"):
        others = ", ".join(path.name for path in artefacts_in(folder))
        raise RunError(
            f"{flag} {folder}: {absence(folder)}; --mode {run.mode} needs trained weights (--model_dir)"
            + (f"; name one of the artefacts in the folder: {others}" if others else path_hint(folder))
        )
    if found is None and run.mode == "inference_benchmark" and run.export_dir:
        raise RunError(f"--export_dir {run.export_dir}: cannot export random weights; {folder}: {absence(folder)}")
    return found


def _reader(config: ExperimentConfig, gpu: ChosenGpu | None) -> Reader:
    """The reader of the records: tf.data, or DALI on the GPU of the sessions or on the CPU."""
    if config.data.source != "dali":
        return TensorFlowReader()
    return DaliReader(config.data.index_dir) if gpu is None else DaliReader(config.data.index_dir, gpu.index, GPU)


def _data(
    config: ExperimentConfig,
    checkpoint: Path | None,
    metadata: Mapping[str, Any],
    communicator: Communicator,
    *,
    keep: bool,
) -> tuple[int, dict[str, SplitFiles]]:
    """The seed of all randomness, and the files of each split that the mode reads."""
    check_folds(config, checkpoint, metadata)
    seed: int = communicator.broadcast(_seed(config, metadata))
    data = config.data
    if data.folds is None or data.fold is None:
        return seed, _splits(config)
    made = folds_of(str(data.data_dir), data.folds, seed, keep=keep) if communicator.rank == 0 else None
    files, assigned = communicator.broadcast(made)
    parts = split_by_fold(files, assigned, data.fold)
    return seed, {split: parts[split] for split in SPLITS_READ[config.run.mode]}


def _splits(config: ExperimentConfig) -> dict[str, SplitFiles]:
    """The files of each split that the mode reads; evaluation may read another split than validation."""
    data, found = config.data, {}
    for split in SPLITS_READ[config.run.mode]:
        source = data.eval_split if split == "validation" else split
        patterns = data.train_files if source == "train" else data.validation_files
        if patterns:
            field = "train_input_path" if source == "train" else "eval_input_path"
            found[split] = load_pattern(patterns, source, f"--pipeline_config_path: {field}")
        elif data.data_dir is not None:
            found[split] = load_split(Path(data.data_dir), source)
    return found


def _seed(config: ExperimentConfig, metadata: Mapping[str, Any]) -> int:
    if config.run.seed is not None:
        stored = metadata.get("seed", config.run.seed)
        if config.run.is_training and stored != config.run.seed:
            logging.getLogger(__name__).warning(
                "--seed %d: the run started with seed %d; from here on it uses the new one", config.run.seed, stored
            )
        return config.run.seed
    return int(metadata["seed"]) if "seed" in metadata else secrets.randbelow(2**31)


def _grouped_convolution(model: ModelConfig, dtype: Any, options: Any) -> str:
    spec = BACKBONES[model.backbone] if model.backbone else RESNETS[resolved(model, "architecture")]
    if spec.cardinality == 1:
        return "native"
    try:
        choice = probe_grouped_convolution(model.data_format, dtype, options)
    except tf.errors.OpError as error:
        raise RunError(f"a small convolution fails: {device_failure(error) or reason(error)}") from error
    if choice != "native":
        logging.getLogger(__name__).warning(
            "this device has no grouped convolution (TF_ENABLE_ONEDNN_OPTS=0 disables it on CPUs): computing the "
            "groups one by one, which is slower"
        )
    return choice


def described(prefix: Path) -> dict[str, Any]:
    """The description beside a checkpoint, else one inferred from its names, with "origin"; empty if they are unknown.

    Raises:
        RunError: The description or the checkpoint cannot be read.
    """
    metadata = read_metadata(prefix)
    return describe(stored_shapes(prefix)) if metadata is None else metadata


def warm_start_pretrained_config(metadata: Mapping[str, Any], *, detector: bool) -> PretrainedConfig:
    """The settings of a run that starts from weights described by ``metadata``.

    As a detector's backbone, the weights of this project's classifiers keep their settings; slim's get the settings of
    the detector's default backbone.
    """
    if detector and metadata.get("origin") == "slim":
        return PretrainedConfig()
    return stored_pretrained_config(metadata)


def resolve_detection(
    config: ExperimentConfig, splits: Mapping[str, SplitFiles], metadata: Mapping[str, Any]
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """The configuration with known categories, backbone and size, and sentences for the log.

    Raises:
        UsageError: Flags, data and checkpoint contradict each other.
        RunError: A label map or checkpoint cannot be read.
    """
    asked = config.detection
    if asked is None:
        raise ValueError("ExperimentConfig.detection is None; must be set for a detector")
    warm_start = config.run.finetune_checkpoint
    start = _StartingWeights() if metadata or not warm_start else _warm_start(Path(warm_start))
    origin = start.categories
    new_classes = config.run.reset_head or config.run.finetune_scope
    first = stored_categories(metadata) or (None if new_classes else origin)
    known = _known_categories(config, splits)
    notes: tuple[str, ...] = ()
    if first is not None and first is origin and known and (difference := disagreement(origin, known[0])):
        first, config = None, dataclasses.replace(config, run=dataclasses.replace(config.run, reset_head=True))
        notes = (f"--finetune_checkpoint {warm_start}: {difference}; the class head starts with new weights",)
    sources = [found for found in (first, *known) if found is not None]
    assumed = () if sources else (_default_categories(config.model.num_classes or metadata.get("num_classes")),)
    model, detection, more = resolve_detector(
        config.model, asked, metadata, sources or list(assumed), start.backbone, start.norm
    )
    notes += more
    if config.run.is_training:
        check_turns(model, detection)
    if splits:
        notes += tuple(
            f"neither checkpoint nor data name their categories; assuming those of {categories.origin} (--label_map)"
            for categories in assumed
        )
    return dataclasses.replace(config, model=model, detection=detection), notes


def notes_on_objects(splits: Mapping[str, SplitFiles]) -> tuple[str, ...]:
    """A sentence about each split without an object among its first examples."""
    notes = []
    for split, files in splits.items():
        if not has_objects(files, LOOKED_AT):
            examples = f"first {LOOKED_AT:,}" if files.examples > LOOKED_AT else f"{files.examples:,}"
            notes.append(
                f"{split}: none of its {examples} examples has an object; {VALIDATOR} on the folder tells more"
            )
    return tuple(notes)


def _known_categories(config: ExperimentConfig, splits: Mapping[str, SplitFiles]) -> list[Categories]:
    """The categories of the given label map, then those of the data."""
    found = []
    if config.data.label_map_file:
        found.append(_read_categories(Path(config.data.label_map_file)))
    manifests = [files.manifest for files in splits.values() if files.manifest]
    for manifest in manifests[:1]:
        ids = manifest.category_ids or ()
        found.append(Categories(ids, manifest.class_names, (), "the data's dataset.json"))
    beside = Path(config.data.data_dir or ".") / LABEL_MAP_NAME
    if config.data.data_dir and beside.is_file():
        found.append(_read_categories(beside))
    return found


def _default_categories(num_classes: int | None) -> Categories:
    return (
        _read_categories(COCO_LABEL_MAP)
        if num_classes in (None, COCO_LARGEST_ID)
        else numbered_categories(int(num_classes))
    )


def _read_categories(path: Path) -> Categories:
    items = [item for item in read_label_map(path) if not item.is_background]
    return Categories(
        tuple(item.id for item in items),
        tuple(item.title for item in items),
        tuple(item.name for item in items),
        str(path),
    )


class _StartingWeights(NamedTuple):
    """The weights for a warm start: their row of ``BACKBONES``, and the rest if they are a detector's."""

    backbone: str | None = None
    categories: Categories | None = None
    norm: str | None = None


def _warm_start(path: Path) -> _StartingWeights:
    """The description of the weights for a warm start."""
    prefix = find_checkpoint(path)
    if prefix is None:  # reported when the weights are loaded
        return _StartingWeights()
    metadata = described(prefix)
    if metadata.get("task") == "detection":
        backbone = metadata.get("backbone") or DEFAULT_BACKBONE
        return _StartingWeights(backbone, stored_categories(metadata), stored_norm(metadata))
    return _StartingWeights(backbone_of(stored_shapes(prefix)))
