"""Devices, memory and compilation of a session."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from runtime.session import compute_capability, session_config, uses_gpu
from tests.runtime.processes import ALONE, Pretended
from utils.config import ExperimentConfig, PrecisionConfig, RunConfig
from utils.errors import UsageError


def config(*, xla=False, **run):
    return ExperimentConfig(precision=PrecisionConfig(xla=xla), run=RunConfig(**run))


@pytest.fixture
def gpus(monkeypatch):
    """Simulates a machine with ``count`` GPUs."""

    def pretend(count):
        found = [SimpleNamespace(name=f"GPU:{i}", device_type="GPU") for i in range(count)]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found if kind == "GPU" else [])

    return pretend


def test_without_a_gpu_nothing_is_asked_of_one(gpus):
    gpus(0)
    options = session_config(config(), ALONE)
    assert options.gpu_options == tf.compat.v1.GPUOptions()
    assert options.allow_soft_placement
    assert not uses_gpu(config())


def test_one_process_takes_the_first_gpu_and_grows(gpus):
    gpus(4)
    options = session_config(config(), ALONE)
    assert options.gpu_options.visible_device_list == "0"
    assert options.gpu_options.allow_growth
    assert options.gpu_options.force_gpu_compatible
    assert uses_gpu(config())


def test_the_gpu_is_that_of_the_flag_else_of_the_rank(gpus):
    gpus(4)
    assert session_config(config(gpu_id=3), ALONE).gpu_options.visible_device_list == "3"
    assert session_config(config(), Pretended(8, rank=6, local_rank=2)).gpu_options.visible_device_list == "2"


def test_the_compute_capability_is_the_lowest_of_the_gpus_in_use(gpus, monkeypatch):
    known = {"GPU:0": {"compute_capability": (9, 0)}, "GPU:1": {"compute_capability": (7, 5)}, "GPU:2": {}}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: known[gpu.name])
    gpus(3)
    assert compute_capability(config()) == (7, 5)
    assert compute_capability(config(gpu_id=0)) == (9, 0)
    assert compute_capability(config(gpu_id=2)) is compute_capability(config(cpu=True)) is None
    gpus(0)
    assert compute_capability(config()) is None


def test_several_processes_take_neither_one_gpu_nor_more_than_there_are(gpus):
    gpus(4)
    with pytest.raises(UsageError, match="--gpu_id 1: each of the 8 processes uses its own GPU"):
        session_config(config(gpu_id=1), Pretended(8, rank=6, local_rank=2))
    with pytest.raises(UsageError, match=r"rank 5 is process 6 of its host, which has 4 GPUs .* or give --cpu"):
        session_config(config(), Pretended(8, rank=5))
    assert session_config(config(cpu=True), Pretended(8, rank=5)).gpu_options == tf.compat.v1.GPUOptions()


def test_several_processes_of_a_host_share_its_cpus(gpus):
    gpus(0)
    shared = session_config(config(), Pretended(2, rank=1, threads=5))
    assert (shared.intra_op_parallelism_threads, shared.inter_op_parallelism_threads) == (5, 5)
    assert session_config(config(), ALONE).intra_op_parallelism_threads == 0  # TensorFlow uses all CPUs


@pytest.mark.parametrize(
    ("count", "gpu_id", "found"),
    [(0, 0, "no GPU that TensorFlow can use"), (2, 2, "GPUs 0 to 1"), (1, 7, "GPUs 0 to 0")],
)
def test_a_gpu_that_does_not_exist_is_refused(gpus, count, gpu_id, found):
    gpus(count)
    with pytest.raises(UsageError, match=rf"--gpu_id {gpu_id}: does not exist; this machine has {found}$"):
        session_config(config(gpu_id=gpu_id), ALONE)


def test_a_share_of_the_memory_replaces_growth(gpus):
    gpus(1)
    options = session_config(config(gpu_memory_fraction=0.5), ALONE).gpu_options
    assert options.per_process_gpu_memory_fraction == 0.5
    assert not options.allow_growth


def test_cpu_leaves_gpus_alone(gpus):
    gpus(2)
    assert session_config(config(cpu=True), ALONE).gpu_options == tf.compat.v1.GPUOptions()
    assert not uses_gpu(config(cpu=True))


def test_compilation_is_asked_of_the_session(gpus):
    gpus(0)
    levels = [
        session_config(config(xla=xla), ALONE).graph_options.optimizer_options.global_jit_level for xla in (False, True)
    ]
    assert levels == [tf.compat.v1.OptimizerOptions.DEFAULT, tf.compat.v1.OptimizerOptions.ON_2]


def test_a_deterministic_session_leaves_sums_as_they_are_written(gpus):
    gpus(0)
    found = [
        session_config(config(deterministic=deterministic), ALONE).graph_options.rewrite_options.arithmetic_optimization
        for deterministic in (False, True)
    ]
    assert found == [0, 2]  # DEFAULT and OFF of TensorFlow's RewriterConfig
