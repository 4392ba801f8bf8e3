"""Folds: their balance, their groups, and what they depend on."""

import dataclasses
import logging
from collections import Counter

import pytest

from utils.errors import UsageError
from utils.records.example_proto import encode_example
from utils.records.folds import dealt, dealt_groups, folds_of, split_by_fold
from utils.records.manifest import Manifest, ShardFile, Split, read_manifest, write_manifest
from utils.records.tfrecord_file import framed

LABELS = [1 + index % 7 % 3 for index in range(101)]  # 43, 29 and 29 of a class


def write_labels(folder, labels, groups=None, split="train", manifest=True):
    """Records of labels alone in two files."""
    shards = []
    for number, part in enumerate((slice(0, 40), slice(40, None))):
        records = [{} if label is None else {"image/class/label": label} for label in labels[part]]
        path = folder / f"{split}-{number:05d}-of-00002"
        path.write_bytes(b"".join(framed(encode_example(record)) for record in records))
        of_records = None if groups is None else tuple(groups[part])
        shards.append(ShardFile(file=path.name, examples=len(records), groups=of_records))
    if manifest:
        names = ("cat", "dog", "hat")
        splits = {split: Split(shards=tuple(shards))}
        write_manifest(folder, Manifest(class_names=names, class_count=3, head_size=3, splits=splits))
    return folder


def test_folds_differ_by_at_most_one_image_of_each_class_and_in_all():
    counts = Counter(zip(LABELS, dealt(LABELS, 5, 1), strict=True))
    for label in set(LABELS):
        of_class = [counts[label, fold] for fold in range(5)]
        assert max(of_class) - min(of_class) <= 1
        assert sum(of_class) == LABELS.count(label)
    sizes = Counter(dealt(LABELS, 5, 1)).values()
    assert sorted(sizes) == [20, 20, 20, 20, 21]


def test_folds_depend_on_the_seed_alone_and_are_the_same_on_every_machine():
    assert dealt(LABELS, 5, 1) == dealt(LABELS, 5, 1)
    assert dealt(LABELS, 5, 1)[:12] == [0, 2, 0, 0, 0, 4, 1, 4, 0, 0, 2, 4]  # any change would leak held-out images
    assert sum(a != b for a, b in zip(dealt(LABELS, 5, 1), dealt(LABELS, 5, 2), strict=True)) > 60


def test_the_images_of_a_group_stay_together_and_the_classes_balanced():
    groups = [f"person {index * index % 37}" for index in range(101)]
    assigned = dealt_groups(LABELS, groups, 4, 1)
    folds = {group: {fold for other, fold in zip(groups, assigned, strict=True) if other == group} for group in groups}
    assert {len(found) for found in folds.values()} == {1}
    counts = Counter(zip(LABELS, assigned, strict=True))
    for label in set(LABELS):
        of_class = [counts[label, fold] for fold in range(4)]
        assert max(of_class) <= 1.5 * LABELS.count(label) / 4
        assert min(of_class) >= 0.5 * LABELS.count(label) / 4
    assert assigned != dealt_groups(LABELS, groups, 4, 2)


def test_the_parts_of_a_fold_are_the_whole_split_and_every_image_is_held_out_once(tmp_path):
    files, assigned = folds_of(write_labels(tmp_path, LABELS), 5, 3)
    assert assigned == dealt(LABELS, 5, 3)
    parts = [split_by_fold(files, assigned, fold) for fold in range(5)]
    assert sorted(index for part in parts for index in part["validation"].indices) == list(range(101))
    for part in parts:
        assert sorted((*part["train"].indices, *part["validation"].indices)) == list(range(101))
        assert part["train"].examples == len(part["train"].indices)
        assert part["train"].stored == 101
    assert parts[0]["validation"].locate(100) == (files.paths[1], 60), "an image keeps its number of the whole split"


def test_groups_of_the_manifest_are_read_and_kept_together(tmp_path, caplog):
    groups = [f"person {index // 3}" for index in range(101)]
    folder = write_labels(tmp_path, LABELS, groups)
    assert read_manifest(folder).splits["train"].shards[1].groups == tuple(groups[40:])
    _, assigned = folds_of(folder, 5, 3)
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups))
    assert caplog.messages == []


def test_a_class_of_few_groups_is_named(tmp_path, caplog):
    groups = ["one" if label == 3 else f"other {index}" for index, label in enumerate(LABELS)]
    with caplog.at_level(logging.WARNING):
        folds_of(write_labels(tmp_path, LABELS, groups), 5, 3)
    assert caplog.messages == ["--folds 5: the images of class hat are of 1 group, so some folds have none of them"]


def test_a_file_without_groups_has_an_image_a_group(tmp_path):
    files, _ = folds_of(write_labels(tmp_path, LABELS, ["a"] * 50 + ["b"] * 51), 2, 3)
    first, second = files.manifest.splits["train"].shards
    shards = (dataclasses.replace(first, groups=None), second)
    splits = {"train": Split(shards=shards)}
    files = dataclasses.replace(files, manifest=dataclasses.replace(files.manifest, splits=splits))
    assert len(set(files.groups)) == 40 + 2


@pytest.mark.parametrize(
    ("labels", "options", "folds", "message"),
    [
        (LABELS, {}, 30, "--folds 30: class dog has 29 training images; must be at most the number of images of the"),
        ([1] * 60 + [2], {"manifest": False}, 2, "--folds 2: class 2 has 1 training image; must be at most"),
        (LABELS, {"groups": ["a"] * 50 + ["b"] * 51}, 3, "--folds 3: the training images are of 2 groups; must be"),
        (LABELS, {"split": "validation"}, 2, "--folds 2: divides the training images, and --data_dir .* has none; it"),
        (LABELS, {"split": "validation", "manifest": False}, 2, "has none; it has validation$"),
    ],
)
def test_impossible_folds_are_refused(tmp_path, labels, options, folds, message):
    with pytest.raises(UsageError, match=message):
        folds_of(write_labels(tmp_path, labels, **options), folds, 1)


def test_images_without_a_class_are_dealt_out_like_a_class_of_their_own(tmp_path):
    labels = [1] * 40 + [None, 77, None, 99] + [1] * 10
    _, assigned = folds_of(write_labels(tmp_path, labels), 4, 1)
    assert sorted(assigned[40:44]) == [0, 1, 2, 3]
