"""The effect of --amp by machine."""

import dataclasses

import pytest
import tensorflow as tf

from runtime.devices.precision import Precision, choose_precision
from utils.config import PrecisionConfig
from utils.errors import UsageError

OLD = frozenset({"avx2", "avx512f", "fma"})
AVX512 = OLD | {"avx512_bf16"}
AMX = OLD | {"amx_bf16", "amx_tile"}


@pytest.mark.parametrize(
    ("amp", "gpu", "features", "dtype", "static", "dynamic"),
    [
        (False, True, AMX, tf.float32, None, False),
        (False, False, AMX, tf.float32, None, False),
        (True, True, OLD, tf.float16, None, True),
        (True, True, AMX, tf.float16, None, True),  # a GPU takes precedence
        (True, False, AVX512, tf.bfloat16, None, False),
        (True, False, AMX, tf.bfloat16, None, False),
        (True, False, OLD, tf.float32, None, False),
        (True, False, frozenset(), tf.float32, None, False),
    ],
)
def test_the_type_follows_the_machine(amp, gpu, features, dtype, static, dynamic):
    chosen = choose_precision(PrecisionConfig(amp=amp), gpu=gpu, cpu_features=features)
    assert chosen.compute_dtype == dtype
    assert (chosen.static_loss_scale, chosen.dynamic_loss_scale) == (static, dynamic)


@pytest.mark.parametrize(("gpu", "features"), [(True, OLD), (False, AMX), (False, OLD)])
def test_a_static_scale_replaces_the_dynamic_one_and_is_applied_everywhere(gpu, features):
    asked = PrecisionConfig(amp=True, static_loss_scale=128.0)
    chosen = choose_precision(asked, gpu=gpu, cpu_features=features)
    assert (chosen.static_loss_scale, chosen.dynamic_loss_scale) == (128.0, False)


@pytest.mark.parametrize("static", [None, 128.0])
@pytest.mark.parametrize("gpu", [True, False])
def test_casts_without_scaling_are_possible(gpu, static):
    asked = PrecisionConfig(amp=True, loss_scaling=False, static_loss_scale=static)
    chosen = choose_precision(asked, gpu=gpu, cpu_features=AMX)
    assert chosen.compute_dtype == (tf.float16 if gpu else tf.bfloat16)
    assert (chosen.static_loss_scale, chosen.dynamic_loss_scale) == (None, False)


def test_a_machine_without_either_says_so_once_and_computes_in_float32():
    chosen = choose_precision(PrecisionConfig(amp=True), gpu=False, cpu_features=OLD)
    assert chosen.note.startswith("--amp: this machine has neither a GPU nor a CPU with bfloat16 instructions")
    assert chosen.note.endswith("computing in float32")
    for gpu, features in ((True, OLD), (False, AMX)):
        assert choose_precision(PrecisionConfig(amp=True), gpu=gpu, cpu_features=features).note == ""
    assert choose_precision(PrecisionConfig(), gpu=False, cpu_features=OLD).note == ""


@pytest.mark.parametrize(
    ("asked", "gpu", "features", "capability", "dtype", "dynamic"),
    [
        ("bfloat16", True, OLD, (8, 0), tf.bfloat16, False),
        ("bfloat16", True, OLD, (12, 0), tf.bfloat16, False),
        ("bfloat16", True, OLD, None, tf.bfloat16, False),  # unknown: TensorFlow decides
        ("bfloat16", False, AMX, (7, 0), tf.bfloat16, False),  # the GPU is not used
        ("float16", True, AMX, (7, 0), tf.float16, True),
        ("auto", True, AMX, (9, 0), tf.float16, True),  # the recipes were made for it
    ],
)
def test_a_type_can_be_asked_for(asked, gpu, features, capability, dtype, dynamic):
    wanted = PrecisionConfig(amp=True, amp_dtype=asked)
    chosen = choose_precision(wanted, gpu=gpu, cpu_features=features, compute_capability=capability)
    assert (chosen.compute_dtype, chosen.dynamic_loss_scale, chosen.note) == (dtype, dynamic, "")
    assert chosen.scales_loss == dynamic


@pytest.mark.parametrize(
    ("asked", "gpu", "features", "capability", "sentence"),
    [
        ("float16", False, AMX, None, "--amp_dtype float16: only GPUs compute fast in it, and this run uses none; .*"),
        ("bfloat16", False, OLD, None, r"--amp_dtype bfloat16: this CPU has no instructions for it \(.*"),
        (
            "bfloat16",
            True,
            AMX,
            (7, 5),
            r"--amp_dtype bfloat16: needs a GPU of .* 8\.0 .*, and this one has 7\.5; .*",
        ),
    ],
)
def test_a_type_that_the_device_lacks_is_refused(asked, gpu, features, capability, sentence):
    wanted = PrecisionConfig(amp=True, amp_dtype=asked)
    with pytest.raises(UsageError, match=f"^{sentence}$"):
        choose_precision(wanted, gpu=gpu, cpu_features=features, compute_capability=capability)


def test_results_are_labelled_with_the_type():
    assert [Precision(compute_dtype=t).name for t in (tf.float32, tf.float16, tf.bfloat16)] == [
        "float32",
        "float16",
        "bfloat16",
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Precision(compute_dtype=tf.float32).compute_dtype = tf.float16
