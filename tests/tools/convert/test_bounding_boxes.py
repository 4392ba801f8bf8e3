import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.utils.tiny_images import encoded
from tools.convert.bounding_boxes import check_boxes, clean_box, read_bounding_boxes
from tools.convert.box_frame import turn_box
from tools.convert.classification_plan import ClassificationRecord
from tools.convert.remarks import Remarks
from tools.convert.sources import ImageSource, SourceSet
from utils.errors import RunError, UsageError
from utils.images.image_files import EncodedImage, load_rgb


def _xml(*objects, width=200, height=100):
    body = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{body}</annotation>"


def _sources(*names, folder="n01440764"):
    images = [ImageSource(f"train/{folder}/{name}", 1, 1) for name in names]
    return SourceSet(class_folders=(folder,), splits={"train": {folder: images}}, folders_read=(), notes=())


def test_xml_boxes_are_fractions_in_the_order_ymin_xmin_ymax_xmax(tmp_path):
    (tmp_path / "n01440764").mkdir()
    (tmp_path / "n01440764" / "n01440764_1.xml").write_text(_xml(("n01440764", 20, 30, 120, 80)))
    boxes = read_bounding_boxes(tmp_path)
    # 30/100, 20/200, 80/100, 120/200
    assert boxes.of("train/n01440764/n01440764_1.JPEG", "n01440764") == ((0.3, 0.1, 0.8, 0.6),)
    assert boxes.of("train/n01440764/n01440764_2.JPEG", "n01440764") is None


def test_csv_boxes_stand_as_xmin_ymin_xmax_ymax(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("a_1.JPEG,0.1,0.3,0.6,0.8\na_1.JPEG,0,0,1,1\n\nb_2.JPEG,0.0060,0.2620,0.7545,0.9940\n")
    boxes = read_bounding_boxes(path)
    assert boxes.of("train/x/a_1.JPEG", "x") == ((0.3, 0.1, 0.8, 0.6), (0.0, 0.0, 1.0, 1.0))
    assert boxes.of("train/x/b_2.jpg", "x") == ((0.262, 0.006, 0.994, 0.7545),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0.123456, 0.2, 0.8, 0.9), (0.1235, 0.2, 0.8, 0.9)),
        ((-0.5, 0.1, 1.5, 0.9), (0.0, 0.1, 1.0, 0.9)),
        ((0.8, 0.9, 0.1, 0.2), (0.1, 0.2, 0.8, 0.9)),
        ((0.5, 0.1, 0.5, 0.9), None),
        ((1.2, 0.1, 1.5, 0.9), None),
        ((0.50001, 0.1, 0.50002, 0.9), None),
        ((float("nan"), 0.1, 0.5, 0.9), None),
    ],
)
def test_boxes_are_rounded_cut_swapped_and_dropped_when_empty(given, expected):
    assert clean_box(*given) == expected


def test_boxes_of_another_synset_are_left_out_and_human_names_are_kept(tmp_path):
    objects = [("n01440764", 0, 0, 100, 50), ("n09999999", 0, 0, 50, 50), ("a fish", 100, 50, 200, 100)]
    (tmp_path / "n01440764_1.xml").write_text(_xml(*objects))
    boxes = read_bounding_boxes(tmp_path)
    assert boxes.of("n01440764_1.JPEG", "n01440764") == ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0))
    assert len(boxes.of("n01440764_1.JPEG", "fishes")) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_turns_with_its_image(orientation):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[4:12, 16:40] = 255  # box 0.1, 0.2, 0.3, 0.5
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(io.BytesIO(load_rgb(encoded(pixels, exif=exif)).data)) as image:
        upright = np.asarray(image)[..., 0] > 0
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    height, width = upright.shape
    seen = (rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width)
    assert turn_box((0.1, 0.2, 0.3, 0.5), orientation) == pytest.approx(seen, abs=1e-9)


def test_boxes_that_belong_to_no_image_are_told(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("a.JPEG,0,0,1,1\nb.JPEG,0,0,1,1\nc.JPEG,0.5,0,0.5,1\n")
    assert check_boxes(read_bounding_boxes(path), _sources("a.JPEG"), path) == [
        f"--bounding_boxes {path}: no image for 1 file name",
        f"--bounding_boxes {path}: dropped 1 box without area",
    ]


def test_boxes_of_none_of_the_images_are_an_error(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("a.JPEG,0,0,1,1\n")
    with pytest.raises(UsageError, match="none of its 1 file name belongs to an image"):
        check_boxes(read_bounding_boxes(path), _sources("b.JPEG"), path)


def test_boxes_that_fit_two_images_are_an_error(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("a.JPEG,0,0,1,1\n")
    with pytest.raises(UsageError, match="several images are named a, so its boxes are ambiguous"):
        check_boxes(read_bounding_boxes(path), _sources("a.JPEG", "a.png"), path)


def test_a_missing_or_empty_path_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match="absent: no such file or folder; must be a folder of XML files or a CSV file"):
        read_bounding_boxes(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"the folder holds no .xml file"):
        read_bounding_boxes(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["<annotation>", _xml(("x", 1, 1, 2, 2), width=0), _xml(("x", "one", 1, 2, 2)), "<annotation></annotation>"],
)
def test_a_damaged_xml_file_is_named(tmp_path, content):
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(RunError, match=r"a\.xml: cannot be read as an annotation"):
        read_bounding_boxes(tmp_path)


@pytest.mark.parametrize("line", ["b.JPEG,0,0,1", "b.JPEG,0,0,1,one", "b.JPEG,0,0,1,1,1"])
def test_a_damaged_csv_line_is_named(tmp_path, line):
    path = tmp_path / "boxes.csv"
    path.write_text(f"a.JPEG,0,0,1,1\n{line}\n")
    with pytest.raises(RunError) as error:
        read_bounding_boxes(path)
    assert str(error.value) == (f"--bounding_boxes {path}: line 2 is {line!r}; must be file name,xmin,ymin,xmax,ymax")


def test_a_csv_that_is_not_text_is_a_sentence(tmp_path):
    path = Path(tmp_path / "boxes.csv")
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RunError, match=r"boxes\.csv: is not text in UTF-8"):
        read_bounding_boxes(path)


def test_a_pipe_in_place_of_the_csv_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "boxes.csv")
    with pytest.raises(RunError, match=r"boxes\.csv: cannot be read \(it is a named pipe"):
        read_bounding_boxes(tmp_path / "boxes.csv")


def test_a_pipe_among_the_xml_files_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(RunError, match=r"a.xml: cannot be read as an annotation \(.*it is a named pipe"):
        read_bounding_boxes(tmp_path)


@pytest.mark.parametrize(
    ("orientation", "size", "boxes_are", "turned", "remarked"),
    [
        (6, (40, 30), "auto", False, False),  # the upright picture is 40 high
        (6, (30, 40), "auto", True, False),
        (6, (35, 35), "auto", True, True),
        (6, None, "auto", True, True),
        (3, (40, 30), "auto", True, True),
        (1, None, "auto", False, False),
        (6, (30, 40), "upright", False, False),
        (3, None, "upright", False, False),
        (6, (40, 30), "stored", True, False),
    ],
)
def test_the_size_of_the_annotation_proves_which_picture_boxes_were_drawn_on(
    orientation, size, boxes_are, turned, remarked
):
    box, remarks = (0.1, 0.2, 0.3, 0.5), Remarks()
    source = ImageSource("train/x/a.jpg", 1, 1)
    record = ClassificationRecord(
        image=source, label=1, synset="x", text="x", boxes=(box,), boxes_size=size, boxes_are=boxes_are
    )
    image = EncodedImage(data=b"", format="JPEG", height=40, width=30, orientation=orientation)
    features = record.features(image, remarks)
    expected = turn_box(box, orientation) if turned else box
    edges = [features[f"image/object/bbox/{edge}"][0] for edge in ("ymin", "xmin", "ymax", "xmax")]
    assert edges == pytest.approx(expected)
    assert [remark.first for remark in remarks.as_tuple()] == [("train/x/a.jpg",)] * remarked


def test_the_size_in_an_annotation_is_kept(tmp_path):
    (tmp_path / "a.xml").write_text(_xml(("x", 0, 0, 100, 50)))
    assert read_bounding_boxes(tmp_path).size_of("train/x/a.JPEG") == (100.0, 200.0)
