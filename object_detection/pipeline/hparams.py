"""Overrides of a pipeline config: the ``name=value,name=value`` of ``--hparams_overrides`` (no TF).

A name is the path of a field, such as ``train_config.batch_size`` or
``train_config.data_augmentation_options[1].random_crop_image.min_area``, or one of ``SHORT_NAMES``, ``learning_rate``
(which also scales the warm-up's), ``momentum_optimizer_value``, ``classification_localization_weight_ratio`` or
``load_pretrained`` (false drops the initial checkpoint). A value is written as in a config; quotes around a text are
optional. Commas inside quotes or brackets belong to the value. A list is ``[a,b]``, or a single value. ``[]`` empties a
list of messages; ``{}`` sets a message to its defaults. The index just after the end of a list appends to it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from object_detection.pipeline.edit import FLAG, Edit, read_switch
from object_detection.pipeline.optimization import CONSTANT, COSINE
from object_detection.pipeline.text import Pipeline, advice, holder
from utils.errors import UsageError
from utils.suggestions import did_you_mean, nearest

_SSD = "model.ssd."
_OPTIMIZER = "train_config.optimizer"
_FOCAL = f"{_SSD}loss.classification_loss.weighted_sigmoid_focal."
_TRAIN, _EVAL = "train_input_reader", "eval_input_reader[0]"

SHORT_NAMES = {
    "num_classes": f"{_SSD}num_classes",
    "batch_size": "train_config.batch_size",
    "train_steps": "train_config.num_steps",
    "focal_loss_gamma": f"{_FOCAL}gamma",
    "focal_loss_alpha": f"{_FOCAL}alpha",
    "fine_tune_checkpoint": "train_config.fine_tune_checkpoint",
    "train_input_path": f"{_TRAIN}.tf_record_input_reader.input_path",
    "eval_input_path": f"{_EVAL}.tf_record_input_reader.input_path",
    "train_shuffle": f"{_TRAIN}.shuffle",
    "eval_shuffle": f"{_EVAL}.shuffle",
    "eval_num_epochs": f"{_EVAL}.num_epochs",
    "eval_with_moving_averages": "eval_config.use_moving_averages",
    "retain_original_images_in_eval": "eval_config.retain_original_images",
    "use_bfloat16": "train_config.use_bfloat16",
}
OF_BOTH_READERS = ("label_map_path", "mask_type")

_READER = re.compile(r"eval_input_configs:(?P<name>[^:]*):(?P<field>\w+)")


def override(pipeline: Pipeline, text: str) -> Pipeline:
    """Returns the config with the overrides applied in order, ``load_pretrained`` last.

    Raises:
        UsageError: An override is malformed, names an unknown field or has an invalid value; names the override.
    """
    message = type(pipeline.message)()
    message.CopyFrom(pipeline.message)
    changed = dataclasses.replace(pipeline, message=message, origins=dict(pipeline.origins))
    for name, value in sorted(pairs(text).items(), key=lambda pair: pair[0] == "load_pretrained"):
        _apply(Edit(changed, name, value))
    return changed


def pairs(text: str) -> dict[str, str]:
    """Returns the overridden names with their values as written.

    Raises:
        UsageError: A part has no name or no value, or repeats a name.
    """
    found: dict[str, str] = {}
    for part in filter(None, split(text)):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise UsageError(
                f"{FLAG}: {part}: must be name=value; put a value with commas in quotes, a list in brackets"
            )
        if name in found:
            raise UsageError(f"{FLAG}: {name} is given twice")
        found[name] = value
    return found


def split(text: str) -> list[str]:
    """Splits a text at the commas outside brackets and quotes. A quote opens only at the start of a value."""
    parts, depth, quote, last = [""], 0, "", "="
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and last in "=[,":
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
        last = last if letter.isspace() else letter
    if quote or depth:
        raise UsageError(f"{FLAG}: {text}: has an unmatched {'quote' if quote else 'bracket'}")
    return [part.strip() for part in parts]


def _apply(edit: Edit) -> None:
    if edit.name in _SPECIAL:
        _SPECIAL[edit.name](edit)
    elif edit.name in SHORT_NAMES:
        edit.set(SHORT_NAMES[edit.name])
    elif reader := _READER.fullmatch(edit.name):
        edit.set(f"{_reader_called(edit, reader['name'])}.{reader['field']}")
    elif "." in edit.name or edit.is_field(edit.name):
        edit.set(edit.name)
    else:
        question = did_you_mean(nearest(edit.name, [*SHORT_NAMES, *_SPECIAL]))
        raise edit.unknown(question or advice(edit.pipeline.message.DESCRIPTOR, edit.name))


def _reader_called(edit: Edit, name: str) -> str:
    names = [reader.name for reader in edit.pipeline.message.eval_input_reader]
    if name not in names:
        called = f"those called {', '.join(names)}" if any(names) else "none with a name"
        raise UsageError(f"{FLAG}: {edit.name}: the config's eval_input_reader has {called}")
    return f"eval_input_reader[{names.index(name)}]"


def _optimizer(edit: Edit) -> str:
    """Returns the path of the config's optimizer."""
    return f"{_OPTIMIZER}.{_chosen(edit, _OPTIMIZER) or 'momentum_optimizer'}"


def _chosen(edit: Edit, path: str) -> str | None:
    """Returns the alternative that the message at ``path`` holds."""
    message, name = holder(edit.pipeline.message, path)
    found: str | None = getattr(message, name).WhichOneof("alternatives")
    return found


def _momentum(edit: Edit) -> None:
    edit.set(f"{_optimizer(edit)}.momentum_optimizer_value")


def _learning_rate(edit: Edit) -> None:
    path = f"{_optimizer(edit)}.learning_rate"
    if _chosen(edit, path) == CONSTANT:
        edit.set(f"{path}.{CONSTANT}.learning_rate")
        return
    rates, base = holder(edit.pipeline.message, f"{path}.{COSINE}.learning_rate_base")
    before = getattr(rates, base)
    edit.set(f"{path}.{COSINE}.learning_rate_base")
    if before:
        scaled = rates.warmup_learning_rate * rates.learning_rate_base / before
        dataclasses.replace(edit, value=repr(scaled)).set(f"{path}.{COSINE}.warmup_learning_rate")


def _weight_ratio(edit: Edit) -> None:
    edit.set(f"{_SSD}loss.classification_weight")
    dataclasses.replace(edit, value="1.0").set(f"{_SSD}loss.localization_weight")


def _load_pretrained(edit: Edit) -> None:
    if not read_switch(edit):
        dataclasses.replace(edit, value="").set("train_config.fine_tune_checkpoint")


def _of_both_readers(edit: Edit) -> None:
    """Sets a field of both readers, or of the only one configured."""
    message = edit.pipeline.message
    present = {_TRAIN: message.HasField(_TRAIN), _EVAL: bool(message.eval_input_reader)}
    for reader in [reader for reader in present if present[reader] or not any(present.values())]:
        edit.set(f"{reader}.{edit.name}")


_SPECIAL: dict[str, Callable[[Edit], None]] = {
    "learning_rate": _learning_rate,
    "momentum_optimizer_value": _momentum,
    "classification_localization_weight_ratio": _weight_ratio,
    "load_pretrained": _load_pretrained,
    **dict.fromkeys(OF_BOTH_READERS, _of_both_readers),
}
