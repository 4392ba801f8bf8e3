"""Training images whose size differs from that of evaluation, and changes in the course of a run."""

from unittest import mock

import pytest

from runtime import trainer as trainer_module
from tests.runtime.runs import assert_same_checkpoint, network, run, train
from utils.weights.checkpoint_files import read_metadata

FLAGS = ("--iter_unit=batch", "--display_every=1")
STAGED = (*FLAGS, "--num_iter=4", "--progressive_sizes=8:0,12:0.5", "--deterministic", "--mixup=0.2")


@pytest.fixture
def sides():
    """The side of the training images of each graph, in turn."""
    seen = []
    genuine = trainer_module.build_train_graph

    def build(*arguments):
        graph = genuine(*arguments)
        seen.append(graph.input.batch.images.shape[1])
        return graph

    with mock.patch.object(trainer_module, "build_train_graph", build):
        yield seen


def trained(data, folder, *flags, limits=("",)):
    """The losses of launches that end together at step 4, and the description of its checkpoint."""
    launches = [train(data, folder, *STAGED, *flags, *filter(None, [limit])) for limit in limits]
    assert [launch.status for launch in launches] == [0] * len(limits), launches[-1].error
    return [loss for launch in launches for loss in launch.losses], read_metadata(folder / "model.ckpt-4")


@pytest.mark.slow
def test_a_run_interrupted_within_its_stages_ends_with_the_same_weights(data_dir, tmp_path, sides):
    assert train(data_dir, tmp_path / "teacher", *FLAGS, "--num_iter=1").status == 0
    taught = f"--distill_from={tmp_path / 'teacher'}"  # each size has a graph, whose teacher is to be loaded
    whole = trained(data_dir, tmp_path / "whole", taught)
    assert sides == [16, 8, 12]
    assert [step for step, _ in whole[0]] == [1, 2, 3, 4]
    assert trained(data_dir, tmp_path / "parts", taught, limits=("--run_iter=1", "--run_iter=2", "")) == whole
    assert sides[3:] == [8, 8, 12, 12]
    assert_same_checkpoint(tmp_path / "whole" / "model.ckpt-4", tmp_path / "parts" / "model.ckpt-4")


@pytest.mark.slow
def test_dali_changes_its_size_too(data_dir, tmp_path, sides):
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    whole = trained(data_dir, tmp_path / "whole", "--dali")
    assert sides == [8, 12]
    assert trained(data_dir, tmp_path / "parts", "--dali", limits=("--run_iter=3", "")) == whole
    assert_same_checkpoint(tmp_path / "whole" / "model.ckpt-4", tmp_path / "parts" / "model.ckpt-4")


@pytest.mark.slow
def test_evaluation_keeps_its_size_and_crop_and_the_run_says_what_changed(data_dir, tmp_path, sides):
    flags = (*FLAGS, "--num_iter=1", "--train_image_size=8", "--eval_crop=0.5")
    done = train(data_dir, tmp_path, *flags, mode="train_and_evaluate")
    assert done.status == 0, done.error
    assert sides == [8]
    metadata = read_metadata(tmp_path / "model.ckpt-1")
    assert (metadata["image_size"], metadata["eval_crop"]) == (16, 0.5)
    assert metadata["tuning"] == {"train_image_size": 8}
    alone, other = (
        run(*network(data_dir, tmp_path / "e", "evaluate"), "--batch_size=4", f"--model_dir={tmp_path}", *crop)
        for crop in ((), ("--eval_crop=1",))
    )
    assert alone.summary["loss"] == done.summary["loss"] != other.summary["loss"]
    assert "--eval_crop 1 is used; the checkpoint has 0.5" in other.error
    again = train(data_dir, tmp_path, *FLAGS, "--num_iter=2")
    assert "--train_image_size: 8 so far in this run, off from here on" in again.error
