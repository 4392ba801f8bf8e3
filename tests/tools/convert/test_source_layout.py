import os
import re

import pytest

from tests.utils.tiny_images import write_files
from tools.convert.source_layout import order_key, read_sources
from tools.convert.sources import class_of_folder
from utils.errors import RunError, UsageError
from utils.images.image_files import has_image_name
from utils.text import printable


def _tree(root, *names):
    return write_files(root, dict.fromkeys(names, b"x"))


def _names(sources, split):
    return {folder: [image.name for image in images] for folder, images in sources.splits[split].items()}


def test_train_and_validation_folders_give_two_splits(tmp_path):
    root = _tree(tmp_path, "train/dog/b.jpg", "train/cat/a.PNG", "train/dog/a.jpeg", "validation/dog/c.jpg")
    sources = read_sources(root)
    assert sources.class_folders == ("cat", "dog")
    assert _names(sources, "train") == {"cat": ["train/cat/a.PNG"], "dog": ["train/dog/a.jpeg", "train/dog/b.jpg"]}
    assert _names(sources, "validation") == {"dog": ["validation/dog/c.jpg"]}
    assert sources.notes == ("the class cat has no validation image",)
    assert not sources.is_imagenet


def test_val_is_another_name_for_validation(tmp_path):
    sources = read_sources(_tree(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg"))
    assert _names(sources, "validation") == {"cat": ["val/cat/b.jpg"]}
    _tree(tmp_path, "validation/cat/b.jpg")
    with pytest.raises(RunError, match="has validation and val for one split; keep one of them"):
        read_sources(tmp_path)


def test_labels_follow_the_sorted_folder_names_whatever_their_case(tmp_path):
    sources = read_sources(_tree(tmp_path, "b/1.jpg", "a/1.jpg", "10/1.jpg", "9/1.jpg", "C/1.jpg"))
    assert sources.class_folders == ("10", "9", "C", "a", "b")


def test_class_folders_alone_are_all_for_training_and_it_is_said(tmp_path):
    sources = read_sources(_tree(tmp_path, "cat/a.jpg", "dog/b.jpg"))
    assert _names(sources, "train") == {"cat": ["cat/a.jpg"], "dog": ["dog/b.jpg"]}
    assert "validation" not in sources.splits
    assert any("has no validation folder, so all images become training records" in note for note in sources.notes)


def test_validation_fraction_sets_images_of_each_class_aside_the_same_way_every_time(tmp_path):
    root = _tree(tmp_path, *(f"{name}/{index}.jpg" for name in ("cat", "dog") for index in range(20)), "one/1.jpg")
    first = read_sources(root, validation_fraction=0.25)
    for name in ("cat", "dog"):
        train, validation = first.splits["train"][name], first.splits["validation"][name]
        assert (len(train), len(validation)) == (15, 5)
        assert not {image.name for image in train} & {image.name for image in validation}
    assert (len(first.splits["train"]["one"]), len(first.splits["validation"]["one"])) == (1, 0)
    assert read_sources(root, validation_fraction=0.25).splits == first.splits
    assert read_sources(root, validation_fraction=0.25, seed=1).splits != first.splits


def test_validation_fraction_leaves_each_side_one_image(tmp_path):
    root = _tree(tmp_path, *(f"cat/{index}.jpg" for index in range(3)))
    for fraction, count in ((0.01, 1), (0.99, 2)):
        assert len(read_sources(root, validation_fraction=fraction).splits["validation"]["cat"]) == count


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_validation_fraction_must_be_a_fraction(tmp_path, fraction):
    with pytest.raises(UsageError, match=r"--validation_fraction .*: must be above 0 and below 1"):
        read_sources(_tree(tmp_path, "cat/a.jpg"), validation_fraction=fraction)


def test_validation_fraction_next_to_a_validation_folder_is_an_error(tmp_path):
    root = _tree(tmp_path, "train/cat/a.jpg", "validation/cat/b.jpg")
    with pytest.raises(UsageError, match=r"--validation_fraction 0.5: .* already has validation images"):
        read_sources(root, validation_fraction=0.5)


def test_validation_alone_is_taken_and_it_is_said(tmp_path):
    sources = read_sources(_tree(tmp_path, "validation/cat/a.jpg"))
    assert list(sources.splits) == ["validation"]
    assert any("has validation images only" in note for note in sources.notes)


def test_a_class_may_be_named_train(tmp_path):
    sources = read_sources(_tree(tmp_path, "train/1.jpg", "plane/1.jpg"))
    assert sources.class_folders == ("plane", "train")


def test_synset_folders_are_imagenet(tmp_path):
    assert read_sources(_tree(tmp_path, "train/n01440764/a.JPEG", "val/n01440764/b.JPEG")).is_imagenet
    assert not read_sources(_tree(tmp_path, "train/cat/a.JPEG")).is_imagenet


def test_files_that_are_not_images_by_name_are_counted(tmp_path):
    root = _tree(
        *(tmp_path, "train/cat/a.jpg", "train/cat/notes.txt", "train/cat/more.TXT", "train/dog/.DS_Store"),
        *("train/cat/._a.jpg", "train/dog/b.jpg", "train/dog/README", "train/.cache/x.jpg", "LICENSE.txt"),
        *("train/cat/c.jpg", "train/dog/d.jpg"),
    )
    sources = read_sources(root, validation_fraction=0.5)
    assert sources.class_folders == ("cat", "dog")
    assert sources.notes == ("skipped 5 files without the name of an image: 2 .txt, 1 README, 2 hidden",)


def test_images_outside_any_class_folder_are_told(tmp_path):
    sources = read_sources(_tree(tmp_path, "train/cat/a.jpg", "train/b.jpg", "train/c.jpg", "val/cat/d.jpg"))
    assert sources.notes == ("train: not used, being in no class folder: 2 images",)


def test_folders_inside_class_folders_are_read_and_told(tmp_path):
    sources = read_sources(_tree(tmp_path, "train/cat/a.jpg", "train/cat/big/wild/b.jpg", "val/cat/d.jpg"))
    assert _names(sources, "train")["cat"] == ["train/cat/a.jpg", "train/cat/big/wild/b.jpg"]
    assert sources.notes == (
        "counted for the class, though in a folder inside the class folder (as in train/cat): 1 image of 1 class",
    )


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = _tree(tmp_path / "data", "train/cat/a.jpg", "val/cat/b.jpg")
    _tree(tmp_path / "elsewhere", "dogs/c.jpg")
    (root / "train" / "dog").symlink_to(tmp_path / "elsewhere" / "dogs")
    (root / "train" / "cat" / "also.jpg").symlink_to(tmp_path / "elsewhere" / "dogs" / "c.jpg")
    (root / "train" / "cat" / "loop").symlink_to(root / "train" / "cat")
    sources = read_sources(root)
    assert _names(sources, "train") == {"cat": ["train/cat/a.jpg", "train/cat/also.jpg"], "dog": ["train/dog/c.jpg"]}
    assert "train/cat/loop: is a link to a folder above it, and was not followed" in sources.notes


def test_a_link_to_nothing_is_an_image_that_reading_will_report(tmp_path):
    root = _tree(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg")
    (root / "train" / "cat" / "gone.jpg").symlink_to("absent.jpg")
    assert "train/cat/gone.jpg" in _names(read_sources(root), "train")["cat"]


def test_accents_written_in_two_ways_are_one_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    sources = read_sources(_tree(tmp_path, f"train/{composed}/a.jpg", f"validation/{decomposed}/b.jpg"))
    assert sources.class_folders == (composed,)
    assert _names(sources, "validation") == {composed: [f"validation/{decomposed}/b.jpg"]}
    _tree(tmp_path, f"train/{decomposed}/a.jpg")
    with pytest.raises(RunError, match="two folders are both named café, written in different bytes"):
        read_sources(tmp_path)


def test_names_that_differ_in_capitals_alone_are_told(tmp_path):
    sources = read_sources(_tree(tmp_path, "train/Cat/a.jpg", "train/cat/a.jpg", "val/cat/b.jpg"))
    assert sources.class_folders == ("Cat", "cat")
    assert "train/: the classes Cat and cat differ only in capitals or blanks" in sources.notes


def test_long_and_strange_class_names_are_kept(tmp_path):
    names = sorted(["x" * 255, "猫", "a b", "a\nb", "-n", "ünï"])
    assert read_sources(_tree(tmp_path, *(f"train/{name}/a.jpg" for name in names))).class_folders == tuple(names)


def test_a_class_folder_whose_name_is_not_text_is_a_sentence(tmp_path):
    os.makedirs(os.fsencode(tmp_path / "train") + b"/caf\xe9")  # noqa: PTH103
    with pytest.raises(RunError, match=r"caf\\udce9: the name of a class folder must be valid UTF-8"):
        read_sources(tmp_path)


def test_an_empty_class_keeps_its_label_and_is_told(tmp_path):
    sources = read_sources(_tree(tmp_path, "train/cat/a.jpg", "train/bird/", "val/cat/b.jpg"))
    assert sources.class_folders == ("bird", "cat")
    assert sources.notes == ("the class bird has no images; it keeps its label",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no class folders; it must hold one for each class, or train/ and validation/"),
        (("a.jpg",), "holds no class folders"),
        (("train/",), "train: holds no class folders; it must hold one for each class"),
        (("train/a.jpg", "val/cat/b.jpg"), "train: holds no class folders"),
        (("cat/", "dog/"), "holds 2 class folders but no image in them"),
        (("train/cat/a.txt",), "holds 1 class folder but no image in them"),
        (("train/cat/a.jpg", "validation/"), "validation: holds neither class folders nor images"),
        (
            ("train/cat/a.jpg", "validation/dog/b.jpg", "validation/cow/b.jpg", "validation/cat/b.jpg"),
            "its validation images have 2 classes that training lacks: cow, dog",
        ),
    ],
)
def test_a_source_that_is_no_data_set_is_a_sentence(tmp_path, names, message):
    with pytest.raises(RunError) as error:
        read_sources(_tree(tmp_path, *names))
    assert str(error.value).startswith(str(tmp_path))
    assert message in str(error.value)


def test_a_missing_source_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match="absent: no such folder to convert from"):
        read_sources(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="file: is a file, not a folder to convert from"):
        read_sources(tmp_path / "file")


def test_a_validation_class_without_images_need_not_be_known(tmp_path):
    with pytest.raises(RunError, match="1 class that training lacks: dog"):
        read_sources(_tree(tmp_path, "train/cat/a.jpg", "validation/cat/b.jpg", "validation/dog/"))


def test_the_name_of_a_class_does_not_depend_on_the_locale():
    assert (
        class_of_folder("d\udcc3\udcb6g", "as read where the locale is C")
        == "d\N{LATIN SMALL LETTER O WITH DIAERESIS}g"
    )


def test_image_names_by_suffix():
    assert all(map(has_image_name, ("a.jpg", "b.JPEG", "c.d.png", "e.WebP", "f.tiff")))
    assert not any(map(has_image_name, ("a.txt", ".jpg", "._a.jpg", "jpg", "Thumbs.db", "a.jpg.part")))


def test_names_are_shown_without_breaking_a_terminal():
    assert printable("a\nb\x1b[31m猫\udce9") == "a\\nb\\x1b[31m猫\\udce9"


def test_the_order_is_fixed_for_ever():
    # printf '12345:train/cat/0.jpg' | sha256sum begins 19220477
    names = [f"train/cat/{index}.jpg" for index in range(8)]
    assert order_key(12345, names[0]).hex().startswith("19220477")
    assert sorted(range(8), key=lambda index: order_key(12345, names[index])) == [0, 1, 5, 7, 2, 6, 3, 4]
    assert sorted(range(8), key=lambda index: order_key(1, names[index])) == [5, 6, 0, 4, 3, 7, 2, 1]


CAT_AND_DOG = ("cat/1.jpg", "dog/2.jpg")


@pytest.mark.parametrize(
    "names", [("Train", "Val", "Test"), ("training", "valid", "testing"), ("train", "VALID", "Testdev")]
)
def test_splits_under_other_names_are_taken_and_a_test_split_is_named(names, tmp_path):
    root = _tree(tmp_path, *(f"{name}/{image}" for name in names for image in CAT_AND_DOG))
    sources = read_sources(root)
    assert sources.class_folders == ("cat", "dog")
    assert sorted(sources.splits) == ["train", "validation"]
    assert f"{root / names[0]}: taken for the train images" in sources.notes or names[0] == "train"
    assert f"{root / names[2]}: not used, being no folder of a split: 2 images" in sources.notes


def test_folders_beside_the_splits_are_named_with_their_images(tmp_path):
    root = _tree(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg", "extra/cat/3.jpg", "4.jpg")
    assert read_sources(root).notes == (
        f"{root / 'extra'}: not used, being no folder of a split: 1 image",
        f"{root}: not used, being in no class folder: 1 image",
    )


@pytest.mark.parametrize("names", [("training_set", "test_set"), ("train2017", "val2017"), ("fold1", "fold2")])
def test_classes_that_look_like_splits_of_any_name_are_named(names, tmp_path):
    root = _tree(tmp_path, *(f"{name}/{kind}/{name}.jpg" for name in names for kind in ("cat", "dog")))
    first, second = sorted(names)
    (note,) = (note for note in read_sources(root).notes if "as splits do" in note)
    assert note.startswith(f"{root}: {first}, {second} became classes, though each holds the same folders")
    assert "cat, dog; if they are splits, name them train and validation" in note


def test_classes_divided_into_folders_of_their_own_are_no_splits(tmp_path):
    root = _tree(tmp_path, "cat/a/1.jpg", "cat/b/1.jpg", "dog/c/1.jpg", "dog/d/1.jpg", "cow/images/1.jpg")
    assert not any("as splits do" in note for note in read_sources(root).notes)


def test_a_folder_around_the_classes_is_named(tmp_path):
    root = _tree(tmp_path, "dataset/train/1.jpg", "dataset/val/2.jpg")
    (note,) = (note for note in read_sources(root).notes if "its only folder" in note)
    assert "its only folder, dataset, became one class, with all images in the folders train, val; if" in note
    assert note.endswith(f"convert {root / 'dataset'}")


def test_a_link_to_the_training_images_is_not_passed_over(tmp_path):
    root = _tree(tmp_path, "train/cat/a.jpg")
    (root / "valid").symlink_to("train")
    sources = read_sources(root)
    assert f"{root / 'valid'}: taken for the validation images" in sources.notes
    assert any("are one folder: validation sees training images" in note for note in sources.notes)


def test_classes_may_have_the_names_of_splits(tmp_path):
    assert read_sources(_tree(tmp_path / "a", "valid/1.jpg", "invalid/2.jpg")).class_folders == ("invalid", "valid")
    sources = read_sources(_tree(tmp_path / "b", "Train/day/1.jpg", "bus/day/2.jpg"))
    assert sources.class_folders == ("Train", "bus")
    assert any("taken for classes, like the folders beside them: Train/" in note for note in sources.notes)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("valid/cat/1.jpg", "test/cat/2.jpg"), "holds valid/, test/ and no train/; by their names"),
        (("train/cat/1.jpg", "Train/cat/2.jpg"), "has train and Train for one split; keep one of them"),
        (("train.record", "test.record"), "2 record files of other names: test.record, train.record; name them train-"),
        (("train/x.tfrecord", "valid/x.tfrecord"), "2 record files of other names: train/x.tfrecord, valid/x.tfrecord"),
    ],
)
def test_what_would_be_useless_is_refused(names, message, tmp_path):
    with pytest.raises(RunError, match=re.escape(message)):
        read_sources(_tree(tmp_path, *names))


def test_a_fraction_that_takes_no_image_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--validation_fraction 0.1: no class of .* has two images"):
        read_sources(_tree(tmp_path, *CAT_AND_DOG), validation_fraction=0.1)


def test_classes_without_a_validation_image_are_counted_and_named(tmp_path):
    root = _tree(tmp_path, *(f"{name}/1.jpg" for name in "abcdefg"), "h/1.jpg", "h/2.jpg")
    notes = read_sources(root, validation_fraction=0.5).notes
    assert notes == ("7 classes have no validation image: a, b, c, d, e and 2 more",)


def test_a_link_to_a_folder_above_is_no_class(tmp_path):
    root = _tree(tmp_path, *CAT_AND_DOG)
    (root / "all").symlink_to(".")
    (root / "cat" / "up").symlink_to("..")
    sources = read_sources(root)
    assert sources.class_folders == ("cat", "dog")
    assert sum("is a link to a folder above it, and was not followed" in note for note in sources.notes) == 2
    (root / "copy").symlink_to("cat")
    with pytest.raises(RunError, match="cat and copy are one folder under two names"):
        read_sources(root)


def test_names_that_hardly_differ_are_told(tmp_path):
    notes = read_sources(_tree(tmp_path, "cat/1.jpg", "Cat/2.jpg", "c at/3.jpg")).notes
    assert any("the classes Cat and c at and cat differ only in capitals or blanks" in note for note in notes)
