"""State kept when a checkpoint of this project is imported or exported: averages, ranges, momentum."""

import json

import numpy as np
import pytest

from tests.runtime.runs import network, run, train, values
from tests.tools.weights.published_checkpoints import convert
from tests.utils.checkpoints.weights import without_checksums

pytestmark = pytest.mark.slow

FLAGS = ("--num_iter=1", "--lr_init=0.5", "--ema_decay=0.5")
SUFFIX = "/ExponentialMovingAverage"


@pytest.fixture(scope="module")
def quantized(data_dir, tmp_path_factory):
    """A checkpoint after five quantized steps with moving averages; read-only."""
    results = tmp_path_factory.mktemp("state") / "run"
    finished = train(data_dir, results, *FLAGS, "--quantize", "--symmetric", "--use_qdq", "--quant_delay=2")
    assert finished.status == 0, finished.error
    return results


def loss(data, model, results, *more):
    result = run(*network(data, results, "evaluate"), f"--model_dir={model}", "--batch_size=5", *more)
    assert result.status == 0, result.error
    return result.summary["loss"]


@pytest.mark.parametrize("which", ["ema", "raw"])
def test_an_imported_checkpoint_computes_what_it_did_with_its_ranges(data_dir, quantized, tmp_path, capsys, which):
    flags = () if which == "ema" else ("--eval_weights=raw",)
    assert convert(quantized, tmp_path / "out", *flags) == 0
    table = capsys.readouterr().out
    assert ("loaded, its moving average" in table) == (which == "ema")
    assert "not used, quantization ranges" not in table
    before = loss(data_dir, quantized, tmp_path / "a", f"--eval_weights={which}")
    assert loss(data_dir, tmp_path / "out", tmp_path / "b") == pytest.approx(before, rel=1e-6)
    stored = values(tmp_path / "out" / "model.ckpt-0")
    assert stored["fake_quantization_step"] == 5
    assert not any(name.endswith((SUFFIX, "/Momentum")) for name in stored)


def test_averages_that_are_not_there_cannot_be_asked_for(trained, tmp_path, capsys):
    assert convert(trained, tmp_path / "out", "--eval_weights=ema") == 2
    assert "--eval_weights ema: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nvidias_program_gets_ranges_momentum_and_step_and_gives_them_back(data_dir, quantized, tmp_path, capsys):
    assert convert(quantized, tmp_path / "nvidia", "--to=nvidia", "--eval_weights=raw") == 0
    table = capsys.readouterr().out
    assert "not used, optimizer state" not in table
    assert "not used, quantization ranges" not in table
    before, after = values(quantized / "model.ckpt-5"), values(tmp_path / "nvidia" / "model.ckpt-5")
    assert set(after) == {name for name in before if not name.endswith(SUFFIX)}
    assert [name for name in after if not np.array_equal(after[name], before[name])] == []
    flags = ("--quantize", "--symmetric", "--use_qdq")
    again = loss(data_dir, tmp_path / "nvidia", tmp_path / "b", *flags)
    assert again == pytest.approx(loss(data_dir, quantized, tmp_path / "a", "--eval_weights=raw"), rel=1e-6)


def test_ranges_of_an_undescribed_checkpoint_are_used_where_asked_and_told_where_not(data_dir, quantized, tmp_path):
    assert convert(quantized, tmp_path / "nvidia", "--to=nvidia") == 0
    where = (*network(data_dir, tmp_path / "r", "evaluate"), f"--model_dir={tmp_path / 'nvidia'}", "--batch_size=5")
    result = run(*where)
    assert result.status == 0, result.error
    assert "it has quantization ranges, which --quantize uses (with --symmetric, --use_qdq as in its" in result.error
    assert not result.parameters["quantize"]


def test_ranges_by_channel_do_not_go_to_nvidias_program(quantized, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in quantized.glob("model.ckpt-5.*"):
        (copy / path.name).write_bytes(path.read_bytes())
    description = without_checksums(copy / "model.ckpt-5.json")
    description["quantization"]["per_channel"] = True
    (copy / "model.ckpt-5.json").write_text(json.dumps(description))
    assert convert(copy, tmp_path / "out", "--to=nvidia") == 2
    assert "per-channel quantization ranges, which NVIDIA's networks do not have" in capsys.readouterr().err
