"""Sheets of labelled images show the network's input under the right names."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.runtime.runs import CLASSES, picture, several_labels, write_data
from tests.tools.inspect.inspecting import inspect
from tests.utils.input_records import fetch, options, reader, train_input
from utils.input.batching import Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES
from utils.records.split_files import load_split

SIDE, FACTOR = 16, 10  # pixels of an image, and of the sheet for each of them
FLAGS = (f"--image_size={SIDE}", "--batch_size=4", "--images=8", "--seed=3")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("labels") / "data")


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    return inspect(data, tmp_path_factory.mktemp("labels") / "new" / "sheets", *FLAGS, "--lr_warmup_epochs=0")


def shrunk(pixels):
    """The original pixels of an enlarged image."""
    assert pixels.shape == (SIDE * FACTOR, SIDE * FACTOR, 3)
    return pixels[::FACTOR, ::FACTOR]


def names_of(index):
    return CLASSES[index % len(CLASSES)]


def test_an_inspection_leaves_its_pictures_and_says_what_it_saw(plain):
    assert (plain.status, plain.error) == (0, "")
    assert {path.name for path in plain.folder.iterdir()} == {
        *("raw.png", "augmented.png", "evaluated.png", "classes.png", "learning_rate.png", "inspect.json")
    }
    for name in plain.facts["sheets"]:
        assert plain.pixels(name).std() > 20
    assert "train: 20 images" in plain.output
    assert "validation: 10 images" in plain.output
    assert "most of 1 circle (7, 35.0 %), fewest of 3 square (6)" in plain.output
    assert "--seed=3 shows the same examples again" in plain.output


def test_what_is_augmented_are_the_pixels_of_the_inputs_own_batches(data, plain):
    given = options(image_size=SIDE, num_classes=3, seed=3)
    files = load_split(data, "train")
    batches = fetch(lambda: train_input(files, LABELLED_IMAGES, given, Shard(), Position()), 2)
    cells = plain.cells("augmented.png")
    assert len(cells) == 8
    for number, (pixels, facts) in enumerate(cells):
        batch, row = batches[number // 4], number % 4
        assert facts["index"] == batch.index[row]
        assert facts["target"] == {CLASSES[batch.labels[row]]: 1.0}
        assert np.abs(shrunk(pixels).astype(float) - batch.images[row]).max() <= 0.51


def test_what_is_raw_are_the_stored_images_of_the_same_examples(plain):
    augmented = plain.cells("augmented.png")
    for (pixels, facts), (_, other) in zip(plain.cells("raw.png"), augmented, strict=True):
        assert facts["index"] == other["index"]
        with Image.open(io.BytesIO(picture(facts["index"]))) as image:
            stored = np.asarray(image)
        factor = 160 // 24
        assert (pixels[::factor, ::factor] == stored).all()
        assert (facts["name"], facts["label"]) == (names_of(facts["index"]), 1 + facts["index"] % 3)


def test_what_is_evaluated_are_the_first_validation_images(plain):
    cells = plain.cells("evaluated.png")
    assert [facts["index"] for _, facts in cells] == list(range(8))
    for pixels, facts in cells:
        assert facts["target"] == {names_of(facts["index"]): 1.0}
        assert shrunk(pixels).mean(axis=(0, 1)).argmax() == facts["index"] % 3  # the color of the class


def test_classes_are_counted(plain):
    assert plain.facts["classes"] == [
        {"label": 1, "name": "circle", "train": 7, "validation": 4},
        {"label": 2, "name": "line", "train": 7, "validation": 3},
        {"label": 3, "name": "square", "train": 6, "validation": 3},
    ]


@pytest.mark.slow
def test_mixed_images_have_the_shares_of_their_classes(data, tmp_path, plain):
    mixed = inspect(data, tmp_path, *FLAGS, "--mixup=0.4", "--label_smoothing=0.03")
    originals = [(shrunk(pixels).astype(float), facts) for pixels, facts in plain.cells("augmented.png")]
    blended = 0
    for number, (pixels, facts) in enumerate(mixed.cells("augmented.png")):
        mirror = number // 4 * 4 + 3 - number % 4
        (own, mine), (other, theirs) = originals[number], originals[mirror]
        assert facts["index"] == mine["index"]
        name, partner = next(iter(mine["target"])), next(iter(theirs["target"]))
        if name == partner or set(facts["target"]) != {name, partner}:
            continue
        share = (facts["target"][name] - 0.01) / 0.97
        assert np.abs(shrunk(pixels) - (share * own + (1 - share) * other)).max() < 1.6
        blended += 1
    assert blended


@pytest.mark.slow
def test_the_learning_rate_is_that_of_the_flags_and_no_example_is_shown_twice(data, tmp_path):
    flags = ("--cosine_lr", "--lr_init=0.8", "--num_iter=4", "--lr_warmup_epochs=1")
    done = inspect(data, tmp_path, *FLAGS, *flags, "--processes=2", "--images=50")
    assert sorted(facts["index"] for _, facts in done.cells("augmented.png")) == list(range(20))
    rates = done.facts["learning_rate"]
    steps, peak = 2 * 4, 0.8 * 8 / 256  # 20 examples in batches of 8
    assert (rates["total_steps"], rates["steps_per_epoch"], rates["global_batch"]) == (steps, 2, 8)
    assert [row["step"] for row in rates["steps"]] == list(range(steps))
    for row in rates["steps"]:
        step = row["step"]
        expected = peak * step / 2 if step < 2 else peak * (1 + np.cos(np.pi * step / steps)) / 2
        assert row["learning_rate"] == pytest.approx(expected)
        assert row["epoch"] == step / 2
    assert (
        "learning rate (cosine): from 0 up to 0.025 in 2 steps, 0.0009515 at the end; 8 steps of 8 images"
        in done.output
    )


@pytest.mark.slow
def test_dali_shows_nearly_the_same(data, tmp_path, plain):
    reader("dali")
    done = inspect(data, tmp_path, *FLAGS, "--dali")
    assert done.status == 0, done.error
    assert done.facts["input"] == "DALI"
    for name in ("augmented.png", "evaluated.png"):
        for (pixels, facts), (other, others) in zip(done.cells(name), plain.cells(name), strict=True):
            assert facts == others
            assert np.abs(pixels.astype(float) - other).mean() < 1


def test_images_with_several_labels_show_all_of_them(tmp_path):
    data = write_data(tmp_path / "several", several=True)
    shown = inspect(data, tmp_path / "sheets", *FLAGS, "--multi_label")
    assert (shown.status, shown.error) == (0, "")
    for _, facts in shown.cells("raw.png"):
        labels = several_labels(facts["index"])
        assert (facts["labels"], facts["names"]) == (labels, [CLASSES[label - 1] for label in labels])
    for sheet in ("augmented.png", "evaluated.png"):
        for _, facts in shown.cells(sheet):
            assert facts["target"] == {CLASSES[label - 1]: 1.0 for label in several_labels(facts["index"])}
    counts = [sum(number in several_labels(n) for n in range(20)) for number in (1, 2, 3)]
    assert [row["train"] for row in shown.facts["classes"]] == counts
