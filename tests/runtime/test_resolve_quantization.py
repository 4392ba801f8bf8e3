"""The quantization of a network: from its checkpoint, or from the flags."""

import dataclasses

import pytest

from model.specs import QuantizationSpec
from runtime.classification.resolve_classifier import resolve_model
from runtime.resolve_quantization import resolve_quantization
from utils.config import ModelConfig
from utils.errors import UsageError

SYMMETRIC_AFTER_5 = {"symmetric": True, "delay": 5}
STORED = {"architecture": "resnet50", "quantization": dataclasses.asdict(QuantizationSpec(**SYMMETRIC_AFTER_5))}


def test_a_checkpoint_says_how_it_was_quantized():
    model, _ = resolve_model(ModelConfig(), None, STORED, None)
    assert model.quantization == QuantizationSpec(symmetric=True, delay=5)


@pytest.mark.parametrize(
    "given",
    [
        None,
        QuantizationSpec(),
        QuantizationSpec(symmetric=True),
        QuantizationSpec(delay=5),
        QuantizationSpec(symmetric=True, delay=5),
    ],
)
def test_flags_may_repeat_what_the_checkpoint_says(given):
    assert resolve_quantization(given, STORED) == QuantizationSpec(symmetric=True, delay=5)


def test_without_a_checkpoint_the_flags_hold():
    assert resolve_quantization(QuantizationSpec(qdq=True), {}) == QuantizationSpec(qdq=True)
    assert resolve_quantization(None, {}) is None
    assert resolve_quantization(None, {"architecture": "resnet50"}) is None


@pytest.mark.parametrize(
    ("given", "stored", "message"),
    [
        (
            QuantizationSpec(),
            {"architecture": "resnet50", "quantization": None},
            "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or start a new "
            "run from these weights with --finetune_checkpoint",
        ),
        (
            QuantizationSpec(),
            {"architecture": "resnet50"},
            "--quantize: the checkpoint was trained without it and has no ranges; leave the flag out, or start a new "
            "run from these weights with --finetune_checkpoint",
        ),
        (
            QuantizationSpec(qdq=True),
            STORED,
            "--use_qdq: the checkpoint was trained without it; leave the flag out, or start a new run with "
            "--finetune_checkpoint",
        ),
        (
            QuantizationSpec(per_channel=True),
            STORED,
            "--per_channel_weights: the checkpoint was trained without it; leave the flag out, or start a new run with "
            "--finetune_checkpoint",
        ),
        (
            QuantizationSpec(delay=9),
            STORED,
            "--quant_delay 9: the checkpoint was trained with 5; leave the flag out, or start a new run with "
            "--finetune_checkpoint",
        ),
    ],
)
def test_flags_that_contradict_the_checkpoint_are_refused(given, stored, message):
    with pytest.raises(UsageError) as refused:
        resolve_quantization(given, stored)
    assert str(refused.value) == message
