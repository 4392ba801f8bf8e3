"""The cards that docs/install.md names as served: each library has code for each of them."""

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.gpu.fatbins import MACHINE_CODE, Code, code_in

LIBRARIES = ("cudnn", "nccl", "cublas", "cufft", "curand", "cusolver", "cusparse")
PINS = dict(
    re.findall(r"^(nvidia-[\w-]+-cu12)==(\S+)$", (ROOT / "requirements/constraints.txt").read_text(), re.MULTILINE)
)


def served():
    """The compute capabilities, times ten, in the table of the installation's page."""
    section = (ROOT / "docs/install.md").read_text().split("## Which GPUs", 1)[1].split("\n## ", 1)[0]
    return [int(found.replace(".", "")) for found in re.findall(r"^\| (\d+\.\d) \|", section, re.MULTILINE)]


def unserved(path):
    """The served cards for which a library has code for others only."""
    code = code_in(path)
    return [card for card in served() if code and not any(piece.runs_on(card) for piece in code)]


def test_the_table_begins_with_the_v100s_of_dgx_1_and_dgx_2():
    assert served()[0] == 70
    assert {80, 90} < set(served())


def test_tensorflow_has_code_for_each_served_card():
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    libraries = [folder / f"libtensorflow_{name}.so.2" for name in ("cc", "framework")]
    assert [unserved(path) for path in libraries] == [[], []]
    assert all(Code(MACHINE_CODE, 70) in code_in(path) for path in libraries)


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_pinned_library_of_cuda_has_code_for_each_served_card(name, tmp_path):
    package = f"nvidia-{name}-cu12"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp_path]
    subprocess.run([*download, f"{package}=={PINS[package]}"], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    found = {}
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if ".so" in member and "libcufftw" not in member:  # the interface of FFTW; TensorFlow does without it
                path = Path(archive.extract(member, tmp_path))
                found[path.name] = (len(code_in(path)), unserved(path))
                path.unlink()
    wheel.unlink()
    assert {library: cards for library, (_, cards) in found.items() if cards} == {}
    assert any(pieces for pieces, _ in found.values())
