"""The command line of ``object_detection/model_main.py``: from its arguments to a typed config (no TF)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from object_detection.model_flags import (
    BENCHMARK,
    EVAL_ON_TRAIN_EVERY,
    NUM_ITER,
    PERCENTILES,
    REPORT_FILE,
    WARMUP_STEPS,
    read_flags,
)
from utils.cmdline_helper import Command
from utils.config import (
    AUTO,
    DATA_FORMATS,
    DiagnosticsConfig,
    Duration,
    ExperimentConfig,
    PrecisionConfig,
    RunConfig,
    steps_of_text,
)
from utils.errors import UsageError, require
from utils.flags import environment_variables
from utils.weights.description import has_description

Notes = tuple[str, ...]

_OTHER_NAMES = (
    ("--model_dir or --results_dir", "--model_dir"),
    ("--results_dir", "--model_dir"),
    ("--xla", "--allow_xla"),
    ("--arch", "the architecture"),
    ("--data_dir", "the input path"),
    ("--num_classes", "model.ssd.num_classes"),
    ("--image_size", "model.ssd.image_resizer"),
    ("--resize", "model.ssd.image_resizer"),
    ("--label_map", "label_map_path"),
    ("--finetune_checkpoint", "train_config.fine_tune_checkpoint"),
    ("--lr_warmup_epochs", "warmup_steps"),
    ("--lr_init", "learning_rate_base"),
    ("--batch_norm_decay", "batch_norm.decay"),
    ("--optimizer", "the optimizer"),
    ("--norm", "conv_hyperparams.group_norm"),
    ("--ema_decay", "train_config.optimizer.use_moving_average"),
    ("--eval_weights", "eval_config.use_moving_averages"),
    ("--clip_norm", "train_config.gradient_clipping_by_norm"),
    ("--exact_classes", "main.py's --exact_classes"),
)

EVAL_PATHS = {"eval_input_path", "eval_input_reader.tf_record_input_reader.input_path"}
CLASS_PATHS = {"num_classes", "model.ssd.num_classes", "label_map_path"}
_SAMPLE, _SAMPLE_ON_TRAIN = "sample_1_of_n_eval_examples", "sample_1_of_n_eval_on_train_examples"
_POSITIVE = ("num_train_steps", "eval_count", "batch_size", "num_iter", _SAMPLE, _SAMPLE_ON_TRAIN)
_OF_BENCHMARK = ("num_iter", "warmup_steps", "percentiles")
_NOT_OF_BENCHMARK = (
    "num_train_steps",
    "eval_count",
    "skip_evaluation",
    "report",
    "reset_head",
    "histograms_every",
    "run_once",
    "eval_training_data",
    _SAMPLE,
    _SAMPLE_ON_TRAIN,
)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """Reads a command line and the config that it names.

    Raises:
        UsageError: A flag or field is unknown, out of range or contradicts another.
        SystemExit: After --help.
    """
    given = read_flags(argv)
    _check(given)
    ignored = _take_unused(given)
    asked = environment_variables.combine(
        amp=given.get("amp", False),
        xla=given.get("allow_xla", False),
        no_tf32=not given.get("tf32", True),
        static_scale=None,
        environ=environ,
    )
    precision = PrecisionConfig(amp=asked.amp, loss_scaling=asked.loss_scaling, xla=asked.xla, tf32=asked.tf32)
    command = _command(given, precision)
    notes = (*asked.notes, *ignored, *command.notes)
    spelling = _spelling(evaluating=bool(given.get("checkpoint_dir")), benchmark="mode" in given)
    return Command(command.config, notes, spelling, dry_run=given.get("dry_run", False))


def _spelling(*, evaluating: bool, benchmark: bool) -> tuple[tuple[str, str], ...]:
    """Pairs the flags of ``main.py``, as messages name them, with the flag or field here that does the same."""
    folder = (("--model_dir", "--checkpoint_dir"),) if evaluating else ()
    length = () if benchmark else (("--num_iter", "--num_train_steps"),)
    return (*folder, *length, *_OTHER_NAMES)


def _check(given: Mapping[str, Any]) -> None:
    """Raises ``UsageError`` if a flag is missing, out of range or contradicts another."""
    benchmark = "mode" in given
    require(given.get("mode", BENCHMARK) == BENCHMARK, "mode", given.get("mode"), BENCHMARK)
    for name in ("pipeline_config_path",) if benchmark else ("model_dir", "pipeline_config_path"):
        if not given.get(name):
            raise UsageError(f"--{name}: needed; --help lists all flags")
    for name in _POSITIVE:
        require(given.get(name, 1) > 0, name, given.get(name), "a positive integer")
    if given.get("eval_training_data") and not given.get("checkpoint_dir") and not benchmark:
        raise UsageError("--eval_training_data: needs --checkpoint_dir, whose checkpoints it evaluates")
    if given.get("skip_evaluation") and given.get("checkpoint_dir") and not benchmark:
        raise UsageError("--skip_evaluation: contradicts --checkpoint_dir, which asks for evaluation alone")
    files = {given[name] for name in ("report_file", "raport_file") if given.get(name)}
    if len(files) > 1:
        raise UsageError(f"--raport_file {given['raport_file']}: contradicts --report_file; both set the same value")
    require(given.get("data_format", "NHWC") in DATA_FORMATS, "data_format", given.get("data_format"), "NHWC or NCHW")


def _take_unused(given: dict[str, Any]) -> list[str]:
    """Removes the flags that have no effect, and returns a note for each."""
    if "mode" in given:
        unused = dict.fromkeys(_NOT_OF_BENCHMARK, f"with --mode={BENCHMARK}")
    else:
        unused = dict.fromkeys(_OF_BENCHMARK, f"without --mode={BENCHMARK}") | _unused(given)
    present = [name for name in unused if given.pop(name, False) is not False]
    return [f"--{name} has no effect {unused[name]}" for name in present]


def _unused(given: Mapping[str, Any]) -> dict[str, str]:
    """Returns the flags without effect in training or evaluation, with the reason."""
    if not given.get("checkpoint_dir"):
        skips = dict.fromkeys((_SAMPLE, "eval_count"), "with --skip_evaluation") if given.get("skip_evaluation") else {}
        return {"run_once": "without --checkpoint_dir", _SAMPLE_ON_TRAIN: "without --eval_training_data", **skips}
    on_train = given.get("eval_training_data")
    sample = (_SAMPLE, "with --eval_training_data") if on_train else (_SAMPLE_ON_TRAIN, "without --eval_training_data")
    training = ("eval_count", "num_train_steps", "reset_head", "histograms_every")
    return {**dict.fromkeys(training, "with --checkpoint_dir"), sample[0]: sample[1]}


def _command(given: Mapping[str, Any], precision: PrecisionConfig) -> Command:
    # Imported only after the flags are read: these load protobuf and NumPy, which --help does not need.
    from object_detection.pipeline import config as pipeline_config
    from object_detection.pipeline import hparams
    from utils.records.record_files import files_of_pattern, patterns_in

    pipeline = pipeline_config.load_pipeline(given["pipeline_config_path"])
    pipeline = pipeline_config.apply_overrides(pipeline, given.get("hparams_overrides", ""))
    if "batch_size" in given:
        size = given["batch_size"]
        pipeline = pipeline_config.apply_overrides(pipeline, f"batch_size={size},eval_config.batch_size={size}")
    on_train = bool(given.get("eval_training_data"))
    config, notes = pipeline_config.to_experiment(
        pipeline,
        run=_run(given),
        precision=precision,
        data_format=given.get("data_format", "NHWC"),
        train_steps=given.get("num_train_steps"),
        eval_split="train" if on_train else "validation",
        eval_every=given.get(_SAMPLE_ON_TRAIN, EVAL_ON_TRAIN_EVERY) if on_train else given.get(_SAMPLE),
    )
    run = replace(config.run, reset_head=given.get("reset_head", False))
    config = replace(
        config,
        run=run,
        data=replace(config.data, max_bad_records=given.get("max_bad_records", 0)),
        diagnostics=_diagnostics(given),
    )
    overridden = set(hparams.pairs(given.get("hparams_overrides", "")))
    if given.get("checkpoint_dir"):
        config, more = _with_stored_classes(config, given["checkpoint_dir"], overridden)
        notes += more
    patterns = [pattern for text in config.data.validation_files for pattern in patterns_in(text)]
    if "mode" in given and not overridden & EVAL_PATHS and not any(map(files_of_pattern, patterns)):
        notes += (f"{', '.join(config.data.validation_files)}: no file matches; measuring on synthetic images",)
        config = replace(config, data=replace(config.data, source="synthetic", validation_files=()))
    return Command(config, notes)


def _with_stored_classes(config: ExperimentConfig, place: str, overridden: set[str]) -> tuple[ExperimentConfig, Notes]:
    """Uses the classes stored with a checkpoint, unless it stores none or an override sets them."""
    awaited = config.run.watch_checkpoints and not any(Path(place).glob("*.index"))
    if overridden & CLASS_PATHS or not (awaited or has_description(place)):
        return config, ()
    model, data = replace(config.model, num_classes=None), replace(config.data, label_map_file=None)
    note = (
        f"--checkpoint_dir {place}: its own classes are used, not num_classes {config.model.num_classes} of the config"
    )
    return replace(config, model=model, data=data), (note,)


def _run(given: Mapping[str, Any]) -> RunConfig:
    common = {
        "results_dir": given.get("model_dir") or ".",
        "report_file": given.get("report_file") or given.get("raport_file") or REPORT_FILE,
        "seed": given.get("seed"),
        "console": given.get("console", AUTO),
        "report": given.get("report", True),
        "deterministic": given.get("deterministic", False),
    }
    checkpoint_dir = given.get("checkpoint_dir") or None
    if "mode" in given:
        return RunConfig(mode=BENCHMARK, model_dir=checkpoint_dir, **_measurement(given), **common)
    if checkpoint_dir:
        watch = not given.get("run_once", False)
        return RunConfig(mode="evaluate", model_dir=checkpoint_dir, watch_checkpoints=watch, **common)
    mode = "train" if given.get("skip_evaluation") else "train_and_evaluate"
    return RunConfig(mode=mode, eval_count=given.get("eval_count", 1), **common)


def _diagnostics(given: Mapping[str, Any]) -> DiagnosticsConfig:
    profile = steps_of_text(given["profile"]) if "profile" in given else None
    return DiagnosticsConfig(histograms_every=given.get("histograms_every", 0), profile=profile)


def _measurement(given: Mapping[str, Any]) -> dict[str, Any]:
    words = re.split(r"\s*,\s*", given.get("percentiles", PERCENTILES).strip())
    fit = all(re.fullmatch(r"\d{1,3}", word) and 0 < int(word) <= 100 for word in words)
    require(fit, "percentiles", given.get("percentiles"), "integers from 1 to 100, with commas between them")
    return {
        "duration": Duration(value=given.get("num_iter", NUM_ITER), unit="batch"),
        "warmup_steps": given.get("warmup_steps", WARMUP_STEPS),
        "percentiles": tuple(int(word) for word in words),
    }
