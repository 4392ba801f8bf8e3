"""A network trained on handwritten digits with 8 bits is as accurate in LiteRT's integers as in its own graph."""

import subprocess
import sys
from unittest import mock

import pytest

from model.specs import ResNetSpec
from tests.conftest import ROOT
from tests.runtime.artefacts.exports import export, need_packages
from tests.runtime.runs import TINY, run
from tools.convert import __main__ as convert_dataset

need_packages("tflite")
pytest.importorskip("sklearn", reason="scikit-learn is not installed (requirements/examples.txt)")
SMALL = ResNetSpec(name="resnet50", blocks=(1, 1, 1), widths=(16, 32, 64), expansion=2, stem_width=16)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """1,417 and 340 handwritten digits as records."""
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, ROOT / "examples" / "make_digits.py", folder / "images"], check=True, cwd=ROOT)
    assert convert_dataset.main([str(folder / "images"), str(folder / "records")]) == 0
    return folder / "records"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [(), ("--symmetric", "--use_qdq", "--per_channel_weights")], ids="-".join)
def test_int8_has_the_accuracy_of_the_graph_that_was_trained_with_8_bits(scheme, digits, tmp_path):
    shared = ("--arch=resnet50", f"--data_dir={digits}", "--batch_size=32")
    schedule = ("--num_iter=4", "--lr_init=0.4", "--lr_warmup_epochs=1", "--cosine_lr", "--weight_init=fan_in")
    with mock.patch.dict(TINY, resnet50=SMALL):
        flags = ("--image_size=24", "--min_crop_area=0.8", "--seed=1", "--quantize", *scheme, *schedule)
        trained = run(*shared, "--mode=train_and_evaluate", *flags, f"--results_dir={tmp_path / 'run'}")
        assert trained.status == 0, trained.error
        assert trained.summary["top1_accuracy"] > 0.9  # below that, a comparison would mean little
        written = export(tmp_path / "out", f"--model_dir={tmp_path / 'run'}", "--format=tflite_int8")
        assert written.status == 0, written.error
        path = written.of("tflite_int8")["path"]
        result = run(*shared, "--mode=evaluate", f"--model_dir={path}", f"--results_dir={tmp_path / 'eval'}")
    assert result.status == 0, result.error
    assert result.summary["precision"] == "int8"
    assert result.summary["images"] == 340
    assert result.summary["top1_accuracy"] == pytest.approx(trained.summary["top1_accuracy"], abs=0.01)
