"""Sets up a launch from its configuration: checkpoint, data, label space, precision and task."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from model.layers.choices import Choice, Choices
from model.layers.conv2d import probe_grouped_convolution
from model.layers.formulations import fault_of
from model.layers.options import LayerOptions
from model.specs import BACKBONES, RESNETS
from runtime.artefacts.artefact import Artefact, run_by
from runtime.artefacts.model_dir import open_model_dir, precision_of
from runtime.classification.class_weights import resolve_class_weights
from runtime.classification.task import classification_task
from runtime.classification.teacher import open_teacher
from runtime.detection.task import detection_task
from runtime.devices.errors import device_failure
from runtime.devices.gpu_choice import GPU, ChosenGpu, take_gpu, try_gpu
from runtime.devices.precision import Precision, choose_precision
from runtime.inference.mirroring import check_views
from runtime.prediction.images_to_predict import FoundFiles, images_to_predict
from runtime.prediction.prediction_input import count_pieces
from runtime.session import compiles, compute_capability, note_on_xla, session_config, uses_gpu
from runtime.setup.data import seed_and_splits
from runtime.setup.detection import notes_on_objects
from runtime.setup.options import detector_of_checkpoint, resolve_options
from runtime.setup.weights import described, starting_weights
from runtime.task import Setup, Task
from runtime.training.convolutions import BUILT_IN, Convolutions, choose_convolutions, kind_of_cpu
from runtime.training.fine_tuning import check_frozen
from utils.config import ExperimentConfig, ModelConfig, resolved
from utils.convolution_table import this_machine
from utils.dali_utils import DaliReader
from utils.data_utils import Reader, TensorFlowReader
from utils.errors import RunError, UsageError, reason
from utils.hvd_utils import Communicator, SerialCommunicator, gpu_warning
from utils.system.machine import cpu_features


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
    checkpoint, metadata, pretrained = starting_weights(config, artefact, communicator)
    config = detector_of_checkpoint(config, metadata)
    seed, splits = seed_and_splits(config, checkpoint, metadata, communicator, keep=writes)
    config, notes = resolve_options(config, splits, metadata)
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


def _reader(config: ExperimentConfig, gpu: ChosenGpu | None) -> Reader:
    """The reader of the records: tf.data, or DALI on the GPU of the sessions or on the CPU."""
    if config.data.source != "dali":
        return TensorFlowReader()
    return DaliReader(config.data.index_dir) if gpu is None else DaliReader(config.data.index_dir, gpu.index, GPU)


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
