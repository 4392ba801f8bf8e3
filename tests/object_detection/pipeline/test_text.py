"""Reading of a config's text: the place of each field, and the errors for invalid text."""

import itertools
import re
from pathlib import Path

import pytest

from object_detection.pipeline.config import to_experiment
from object_detection.pipeline.text import all_paths, read
from tests.object_detection.pipeline.pipelines import ALL, CONFIGS, COSINE, OPTIONS, SSD, edited, shipped
from utils.config import RunConfig
from utils.errors import UsageError


def read_text(tmp_path, text):
    path = tmp_path / "my.config"
    path.write_text(text, encoding="utf-8")
    return read(str(path))


def problem_of(tmp_path, text):
    try:
        read_text(tmp_path, text)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ALL)
def test_each_field_is_found_on_the_line_that_names_it(name):
    pipeline = shipped(name)
    lines = (CONFIGS / f"{name}.config").read_text(encoding="utf-8").splitlines()
    assert len(pipeline.origins) > 130
    for path, origin in pipeline.origins.items():
        number = int(origin.rpartition(":")[2])
        assert re.sub(r"\[\d+\]$", "", path.rpartition(".")[2]) == lines[number - 1].split(":")[0].split()[0].rstrip(
            "{"
        )


def test_lists_comments_and_the_other_brackets_are_read_too(tmp_path):
    pipeline = read_text(
        tmp_path,
        "# model { ssd { num_classes: 1 } }\n"
        "train_config < data_augmentation_options: [{\n random_horizontal_flip {} },\n { random_crop_image <> }]\n"
        "  fine_tune_checkpoint: \"a # {\" 'b }'; batch_size:\n4,\n>\n"
        "eval_input_reader { shuffle: false } eval_input_reader {\n shuffle: true }",
    )
    places = {path: int(origin.rpartition(":")[2]) for path, origin in pipeline.origins.items()}
    assert places == {
        "train_config": 2,
        f"{OPTIONS}[0]": 2,
        f"{OPTIONS}[0].random_horizontal_flip": 3,
        f"{OPTIONS}[1]": 2,
        f"{OPTIONS}[1].random_crop_image": 4,
        "train_config.fine_tune_checkpoint": 5,
        "train_config.batch_size": 5,
        "eval_input_reader[0]": 8,
        "eval_input_reader[0].shuffle": 8,
        "eval_input_reader[1]": 8,
        "eval_input_reader[1].shuffle": 9,
    }
    assert pipeline.message.train_config.fine_tune_checkpoint == "a # {b }"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("num_classes: 90", "num_clases: 90", "model.ssd.num_clases: no such field; did you mean num_classes?"),
        ("batch_size: 32", "batchsize: 32", "train_config.batchsize: no such field; did you mean batch_size?"),
        (
            "batch_size: 32",
            "learning_rate_base: 1",
            f"train_config.learning_rate_base: no such field; there is {COSINE}learning_rate_base",
        ),
        ("batch_size: 32", "batch_size: 3.5", "train_config.batch_size: Couldn't parse integer: 3.5"),
        ("batch_size: 32", "batch_size: 99999999999", "train_config.batch_size: Value out of range: 99999999999"),
        (
            "batch_size: 32",
            "batch_size: 32 batch_size: 16",
            'train_config.batch_size: TrainConfig should not have multiple "batch_size" fields.',
        ),
        (
            "score_converter: SIGMOID",
            "score_converter: SIGMA",
            f"{SSD}post_processing.score_converter: score_converter has no value named SIGMA. It may be IDENTITY, "
            "SIGMOID, SOFTMAX.",
        ),
        (
            "weighted_smooth_l1 {}",
            "weighted_l2 { x: 1 }",
            f"{SSD}loss.localization_loss.weighted_l2: not offered here; what is: weighted_smooth_l1",
        ),
        (
            "encode_background_as_zeros: true",
            "mask_head_config { mask_height: 1 }",
            f"{SSD}mask_head_config: not offered here; leave it out",
        ),
        ("iou_similarity {}", "iou_similarity { a: 1 }", f"{SSD}similarity_calculator.iou_similarity.a: no such field"),
        ("shuffle: false", "shuffle: maybe", 'eval_input_reader[0].shuffle: Expected "true" or "false".'),
    ],
)
def test_what_does_not_fit_is_named_with_file_line_and_field(tmp_path, old, new, problem):
    path, line = edited(tmp_path, old, new)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: {problem}")


def test_a_message_of_another_kind_is_refused_where_it_stands(tmp_path):
    with pytest.raises(UsageError, match=r"my\.config:2: model\.faster_rcnn: not offered here; what is: ssd$"):
        read_text(tmp_path, "model { faster_rcnn {\n num_classes: 3 } }")


def test_two_alternatives_at_once_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"my\.config:1: .*adam_optimizer.*momentum_optimizer"):
        read_text(tmp_path, "train_config { optimizer { momentum_optimizer {} adam_optimizer {} } }")


@pytest.mark.parametrize(
    "text", ["model {", "}", "model", "hello: 3", '"', "model { ssd: [ }", "train_config { x-y: 3 }"]
)
def test_text_that_is_no_config_is_an_error_with_its_line(tmp_path, text):
    with pytest.raises(UsageError, match=r"my\.config:1: "):
        read_text(tmp_path, text)


@pytest.mark.parametrize("name", ["none.config", "."])
def test_a_file_that_cannot_be_read_is_named_with_its_flag(tmp_path, name):
    with pytest.raises(UsageError, match=r"^--pipeline_config_path \S+: (No such file|Is a directory)"):
        read(str(tmp_path / name))


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"model\.ckpt:1: is not UTF-8 text"):
        read(str(tmp_path / "model.ckpt"))


def test_a_byte_order_mark_does_no_harm(tmp_path):
    plain, marked = read_text(tmp_path, "train_config { batch_size: 3 }"), tmp_path / "marked.config"
    marked.write_bytes(b"\xef\xbb\xbf" + Path(plain.file).read_bytes())
    assert read(str(marked)).message == plain.message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train_config {\n batch_size:\0 3 }", "2: is not text: it holds a NUL byte"),
        ("# x\n" + "model { " * 100_000, "2: more than 100 messages lie within each other"),
        ("a <" * 101, "1: more than 100 messages lie within each other"),
        ("train_config {\n  batch_size: 1\n} $", "3: $: Expected identifier or number, got $."),
        (f"train_config {{ batch_size: {'9' * 9000} }}", "1: train_config.batch_size: Couldn't parse integer: 999"),
        (f"train_config {{ {'x' * 9000}: 1 }}", "1: train_config.xxx"),
        ("#" * (2**24 + 1), "1: the file has more than 16 MiB"),
        *(
            (f"model {{\n}}\n{marker}", "3: is a conflict marker: version control left two versions here")
            for marker in ("<<<<<<< HEAD\n", "=======\n", ">>>>>>> branch", "||||||| base\n")
        ),
    ],
    ids=itertools.count(),
)
def test_what_is_no_text_of_this_format_is_told_briefly_with_its_line(tmp_path, text, problem):
    said = problem_of(tmp_path, text)
    assert said.startswith(f"{tmp_path}/my.config:{problem}")
    assert len(said) < 700


LATER = (
    (
        *("train_config {", "fine_tune_checkpoint_version: V2"),
        "fine_tune_checkpoint_version V2: must be V1; checkpoints of objects are not offered here; leave it out",
    ),
    ("train_input_reader {", "num_keypoints: 17", "num_keypoints 17: must be 0; another value is not offered here"),
    ("random_horizontal_flip {}", "adjust_gamma {}", "adjust_gamma: not offered here; what is: random_horizontal_flip"),
    ("random_horizontal_flip {}", "random_patch_gaussian { x: 1 }", "random_patch_gaussian: not offered here; what is"),
    ("feature_extractor {", "bifpn { min_level: 3 }", "bifpn: not offered here; leave it out"),
)


@pytest.mark.parametrize(("place", "field", "said"), LATER)
def test_fields_of_later_versions_are_not_offered_and_resemble_no_other(tmp_path, place, field, said):
    new = f"{place} {field}" if place.endswith("{") else field
    path, line = edited(tmp_path, place, new)
    with pytest.raises(UsageError) as caught:
        to_experiment(read(path), run=RunConfig(mode="train"))
    assert re.match(rf"{path}:{line}: \S+\.{said}", str(caught.value))
    assert "did you mean" not in str(caught.value)


def test_the_first_version_of_the_initial_checkpoint_is_offered(tmp_path):
    path, _ = edited(tmp_path, "train_config {", "train_config { fine_tune_checkpoint_version: V1")
    to_experiment(read(path), run=RunConfig(mode="train"))


def test_a_line_of_a_config_may_be_lost_without_a_crash(tmp_path):
    lines = (CONFIGS / "ssd320_full_1gpus.config").read_text(encoding="utf-8").splitlines(keepends=True)
    for number in range(0, len(lines), 3):
        problem = problem_of(tmp_path, "".join(lines[:number] + lines[number + 1 :]))
        assert problem is None or re.search(r"my\.config:\d+: ", problem), lines[number]


def test_all_paths_are_there_once():
    paths = [*all_paths()]
    assert len(paths) == len(set(paths)) > 300
