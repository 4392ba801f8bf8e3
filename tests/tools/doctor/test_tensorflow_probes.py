"""Probes of TensorFlow and its parts."""

import numpy as np
import pytest
import tensorflow as tf

from tools.doctor import tensorflow_probes
from tools.doctor.package_probes import EXPECTED_AP
from tools.doctor.probe import Missing
from utils.errors import RunError


def test_tensorflow_and_the_evaluator_work_here():
    assert tf.__version__ in tensorflow_probes.tensorflow().text
    assert tensorflow_probes.coco_evaluator().facts["ap"] == pytest.approx(EXPECTED_AP, abs=1e-12)


def test_the_kernel_of_grouped_convolutions_is_told(monkeypatch):
    assert tensorflow_probes.grouped_convolution().facts["kernel"] in ("native", "split")
    monkeypatch.setattr(tensorflow_probes, "probe_grouped_convolution", lambda *arguments: "split")
    assert "split and concatenated" in tensorflow_probes.grouped_convolution().text


def test_amp_is_told_by_what_it_does(monkeypatch):
    monkeypatch.setattr(tensorflow_probes, "gpu_names", list)
    monkeypatch.setattr(tensorflow_probes, "cpu_features", lambda: frozenset({"amx_bf16"}))
    assert tensorflow_probes.amp().text == "--amp computes in bfloat16"
    monkeypatch.setattr(tensorflow_probes, "cpu_features", frozenset)
    for probe in (tensorflow_probes.amp, tensorflow_probes.bf16):
        with pytest.raises(Missing):
            probe()
    monkeypatch.setattr(tensorflow_probes, "gpu_names", lambda: ["Some GPU"])
    assert tensorflow_probes.amp().text == "--amp computes in float16 with dynamic loss scaling"


def test_gpus_that_tensorflow_cannot_use_are_broken_and_not_missing(monkeypatch):
    monkeypatch.setattr(tensorflow_probes, "gpu_names", list)
    monkeypatch.setattr(tensorflow_probes, "unused_gpus", lambda environ: "")
    with pytest.raises(Missing):
        tensorflow_probes.gpu()
    monkeypatch.setattr(tensorflow_probes, "unused_gpus", lambda environ: "TensorFlow cannot use the 2 GPUs")
    with pytest.raises(RunError, match="TensorFlow cannot use the 2 GPUs"):
        tensorflow_probes.gpu()


def test_bfloat16_that_computes_nonsense_is_found_out(monkeypatch):
    monkeypatch.setattr(tensorflow_probes, "cpu_features", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(
        tensorflow_probes, "_convolved", lambda dtype: ([np.ones(4) * (1.0 if dtype == tf.float32 else 1.1)] * 3, 1.0)
    )
    with pytest.raises(RunError, match=r"off by 10\.0 %"):
        tensorflow_probes.bf16()


def test_a_wrong_evaluator_is_found_out_here_too(monkeypatch):
    class Summary:
        metrics = dict.fromkeys(tensorflow_probes.METRICS, 0.5)

    monkeypatch.setattr(tensorflow_probes, "score", lambda *arguments: Summary)
    with pytest.raises(RunError, match=r"finds AP 0\.5"):
        tensorflow_probes.coco_evaluator()


def test_dali_decodes_a_jpeg():
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    assert "decoded in a pipeline" in tensorflow_probes.dali().text


def test_dali_that_decodes_nonsense_is_found_out(monkeypatch):
    monkeypatch.setattr(tensorflow_probes, "version_of", lambda *names, how: "2.4.0")
    monkeypatch.setattr(tensorflow_probes, "decode_corner", lambda *arguments: np.zeros([8, 8, 3]))
    with pytest.raises(RunError, match="a gray JPEG decodes to 0 to 0"):
        tensorflow_probes.dali()
