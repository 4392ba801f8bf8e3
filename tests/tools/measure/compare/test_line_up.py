import json
import stat
import sys

import pytest

from tools.measure.compare import line_up
from tools.measure.compare.cells import cell_of
from tools.measure.compare.line_up import Hall, UnavailableError, entrants
from utils.errors import UsageError

OURS, ARTEFACTS = "this program", ("this program, ONNX Runtime artefact", "this program, OpenVINO artefact")
TIMM = ("timm, eager", "timm, compiled")


@pytest.fixture
def hall(tmp_path):
    return Hall(tmp_path, 2)


@pytest.mark.parametrize(
    ("cell", "own", "peers"),
    [
        ("resnet50-infer-1-f32", (OURS, *ARTEFACTS), (*TIMM, "ONNX Runtime", "OpenVINO")),
        ("resnet50-infer-1-bf16", (OURS, ARTEFACTS[1]), (*TIMM, "OpenVINO")),
        ("resnet50-train-16-bf16", (OURS,), TIMM),
        ("ssd320-train-8-f32", (OURS,), ("torchvision RetinaNet",)),
        ("ssd320-infer-8-f32", (OURS,), ("torchvision RetinaNet",)),
        ("resnet50-infer-1-f32-xla", (f"{OURS}, --xla",), (f"{OURS}, without --xla",)),
        ("input-32", (OURS, f"{OURS}, --dali"), ("DALI", "torchvision loader")),
        ("resnet50-predict", (OURS,), ("timm script",)),
        ("ssd320-predict", (OURS,), ()),
        ("resnet50-start", (OURS,), ()),
    ],
)
def test_the_contestants_of_a_cell(hall, cell, own, peers):
    found = entrants(cell_of(cell), hall)
    assert tuple(one.name for one in found if not one.peer) == own
    assert tuple(one.name for one in found if one.peer) == peers


def test_our_network_runs_under_the_flags_of_its_cell(hall):
    own, _ = entrants(cell_of("resnet50-infer-4-bf16-xla"), hall)
    _, _, code, text = own.command()
    assert code == "from tools.measure.compare.ours import main; main()"
    assert json.loads(text) == {
        "entry": "network",
        "flags": [
            *("--arch=resnet50", "--mode=inference_benchmark", "--batch_size=4", "--image_size=224"),
            *("--amp", "--xla"),
        ],
        "threads": 2,
    }


def test_what_is_lacking_is_named_with_the_way_to_it(hall, monkeypatch):
    assert hall.lack("torch") == (
        "needs torch: --oracle_python names an interpreter that has it (requirements/oracle.txt)"
    )
    assert hall.lack("records").startswith("needs images: --data_dir names a folder")
    monkeypatch.setattr(line_up, "cpu_features", frozenset)
    assert hall.lack("bfloat16") == "this CPU has no bfloat16 instructions"
    monkeypatch.setattr(line_up, "find_spec", lambda name: None)
    assert hall.lack("onnx") == ("needs onnx, tf2onnx, onnxruntime: python -m pip install -r requirements/export.txt")
    monkeypatch.setattr(line_up, "installed", lambda names: None)
    assert hall.lack("dali") == "needs DALI: python -m pip install -r requirements/dali.txt"
    assert hall.lacks(("records", "dali")) == hall.lack("records")


def test_an_interpreter_without_the_packages_is_one_with_reasons(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(bare.stat().st_mode | stat.S_IXUSR)
    hall = Hall(tmp_path, 2, str(bare))
    assert hall.peers["versions"] == {}
    assert hall.lack("torch") == (
        f"{bare} (--oracle_python) cannot import torch: ModuleNotFoundError: No module named 'torch'"
    )
    assert hall.lack("timm").endswith("cannot import timm: ModuleNotFoundError: No module named 'timm'")


def test_an_environment_that_is_absent_is_refused_with_the_way_on(tmp_path):
    way = "make the environment that requirements/oracle.txt describes, or leave out the flag"
    for path, fault in (
        (tmp_path / "bin" / "python", "no such file"),
        ("/bin/true", r"does not work as a Python interpreter \(status 0\)"),
        (tmp_path, r"cannot be run as a Python interpreter \(PermissionError\)"),
    ):
        with pytest.raises(UsageError, match=f"^--oracle_python {path}: {fault}; {way}"):
            Hall(tmp_path, 2, str(path))


def test_a_file_is_prepared_once_and_a_failure_is_told_each_time(hall, tmp_path):
    made = tmp_path / "made"
    write = f"import pathlib; pathlib.Path({str(made)!r}).open('x')"
    for _ in range(2):  # a second run of the command would fail
        assert hall._once(made, [sys.executable, "-c", write]) == made
    for _ in range(2):
        with pytest.raises(UnavailableError, match="cannot be prepared: no space is left"):
            hall._once(tmp_path / "other", [sys.executable, "-c", "raise SystemExit('no space is left')"])
