"""Devices, memory and compilation of a session."""

import tensorflow as tf

from runtime.devices.gpu_choice import ChosenGpu
from runtime.session import compute_capability, note_on_xla, session_config, uses_gpu
from tests.launching import ROOT
from tests.runtime.processes import ALONE, Pretended
from utils.config import ExperimentConfig, PrecisionConfig, RunConfig


def config(*, xla=False, **run):
    return ExperimentConfig(precision=PrecisionConfig(xla=xla), run=RunConfig(**run))


def options(config, communicator=ALONE, gpu=None):
    return session_config(config, communicator, gpu)


def test_without_a_gpu_none_is_used():
    found = options(config())
    assert found.gpu_options == tf.compat.v1.GPUOptions()
    assert found.device_count["GPU"] == 0
    assert found.allow_soft_placement


def test_a_gpu_is_taken_alone_and_grows():
    found = options(config(), gpu=ChosenGpu(2))
    assert found.gpu_options.visible_device_list == "2"
    assert found.gpu_options.allow_growth
    assert found.gpu_options.force_gpu_compatible
    assert "GPU" not in found.device_count


def test_a_limit_of_the_memory_replaces_growth():
    found = options(config(gpu_memory_fraction=0.5), gpu=ChosenGpu(0, 8192)).gpu_options
    assert [list(device.memory_limit_mb) for device in found.experimental.virtual_devices] == [[8192]]
    assert not found.allow_growth


def test_the_compute_capability_is_the_lowest_of_the_gpus_in_use(monkeypatch):
    known = {"a": {"compute_capability": (9, 0)}, "b": {"compute_capability": (7, 5)}, "c": {}}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", known.get)
    for visible, lowest in (("abc", (7, 5)), ("ac", (9, 0)), ("c", None), ("", None)):
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind, visible=visible: list(visible))
        assert compute_capability() == lowest


def test_several_processes_of_a_host_share_its_cpus():
    shared = options(config(), Pretended(2, rank=1, threads=5))
    assert (shared.intra_op_parallelism_threads, shared.inter_op_parallelism_threads) == (5, 5)
    assert options(config()).intra_op_parallelism_threads == 0  # TensorFlow uses all CPUs


def test_a_run_uses_the_gpus_of_the_machine_unless_it_is_told_not_to(monkeypatch):
    for found in ([], ["a GPU"]):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind, found=found: found)
        assert uses_gpu(config()) == bool(found)
        assert not uses_gpu(config(cpu=True))


def test_no_other_module_has_options_of_its_own_for_gpus():
    """A session without options takes those of the context; other options would map a GPU to two devices."""
    folders = ("model", "object_detection", "runtime", "tools", "utils")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    makers = {path.relative_to(ROOT).as_posix() for path in files if "ConfigProto(" in path.read_text("utf-8")}
    assert makers == {
        "runtime/devices/gpu_choice.py",  # a copy of the run's
        "runtime/session.py",
        "tools/doctor/sessions.py",  # uses all GPUs
        "utils/host_session.py",
    }


def test_compilation_is_asked_of_the_session_on_gpus_and_where_the_user_asks_for_it_on_cpus(monkeypatch):
    def levels():
        return [options(config(xla=xla)).graph_options.optimizer_options.global_jit_level for xla in (False, True)]

    none, both = tf.compat.v1.OptimizerOptions.DEFAULT, tf.compat.v1.OptimizerOptions.ON_2
    assert levels() == [none, none]
    assert "nothing is compiled on a CPU" in note_on_xla(config(xla=True))
    assert note_on_xla(config()) == ""
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit=true")
    assert levels() == [none, both]
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit=false")
    assert levels() == [none, none]
    monkeypatch.setattr("runtime.session.uses_gpu", lambda settings: True)
    assert levels() == [none, both]
    assert note_on_xla(config(xla=True)) == ""


def test_a_deterministic_session_leaves_sums_as_they_are_written():
    found = [
        options(config(deterministic=deterministic)).graph_options.rewrite_options.arithmetic_optimization
        for deterministic in (False, True)
    ]
    assert found == [0, 2]  # DEFAULT and OFF of TensorFlow's RewriterConfig
