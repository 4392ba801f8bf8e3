"""Facts about the machine."""

import os
import platform
import time

import pytest

from utils.system import machine
from utils.system.machine import (
    cpu_features,
    cpu_name,
    disk_free_gb,
    machine_facts,
    memory_gb,
    peak_resident_bytes,
    resident_bytes,
    uses_onednn,
)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Replaces the system's files about processor and memory."""

    def tell(cpu="", memory="", limit="max", used="0", kinds="", architecture="x86_64"):
        container = (("MEMORY_LIMIT", limit), ("MEMORY_USED", used), ("MEMORY_KINDS", kinds))
        for name, text in (("CPU_INFO", cpu), ("MEMORY_INFO", memory), *container):
            (tmp_path / name).write_text(text)
            monkeypatch.setattr(machine, name, tmp_path / name)
        monkeypatch.setattr(platform, "machine", lambda: architecture)

    return tell


def test_features_are_read_as_linux_spells_them(told):
    told("processor\t: 0\nvmx flags\t: other\nflags\t\t: fpu avx512_bf16 amx_bf16\nmodel name\t: A: B\nflags: no\n")
    assert cpu_features() == {"fpu", "avx512_bf16", "amx_bf16"}
    assert cpu_name() == "A: B"


def test_a_processor_that_says_nothing_has_no_features(told):
    told("processor\t: 0\n")
    assert cpu_features() == frozenset()
    told("flags\t: bf16 amx_bf16\n", architecture="aarch64")
    assert cpu_features() == frozenset()
    assert not uses_onednn({})


def test_onednn_is_on_unless_it_is_turned_off(told):
    told()
    assert uses_onednn({})
    assert not uses_onednn({"TF_ENABLE_ONEDNN_OPTS": "0"})


MEMINFO = "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\nHugePages_Total: 0\n"


def test_memory_is_the_machines_or_the_containers(told):
    told(memory=MEMINFO)
    assert memory_gb() == pytest.approx((8.192, 4.096))
    told(memory=MEMINFO, limit="2000000000\n", used="1500000000\n")
    assert memory_gb() == pytest.approx((2.0, 0.5))
    kinds = "anon 1200000000\nfile 300000000\ninactive_file 200000000\n"
    told(memory=MEMINFO, limit="2000000000\n", used="1500000000\n", kinds=kinds)
    assert memory_gb() == pytest.approx((2.0, 0.7))  # files are given up first
    told(memory="nothing to see\n")
    assert memory_gb() is None


def test_the_peak_of_a_process_stays_when_its_memory_is_given_back():
    before = peak_resident_bytes()
    block = b"x" * 200_000_000
    assert peak_resident_bytes() >= resident_bytes() >= len(block)
    peak = peak_resident_bytes()
    del block
    assert peak_resident_bytes() == pytest.approx(peak, rel=0.05)
    assert peak >= before
    assert resident_bytes() < peak


def test_the_disk_of_a_folder_yet_to_be_made_is_that_of_the_one_above(tmp_path):
    assert disk_free_gb(tmp_path / "a" / "b") == pytest.approx(disk_free_gb(tmp_path), rel=0.01)


def test_facts_are_there_and_take_no_time(tmp_path):
    started = time.process_time()
    facts = machine_facts(tmp_path, os.environ)
    assert time.process_time() - started < 0.05
    assert set(facts) == {
        *("cpu", "cpu_count", "cpu_features", "onednn", "memory_gb", "memory_free_gb", "disk_free_gb")
    }
    assert facts["cpu"]
    assert facts["cpu_count"] == len(os.sched_getaffinity(0))
    assert facts["memory_gb"] >= facts["memory_free_gb"] > 0
