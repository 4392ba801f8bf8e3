"""Converts weights of other programs to a checkpoint of this one, or a checkpoint of this one to NVIDIA's or timm's.

SRC is a .safetensors file, a file of torch.save (nothing in it is executed), or a TensorFlow checkpoint in either
format: a folder, a prefix or a file. DST is a folder for ``--model_dir``; it also stores the padding, epsilon, mean and
standard deviation that the weights need.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runtime.tensorflow_import import load_tensorflow
from tools.command import CommandParser, run_command
from utils.config import ARCHITECTURES, CLASSIFIERS, EMA, EVAL_WEIGHTS
from utils.errors import EXIT_DONE, UsageError
from utils.text import printable

if TYPE_CHECKING:
    from tools.weights.conversion import Candidate
    from tools.weights.weights_file import WeightsFile
    from utils.weights.pretrained_config import PretrainedConfig

PROGRAM = "python -m tools.import_weights"
_EXIT_TEXT = (
    "Exit status: 0 done; 1 the weights are damaged or incomplete; 2 wrong usage, or another network's weights."
)
_RUN_STATE = (
    "step",
    "total_steps",
    "steps_per_epoch",
    "global_batch",
    "seed",
    "position",
    "best",
    "evaluation",
    "optimizer",
    "schedule",
    "convolutions",
    "teacher",
    "tuning",
    "update",
)
_OF_DETECTOR = ("backbone", "norm", "heads")
_IMAGENET_LOGITS = 1001


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        prog=PROGRAM,
        description=__doc__,
        epilog=_EXIT_TEXT,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("source", metavar="SRC", type=Path, help="the weights")
    add("destination", metavar="DST", type=Path, help="folder to write; must be missing or empty")
    add(
        "--arch",
        metavar="NAME",
        choices=ARCHITECTURES,
        help=f"network: {', '.join(ARCHITECTURES)} (default: found by names and shapes)",
    )
    add("--class_names", metavar="FILE", help="one class a line in the order of the logits, or synset TAB name")
    add(
        "--to",
        choices=("here", "nvidia", "timm"),
        default="here",
        help="write a checkpoint of this program, of NVIDIA's, or a training checkpoint of timm (default: here)",
    )
    add(
        "--optimizer_state",
        action="store_true",
        help="also read the optimizer of a training checkpoint of PyTorch, so that training goes on",
    )
    add("--state", metavar="KEY", help="state to read from a training checkpoint, e.g. state_dict_ema")
    add(
        "--eval_weights",
        choices=EVAL_WEIGHTS,
        help="raw weights or their moving average (default: ema if the file has one)",
    )
    add(
        "--mean_rgb",
        metavar="R,G,B",
        help="mean that training subtracted from pixels in 0..255 (default: stored, else the network's)",
    )
    add(
        "--std_rgb",
        metavar="R,G,B",
        help="standard deviation that training divided pixels by (default: stored, else the network's)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = make_parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    load_tensorflow()  # here, as --help does not need it
    from model.checkpoint_names import torch_origin
    from runtime.setup.weights import described
    from tools.weights.checkpoint_writing import require_free, write_described, write_plain
    from tools.weights.conversion import convert, likeliest, with_state
    from tools.weights.timm_checkpoint import write_timm
    from tools.weights.torch_optimizers import described_state, read_state
    from tools.weights.weights_file import open_weights

    require_free(options.destination)
    colors = {flag: _color(flag, getattr(options, flag)) for flag in ("mean_rgb", "std_rgb")}
    file = open_weights(options.source, options.state)
    known = {"origin": torch_origin(file.shapes)} if file.is_torch else described(file.path)
    averaged = _averaged(file, options.eval_weights)
    candidates = _candidates(file, {key: known.get(key) for key in _OF_DETECTOR}, averaged=averaged)
    architecture = options.arch or known.get("architecture") or likeliest(file, list(candidates.values()))
    if architecture not in candidates:
        raise UsageError(_unknown(file, architecture, list(candidates)))
    others = [candidate for name, candidate in candidates.items() if name != architecture]
    ranges = known.get("quantization") is not None
    candidate = with_state(file, candidates[architecture], ranges=ranges, averaged=averaged, to=options.to)
    pretrained = _pretrained_config(known, colors)
    _check_destination(options.to, architecture, known, pretrained)
    state = read_state(file, candidate.sources, candidate.wanted) if _goes_on(options, file) else None
    values, table = convert(file, candidate, others)
    about = ""
    if options.to == "nvidia":
        prefix = write_plain(options.destination, _for_nvidia(file, values))
    elif options.to == "timm":
        prefix, about = write_timm(options.destination, architecture, values, known, state=not averaged)
    else:
        description = _description(options, architecture, known, pretrained, values)
        of_optimizer, about = ({}, "") if state is None else described_state(state)
        whole = {**values, **({} if state is None else state.values)}
        prefix = write_described(options.destination, whole, {**description, **of_optimizer})
    print(f"{printable(str(file.path))}: {architecture}\n{table}")
    _say(file, options, known, pretrained, candidate)
    print(f"{about}\n" * bool(about) + f"written: {printable(str(prefix))}")
    return EXIT_DONE


def _goes_on(options: argparse.Namespace, file: WeightsFile) -> bool:
    """Returns whether to read the optimizer of a file.

    Raises:
        UsageError: The flag does not fit the file, the state in it, or the destination.
    """
    if not options.optimizer_state:
        return False
    if not file.is_torch or options.to != "here":
        raise UsageError("--optimizer_state: only for training checkpoints of PyTorch, without --to")
    if options.state not in (None, "state_dict"):
        raise UsageError(f"--optimizer_state: belongs to the state state_dict, not to --state {options.state}")
    return True


def _check_destination(to: str, architecture: str, known: Mapping[str, Any], pretrained: PretrainedConfig) -> None:
    """Refuses networks and settings that the other program does not have."""
    from tools.weights.timm_checkpoint import check_timm

    if to == "nvidia":
        _check_nvidia(architecture, known, pretrained)
    elif to == "timm":
        check_timm(architecture, pretrained)


def _unknown(file: WeightsFile, architecture: str | None, there: Sequence[str]) -> str:
    if architecture is not None:
        return f"--arch {architecture}: PyTorch weights can be imported for {', '.join(there)} only"
    return f"{file.path}: names and shapes match none of {', '.join(there)}; --arch shows the first difference"


def _averaged(file: WeightsFile, asked: str | None) -> bool:
    """Returns whether to read the moving averages of the weights: by default, if the file has any."""
    from utils.weights.checkpoint_contents import has_averages

    there = not file.is_torch and has_averages(file.shapes)
    if asked == EMA and not there:
        raise UsageError(f"--eval_weights ema: {file.path} has no moving averages under TensorFlow's names")
    return there and asked in (None, EMA)


def _candidates(file: WeightsFile, detector: Mapping[str, Any], *, averaged: bool) -> dict[str, Candidate]:
    """The networks that the file may hold, each with the file's number of classes.

    ``detector`` has the arguments of ``variables_of`` that tell detectors apart.
    """
    from model.checkpoint_names import anchors_per_cell, classifier_sources, torch_sources, variables_of
    from model.warm_start import CLASS_HEAD
    from tools.weights.conversion import Candidate, our_shape
    from utils.optimizer_table import SLOTS
    from utils.weights.checkpoint_contents import averages_or_raw

    found, anchors = {}, anchors_per_cell(file.shapes)
    for name in CLASSIFIERS if file.is_torch else ARCHITECTURES:
        sources = torch_sources(name, file.shapes) if file.is_torch else classifier_sources(file.shapes, name, SLOTS)
        sources = averages_or_raw(sources, file.shapes) if averaged else sources
        one, two = (variables_of(name, count, **detector, anchors=anchors) for count in (1, 2))
        head = frozenset(variable for variable in one if one[variable] != two[variable])
        if name in CLASSIFIERS:
            stored = file.shapes.get(sources.get(f"{name}/output/dense/bias", ""))
            classes = our_shape(stored, torch=file.is_torch)[-1] if stored else 1
        else:
            stored = file.shapes.get(CLASS_HEAD[1])
            classes = int(stored[-1]) // anchors - 1 if stored else 1
        wanted = variables_of(name, classes, **detector, anchors=anchors)
        found[name] = Candidate(architecture=name, wanted=wanted, sources=sources, head=head)
    return found


def _color(flag: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--{flag} {text}: must be three numbers, R,G,B, for pixels in 0..255") from None
    if not all(0 <= value < 1e6 for value in (red, green, blue)) or (flag == "std_rgb" and 0 in (red, green, blue)):
        raise UsageError(f"--{flag} {text}: must be positive numbers for pixels in 0..255")
    return red, green, blue


def _pretrained_config(
    known: Mapping[str, Any], colors: Mapping[str, tuple[float, float, float] | None]
) -> PretrainedConfig:
    import dataclasses

    from utils.weights.pretrained_config import stored_pretrained_config

    usual = stored_pretrained_config(known)
    mean, std = colors["mean_rgb"] or usual.mean_rgb, colors["std_rgb"] or usual.std_rgb
    return dataclasses.replace(usual, mean_rgb=mean, std_rgb=std)


def _description(
    options: argparse.Namespace,
    architecture: str,
    known: Mapping[str, Any],
    pretrained: PretrainedConfig,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """The description to write beside the weights."""
    from utils.weights.pretrained_config import DETECTION_MEAN_RGB, MEAN_RGB, ORIGINS, STD_RGB

    kept = {key: value for key, value in known.items() if key not in (*_RUN_STATE, "origin", "has_ranges")}
    is_classifier = architecture in CLASSIFIERS
    usual = (MEAN_RGB, STD_RGB) if is_classifier else (DETECTION_MEAN_RGB, (1.0, 1.0, 1.0))
    mean, std = pretrained.mean_rgb or usual[0], pretrained.std_rgb or usual[1]
    found = {
        **kept,
        "task": "classification" if is_classifier else "detection",
        "architecture": architecture,
        "image_size": kept.get("image_size", 224 if is_classifier else 320),
        "network": pretrained.network,
        "preprocessing": {"mean_rgb": list(mean), "std_rgb": list(std), "range": [0, 255]},
        "step": 0,
        "imported": {"file": options.source.name, "from": ORIGINS.get(known.get("origin", ""), "this project")},
    }
    if is_classifier:
        classes = int(values[f"{architecture}/output/dense/bias"].size)
        found |= {"num_classes": classes, "data_class_names": kept.get("data_class_names")}
        found["class_names"] = _names(options.class_names, classes) or kept.get("class_names")
    elif options.class_names:
        raise UsageError(f"--class_names {options.class_names}: a detector's categories come from --label_map or data")
    return found


def _names(path: str | None, classes: int) -> list[str] | None:
    from utils.records.class_names import read_names_in_order

    if path is None:
        return None
    names = read_names_in_order(path)
    if len(names) not in {classes, classes - 1 if classes == _IMAGENET_LOGITS else classes}:
        raise UsageError(f"--class_names {path}: has {len(names)} names; the weights have {classes} classes")
    return list(names)


def _check_nvidia(architecture: str, known: Mapping[str, Any], pretrained: PretrainedConfig) -> None:
    """Refuses networks and settings that NVIDIA's program does not have.

    Raises:
        UsageError: NVIDIA's program lacks the network, or a setting that the weights need.
    """
    from model.checkpoint_names import NVIDIA_CLASSIFIERS
    from runtime.detection.resolve_detector import DEFAULT_BACKBONE
    from utils.weights.pretrained_config import MEAN_RGB, STD_RGB

    if architecture in CLASSIFIERS and architecture not in NVIDIA_CLASSIFIERS:
        raise UsageError(f"--to nvidia: NVIDIA's program lacks {architecture}; it has {', '.join(NVIDIA_CLASSIFIERS)}")
    own_images = known.get("task") == "detection" or (
        pretrained.mean_rgb in (None, MEAN_RGB) and pretrained.std_rgb in (None, STD_RGB)
    )
    backbone = known.get("backbone") or DEFAULT_BACKBONE
    by_channel = (known.get("quantization") or {}).get("per_channel")
    grouped, heads = known.get("norm") == "group", any((known.get("heads") or {}).values())
    single = (known.get("anchors") or {}).get("single")
    trained_alike = pretrained.is_default and own_images and backbone == DEFAULT_BACKBONE
    if not trained_alike or known.get("exact_classes") or by_channel or grouped or heads or single:
        raise UsageError(
            f"--to nvidia: these weights need {pretrained.summary()}"
            + (f", backbone {backbone}" if known.get("task") == "detection" else "")
            + (", per-channel quantization ranges" if by_channel else "")
            + (", group normalization in pyramid and heads" if grouped else "")
            + (", further heads" if heads else "")
            + (", one anchor a cell" if single else "")
            + ", which NVIDIA's networks do not have; the outputs would differ"
        )


def _for_nvidia(file: WeightsFile, values: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that NVIDIA's program reads: the weights in their stored shapes, and the step."""
    import numpy as np

    found = {name: value.reshape(file.shapes.get(name, value.shape)) for name, value in values.items()}
    return {**found, "global_step": np.asarray(values.get("global_step", 0), np.int64)}


def _say(
    file: WeightsFile,
    options: argparse.Namespace,
    known: Mapping[str, Any],
    pretrained: PretrainedConfig,
    candidate: Candidate,
) -> None:
    """Prints facts about the weights, one per line."""
    if file.note:
        print(file.note)
    print(f"the network is built for these weights: {pretrained.summary()}")
    if candidate.architecture in CLASSIFIERS:
        classes = candidate.wanted[f"{candidate.architecture}/output/dense/bias"][0]
        print(f"{classes} classes; logit i is label i + 1 of the records unless their dataset.json says otherwise")
        if options.to == "nvidia" and classes != _IMAGENET_LOGITS:
            print(f"NVIDIA's program is written for {_IMAGENET_LOGITS} classes and has to be changed for {classes}")
        if options.to == "here" and not options.class_names and not known.get("class_names"):
            print("the classes have no names; give them with --class_names, now or later")


if __name__ == "__main__":
    sys.exit(main())
