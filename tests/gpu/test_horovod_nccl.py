"""Horovod with NCCL, compiled for TensorFlow's CUDA build by the script for users: it links, loads and connects."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = Path(sysconfig.get_path("purelib"))
FACTS = """
import horovod.tensorflow as hvd
print("built with", hvd.nccl_built(), hvd.cuda_built(), hvd.mpi_built(), hvd.gloo_built())
print(*{line.split()[-1] for line in open("/proc/self/maps") if "libnccl" in line})
"""


@pytest.fixture(scope="module")
def toolkit():
    """CUDA's compiler, with the two names that its own installer makes and its package leaves out."""
    folder = PACKAGES / "nvidia" / "cu13"
    (library,) = (folder / "lib").glob("libcudart.so.*")
    for name, target in ((folder / "lib64", "lib"), (folder / "lib" / "libcudart.so", library.name)):
        if not name.exists():
            name.symlink_to(target)
    return folder


@pytest.fixture(scope="module")
def library(toolkit):
    """Horovod's library in this environment, compiled with NCCL."""
    environment = {**os.environ, "HOROVOD_CUDA_HOME": str(toolkit), "HOROVOD_BUILD_CUDA_CC_LIST": "80"}
    environment.pop("HOROVOD_GPU_OPERATIONS", None)  # the script finds out by itself
    script = ["bash", ROOT / "utils" / "install_horovod.sh", sys.executable]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (PACKAGES / "horovod" / "tensorflow").glob("mpi_lib*.so")
    return found


def said_by(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_no_symbol_is_missing_and_nccl_is_the_package_that_tensorflow_loads(library):
    links = said_by("ldd", "-r", library)
    assert "undefined symbol" not in links
    loaded = [Path(path).resolve() for path in re.findall(r"=> (/\S+)", links)]
    assert (PACKAGES / "nvidia/nccl/lib/libnccl.so.2").resolve() in loaded
    symbols = said_by("nm", "-D", "--undefined-only", library)
    assert "ncclAllReduce" in symbols
    assert "AsGpuStreamValue" not in symbols


def test_it_loads_without_a_gpu_and_says_what_it_has(library):
    said = said_by(sys.executable, "-P", "-c", FACTS)
    nccl, *others = re.search(r"built with (.*)", said)[1].split()
    assert int(nccl) > 20000
    assert others == ["True"] * 3
    assert len(re.findall(r"\S+/libnccl\S*", said)) == 1
