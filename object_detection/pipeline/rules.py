"""Rules for the fields of a pipeline config with a fixed value, and for those without effect (no TF)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from object_detection.pipeline.detection import has_group_norm
from object_detection.pipeline.fields import Fields, plain, written
from object_detection.pipeline.schema import OPAQUE
from object_detection.pipeline.text import describe, refusal

_SSD = "model.ssd."
_PREDICTOR = f"{_SSD}box_predictor.weight_shared_convolutional_box_predictor."
_EXTRACTOR = f"{_SSD}feature_extractor."

FIXED: dict[str, Any] = {
    f"{_SSD}encode_background_as_zeros": True,
    f"{_SSD}normalize_loss_by_num_matches": True,
    f"{_SSD}normalize_loc_loss_by_codesize": True,
    f"{_SSD}anchor_generator.multiscale_anchor_generator.min_level": 3,
    f"{_SSD}anchor_generator.multiscale_anchor_generator.max_level": 7,
    f"{_SSD}post_processing.score_converter": "SIGMOID",
    f"{_PREDICTOR}depth": 256,
    f"{_PREDICTOR}num_layers_before_predictor": 4,
    f"{_PREDICTOR}kernel_size": 3,
    f"{_PREDICTOR}class_prediction_bias_init": -4.6,
    f"{_PREDICTOR}conv_hyperparams.activation": "RELU_6",
    f"{_PREDICTOR}conv_hyperparams.initializer.random_normal_initializer.mean": 0.0,
    f"{_PREDICTOR}conv_hyperparams.initializer.random_normal_initializer.stddev": 0.01,
    f"{_PREDICTOR}conv_hyperparams.batch_norm.scale": True,
    f"{_PREDICTOR}conv_hyperparams.batch_norm.epsilon": 0.001,
    f"{_EXTRACTOR}fpn.min_level": 3,
    f"{_EXTRACTOR}fpn.max_level": 7,
    f"{_EXTRACTOR}override_base_feature_extractor_hyperparams": True,
    f"{_EXTRACTOR}conv_hyperparams.activation": "RELU_6",
    f"{_EXTRACTOR}conv_hyperparams.initializer.truncated_normal_initializer.mean": 0.0,
    f"{_EXTRACTOR}conv_hyperparams.initializer.truncated_normal_initializer.stddev": 0.03,
    f"{_EXTRACTOR}conv_hyperparams.batch_norm.scale": True,
    f"{_EXTRACTOR}conv_hyperparams.batch_norm.epsilon": 0.001,
}
"""Fields that must have SSD320's value, whether the config sets them or leaves them at their default.

Those of batch normalization must have it unless group normalization takes its place.
"""

_ADVICE = {
    "train_config.use_bfloat16": "the flag --amp asks for mixed precision",
    "train_config.fine_tune_checkpoint_version": "checkpoints of objects are not offered here; leave it out",
    f"{_PREDICTOR}share_prediction_tower": "each head has its own tower",
}

_EITHER_WAY = {
    # These change the computation or the order of evaluation, but not the numbers.
    f"{_SSD}inplace_batchnorm_update",
    f"{_SSD}matcher.argmax_matcher.use_matmul_gather",
    f"{_SSD}post_processing.batch_non_max_suppression.use_static_shapes",
    "train_config.unpad_groundtruth_tensors",
    "eval_input_reader[].shuffle",
    "eval_input_reader[].num_epochs",
    "train_input_reader.name",
    "eval_input_reader[].name",
    # Results per category are always computed.
    "eval_config.include_metrics_per_category",
    # It matters only together with a field that is refused.
    f"{_PREDICTOR}dropout_keep_probability",
}
"""Fields that may have any value, since the result is the same."""

_READERS = (
    "sample_1_of_n_examples",
    "filenames_shuffle_buffer_size",
    "queue_capacity",
    "min_after_dequeue",
    "num_readers",
    "read_block_length",
    "num_parallel_batches",
    "num_prefetch_batches",
    "num_parallel_map_calls",
    "prefetch_size",
    "mask_type",
)
_WITHOUT_EFFECT = {
    f"{_EXTRACTOR}min_depth",
    *(f"train_input_reader.{name}" for name in _READERS),
    *(f"eval_input_reader[].{name}" for name in (*_READERS, "shuffle_buffer_size")),
    "train_config.sync_replicas",
    "train_config.startup_delay_steps",
    "train_config.replicas_to_aggregate",
    "train_config.batch_queue_capacity",
    "train_config.num_batch_queue_threads",
    "train_config.prefetch_queue_capacity",
    "train_config.retain_original_images",
    "eval_config.num_examples",
    "eval_config.num_visualizations",
    "eval_config.max_num_boxes_to_visualize",
    "eval_config.min_score_threshold",
    "eval_config.eval_interval_secs",
    "eval_config.max_evals",
    "eval_config.eval_master",
    "eval_config.retain_original_images",
}
"""Fields that are ignored without harm; one note lists all that a config sets."""

_BOX_LIMITS = (
    "train_config.max_number_of_boxes",
    "train_input_reader.max_number_of_boxes",
    "eval_input_reader[].max_number_of_boxes",
)
_FREEZE = f"{_SSD}freeze_batchnorm"


def check_messages(fields: Fields) -> None:
    """Checks that the config has no unsupported message.

    Raises:
        UsageError: The config has one; names it and the supported alternatives.
    """
    for path, _ in _given(fields.message, ""):
        if _is_message(path) and describe(path)[1].message_type.name == OPAQUE:
            raise fields.error(path, f": {refusal(path)}")


def check_rest(fields: Fields) -> list[str]:
    """Checks every value that was not read; returns notes on fields without effect.

    Raises:
        UsageError: A field has an unsupported value.
    """
    grouped = has_group_norm(fields)
    for path, value in FIXED.items():
        if grouped and ".batch_norm." in path:
            continue
        fields.fixed(path, value, _ADVICE.get(path, "SSD320 is built that way"))
    no_effect: list[str] = []
    known = {*fields.seen, *FIXED, *_EITHER_WAY, *_BOX_LIMITS, _FREEZE}
    for path, value in _given(fields.message, ""):
        kind = re.sub(r"\[\d+\]", "[]", path)
        if kind in known or _is_message(path) or value == fields.default(path):
            continue
        if kind not in _WITHOUT_EFFECT:
            why = _ADVICE.get(path, "another value is not offered here; leave it out")
            raise fields.error(path, f" {written(value)}: must be {written(fields.default(path))}; {why}")
        no_effect.append(path)
    return [*_sentences(fields, grouped=grouped), *([f"{_joined(no_effect)} no effect here"] if no_effect else [])]


def _is_message(path: str) -> bool:
    return bool(describe(path)[1].message_type)


def _given(message: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields the path and value of every field that a config sets, a message before its fields."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if not field.message_type:
            yield path, plain(field, value)
            continue
        for number, inner in enumerate(value if field.is_repeated else [value]):
            place = f"{path}[{number}]" if field.is_repeated else path
            yield place, inner
            yield from _given(inner, f"{place}.")


def _sentences(fields: Fields, *, grouped: bool) -> list[str]:
    """Returns notes on fields whose effect, or lack of one, may surprise."""
    notes = []
    if grouped:
        notes.append(
            "conv_hyperparams.group_norm: pyramid and heads have group normalization; the backbone keeps batch "
            "normalization and trains it"
        )
    if fields.is_set(_FREEZE) and fields.value(_FREEZE):
        fields_too = "set conv_hyperparams.batch_norm.train false in both box_predictor and feature_extractor, or "
        notes.append(
            f"{_FREEZE} true has no effect, as in the original; to freeze, {'' if grouped else fields_too}"
            "use --freeze_batch_norm of main.py"
        )
    readers = range(len(fields.message.eval_input_reader))
    limits = [*_BOX_LIMITS[:2], *(_BOX_LIMITS[2].replace("[]", f"[{number}]") for number in readers)]
    limited = [path for path in limits if fields.is_set(path)]
    if limited:
        notes.append(f"{_joined(limited)} no effect here: no box is dropped, however many an image has")
    if len(readers) > 1:
        notes.append("eval_input_reader: only the first of them is used")
    return notes


def _joined(paths: list[str]) -> str:
    return f"{', '.join(paths[:-1])} and {paths[-1]} have" if len(paths) > 1 else f"{paths[0]} has"
