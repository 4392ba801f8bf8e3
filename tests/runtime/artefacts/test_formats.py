"""A row is all that a format needs beside its module: it drives export, verification, recognition and opening."""

import dataclasses
import json
from pathlib import Path
from unittest import mock

import pytest

from runtime.artefacts.artefact import Artefact
from runtime.artefacts.export_job import Written
from runtime.artefacts.formats import FORMATS, artefacts_in, find_artefact, format_of, function
from runtime.artefacts.frozen_graph import open_frozen_graph, write_frozen_graph
from tests.runtime.artefacts.exports import export
from tests.runtime.runs import run
from utils.errors import RunError


def write_renamed(job, row, path, metadata):
    """A frozen graph under another name."""
    write_frozen_graph(job.graph(row), path, metadata, text=False)
    return Written(facts={"nodes": len(job.graph(row).graph_def.node)})


def open_renamed(path, threads):
    return dataclasses.replace(open_frozen_graph(path), runtime=f"another runtime on {threads} threads")


RENAMED = dataclasses.replace(
    FORMATS["frozen"],
    name="renamed",
    file="model.renamed",
    write=f"{__name__}:write_renamed",
    open=f"{__name__}:open_renamed",
    flags=(),
)


def test_functions_of_rows_exist_and_files_differ():
    for row in FORMATS.values():
        assert all(callable(function(name)) for name in (row.write, row.open, row.check) if name), row.name
    assert len({row.file for row in FORMATS.values()}) == len(FORMATS)


def test_a_new_row_is_a_new_format(trained, data_dir, tmp_path):
    with mock.patch.dict(FORMATS, renamed=RENAMED):
        found = export(tmp_path / "out", f"--model_dir={trained}", f"--data_dir={data_dir}", "--format=renamed")
        assert found.status == 0, found.error
        assert found.of("renamed")["nodes"] > 10
        assert found.of("renamed")["runtime"].startswith("another runtime on ")
        path = tmp_path / "out" / "model.renamed"
        assert artefacts_in(path.parent) == [path]
        flags = ("--mode=evaluate", f"--data_dir={data_dir}", f"--results_dir={tmp_path}", "--batch_size=4")
        evaluated = run(*flags, f"--model_dir={path}")
        assert evaluated.status == 0, evaluated.error
        assert evaluated.summary["top1_accuracy"] == found.of("renamed")["of_artefact"]
    assert json.loads((tmp_path / "out" / "model.renamed.json").read_text())["artefact"]["format"] == "renamed"


def test_artefacts_are_told_by_suffix_and_marker(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").touch()
    (tmp_path / "other.onnx").mkdir()  # a folder of any name
    for name in ("a.pb", "a.onnx", "a.tflite", "a.xml", "a.bin", "annotation.xml", "model.ckpt-5.index"):
        (tmp_path / name).touch()
    found = {path.name: format_of(path).name for path in artefacts_in(tmp_path)}
    files = {"a.pb": "frozen", "a.onnx": "onnx", "a.tflite": "tflite", "a.xml": "openvino"}
    assert found == {**files, "model": "saved_model"}  # but not an annotation, which has no weights beside it
    assert find_artefact(tmp_path / "model" / "saved_model.pb") == find_artefact(tmp_path / "model")
    assert find_artefact(tmp_path) is find_artefact(tmp_path / "model.ckpt-5") is find_artefact(Path("none")) is None
    with pytest.raises(RunError, match=r"b\.onnx: no such file"):
        find_artefact(tmp_path / "b.onnx")


def test_an_artefact_of_no_images_is_refused(tmp_path):
    with pytest.raises(Exception, match="takes an input of shape"):
        Artefact(path=tmp_path, runtime="", precision="float32", metadata={}, input_shape=[1], outputs={}, forward=dict)
