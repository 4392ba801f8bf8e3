"""The GPU of each process: what it sees, what it takes, and what it refuses."""

import subprocess
import sys

import pytest
import tensorflow as tf

from runtime.devices import gpu_choice
from runtime.devices.gpu_choice import ChosenGpu, Gpu, VisibleGpus, choose_gpu, take_gpu, try_gpu
from runtime.session import session_config
from tests.launching import ROOT
from tests.runtime.pretended_gpus import KIND, context_is_initialized, options_of_the_context, pretended
from tests.runtime.processes import ALONE, Pretended
from utils.config import ExperimentConfig, RunConfig
from utils.errors import RunError, UsageError
from utils.system.gpus import Card, Driver

GIB = 2**30
A100, V100 = ("NVIDIA A100", (8, 0)), ("Tesla V100", (7, 0))


@pytest.fixture
def machine(monkeypatch):
    """Simulates what the driver says of ``count`` GPUs of 40 GiB in the machine."""

    def of(count, *, in_machine=None, **driver):
        cards = tuple(Card(f"uuid-{i}", 40 * GIB) for i in range(count))
        monkeypatch.setattr(gpu_choice, "ask_driver", lambda: Driver(cuda=(12, 8), **{"cards": cards} | driver))
        monkeypatch.setattr(gpu_choice, "count_in_machine", lambda: count if in_machine is None else in_machine)

    return of


def of(**run):
    return ExperimentConfig(run=RunConfig(**run))


def seen(rank, *identities, host="node1", local_rank=None, kind=A100, fault=""):
    gpus = tuple(Gpu(*kind, identity) for identity in identities)
    return VisibleGpus(
        rank=rank, local_rank=rank if local_rank is None else local_rank, host=host, gpus=gpus, fault=fault
    )


def refusal(*visible, rank=0, gpu_id=None):
    """The sentence with which every process ends."""
    said = set()
    for number in range(len(visible)):
        with pytest.raises(UsageError) as caught:
            choose_gpu(visible, number, gpu_id)
        said.add(str(caught.value))
    (sentence,) = said
    return sentence


def of_context_and_session(config, communicator):
    """The GPU taken, and the options with which the context and a session would initialize it."""
    gpu = take_gpu(config, communicator)
    return gpu, options_of_the_context(), session_config(config, communicator, gpu).gpu_options


def test_without_a_choice_every_process_would_take_all_gpus(machine):
    with pretended(8):
        assert options_of_the_context().visible_device_list == "0,1,2,3,4,5,6,7"
        assert not options_of_the_context().allow_growth


@pytest.mark.parametrize("rank", range(8))
def test_context_and_session_take_the_gpu_of_the_rank_and_grow(machine, rank):
    machine(8)
    with pretended(8):
        gpu, context, session = of_context_and_session(of(), Pretended(8, rank=rank))
    assert gpu == ChosenGpu(rank)
    assert context.visible_device_list == session.visible_device_list == str(rank)
    assert context.allow_growth
    assert session.allow_growth
    assert list(context.experimental.virtual_devices) == list(session.experimental.virtual_devices) == []


@pytest.mark.parametrize("gpu_id", [0, 3, 7])
def test_context_and_session_take_the_gpu_of_the_flag(machine, gpu_id):
    machine(8)
    with pretended(8):
        _, context, session = of_context_and_session(of(gpu_id=gpu_id), ALONE)
    assert context.visible_device_list == session.visible_device_list == str(gpu_id)
    assert context.allow_growth == session.allow_growth is True


@pytest.mark.parametrize(("rank", "fraction", "limit"), [(0, 0.5, 20 * 1024), (5, 0.7, 28_672), (0, 1.0, 40 * 1024)])
def test_a_share_of_the_memory_limits_context_and_session_alike(machine, rank, fraction, limit):
    machine(8)
    with pretended(8):
        gpu, context, session = of_context_and_session(of(gpu_memory_fraction=fraction), Pretended(8, rank=rank))
    assert gpu == ChosenGpu(rank, limit)
    assert context.visible_device_list == session.visible_device_list == str(rank)
    assert context.experimental.virtual_devices == session.experimental.virtual_devices
    assert [list(device.memory_limit_mb) for device in session.experimental.virtual_devices] == [[limit]]
    assert not context.allow_growth
    assert not session.allow_growth


def test_a_share_of_unknown_memory_is_refused(machine):
    machine(0)
    with pretended(1), pytest.raises(UsageError, match=r"--gpu_memory_fraction 0\.5: the driver does not tell"):
        take_gpu(of(gpu_memory_fraction=0.5), ALONE)


def test_with_cpu_neither_context_nor_session_takes_a_gpu_that_the_environment_shows(machine):
    machine(2)
    with pretended(2):
        gpu, _, _ = of_context_and_session(of(cpu=True), Pretended(2, rank=1))
        assert gpu is None
        assert tf.config.get_visible_devices("GPU") == []
    assert session_config(of(cpu=True), ALONE, None).device_count["GPU"] == 0


def test_the_choice_is_made_before_a_data_set_initializes_the_context(machine):
    machine(4)
    with pretended(4):
        take_gpu(of(), Pretended(4, rank=3))
        assert not context_is_initialized()
        with tf.Graph().as_default():
            tf.data.Dataset.range(4).map(lambda x: x + 1)
        assert context_is_initialized()
        assert options_of_the_context().visible_device_list == "3"
        assert take_gpu(of(), Pretended(4, rank=3)) == ChosenGpu(3)  # an export sets up a second run, for calibration


def test_a_launch_chooses_before_anything_initializes_the_context(tmp_path):
    script = f"""
import tensorflow as tf
from pathlib import Path
from tests.runtime.pretended_gpus import context_is_initialized
from tests.runtime.runs import run
choose, initialized = tf.config.set_visible_devices, []
def choosing(*arguments):
    initialized.append(context_is_initialized())
    return choose(*arguments)
tf.config.set_visible_devices = choosing
flags = "--arch=resnet50 --mode=training_benchmark --num_iter=2 --warmup_steps=0 --iter_unit=batch --batch_size=2"
done = run(*flags.split(), "--image_size=16", "--results_dir={tmp_path}")
print(done.error, done.status, initialized, context_is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("0 [False] True\n"), done.stdout + done.stderr


def test_processes_that_see_the_same_gpus_take_one_each():
    visible = [seen(rank, "a", "b", "c", "d") for rank in range(4)]
    assert [choose_gpu(visible, rank, None) for rank in range(4)] == [0, 1, 2, 3]


def test_processes_that_see_one_gpu_each_take_it():
    visible = [seen(rank, name) for rank, name in enumerate("abcd")]
    assert [choose_gpu(visible, rank, None) for rank in range(4)] == [0, 0, 0, 0]


def test_the_rule_holds_on_each_host_by_itself():
    visible = [seen(0, "a"), seen(1, "b"), seen(2, "c", "d", host="node2", local_rank=0)]
    visible.append(seen(3, "c", "d", host="node2", local_rank=1))
    assert [choose_gpu(visible, rank, None) for rank in range(4)] == [0, 0, 0, 1]


def test_no_gpu_anywhere_is_the_cpu():
    assert choose_gpu([seen(0), seen(1)], 1, None) is None
    assert choose_gpu([seen(0)], 0, None) is None


def test_more_processes_than_gpus_are_refused_by_all():
    sentence = (
        "rank 2 on node1 is process 3 of its host, which has 2 GPUs that TensorFlow can use; launch fewer processes "
        "there (-np, HOSTS), or give --cpu"
    )
    assert refusal(*(seen(rank, "a", "b") for rank in range(3))) == sentence
    assert "rank 1 on node1 is process 2 of its host, which has 1 GPU " in refusal(seen(0, "a"), seen(1, "a"))


def test_unequal_gpus_are_refused_by_all():
    sentence = refusal(seen(0, "a"), seen(1, "b", host="node2", local_rank=0, kind=V100))
    assert sentence == (
        "the GPUs are of unequal kind: rank 0 on node1 has NVIDIA A100 (compute capability 8.0), rank 1 on node2 has "
        "Tesla V100 (compute capability 7.0); choose equal ones with CUDA_VISIBLE_DEVICES or HOSTS"
    )


def test_a_process_that_sees_other_gpus_than_its_neighbours_is_refused_by_all():
    sentence = refusal(seen(0, "a", "b"), seen(1, "b", "a"))
    assert sentence.startswith("rank 1 on node1 sees other GPUs than rank 0: NVIDIA A100 b, NVIDIA A100 a, not ")
    assert "CUDA_VISIBLE_DEVICES" in sentence
    assert "sees other GPUs than rank 0: none, not" in refusal(seen(0, "a"), seen(1))


def test_a_machine_without_gpus_among_others_with_is_refused_by_all():
    sentence = refusal(seen(0, "a"), seen(1, host="node2", local_rank=0))
    assert sentence.startswith("rank 1 on node2: has no GPU that TensorFlow can use, but other processes have")


def test_gpus_that_cannot_be_used_anywhere_end_all():
    assert refusal(seen(0, "a"), seen(1, fault="broken; --cpu")) == "rank 1 on node1: broken; --cpu"


def test_several_processes_take_no_common_gpu():
    visible = [seen(rank, "a", "b") for rank in range(2)]
    assert refusal(*visible, gpu_id=1) == "--gpu_id 1: each of the 2 processes uses its own GPU"


@pytest.mark.parametrize(
    ("gpus", "gpu_id", "found"),
    [("", 0, "no GPU that TensorFlow can use"), ("ab", 2, "GPUs 0 to 1"), ("a", 7, "GPUs 0 to 0")],
)
def test_a_gpu_that_does_not_exist_is_refused(gpus, gpu_id, found):
    assert refusal(seen(0, *gpus), gpu_id=gpu_id) == f"--gpu_id {gpu_id}: does not exist; this machine has {found}"


def test_a_process_tells_kind_and_identity_of_its_gpus(machine):
    machine(2)
    with pretended(2, KIND):
        take_gpu(of(), (told := Telling(2, rank=1)))
    assert [gpu.kind for gpu in told.values[0].gpus] == ["NVIDIA A100-SXM4-40GB (compute capability 8.0)"] * 2
    assert [gpu.identity for gpu in told.values[0].gpus] == ["uuid-0", "uuid-1"]


class Telling(Pretended):
    """Keeps what this process tells the others."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.values = []

    def gather(self, value):
        self.values.append(value)
        return super().gather(value)


def test_gpus_that_tensorflow_cannot_use_are_refused_not_ignored(machine, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine(0, in_machine=8)
    with pytest.raises(UsageError, match=r"^TensorFlow cannot use the 8 GPUs of this machine: .*; --cpu computes w"):
        take_gpu(of(), ALONE)
    with pytest.raises(UsageError, match=r"^rank 3 on .*: TensorFlow cannot use the 8 GPUs"):
        take_gpu(of(), Pretended(4, rank=3))
    assert take_gpu(of(cpu=True), ALONE) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert take_gpu(of(), ALONE) is None


def test_a_gpu_in_use_ends_all_processes_with_rank_host_and_flag(monkeypatch):
    def busy(options):
        raise tf.errors.InternalError(None, None, "cudaSetDevice() on GPU:0 failed. Status: CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(gpu_choice, "_multiply", busy)
    with pytest.raises(RunError, match=r"^GPU 2 cannot be used: out of memory: .*--gpu_memory_fraction"):
        try_gpu(ChosenGpu(2), None, ALONE)
    with pytest.raises(RunError, match=r"^rank 1 on [^:]+: GPU 2 cannot be used: out of memory"):
        try_gpu(ChosenGpu(2), None, Pretended(2, rank=1))
    others = Pretended(2, rank=0)
    monkeypatch.setattr(others, "gather", lambda faults: [faults, ["rank 1 on node1: GPU 1 cannot be used"]])
    with pytest.raises(RunError, match=r"^rank 1 on node1: GPU 1 cannot be used$"):
        try_gpu(None, None, others)


def test_the_trial_needs_the_gpu():
    with pytest.raises(RunError, match="GPU 0 cannot be used: Cannot assign a device for operation"):
        try_gpu(ChosenGpu(0), session_config(of(), ALONE, ChosenGpu(0)), ALONE)
    try_gpu(None, None, ALONE)
