"""What the system and the driver show of NVIDIA GPUs; both are pretended."""

import uuid

import pytest

from utils.system.gpus import Card, Driver, ask_driver, count_in_machine, hidden_by_user, why_unusable

WORKS = Driver(cuda=(12, 8), cards=(Card("a", 1),))
FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
def system(tmp_path):
    """Pretended /proc and /dev with GPUs."""

    def show(listed=0, files=0, mode=0o666):
        kernel, dev = tmp_path / "gpus", tmp_path / "dev"
        for folder in (kernel, dev):
            folder.mkdir()
        for number in range(listed):
            (kernel / f"0000:0{number}:00.0").mkdir()
        for name in [*(f"nvidia{number}" for number in range(files)), "nvidiactl", "nvidia-uvm", "null"]:
            (dev / name).touch(mode)
        return kernel, dev

    return show


class Library:
    """A driver's library with two GPUs."""

    def __init__(self, status=0, version=12080, count=2, identities=(FIRST, SECOND)):
        self.status, self.version, self.count, self.identities = status, version, count, identities

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version
        return 0

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, count):
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = 7 + number
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = (device.value - 6) * 2**34
        return 0

    def cuDeviceGetUuid(self, identity, device):
        identity._obj[:] = list(self.identities[device.value - 7].bytes)
        return 0

    def cuGetErrorName(self, status, name):
        name._obj.value = b"CUDA_ERROR_STUB_LIBRARY"
        return 0


def test_gpus_are_counted_by_what_the_kernel_lists_and_by_device_files(system):
    kernel, dev = system(listed=2, files=1)
    assert count_in_machine(kernel, dev) == 2
    assert count_in_machine(kernel / "missing", dev) == 1
    assert count_in_machine(kernel / "missing", dev / "missing") == 0


@pytest.mark.parametrize(
    ("environ", "hidden"),
    [
        ({}, False),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, False),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, False),
        ({"CUDA_VISIBLE_DEVICES": "MIG-8932f937"}, False),
        *(({"CUDA_VISIBLE_DEVICES": name}, False) for name in ("GPU0", "cuda:0", "all", '"0,1"', "[0]", "nvidia0")),
        ({"CUDA_VISIBLE_DEVICES": ""}, True),
        ({"CUDA_VISIBLE_DEVICES": "-1,0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "none"}, True),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, True),
    ],
)
def test_an_empty_list_is_the_users_choice_and_a_wrong_name_is_not(environ, hidden):
    assert hidden_by_user(environ) == hidden


def test_the_driver_tells_version_identity_and_memory():
    driver = ask_driver(lambda name: Library())
    assert driver == Driver("", (12, 8), (Card(str(FIRST), 2**34), Card(str(SECOND), 2**35)))
    assert ask_driver(lambda name: Library(status=100)) == Driver("", (12, 8))


@pytest.mark.parametrize(
    ("status", "complaint"),
    [(802, "nvidia-fabricmanager"), (803, "restart the machine"), (34, "the driver answers CUDA_ERROR_STUB_LIBRARY")],
)
def test_the_drivers_complaint_is_passed_on(status, complaint):
    assert complaint in ask_driver(lambda name: Library(status=status)).complaint


def test_a_missing_library_is_a_complaint():
    def load(name):
        raise OSError(f"{name}: cannot open shared object file")

    assert "libcuda.so.1 cannot be loaded; a container needs `--gpus all`" in ask_driver(load).complaint


@pytest.mark.parametrize(
    ("driver", "built_for", "reason"),
    [
        (WORKS, None, "was built without CUDA (requirements/gpu.txt"),
        (Driver("it complains"), "12.5.1", "it complains"),
        (Driver(cuda=(11, 4)), "12.5.1", "the driver is too old: it supports CUDA 11.4, TensorFlow needs 12.0"),
        (Driver(cuda=(12, 2)), "12.5.1", "CUDA_VISIBLE_DEVICES=9 names none of them"),
        (WORKS, "12.5.1", "libraries of CUDA may be missing (requirements/gpu.txt); with --log_level debug"),
    ],
)
def test_the_likely_reason_is_named(system, driver, built_for, reason):
    _, dev = system(files=1)
    assert reason in why_unusable(driver, built_for, {"CUDA_VISIBLE_DEVICES": "9"}, dev)


def test_a_container_without_the_device_files_is_told_how_to_get_them(system):
    _, dev = system(listed=8)
    assert f"{dev}/nvidia0 is missing; a container needs `--gpus all`" in why_unusable(WORKS, "12.5.1", {}, dev)


def test_device_files_that_may_not_be_opened_are_named(system, monkeypatch):
    _, dev = system(files=1)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # for root, all files may be opened
    assert f"{dev}/nvidia0 may not be opened" in why_unusable(WORKS, "12.5.1", {}, dev)
