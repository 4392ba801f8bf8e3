"""Pipeline configs: from a config in the text format of protocol buffers to an experiment's typed config (no TF).

Every field of a config is either used, or must have SSD320's value, or is refused with its path, or is listed in a note
as having no effect.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model.specs import SSD_NAMES
from object_detection.pipeline import text as pipeline_text
from object_detection.pipeline.detection import detection_of, model_of, trains_batch_norm
from object_detection.pipeline.fields import Fields
from object_detection.pipeline.hparams import override
from object_detection.pipeline.optimization import COSINE, moving_average_of, optimizer_of
from object_detection.pipeline.rules import check_messages, check_rest
from object_detection.pipeline.text import Pipeline
from utils.config import Duration, ExperimentConfig, FineTuningConfig, PrecisionConfig, RunConfig
from utils.data_config import DataConfig
from utils.optimizer_config import OptimizerConfig

ROOT = Path(__file__).resolve().parents[2]
METRICS = "coco_detection_metrics"
CHECKPOINT_TYPES = ("classification", "detection")

_TRAINING = ("train", "train_and_evaluate")


def load_pipeline(file: str) -> Pipeline:
    """Reads a config.

    Raises:
        UsageError: The file does not exist, or its text is not in the format; names file, line and field.
    """
    return pipeline_text.read(file)


def apply_overrides(pipeline: Pipeline, text: str) -> Pipeline:
    """Applies ``--hparams_overrides``, in the notation of ``object_detection/pipeline/hparams.py``.

    Raises:
        UsageError: An override names an unknown field or has an invalid value; names the override.
    """
    return override(pipeline, text)


def to_experiment(
    pipeline: Pipeline,
    *,
    run: RunConfig,
    precision: PrecisionConfig | None = None,
    data_format: str = "NHWC",
    train_steps: int | None = None,
    eval_split: str = "validation",
    eval_every: int | None = None,
) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """Turns a config into an experiment.

    Args:
        pipeline: The config.
        run: The mode and its options; the length and the initial checkpoint of training come from the config.
        precision: Mixed precision and compilation.
        data_format: Layout of the network's tensors.
        train_steps: Length of the run in place of the config's ``num_steps``. The schedule keeps the config's.
        eval_split: Split that evaluation reads.
        eval_every: Evaluate only every n-th example, in place of the config's value.

    Returns:
        The experiment, and sentences for the log.

    Raises:
        UsageError: A field is missing, out of range or not supported; names the field, its file and line.
    """
    fields = Fields(pipeline)
    check_messages(fields)
    model, detection = model_of(fields, data_format), detection_of(fields)
    fine_tuning = FineTuningConfig(freeze_batch_norm=not trains_batch_norm(fields))
    optimizer = optimizer_of(fields)
    run, run_notes = _run(fields, run, optimizer, train_steps)
    moving_average, average_notes = moving_average_of(fields, training=run.is_training)
    data, data_notes = _data(fields, run, eval_split, eval_every)
    notes = (*run_notes, *average_notes, *data_notes, *check_rest(fields))
    config = ExperimentConfig(
        model=model,
        data=data,
        optimizer=optimizer,
        precision=precision or PrecisionConfig(),
        run=run,
        detection=detection,
        fine_tuning=fine_tuning,
        moving_average=moving_average,
    )
    return config, notes


def _run(
    fields: Fields, run: RunConfig, optimizer: OptimizerConfig, train_steps: int | None
) -> tuple[RunConfig, list[str]]:
    """Returns the run with the length and initial checkpoint of the config, and notes for the log."""
    configured = fields.number("train_config.num_steps", 0)
    start_from, scope = _start_from(fields)
    if run.mode not in _TRAINING:
        return run, []
    steps = configured if train_steps is None else train_steps
    if not steps:
        raise fields.error("train_config.num_steps", " 0: must be a positive integer unless --num_train_steps is given")
    last = optimizer.schedule_steps or steps
    notes = []
    if steps > last:
        notes.append(
            f"training ends at step {last}, not {steps}: the learning rate is 0 from there on ({COSINE}.total_steps)"
        )
    duration = Duration(value=min(steps, last), unit="batch")
    return replace(run, duration=duration, finetune_checkpoint=start_from, finetune_scope=scope), notes


def _start_from(fields: Fields) -> tuple[str | None, str]:
    """Returns the checkpoint that a new run starts from, and the scope of the variables to load from it."""
    path = fields.value("train_config.fine_tune_checkpoint")
    kind = fields.value("train_config.fine_tune_checkpoint_type")
    of_detector = fields.value("train_config.from_detection_checkpoint")
    everything = fields.value("train_config.load_all_detection_checkpoint_vars")
    if kind not in ("", *CHECKPOINT_TYPES):
        allowed = " or ".join(CHECKPOINT_TYPES)
        raise fields.error("train_config.fine_tune_checkpoint_type", f" {kind}: must be {allowed}")
    if kind:
        of_detector = kind == "detection"
    return path or None, SSD_NAMES.features if path and of_detector and not everything else ""


def _data(fields: Fields, run: RunConfig, eval_split: str, eval_every: int | None) -> tuple[DataConfig, list[str]]:
    readers = _readers(fields)
    files = {split: _input_files(fields, reader) for split, reader in readers.items()}
    needed = {"train"} if run.is_training else {eval_split}
    if run.mode == "train_and_evaluate":
        needed.add("validation")
    for split in sorted(needed):
        if not files.get(split):
            name = "train_input_reader" if split == "train" else "eval_input_reader"
            hint = "train_input_path" if split == "train" else "eval_input_path"
            raise fields.error(
                f"{readers.get(split, name)}.tf_record_input_reader.input_path",
                f": needed; --hparams_overrides={hint}=FILES gives it",
            )
    metrics = fields.value("eval_config.metrics_set")
    if set(metrics) - {METRICS}:
        raise fields.error("eval_config.metrics_set", f" {', '.join(metrics)}: must be {METRICS}")
    batch, notes = _batch(fields, run)
    data = DataConfig(
        train_files=files.get("train", ()),
        validation_files=files.get("validation", ()),
        label_map_file=_label_map(fields, list(readers.values())),
        eval_split=eval_split,
        eval_every=eval_every or _every(fields, readers),
        batch_size_per_replica=batch,
    )
    buffer = "train_input_reader.shuffle_buffer_size"
    size = fields.number(buffer, 1)
    return (replace(data, shuffle_buffer=size) if fields.is_set(buffer) else data), notes


def _readers(fields: Fields) -> dict[str, str]:
    """Returns the paths of the configured readers by split."""
    readers = {"train": "train_input_reader"} if fields.is_set("train_input_reader") else {}
    return readers | ({"validation": "eval_input_reader[0]"} if fields.is_set("eval_input_reader") else {})


def _input_files(fields: Fields, reader: str) -> tuple[str, ...]:
    fields.need(f"{reader}.tf_record_input_reader")
    texts = fields.value(f"{reader}.tf_record_input_reader.input_path")
    return tuple(text.strip() for text in texts if text.strip())


def _every(fields: Fields, readers: dict[str, str]) -> int:
    if "validation" not in readers:
        return 1
    return int(fields.number(f"{readers['validation']}.sample_1_of_n_examples", 1))


def _label_map(fields: Fields, readers: list[str]) -> str | None:
    """Returns the label map, which all readers share; searches the current folder, then the repository."""
    paths = [path for path in (f"{reader}.label_map_path" for reader in readers) if fields.value(path)]
    if not paths:
        return None
    for path in paths[1:]:
        fields.same((paths[0], path))
    file = str(fields.value(paths[0]))
    return str(ROOT / file) if not Path(file).exists() and (ROOT / file).exists() else file


def _batch(fields: Fields, run: RunConfig) -> tuple[int, list[str]]:
    """Returns the batch size per process; only a run without training uses the config's size for evaluation."""
    training, evaluation = "train_config.batch_size", "eval_config.batch_size"
    sizes = {path: int(fields.number(path, 1)) for path in (training, evaluation)}
    own = fields.is_set(evaluation)
    if own and run.mode == "evaluate":
        return sizes[evaluation], []
    differs = own and run.mode == "train_and_evaluate" and sizes[evaluation] != sizes[training]
    notes = [
        f"{evaluation} {sizes[evaluation]} has no effect in a run that trains: evaluation reads batches of "
        f"{training} {sizes[training]}, with the same results"
    ]
    return sizes[training], notes if differs else []
