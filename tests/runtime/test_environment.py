"""The environment of the process when TensorFlow is imported."""

import dataclasses
import platform
from pathlib import Path

import pytest

from runtime.environment import environment_for, environment_of_tool
from utils.config import DistributedConfig, ExperimentConfig, PrecisionConfig, RunConfig

ROOT = Path(__file__).resolve().parents[2]
GPU = {
    "CUDA_CACHE_DISABLE": "0",
    "TF_GPU_THREAD_MODE": "gpu_private",
    "TF_GPU_THREAD_COUNT": "2",
    "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT": "1",
    "TF_ENABLE_WINOGRAD_NONFUSED": "1",
    "TF_SYNC_ON_FINISH": "0",
}
ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}
TOOL = {"TF_CPP_MIN_LOG_LEVEL": "3"} | ONEDNN
QUIET = TOOL | {"OMPI_MCA_mpi_yield_when_idle": "1"}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A function that names the kind of processor; at first it is of the x86 family."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return lambda name: monkeypatch.setattr(platform, "machine", lambda: name)


def config(*, amp=False, xla=False, tf32=True, **run):
    return ExperimentConfig(precision=PrecisionConfig(amp=amp, xla=xla, tf32=tf32), run=RunConfig(**run))


def test_a_plain_run_is_quiet_and_tunes_gpus():
    assert environment_for(config(), {}) == QUIET | GPU


def test_mixed_precision_needs_no_variable():
    assert environment_for(config(amp=True), {}) == QUIET | GPU


@pytest.mark.parametrize(("level", "severity"), [("debug", "0"), ("info", "3"), ("warning", "3"), ("error", "3")])
def test_tensorflow_itself_talks_only_when_debugging(level, severity):
    assert environment_for(config(log_level=level), {})["TF_CPP_MIN_LOG_LEVEL"] == severity


def test_a_tool_is_as_quiet_as_a_run_unless_the_user_says_otherwise():
    assert environment_of_tool({}) == TOOL
    assert environment_of_tool({"TF_CPP_MIN_LOG_LEVEL": "0"}) == ONEDNN


def test_onednn_is_for_every_x86_processor_and_for_no_other(machine):
    assert environment_of_tool({"TF_ENABLE_ONEDNN_OPTS": "0"}).keys() == TOOL.keys() - ONEDNN.keys()
    machine("aarch64")
    assert environment_of_tool({}).keys() == TOOL.keys() - ONEDNN.keys()
    assert not environment_for(config(), {}).keys() & ONEDNN.keys()


def test_without_gpus_they_are_hidden_and_not_tuned():
    assert environment_for(config(cpu=True), {}) == QUIET | {"CUDA_VISIBLE_DEVICES": "-1"}


def test_determinism_and_full_float32_are_variables_too():
    wanted = environment_for(config(cpu=True, deterministic=True, tf32=False), {})
    assert wanted == QUIET | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_DETERMINISTIC_OPS": "1",
        "HOROVOD_FUSION_THRESHOLD": "0",
        "NVIDIA_TF32_OVERRIDE": "0",
    }


def test_synchronized_batch_norm_is_not_kept_waiting():
    wanted = dataclasses.replace(config(), distributed=DistributedConfig(sync_batch_norm=True))
    assert environment_for(wanted, {}) == QUIET | GPU | {"HOROVOD_CYCLE_TIME": "0.1"}
    assert "HOROVOD_CYCLE_TIME" not in environment_for(dataclasses.replace(wanted, run=RunConfig(cpu=True)), {})


@pytest.mark.parametrize(
    "name",
    [*QUIET, *GPU, "TF_DETERMINISTIC_OPS", "HOROVOD_FUSION_THRESHOLD", "HOROVOD_CYCLE_TIME", "NVIDIA_TF32_OVERRIDE"],
)
@pytest.mark.parametrize("value", ["", "7"])
def test_what_the_user_set_stays(name, value):
    wanted = config(deterministic=True, tf32=False)
    wanted = dataclasses.replace(wanted, distributed=DistributedConfig(sync_batch_norm=True))
    assert name in environment_for(wanted, {})
    assert name not in environment_for(wanted, {name: value})


@pytest.mark.parametrize(
    ("present", "merged"),
    [
        ({}, None),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2  --tf_xla_min_cluster_size=8"}, None),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=-1"}, "--tf_xla_auto_jit=-1 --tf_xla_auto_jit=0"),
    ],
)
def test_xla_flags_are_added_behind_the_users_own(present, merged):
    assert environment_for(config(xla=True), present).get("TF_XLA_FLAGS") == merged
    assert "TF_XLA_FLAGS" not in environment_for(config(xla=False), present)
