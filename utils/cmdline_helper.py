"""The command line of ``main.py``: arguments and environment to a typed config, and the config back to flags.

The familiar flags keep their names, defaults and meaning; ``utils/flags/table.py`` lists them and
``utils/flags/help.py`` explains them. A prefix of one flag stands for that flag. A prefix of one familiar flag stands
for it even if newer flags begin alike. ``@file`` reads flags from a recipe (``utils/flags/recipes.py``); some
environment variables stand for a flag (``utils/flags/environment_variables.py``). Every flag acts, is reported to have
no effect, or is refused. Imports no TensorFlow.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from model.specs import QuantizationSpec
from utils.augment_config import RAND, AugmentConfig
from utils.config import (
    ARCHITECTURES,
    AUTO,
    BENCHMARK_MODES,
    CLASSIFIERS,
    DETECTORS,
    DiagnosticsConfig,
    DistributedConfig,
    Duration,
    ExperimentConfig,
    FineTuningConfig,
    ModelConfig,
    MovingAverageConfig,
    PrecisionConfig,
    RunConfig,
)
from utils.console.pipes import show_page
from utils.data_config import DataConfig
from utils.detection_config import DetectionConfig
from utils.distillation_config import DistillationConfig
from utils.errors import UsageError, require
from utils.flags import environment_variables, recipes
from utils.flags.help import requested_page
from utils.flags.recipe_sizes import follow_image_size
from utils.flags.table import (
    BY_NAME,
    DETECTOR_DEFAULTS,
    FLAGS,
    INTEGER,
    INTEGER_OR_AUTO,
    LONG_TRAINING,
    NUMBER,
    ONE_CYCLE_DEFAULTS,
    PATH,
    QUANTIZATION,
    QUANTIZATION_FLAGS,
    RAND_FLAGS,
    SIZE,
    STATIC_LOSS_SCALE,
    TEXT,
    Flag,
)
from utils.flags.typed_arguments import complete, read_value, with_origin
from utils.optimizer_config import OptimizerConfig
from utils.prediction_config import PredictionConfig

_METAVARS = {INTEGER: "N", INTEGER_OR_AUTO: "N|auto", SIZE: "N", NUMBER: "X", TEXT: "TEXT", PATH: "PATH"}
_MOST_CHOICES = 6


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed command line.

    Attributes:
        config: The configuration.
        notes: Sentences about it for the log.
        spelling: Other names that the command line has for flags of ``main.py``.
        dry_run: Print the plan of the run instead of running it.
    """

    config: ExperimentConfig
    notes: tuple[str, ...]
    spelling: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False

    def spelled(self, message: str) -> str:
        """Translates a message about flags of ``main.py`` into the words of this command line."""
        for ours, theirs in self.spelling:
            message = re.sub(rf"(?<![\w-]){re.escape(ours)}(?!\w)", theirs, message)
        return message


def build_parser() -> argparse.ArgumentParser:
    """The parser of all flags. Its namespace holds only the flags that were given; ``parse`` interprets them."""
    parser = _FlagParser(prog="main.py", argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    for flag in FLAGS:
        add_flag(parser, flag)
    return parser


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """Reads a command line.

    Raises:
        UsageError: The flags cannot be understood, are out of range or contradict each other.
        SystemExit: After --help.
    """
    expanded = recipes.expand(argv)
    page = requested_page(expanded, add_flag)
    if page is not None:
        show_page(page)
        raise SystemExit(0)
    arguments, changes = follow_image_size(complete(expanded))
    try:
        command = _command(vars(build_parser().parse_args(arguments)), environ)
    except UsageError as error:
        raise UsageError(with_origin(str(error), arguments)) from None
    return dataclasses.replace(command, notes=(*command.notes, *changes)) if command.config.run.is_training else command


def to_flags(config: ExperimentConfig) -> dict[str, Any]:
    """The config as flags: the value of each flag that fills a field and applies to the network."""
    architecture = config.model.architecture or CLASSIFIERS[0]
    return {flag.name: flag.read(config) for flag in FLAGS if flag.field and architecture in flag.architectures}


class _FlagParser(argparse.ArgumentParser):
    """Reads recipes and shortened flags, and raises ``UsageError`` where argparse would end the process."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args(complete(recipes.expand(given)), namespace)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def add_flag(group: Any, flag: Flag, needed: str = "") -> None:
    """Adds a flag to a group of a parser.

    Args:
        group: The group.
        flag: The flag.
        needed: States that the flag is needed, and the default if there is still one; replaces the flag's default.
    """
    names = [f"--{name}" for name in (flag.name, *flag.aliases)]
    text = argparse.SUPPRESS if flag.hidden else _help(flag, needed)
    if flag.is_switch:
        group.add_argument(*names, action="store_true", help=text)
        return
    group.add_argument(*names, type=functools.partial(read_value, flag), metavar=_metavar(flag), help=text)


def _metavar(flag: Flag) -> str:
    """The placeholder of a flag's value: its choices unless they are many, else its type."""
    if not isinstance(flag.kind, tuple):
        return _METAVARS[flag.kind]
    return f"{{{','.join(flag.kind)}}}" if len(flag.kind) <= _MOST_CHOICES else "NAME"


def _help(flag: Flag, needed: str) -> str:
    default = flag.default or _shown(flag, ExperimentConfig())
    of_detectors = flag.detector_default or flag.default or _shown(flag, _detector())
    if flag.architectures == DETECTORS:
        default = of_detectors
    elif flag.architectures == ARCHITECTURES and of_detectors != default:
        default = f"{default}; {DETECTORS[0]}: {of_detectors}"
    return f"{flag.help} ({needed.format(default=default) or f'default: {default}'})".replace("%", "%%")


def _shown(flag: Flag, config: ExperimentConfig) -> str:
    return "off" if flag.is_switch else str(flag.read(config))


@functools.cache
def _detector() -> ExperimentConfig:
    """The config of a detector without any flags."""
    return _build({"model.architecture": DETECTORS[0], **DETECTOR_DEFAULTS})


def _command(given: dict[str, Any], environ: Mapping[str, str]) -> Command:
    """Interprets the given flags: resolves aliases, checks what the mode needs, and drops what it does not use."""
    dry_run = given.pop("dry_run", False)
    architecture = given.get("arch")
    is_detector = architecture in DETECTORS
    _refuse_alone(given)
    _refuse_of_other_task(given, architecture)
    if given.get("data_dir") == "":
        del given["data_dir"]
    mode = given.get("mode", RunConfig().mode)
    _settle_image_size(given)
    _settle_schedule(given)
    scaled_by = _settle_static_loss_scale(given)
    asked = environment_variables.combine(
        amp=given.get("amp", False),
        xla=given.get("xla", False),
        no_tf32=given.get("no_tf32", False),
        static_scale=_static_scale(given),
        environ=environ,
    )
    if _static_scale(given) is not None and not asked.amp:
        raise UsageError(f"{scaled_by}: only used with --amp, which is not given")
    _check_needs(given, mode)
    notes = (*_drop_unused(given, mode), *asked.notes)
    if given.get("multi_label"):
        given.setdefault("loss", "bce")
    values = dict(DETECTOR_DEFAULTS) if is_detector else {}
    values["data.auto_batch"] = _settle_batch(given)
    if mode not in LONG_TRAINING:
        values.pop("run.duration.value", None)
    if given.get("schedule") == "one_cycle":
        values |= ONE_CYCLE_DEFAULTS
    values |= {BY_NAME[name].field: BY_NAME[name].to_field(value) for name, value in given.items()}
    values |= {f"precision.{name}": getattr(asked, name) for name in ("amp", "loss_scaling", "xla", "tf32")}
    if mode in BENCHMARK_MODES and "data_dir" not in given:
        values["data.source"] = "synthetic"
    return Command(_build(values), notes, dry_run=dry_run)


def _refuse_alone(given: Mapping[str, Any]) -> None:
    """Refuses a flag that is meaningless without another one."""
    if "data_idx_dir" in given and not given.get("dali"):
        raise UsageError(f"--data_idx_dir {given['data_idx_dir']}: only used with --dali, which is not given")


def _refuse_of_other_task(given: Mapping[str, Any], architecture: str | None) -> None:
    """Refuses flags of detectors for classifiers, and flags of classifiers that contradict a detector."""
    for name in given:
        if BY_NAME[name].is_of(architecture):
            continue
        if architecture not in DETECTORS:
            raise UsageError(f"--{name}: only used with --arch {DETECTORS[0]}, which detects objects")
        if BY_NAME[name].refused:
            raise UsageError(f"--{name}: not used with --arch {architecture}; leave the flag out")


def _settle_image_size(given: dict[str, Any]) -> None:
    size, synthetic = given.get("image_size"), given.pop("synthetic_data_size", None)
    if size is not None and synthetic is not None and size != synthetic:
        raise UsageError(f"--synthetic_data_size {synthetic}: contradicts --image_size {size}; both set the same value")
    if synthetic is not None:
        given["image_size"] = synthetic


def _settle_batch(given: dict[str, Any]) -> bool:
    """Removes a batch that is still to be measured; returns whether it is."""
    is_auto = given.get("batch_size") == AUTO
    if is_auto:
        del given["batch_size"]
    return is_auto


def _settle_schedule(given: dict[str, Any]) -> None:
    """Merges the two flags of the schedule."""
    schedule, cosine = given.get("schedule"), given.get("cosine_lr", False)
    if cosine and schedule not in (None, "cosine"):
        raise UsageError(f"--schedule {schedule}: contradicts --cosine_lr; leave one of them out")
    if cosine and schedule:
        del given["cosine_lr"]


def _settle_static_loss_scale(given: dict[str, Any]) -> str:
    """Merges the two flags that give a static scale; returns the one that was typed."""
    switch = given.pop("use_static_loss_scaling", False)
    scale = given.setdefault("static_loss_scale", STATIC_LOSS_SCALE) if switch else given.get("static_loss_scale", -1.0)
    if switch and scale != STATIC_LOSS_SCALE:
        raise UsageError(
            f"--use_static_loss_scaling: stands for --static_loss_scale {STATIC_LOSS_SCALE:g} and contradicts "
            f"--static_loss_scale {scale:g}"
        )
    require(scale == -1 or scale > 0, "static_loss_scale", f"{scale:g}", "positive, or -1 for dynamic")
    return "--use_static_loss_scaling" if switch else f"--static_loss_scale {scale:g}"


def _static_scale(given: Mapping[str, Any]) -> float | None:
    scale = given.get("static_loss_scale", -1.0)
    return None if scale == -1 else scale


def _check_needs(given: Mapping[str, Any], mode: str) -> None:
    if mode != "predict" and "batch_size" not in given:
        raise UsageError(f"--batch_size: needed for --mode {mode}, the number of images per step and process")
    if mode not in (*BENCHMARK_MODES, "predict") and "data_dir" not in given:
        raise UsageError(
            f"--data_dir: needed for --mode {mode}, a folder of TFRecords; only the benchmarks can do without"
        )


def _drop_unused(given: dict[str, Any], mode: str) -> list[str]:
    """Removes flags without effect and returns a sentence about them."""
    architecture = given.get("arch")
    is_synthetic = mode in BENCHMARK_MODES and "data_dir" not in given
    unused = {
        f"with --arch {architecture}": [flag.name for flag in FLAGS if not flag.is_of(architecture)],
        f"in --mode {mode}": [flag.name for flag in FLAGS if mode not in flag.modes],
        "on synthetic images": [flag.name for flag in FLAGS if flag.real_data_only and is_synthetic],
        f"without --auto_augment {RAND}": RAND_FLAGS if given.get("auto_augment") != RAND else (),
        "in --mode evaluate with --iter_unit epoch, which evaluates every image once": _evaluated_once(given, mode),
    }
    notes = []
    for where, flags in unused.items():
        names = [name for name in flags if given.pop(name, None) is not None]
        if names:
            notes.append(f"{_list(names)} no effect {where}")
    return notes


def _evaluated_once(given: Mapping[str, Any], mode: str) -> tuple[str, ...]:
    return ("num_iter",) if mode == "evaluate" and given.get("iter_unit", "epoch") == "epoch" else ()


def _list(names: Sequence[str]) -> str:
    flags = [f"--{name}" for name in names]
    return f"{', '.join(flags[:-1])} and {flags[-1]} have" if len(flags) > 1 else f"{flags[0]} has"


def _build(values: dict[str, Any]) -> ExperimentConfig:
    """Builds the config from fields named ``section.field``."""
    unit = values.pop("run.duration.unit", "epoch")
    values["run.duration"] = Duration(value=values.pop("run.duration.value", 1), unit=unit)
    limit = values.pop("run.run_limit.value", -1)
    if limit != -1:
        require(limit > 0, "run_iter", limit, "a positive integer, or -1 for no limit")
        values["run.run_limit"] = Duration(value=limit, unit=unit, flag="run_iter")
    sections: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for path, value in values.items():
        section, name = path.split(".", 1)
        sections[section][name] = value
    is_detector = values.get("model.architecture") in DETECTORS
    return ExperimentConfig(
        model=ModelConfig(**_with_quantization(sections["model"])),
        data=DataConfig(**_with_augmentation(sections["data"])),
        optimizer=OptimizerConfig(**sections["optimizer"]),
        precision=PrecisionConfig(**sections["precision"]),
        run=RunConfig(**sections["run"]),
        distributed=DistributedConfig(**sections["distributed"]),
        fine_tuning=FineTuningConfig(**sections["fine_tuning"]),
        moving_average=MovingAverageConfig(**sections["moving_average"]),
        diagnostics=DiagnosticsConfig(**sections["diagnostics"]),
        distillation=DistillationConfig(**sections["distillation"]),
        prediction=PredictionConfig(**sections["prediction"]),
        detection=_build_detection(sections["detection"]) if is_detector else None,
    )


def _with_quantization(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the model, with those of quantization gathered in one object.

    Raises:
        UsageError: A flag about quantization is given without --quantize.
    """
    others = {name: value for name, value in fields.items() if name.partition(".")[0] != QUANTIZATION}
    parts = {
        name: fields[f"{QUANTIZATION}.{name}"] for name in QUANTIZATION_FLAGS if f"{QUANTIZATION}.{name}" in fields
    }
    if fields.get(QUANTIZATION):
        return {**others, QUANTIZATION: QuantizationSpec(**parts)}
    for name in parts:
        raise UsageError(f"--{QUANTIZATION_FLAGS[name]}: only used with --quantize, which is not given")
    return others


def _with_augmentation(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the data, with those of ``augment`` gathered in one object."""
    prefix = "augment."
    parts = {name.removeprefix(prefix): value for name, value in fields.items() if name.startswith(prefix)}
    others = {name: value for name, value in fields.items() if not name.startswith(prefix)}
    return {**others, "augment": AugmentConfig(**parts)}


def _build_detection(values: Mapping[str, Any]) -> DetectionConfig:
    """Builds the detection part from fields named ``field`` or ``part.field``."""
    usual = DetectionConfig()
    parts: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for path, value in values.items():
        part, _, name = path.rpartition(".")
        parts[part][name] = value
    own = parts.pop("", {})
    own |= {part: dataclasses.replace(getattr(usual, part), **fields) for part, fields in parts.items()}
    return dataclasses.replace(usual, **own)
