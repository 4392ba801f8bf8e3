"""Probes of what networks compute with."""

import numpy as np
import pytest
import tensorflow as tf

from runtime import probes
from utils.errors import RunError
from utils.health.packages import EXPECTED_AP
from utils.health.probe import Missing


def test_tensorflow_and_the_evaluator_work_here():
    assert tf.__version__ in probes.tensorflow().text
    assert probes.coco_evaluator().facts["ap"] == pytest.approx(EXPECTED_AP, abs=1e-12)


def test_the_kernel_of_grouped_convolutions_is_told(monkeypatch):
    assert probes.grouped_convolution().facts["kernel"] in ("native", "split")
    monkeypatch.setattr(probes, "probe_grouped_convolution", lambda *arguments: "split")
    assert "split and concatenated" in probes.grouped_convolution().text


def test_amp_is_told_by_what_it_does(monkeypatch):
    monkeypatch.setattr(probes, "gpu_names", list)
    monkeypatch.setattr(probes, "cpu_features", lambda: frozenset({"amx_bf16"}))
    assert probes.amp().text == "--amp computes in bfloat16"
    monkeypatch.setattr(probes, "cpu_features", frozenset)
    for probe in (probes.amp, probes.bf16):
        with pytest.raises(Missing):
            probe()
    monkeypatch.setattr(probes, "gpu_names", lambda: ["Some GPU"])
    assert probes.amp().text == "--amp computes in float16 with dynamic loss scaling"


def test_bfloat16_that_computes_nonsense_is_found_out(monkeypatch):
    monkeypatch.setattr(probes, "cpu_features", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(
        probes, "_convolved", lambda dtype: ([np.ones(4) * (1.0 if dtype == tf.float32 else 1.1)] * 3, 1.0)
    )
    with pytest.raises(RunError, match=r"off by 10\.0%"):
        probes.bf16()


def test_a_wrong_evaluator_is_found_out_here_too(monkeypatch):
    class Summary:
        metrics = dict.fromkeys(probes.METRICS, 0.5)

    monkeypatch.setattr(probes, "score", lambda *arguments: Summary)
    with pytest.raises(RunError, match=r"finds an AP of 0\.5"):
        probes.coco_evaluator()


def test_dali_decodes_a_jpeg():
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements-dali.txt)")
    assert "decoded in a pipeline" in probes.dali().text


def test_dali_that_decodes_nonsense_is_found_out(monkeypatch):
    monkeypatch.setattr(probes, "version_of", lambda *names, how: "2.4.0")
    monkeypatch.setattr(probes, "decode_corner", lambda *arguments: np.zeros([8, 8, 3]))
    with pytest.raises(RunError, match="a gray JPEG decodes to 0 to 0"):
        probes.dali()
