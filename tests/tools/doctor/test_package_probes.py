"""Probes of packages tell working parts from broken ones."""

import sys
import types
from importlib.util import find_spec

import pytest

from tools.doctor import horovod_probe, package_probes
from tools.doctor.probe import Missing
from utils.errors import RunError


@pytest.mark.parametrize("probe", ["python", "cpu", "memory", "disk", "numpy", "pillow", "crc32c", "pycocotools"])
def test_it_finds_what_is_there(probe):
    assert getattr(package_probes, probe)().text


def test_the_ap_that_is_expected_is_the_one_worked_out_by_hand():
    # Precision is 1/2 at recall levels 0.00 to 0.50 and 0 at the other 50 of 101.
    assert pytest.approx(51 * 0.5 / 101) == package_probes.EXPECTED_AP
    package_probes.check_ap(51 * 0.5 / 101)
    with pytest.raises(RunError, match=r"finds AP 0\.500000 for two detections; the correct AP is 0\.252475"):
        package_probes.check_ap(0.5)


@pytest.mark.parametrize("probe", ["onnx", "onnxruntime", "openvino"])
def test_a_runtime_works_where_it_is_installed(probe):
    if find_spec(probe) is None:
        pytest.skip(f"{probe} is not installed (requirements/export.txt)")
    assert "a model" in getattr(package_probes, probe)().text


def test_a_wrong_evaluator_is_found_out(monkeypatch):
    cocoeval = types.ModuleType("pycocotools.cocoeval")

    class COCOeval:
        stats = (1.0,)

        def __init__(self, *arguments):
            pass

        evaluate = accumulate = summarize = lambda self: None

    cocoeval.COCOeval = COCOeval
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", cocoeval)
    with pytest.raises(RunError, match=r"finds AP 1\.0"):
        package_probes.pycocotools()


def test_checksums_of_the_slow_implementation_are_a_fault(monkeypatch):
    monkeypatch.setattr("google_crc32c.implementation", "python")
    with pytest.raises(RunError, match="has no compiled code"):
        package_probes.crc32c()


def test_little_room_is_a_fault(monkeypatch):
    monkeypatch.setattr(package_probes, "memory_gb", lambda: (8.0, 0.4))
    with pytest.raises(RunError, match=r"0\.40 GB free; a run needs 1"):
        package_probes.memory()
    monkeypatch.setattr(package_probes, "memory_gb", lambda: None)
    with pytest.raises(Missing):
        package_probes.memory()


def test_horovod_that_is_not_installed_is_missing(monkeypatch):
    def absent(name):
        raise horovod_probe.version_of.__globals__["metadata"].PackageNotFoundError(name)

    monkeypatch.setattr("tools.doctor.probe.metadata.version", absent)
    with pytest.raises(Missing, match=r"install_horovod\.sh"):
        horovod_probe.horovod()


def test_processes_that_fail_are_a_sentence(tmp_path, monkeypatch):
    launcher = tmp_path / "mpiexec"
    launcher.write_text("#!/bin/sh\necho 'OSError: libmpi.so.40: not found' >&2\nexit 3\n")
    launcher.chmod(0o755)
    monkeypatch.setattr(horovod_probe, "version_of", lambda *names, how: "0.28.1")
    monkeypatch.setattr(horovod_probe.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RunError, match=r"two processes under mpiexec ended with status 3: OSError: libmpi\.so"):
        horovod_probe.horovod()


def test_no_launcher_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(horovod_probe, "version_of", lambda *names, how: "0.28.1")
    monkeypatch.setattr(horovod_probe.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="neither mpiexec nor horovodrun"):
        horovod_probe.horovod()


def test_what_another_launcher_says_does_not_reach_the_two_processes():
    given = {"OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "1", "HOROVOD_RANK": "2", "SLURM_JOB_ID": "5", "HOME": "/h"}
    kept = horovod_probe.own_environment(given)
    assert kept["HOME"] == "/h"
    assert not set(given) - {"HOME"} & set(kept)
