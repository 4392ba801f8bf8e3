"""Whole launches with --dali: training, resuming and evaluating classifiers and detectors."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.runtime.runs import assert_same_checkpoint, network, picture, run, train, write_data, write_split
from tests.runtime.scenes import write_scenes
from tests.utils.input_records import record
from utils.records.record_index import INDEX_FOLDER

MISSING = "NVIDIA DALI is not installed (requirements/dali.txt)"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``data`` for classification and its index in ``idx``, and ``scenes`` for detection."""
    pytest.importorskip("nvidia.dali", reason=MISSING)
    folder = tmp_path_factory.mktemp("dali")
    write_data(folder / "data")
    write_scenes(folder / "scenes")
    script = ["bash", ROOT / "utils" / "dali_index.sh", folder / "data", folder / "idx"]
    subprocess.run(script, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable})
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """Two epochs of five steps in one launch."""
    result = train(folder / "data", folder / "whole", "--dali", "--num_iter=2", "--display_every=1")
    assert result.status == 0, result.error
    return result


def test_training_with_dali_makes_its_index_and_says_what_it_reads_with(folder, trained):
    assert {path.name for path in (folder / "data" / INDEX_FOLDER).iterdir()} == {
        "train-00000-of-00002", "train-00001-of-00002",
    }  # fmt: skip
    assert trained.parameters["dali"] is True
    assert 0 <= trained.summary["input_wait_share"] <= 1


def test_a_run_interrupted_in_its_first_epoch_ends_with_the_same_weights(folder, trained, tmp_path):
    for _ in range(2):
        half = train(folder / "data", tmp_path, "--dali", "--num_iter=10", "--run_iter=7", "--iter_unit=batch")
        assert half.status == 0, half.error
    assert_same_checkpoint(tmp_path / "model.ckpt-10", folder / "whole" / "model.ckpt-10")


def test_of_images_without_loss_both_readers_train_alike(folder, trained, tmp_path):
    ours = trained.losses
    theirs = train(folder / "data", tmp_path, "--num_iter=2", "--display_every=1").losses
    assert [step for step, _ in ours] == [step for step, _ in theirs] == list(range(1, 11))
    assert [loss for _, loss in ours[:3]] == pytest.approx([loss for _, loss in theirs[:3]], rel=1e-3)


def evaluate(data, results, *more, arch="resnet50"):
    result = run(*network(data, results, "evaluate", arch), "--batch_size=4", *more)
    assert result.status == 0, result.error
    return {key: value for key, value in result.summary.items() if not key.startswith(("eval_", "input_"))}


def test_evaluation_with_dali_has_the_metrics_of_tf_data(folder, trained, tmp_path):
    model = f"--model_dir={folder / 'whole'}"
    ours = evaluate(folder / "data", tmp_path / "a", model, "--dali", f"--data_idx_dir={folder / 'idx'}")
    theirs = evaluate(folder / "data", tmp_path / "b", model)
    intervals = ours.pop("intervals"), theirs.pop("intervals")
    assert ours == {
        key: value if isinstance(value, str) else pytest.approx(value, rel=1e-3) for key, value in theirs.items()
    }
    assert intervals[0] == {key: pytest.approx(ends, rel=1e-2) for key, ends in intervals[1].items()}


def test_detection_trains_and_evaluates_with_dali(folder, tmp_path):
    flags = ("--arch=ssd320", f"--data_dir={folder / 'scenes'}", "--image_size=64", "--batch_size=4", "--seed=3")
    done = run(*flags, "--mode=train", "--dali", "--num_iter=1", f"--results_dir={tmp_path / 'run'}")
    assert done.status == 0, done.error
    summaries = []
    for name, more in (("dali", ["--dali"]), ("tf", [])):
        results = [f"--results_dir={tmp_path / name}", f"--model_dir={tmp_path / 'run'}"]
        done = run(*flags, "--mode=evaluate", *results, *more)
        assert done.status == 0, done.error
        summaries.append({key: value for key, value in done.summary.items() if key.startswith(("Precision", "Recall"))})
    assert len(summaries[0]) == 12
    assert summaries[0] == pytest.approx(summaries[1], abs=1e-3)


def test_a_bad_record_is_named_and_counted_as_without_dali(folder, tmp_path):
    data = write_data(tmp_path / "data", manifest=False)
    jpeg_without_body = b"\x89PNG\r\n\x1a\n" + picture(0)[8:60]
    records = [record(jpeg_without_body if i == 13 else picture(i), 1 + i % 3) for i in range(20)]
    _ = [*write_split(data, "train", records, 2)]
    sentence = f"{data}/train-00001-of-00002, record 3: the image does not decode"
    result = train(data, tmp_path / "a", "--dali", "--num_iter=1", "--num_classes=3")
    assert result.status == 1
    assert sentence in result.error
    assert "; 1 bad record, 0 allowed (--max_bad_records)" in result.error
    result = train(data, tmp_path / "b", "--dali", "--num_iter=1", "--num_classes=3", "--max_bad_records=1")
    assert result.status == 0
    (warning,) = [line for line in result.error.splitlines() if sentence in line]
    assert warning.endswith("; skipped")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "none: no such folder; `bash utils/dali_index.sh SRC DST` writes"),
        ("0 9\n", "is not the index of"),
    ],
)
def test_an_index_that_cannot_be_used_ends_the_launch_with_a_sentence(folder, trained, tmp_path, index, message):
    place = tmp_path / "none"
    if index:
        place.mkdir()
        (place / "validation-00000-of-00001").write_text(index)
    flags = network(folder / "data", tmp_path / "r", "evaluate")
    result = run(*flags, "--batch_size=4", f"--model_dir={folder / 'whole'}", "--dali", f"--data_idx_dir={place}")
    assert result.status == 1
    assert message in result.error.splitlines()[-1]


def test_main_trains_and_evaluates_with_dali_in_processes_of_its_own(folder, tmp_path):
    def main(mode, *more):
        command = [sys.executable, "-m", "tests.runtime.tiny_main", *network(folder / "data", tmp_path, mode), "--dali"]
        flags = ["--batch_size=4", "--deterministic", "--seed=3", f"--data_idx_dir={folder / 'idx'}", *more]
        done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    main("train", "--num_iter=1", "--lr_warmup_epochs=0")
    assert "images : 10 " in main("evaluate")
