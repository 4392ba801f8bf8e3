"""The converter refuses annotation files whose records would be useless, and remarks on doubtful ones."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.object_detection.tiny_coco import annotation, content, image, tiny_split, write_split
from tests.tools.convert.coco_conversion import boxes, convert, examples
from tests.tools.convert.converting import value, values
from tests.utils.tiny_images import encoded, jpeg, pattern
from utils.files.json_values import shortened

pytestmark = pytest.mark.usefixtures("listening")


def warnings(caplog):
    return "\n".join(record.message for record in caplog.records if record.levelname == "WARNING")


# Formats of boxes

PIXELS = [
    [0, 0, 9, 6],
    [18, 12, 18, 12],
    [20, 4, 10, 12],
    [27, 6, 9, 12],
    [9, 16, 24, 8],
    [10, 10, 20, 10],
    [24, 6, 12, 12],
]
WRITTEN = {
    "xyxy": lambda x, y, w, h: [x, y, x + w, y + h],
    "yxyx": lambda x, y, w, h: [y, x, y + h, x + w],
    "cxcywh": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "xywh_fractions": lambda x, y, w, h: [x / 36, y / 24, w / 36, h / 24],
    "xyxy_fractions": lambda x, y, w, h: [x / 36, y / 24, (x + w) / 36, (y + h) / 24],
    "cxcywh_fractions": lambda x, y, w, h: [(x + w / 2) / 36, (y + h / 2) / 24, w / 36, h / 24],
}


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("name", WRITTEN)
def test_boxes_in_another_format_are_refused_until_the_flag_names_it(tmp_path, capsys, name, sized):
    entry = image(1, "a.jpg") if sized else {"id": 1, "file_name": "a.jpg"}
    written = [annotation(i, 1, WRITTEN[name](*box), area=0.1) for i, box in enumerate(PIXELS)]
    flags = write_split(tmp_path, "train", content([entry], written), {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert f"--train_annotations_file {tmp_path / 'train.json'}: its boxes seem to be " in error
    assert f"{name} 0" in error
    flags_named = f"--box_format={name}" + " or --box_format=yxyx_fractions" * (name == "xyxy_fractions")
    assert f"{flags_named} reads them so, --box_format=xywh as COCO's" in error
    assert not (tmp_path / "out").exists()
    assert convert(tmp_path / "out", *flags, f"--box_format={name}") == 0
    (example,) = examples(tmp_path / "out", "train")
    expected = [[y / 24, x / 36, (y + h) / 24, (x + w) / 36] for x, y, w, h in PIXELS]
    np.testing.assert_allclose(boxes(example), expected, atol=1e-6)
    area = values(example, "image/object/area")[0]
    assert area == pytest.approx(54 if name.endswith("fractions") else 0.1), "an area in fractions has no unit"


def test_formats_that_fit_equally_are_all_named(tmp_path, capsys):
    written = [annotation(i, 1, [x, y, x + w, y + h]) for i, (x, y, w, h) in enumerate(PIXELS)]
    flags = write_split(tmp_path, "train", content([image(1, "a.png")], written), {"a.png": encoded(pattern(36, 36))})
    assert convert(tmp_path / "out", *flags) == 1
    assert "; --box_format=xyxy or --box_format=yxyx reads them so, " in capsys.readouterr().err


def test_cocos_own_format_can_be_insisted_on(tmp_path, caplog):
    written = [annotation(i, 1, WRITTEN["xyxy"](*box)) for i, box in enumerate(PIXELS)]
    flags = write_split(tmp_path, "train", content([image(1, "a.jpg")], written), {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *flags, "--box_format=xywh") == 0
    assert "past the edge of the image, cut to it" in warnings(caplog)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (24, 36), (360, 240)])
def test_boxes_are_compared_with_the_images_themselves_whatever_their_entries_say(tmp_path, width, height):
    objects = [annotation(i, 1, box) for i, box in enumerate(PIXELS)]
    coco = content([image(1, "a.jpg", width, height)], objects)
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, {"a.jpg": jpeg()})) == 0
    (example,) = examples(tmp_path / "out", "train")
    np.testing.assert_allclose(boxes(example)[:, 2], [(y + h) / 24 for _, y, _, h in PIXELS], atol=1e-6)


def test_percentages_are_refused_until_the_flag_names_them(tmp_path, capsys):
    side = np.linspace(0, 80, 30)
    written = [annotation(i, 1, [place, place / 2, 20, 55]) for i, place in enumerate(side.tolist())]
    coco = content([image(1, "a.png", 400, 200)], written)
    flags = write_split(tmp_path, "train", coco, {"a.png": encoded(pattern(200, 400))})
    assert convert(tmp_path / "out", *flags) == 1
    assert "--box_format=xywh_percent reads them so, --box_format=xywh as COCO's" in capsys.readouterr().err
    assert convert(tmp_path / "out", *flags, "--box_format=xywh_percent") == 0
    (example,) = examples(tmp_path / "out", "train")
    np.testing.assert_allclose(boxes(example)[:, 1], side / 100, atol=1e-6)


# Images that EXIF turns


def turned_split(tmp_path, sizes, square=False):
    """A split of photographs of one bright rectangle, one for each orientation; its boxes are as seen upright."""
    pictures, entries, objects = {}, [], []
    for number, orientation in enumerate(range(1, 9)):
        pixels = np.zeros((64 if square else 48, 64, 3), np.uint8)
        pixels[8:24, 16:40] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"o{orientation}.jpg"
        pictures[name] = encoded(pixels, "JPEG", quality=100, exif=exif)
        upright = Image.fromarray(pixels)
        upright.getexif()[0x0112] = orientation
        upright = ImageOps.exif_transpose(upright)
        bright = np.asarray(upright)[..., 0] > 128
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
        objects.append(annotation(number, number, [int(side) for side in box]))
        entry = {"id": number, "file_name": name}
        if sizes:
            entry |= {"width": upright.width, "height": upright.height}
        entries.append(entry)
    return write_split(tmp_path, "train", content(entries, objects), pictures)


def assert_boxes_on_objects(out):
    for example in examples(out, "train"):
        pixels = np.asarray(Image.open(io.BytesIO(value(example, "image/encoded"))))[..., 0] > 128
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        height, width = pixels.shape
        bright = [[rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width]]
        np.testing.assert_allclose(boxes(example), bright, atol=1e-6)


def test_what_the_sizes_of_entries_prove_holds_for_all_images_of_a_file(tmp_path, caplog):
    assert convert(tmp_path / "out", *turned_split(tmp_path, sizes=True)) == 0
    assert_boxes_on_objects(tmp_path / "out")
    assert "boxes of 3 images turned by EXIF are read as drawn on the upright picture" in warnings(caplog)
    assert "as the sizes of 4 entries prove" in warnings(caplog)


@pytest.mark.parametrize("square", [True, False])
def test_where_nothing_proves_the_picture_that_boxes_were_drawn_on_a_flag_says_it(tmp_path, caplog, square):
    flags = turned_split(tmp_path, sizes=square, square=square)
    assert convert(tmp_path / "guessed", *flags) == 0
    said = warnings(caplog)
    assert "7 images turned by EXIF with boxes that are read as drawn on the stored picture, though nothing" in said
    assert "o2.jpg: its EXIF orientation is 2, and no entry's size proves either" in said
    assert "--boxes_are=stored or --boxes_are=upright says so" in said
    caplog.clear()
    assert convert(tmp_path / "out", *flags, "--boxes_are=upright") == 0
    assert_boxes_on_objects(tmp_path / "out")
    assert warnings(caplog) == ""


def test_entries_that_prove_both_are_read_each_by_its_own_size(tmp_path, caplog):
    entries = [image(1, "1.jpg", 24, 36), image(2, "2.jpg", 36, 24), {"id": 3, "file_name": "3.jpg"}]
    objects = [annotation(n, n, box) for n, box in ((1, [6, 9, 12, 18]), (2, [9, 6, 18, 12]), (3, [9, 6, 9, 12]))]
    pictures = {f"{n}.jpg": jpeg(n, orientation=6) for n in (1, 2, 3)}
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", content(entries, objects), pictures)) == 0
    found = [boxes(example)[0].tolist() for example in examples(tmp_path / "out", "train")]
    assert found == [[0.25, 0.25, 0.75, 0.75], [0.25, 0.25, 0.75, 0.75], [0.25, 0.25, 0.5, 0.75]]
    assert "1 image turned by EXIF" in warnings(caplog)
    assert "3.jpg: its EXIF orientation is 6, and the sizes of other entries prove both" in warnings(caplog)


# Splits, entries and categories


@pytest.mark.parametrize("objects", [[], [annotation(1, 1, [4, 4, -2, 3]), annotation(2, 1, [50, 2, 3, 3])]])
def test_a_split_without_a_usable_box_is_refused(tmp_path, capsys, objects):
    flags = tiny_split(tmp_path)
    flags += write_split(tmp_path, "val", content([image(1, "a.jpg")], objects), {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *flags) == 1
    count = f"{len(objects)} annotation" + "s"
    error = f"--val_annotations_file {tmp_path / 'val.json'}: has no usable box, in 1 image with {count}"
    assert error in capsys.readouterr().err


def test_doubtful_entries_and_categories_are_converted_and_named(tmp_path, caplog):
    images = [image(1, "a.jpg"), image(2, "./a.jpg"), image(3, "b.jpg")]
    categories = [{"id": i, "name": name} for i, name in ((1, "cat"), (2, "Cat "), (7, "dog"), (70_000, "cow"))]
    coco = content(images, [annotation(n, n, [4, 4, 0.5, 9]) for n in (1, 2, 3)], categories)
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, {"a.jpg": jpeg(), "b.jpg": jpeg(1)})) == 0
    said = warnings(caplog)
    where = f"--train_annotations_file {tmp_path / 'train.json'}"
    assert f'{where}: 1 entry of "images" with the file of an earlier entry' in said
    assert './a.jpg: the file of id 2 of "images" is also that of id 1' in said
    assert f"{where}: the classes cat and Cat  differ only in capitals or blanks" in said
    assert f"{where}: 1 class with an id far above the number of classes, for which a detector has 70,001 " in said
    assert "the class 'cow' has the id 70000" in said
    assert "3 boxes less than a pixel wide or high, kept: train/a.jpg annotation 1" in said


# Files that are none of the converter's business


@pytest.mark.parametrize("name", ["/dev/zero", "../secret.jpg", "link.jpg", "pipe.jpg", "folder"])
def test_files_outside_the_folder_and_special_files_are_refused_with_the_id_of_their_entry(tmp_path, capsys, name):
    coco = content(
        [image(1, "0.jpg"), image(2, name)], [annotation(1, 1, [1, 1, 9, 9]), annotation(2, 2, [1, 1, 9, 9])]
    )
    flags = write_split(tmp_path, "train", coco, {"0.jpg": jpeg(), "folder/": b""})
    (tmp_path / "secret.jpg").write_bytes(jpeg(5))
    (tmp_path / "train" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    os.mkfifo(tmp_path / "train" / "pipe.jpg")
    for further in ((), ("--skip_unreadable",)):
        assert convert(tmp_path / "out", *flags, *further) == 1
        error = capsys.readouterr().err
        assert 'id 2 of "images"' in error
        assert shortened(name) in error or f"{name}: " in error
    assert not (tmp_path / "out").exists()


# Pixels


def test_12_bit_data_in_16_bit_files_is_named_and_less_is_unreadable(tmp_path, caplog, capsys):
    random = np.random.default_rng(0)
    grey = {f"{bits}.png": random.integers(0, 1 << bits, (24, 36)).astype(np.uint16) for bits in (8, 12, 16)}
    pictures = {name: encoded(Image.fromarray(pixels), "PNG") for name, pixels in grey.items()}
    coco = content([image(n, name) for n, name in enumerate(grey)], [annotation(1, 1, [1, 1, 9, 9])])
    flags = write_split(tmp_path, "train", coco, pictures)
    assert convert(tmp_path / "out", *flags) == 1
    assert "train/8.png: has 16-bit pixels of at most 255, of which 8 bits keep nothing" in capsys.readouterr().err
    assert convert(tmp_path / "out", *flags, "--skip_unreadable") == 3
    faint = "1 image with 16-bit pixels below 4,096, as of 12-bit data, which are all but black in 8 bits: train/12.png"
    assert faint in warnings(caplog)


# Images of another size than annotated


def resized(tmp_path, scale, sides=(36, 24)):
    """A split whose entry states ``scale`` times the size of the image, with boxes in pixels of the stated size."""
    width, height = sides
    entry = image(1, "a.jpg", width=width * scale, height=height * scale)
    written = [annotation(i, 1, [side * scale for side in box]) for i, box in enumerate(PIXELS)]
    return write_split(tmp_path, "train", content([entry], written), {"a.jpg": jpeg()})


def test_images_that_were_resized_without_their_boxes_are_refused(tmp_path, capsys):
    flags = resized(tmp_path, 2)
    assert convert(tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert (
        "1 image resized, it seems, without their boxes: a.jpg: has 36x24 pixels, its entry says 72x48, and " in error
    )
    assert "boxes leave it that would fit the entry's size; scale the boxes and the entries' sizes, or give" in error
    assert not (tmp_path / "out").exists()


def test_a_wrong_size_alone_is_no_proof_of_resized_images(tmp_path, caplog):
    entry = image(1, "a.jpg", width=72, height=48)
    written = [annotation(i, 1, box) for i, box in enumerate(PIXELS)]
    flags = write_split(tmp_path, "train", content([entry], written), {"a.jpg": jpeg()})
    assert convert(tmp_path / "out", *flags) == 0
    assert "1 image of another size than annotated, the file's own size was used" in warnings(caplog)
