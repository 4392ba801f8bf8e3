"""How a network is quantized: as flags say, and as its checkpoint was trained."""

import dataclasses

import pytest

from runtime.resolve_classifier import resolve_model
from utils.cmdline_helper import parse, to_flags
from utils.config import ModelConfig
from utils.errors import UsageError
from utils.quantization import Quantization, resolve_quantization

TRAIN = ["--mode=train", "--batch_size=8", "--data_dir=D"]
STORED = {"architecture": "resnet50", "quantization": dataclasses.asdict(Quantization(symmetric=True, delay=5))}
ALL = ["--quantize", "--symmetric", "--use_qdq", "--quant_delay=7", "--per_channel_weights"]


@pytest.mark.parametrize("arch", ["resnet50", "resnext101-32x4d", "se-resnext101-32x4d", "ssd320"])
def test_each_flag_sets_its_field(arch):
    config = parse([*TRAIN, f"--arch={arch}", *ALL], {}).config
    assert config.model.quantization == Quantization(symmetric=True, qdq=True, delay=7, per_channel=True)
    flags = to_flags(config)
    asked = {"quantize": True, "symmetric": True, "use_qdq": True, "quant_delay": 7, "per_channel_weights": True}
    assert flags | asked == flags


def test_without_flags_nothing_is_quantized():
    assert parse(TRAIN, {}).config.model.quantization is None
    assert parse([*TRAIN, "--quantize"], {}).config.model.quantization == Quantization()


def test_a_delay_has_no_effect_without_training():
    command = parse(["--mode=evaluate", "--batch_size=8", "--data_dir=D", "--quantize", "--quant_delay=7"], {})
    assert command.config.model.quantization == Quantization()
    assert command.notes == ("--quant_delay has no effect in --mode evaluate",)


def test_a_checkpoint_says_how_it_was_quantized():
    model, _ = resolve_model(ModelConfig(), None, STORED, None)
    assert model.quantization == Quantization(symmetric=True, delay=5)


@pytest.mark.parametrize(
    "given",
    [None, Quantization(), Quantization(symmetric=True), Quantization(delay=5), Quantization(symmetric=True, delay=5)],
)
def test_flags_may_repeat_what_the_checkpoint_says(given):
    assert resolve_quantization(given, STORED) == Quantization(symmetric=True, delay=5)


def test_without_a_checkpoint_the_flags_hold():
    assert resolve_quantization(Quantization(qdq=True), {}) == Quantization(qdq=True)
    assert resolve_quantization(None, {}) is None
    assert resolve_quantization(None, {"architecture": "resnet50"}) is None


@pytest.mark.parametrize(
    ("given", "stored", "message"),
    [
        (
            Quantization(),
            {"architecture": "resnet50", "quantization": None},
            "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or begin a new "
            "run from these weights by --finetune_checkpoint",
        ),
        (
            Quantization(),
            {"architecture": "resnet50"},
            "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or begin a new "
            "run from these weights by --finetune_checkpoint",
        ),
        (
            Quantization(qdq=True),
            STORED,
            "--use_qdq: the checkpoint was trained without it; leave the flag out, or begin a new run by "
            "--finetune_checkpoint",
        ),
        (
            Quantization(per_channel=True),
            STORED,
            "--per_channel_weights: the checkpoint was trained without it; leave the flag out, or begin a new run by "
            "--finetune_checkpoint",
        ),
        (
            Quantization(delay=9),
            STORED,
            "--quant_delay 9: the checkpoint was trained with 5; leave the flag out, or begin a new run by "
            "--finetune_checkpoint",
        ),
    ],
)
def test_flags_that_contradict_the_checkpoint_are_refused(given, stored, message):
    with pytest.raises(UsageError) as refused:
        resolve_quantization(given, stored)
    assert str(refused.value) == message
