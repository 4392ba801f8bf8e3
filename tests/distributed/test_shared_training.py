"""Several processes train like one: the same global batches, the same losses, one set of files."""

import numpy as np
import pytest

from tests.distributed.launching import HOROVODRUN, launched, losses
from tests.runtime.runs import network, run, values
from utils.weights.checkpoint_files import read_metadata, steps_in

pytestmark = pytest.mark.slow
LENGTH = ("--num_iter=20", "--iter_unit=batch", "--display_every=1", "--seed=3", "--lr_init=8", "--lr_warmup_epochs=0")
GLOBAL_BATCH = 8


@pytest.fixture(scope="module")
def alone(pictures, tmp_path_factory):
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    result = run(*network(pictures, folder, "train"), f"--batch_size={GLOBAL_BATCH}", *LENGTH)
    assert result.status == 0, result.error
    return folder


@pytest.mark.parametrize(("processes", "size"), [("two", 2), ("four", 4), ("horovodrun", 2), ("local", 2)])
def test_the_same_global_batches_give_the_same_losses_on_any_number_of_processes(
    processes, size, alone, pictures, tmp_path, request
):
    batch = f"--batch_size={GLOBAL_BATCH // size}"
    flags = (*network(pictures, tmp_path / "run", "train"), batch, *LENGTH, "--sync_batch_norm")
    if processes == "horovodrun":
        ended = launched(size, tmp_path, *flags, launcher=HOROVODRUN)
    else:
        ended = request.getfixturevalue(processes)(tmp_path, *flags)
    assert ended.status == 0, ended.text
    expected, found = losses(alone / "log.json"), losses(tmp_path / "run" / "log.json")
    assert len(expected) == 20
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    ours, theirs = values(alone / "model.ckpt-20"), values(tmp_path / "run" / "model.ckpt-20")
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=1e-2, atol=2e-3, err_msg=name)
    former, metadata = (read_metadata(folder / "model.ckpt-20") for folder in (alone, tmp_path / "run"))
    assert metadata["position"] == former["position"]
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 1
    assert ended.text.count("training from step 0 to 20 of 20") == 1  # rank 0 speaks for all


def test_what_was_begun_by_two_is_continued_by_one(two, alone, pictures, tmp_path):
    flags = (*network(pictures, tmp_path / "run", "train"), *LENGTH, "--run_iter=10")
    ended = two(tmp_path, *flags, "--batch_size=4", "--sync_batch_norm")
    assert ended.status == 0, ended.text
    assert steps_in(tmp_path / "run") == [10]
    result = run(*flags, f"--batch_size={GLOBAL_BATCH}")
    assert result.status == 0, result.error
    assert "batch-norm" not in result.error
    np.testing.assert_allclose(losses(tmp_path / "run" / "log.json"), losses(alone / "log.json"), rtol=2e-3)


def test_a_deterministic_run_in_four_processes_is_resumed_bit_for_bit(four, pictures, tmp_path):
    """With more than two addends, a sum depends on their order."""
    flags = (*LENGTH, "--num_iter=6", "--batch_size=2", "--deterministic")
    for folder, limits in (("whole", ((),)), ("parts", (("--run_iter=3",), ()))):
        for limit in limits:
            ended = four(tmp_path, *network(pictures, tmp_path / folder, "train"), *flags, *limit)
            assert ended.status == 0, ended.text
    whole, parts = (values(tmp_path / folder / "model.ckpt-6") for folder in ("whole", "parts"))
    assert [name for name, value in whole.items() if not np.array_equal(value, parts[name])] == []


def test_processes_keep_statistics_of_their_own_unless_asked_to_share_them(two, alone, pictures, tmp_path):
    ended = two(tmp_path, *network(pictures, tmp_path / "run", "train"), "--batch_size=4", *LENGTH)
    assert ended.status == 0, ended.text
    found, expected = losses(tmp_path / "run" / "log.json"), losses(alone / "log.json")
    assert np.isfinite(found).all()
    assert not np.allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize("processes", ["two", "local"])
def test_gradients_may_travel_as_float16(processes, alone, pictures, tmp_path, request):
    flags = (*network(pictures, tmp_path / "run", "train"), "--batch_size=4", *LENGTH)
    ended = request.getfixturevalue(processes)(tmp_path, *flags, "--sync_batch_norm", "--fp16_compression")
    assert ended.status == 0, ended.text
    found, expected = losses(tmp_path / "run" / "log.json"), losses(alone / "log.json")
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert found != expected


DETECTION = (
    "--arch=ssd320",
    "--mode=train",
    "--image_size=64",
    "--sync_batch_norm",
    "--num_iter=6",
    "--iter_unit=batch",
)
DETECTION += ("--display_every=1", "--seed=3", "--lr_warmup_epochs=0")


def test_a_detector_is_trained_by_two_as_by_one(two, scenes, tmp_path):
    flags = (*DETECTION, f"--data_dir={scenes}")
    result = run(*flags, f"--results_dir={tmp_path / 'one'}", "--batch_size=4")
    assert result.status == 0, result.error
    ended = two(tmp_path, *flags, f"--results_dir={tmp_path / 'two'}", "--batch_size=2")
    assert ended.status == 0, ended.text
    found, expected = (losses(tmp_path / name / "log.json") for name in ("two", "one"))
    assert len(expected) == 6
    np.testing.assert_allclose(found, expected, rtol=1e-3)
