"""The data that a config names: files, label map, batches and skipped examples."""

import pytest

from object_detection.pipeline.config import ROOT
from tests.object_detection.pipeline.pipelines import experiment
from utils.config import RunConfig
from utils.errors import UsageError


def test_input_files_may_be_lists_and_have_commas():
    config, _ = experiment('train_input_path=[a*,"b*, c*"],eval_input_path="d*,e*"')
    assert config.data.train_files == ("a*", "b*, c*")  # separate patterns or one name: decided when they are read
    assert config.data.validation_files == ("d*,e*",)


def test_a_label_map_is_looked_for_here_and_then_in_the_repository(tmp_path, monkeypatch):
    (tmp_path / "object_detection" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    file = "README.md"  # any file of the repository
    assert experiment(f"label_map_path={file}")[0].data.label_map_file == str(ROOT / file)
    (tmp_path / file).touch()
    assert experiment(f"label_map_path={file}")[0].data.label_map_file == file
    assert experiment("label_map_path=none.pbtxt")[0].data.label_map_file == "none.pbtxt"
    assert experiment("label_map_path=")[0].data.label_map_file is None


def test_two_label_maps_are_one_too_many():
    with pytest.raises(UsageError, match=r"eval_input_reader\[0\]\.label_map_path b: must be object_detection/data"):
        experiment("eval_input_reader[0].label_map_path=b")


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("train", "train_input_reader"),
        ("train_and_evaluate", "train_input_reader"),
        ("train_and_evaluate", "eval_input_reader[0]"),
        ("evaluate", "eval_input_reader[0]"),
        ("inference_benchmark", "eval_input_reader[0]"),
    ],
)
def test_the_files_that_a_mode_reads_are_needed(mode, missing):
    with pytest.raises(UsageError) as caught:
        experiment(f"{missing}.tf_record_input_reader.input_path=[]", run=RunConfig(mode=mode))
    assert f"{missing}.tf_record_input_reader.input_path: needed; --hparams_overrides=" in str(caught.value)


def test_a_mode_does_without_the_files_that_it_does_not_read():
    experiment("eval_input_reader=[]", run=RunConfig(mode="train"))
    experiment("train_input_path=[]", run=RunConfig(mode="evaluate"))
    experiment("eval_input_reader=[]", run=RunConfig(mode="evaluate"), eval_split="train")


def test_evaluation_alone_has_a_batch_size_of_its_own_where_the_config_gives_one():
    alone = RunConfig(mode="evaluate")
    assert experiment(run=alone)[0].data.batch_size_per_replica == 32
    assert experiment("eval_config.batch_size=8", run=alone)[0].data.batch_size_per_replica == 8
    config, notes = experiment("eval_config.batch_size=8")
    assert config.data.batch_size_per_replica == 32
    assert any(note.startswith("eval_config.batch_size 8 has no effect in a run that trains") for note in notes)


def test_evaluation_may_leave_examples_out():
    sampled = "eval_input_reader[0].sample_1_of_n_examples=3"
    assert experiment(sampled)[0].data.eval_every == 3
    assert experiment(sampled, eval_every=2)[0].data.eval_every == 2
    config, _ = experiment(eval_split="train", eval_every=5, run=RunConfig(mode="evaluate"))
    assert (config.data.eval_split, config.data.eval_every) == ("train", 5)


def test_the_shuffle_buffer_is_the_projects_unless_the_config_says_one():
    assert experiment()[0].data.shuffle_buffer == 4096
    assert experiment("train_input_reader.shuffle_buffer_size=10")[0].data.shuffle_buffer == 10
