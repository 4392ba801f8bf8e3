import hashlib
import json
import math

import pytest

from object_detection.coco.annotations import CocoAnnotation, CocoImage, read_coco, read_entries
from object_detection.label_map import Category
from tests.object_detection.tiny_coco import annotation, content, image
from utils.errors import RunError


@pytest.fixture
def read(tmp_path):
    """Reads a value, or text, as an annotation file."""

    def do(value, **options):
        path = tmp_path / "instances.json"
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return read_coco(path, **options)

    return do


def sound():
    return content(
        [image(7, "a/b.jpg"), image(5, "c.jpg")], [annotation(1, 5, [1, 2, 3.5, 4]), annotation(2, 7, [0, 0, 1, 1], 3)]
    )


def test_pictures_and_annotations_keep_their_order_and_classes_go_by_id(read, tmp_path):
    file = read(sound())
    assert file.images == (
        CocoImage(id=7, file_name="a/b.jpg", height=24, width=36),
        CocoImage(id=5, file_name="c.jpg", height=24, width=36),
    )
    assert file.categories == (
        Category(id=1, name="cat", display_name="cat"),
        Category(id=3, name="dog", display_name="dog"),
    )
    first = CocoAnnotation(id=1, image_id=5, category_id=1, box_px=(1.0, 2.0, 3.5, 4.0))
    assert file.annotations[0] == first
    assert file.by_image() == {7: (file.annotations[1],), 5: (first,)}
    assert file.sha256 == hashlib.sha256((tmp_path / "instances.json").read_bytes()).hexdigest()


def test_area_crowd_and_outline_are_read_where_they_are(read):
    outline = {"counts": [0, 5], "size": [24, 36]}
    coco = content(
        [image(1, "a.jpg")],
        [
            annotation(1, 1, [0, 0, 1, 1], area=12.5, segmentation=[[0, 0, 1, 0, 1, 1]]),
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": outline},
            annotation(3, 1, [0, 0, 1, 1], area=None, segmentation=outline) | {"iscrowd": True},
        ],
    )
    without = read(coco).annotations
    assert [(one.area_px, one.is_crowd, one.segmentation) for one in without] == [
        *((12.5, False, None), (None, False, None), (None, True, None))
    ]
    kept = read(coco, keep_segmentation=True).annotations
    assert [one.segmentation for one in kept] == [[[0, 0, 1, 0, 1, 1]], outline, outline]


def test_boxes_that_are_no_boxes_are_left_to_the_reader(read):
    coco = content(
        [image(1, "a.jpg")], [annotation(1, 1, [math.nan, -1, 0, math.inf]), annotation(2, 1, [10**400, 0, 1, 1])]
    )
    first, second = read(coco).annotations
    assert math.isnan(first.box_px[0])
    assert first.box_px[1:] == (-1, 0, math.inf)
    assert math.isnan(second.box_px[0])


def test_sizes_may_be_missing(read):
    coco = content([{"id": 1, "file_name": "a.jpg"}], [])
    assert read(coco).images == (CocoImage(id=1, file_name="a.jpg"),)


def test_files_without_annotations_are_read_only_where_that_is_allowed(read):
    coco = sound()
    del coco["annotations"]
    with pytest.raises(RunError, match="\"annotations\" is missing; it has 'info', 'images', 'categories'"):
        read(coco)
    assert read(coco, need_annotations=False).annotations == ()
    assert len(read(sound(), need_annotations=False).annotations) == 2


def changed(*path, value=None, **changes):
    """Returns the sound file with one value replaced or deleted."""
    coco = sound()
    *way, last = path
    place = coco
    for step in way:
        place = place[step]
    if "delete" in changes:
        del place[last]
    else:
        place[last] = value
    return coco


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "is not valid JSON: Expecting property name"),
        (b"\xff\xfe\xff", "is not valid JSON: "),
        (b"", "is empty; must be annotations in COCO's format"),
        (b"\x1f\x8b\x08", "is compressed with gzip; gunzip it; must be"),
        (b"{\n<<<<<<< HEAD\n", "has a conflict marker of git in line 2; must be"),
        ([{"image_id": 1}], "it holds a list, as files of detections do; must be an object with images, annotations"),
        (3, "it holds 3; must be an object with images, annotations and categories"),
        ({}, '"images" is missing; it has no key at all'),
        (changed("images", delete=True), "\"images\" is missing; it has 'info', 'annotations', 'categories'"),
        (changed("categories", delete=True), '"categories" is missing'),
        (changed("images", value={}), '"images" is {}, and must be a list'),
        (changed("images", value=[]), '"images" is an empty list'),
        (changed("categories", value=[]), '"categories" is an empty list'),
        (changed("images", 1, value="c.jpg"), "entry 1 (from 0) of \"images\" is 'c.jpg', and must be an object"),
        (
            changed("images", 0, "id", value="7"),
            'entry 0 (from 0) of "images": "id" is \'7\', and must be a whole number',
        ),
        (changed("images", 0, "id", value=True), '"id" is True, and must be a whole number'),
        (changed("images", 0, "id", value=2**63), '"id" is 9223372036854775808, and must fit 64 bits'),
        (changed("images", 0, "id", value=5), 'id 5 of "images": an entry before it has the same id'),
        (changed("annotations", 0, "id", value=2), 'id 2 of "annotations": an entry before it has the same id'),
        (
            changed("annotations", 0, "id", delete=True),
            'entry 0 (from 0) of "annotations": "id" is missing, and must be',
        ),
        (changed("categories", 0, "id", value=1), 'id 1 of "categories": an entry before it has the same id'),
        (changed("categories", 0, "name", value="cat"), "ids 3 and 1 of \"categories\" have the same name, 'cat'"),
        (changed("categories", 0, "name", value=" "), 'id 3 of "categories": "name" is blank'),
        (changed("categories", 0, "name", value="\ud800"), "and must be text"),
        (
            changed("categories", 0, "id", value=-1),
            "the class 'dog' needs an id from 0 to 99999: a detector has a class slot for every id",
        ),
        (changed("images", 0, "file_name", value=""), 'id 7 of "images": "file_name" is \'\', and must be the name of'),
        (changed("images", 0, "file_name", value="a\0b"), "and must be the name of a file"),
        (changed("images", 0, "file_name", value="/dev/zero"), "is '/dev/zero', and must be a path below the folder"),
        (
            changed("images", 0, "file_name", value="a/../../b.jpg"),
            'id 7 of "images": "file_name" is \'a/../../b.jpg\'',
        ),
        (changed("images", 0, "file_name", value="."), "and must be a path below the folder of the images"),
        (changed("images", 0, "file_name", value="\ud800"), "and must be text"),
        (changed("images", 0, "width", value="36"), "\"width\" is '36', and must be a whole number"),
        (changed("images", 0, "width", value=10**400), "and must be at most 2147483647"),
        (changed("images", 0, "height", value=0), 'id 7 of "images": "height" is 0, and must be 1 or more'),
        (
            changed("annotations", 0, "bbox", value=[1, 2, 3]),
            '"bbox" is [1, 2, 3], and must be four numbers: x, y, width',
        ),
        (changed("annotations", 0, "bbox", value=[1, 2, 3, None]), "and must be four numbers"),
        (changed("annotations", 0, "bbox", value=[1, 2, 3, True]), "and must be four numbers"),
        (
            changed("annotations", 0, "bbox", delete=True),
            'id 1 of "annotations": "bbox" is missing, and must be a list',
        ),
        (changed("annotations", 0, "iscrowd", value=2), '"iscrowd" is 2, and must be 0 or 1'),
        (changed("annotations", 0, "iscrowd", value=None), '"iscrowd" is None, and must be 0 or 1'),
        (changed("annotations", 0, "area", value="7"), "\"area\" is '7', and must be a number"),
        (changed("annotations", 1, "image_id", value=99), 'annotation 2 refers to image 99, which is not in "images"'),
        (
            changed("annotations", 1, "category_id", value=99),
            'annotation 2 refers to category 99, which is not in "categories"; the ids there are [1, 3]',
        ),
    ],
)
def test_what_is_not_in_cocos_format_is_a_sentence_that_names_file_and_entry(read, tmp_path, value, message):
    with pytest.raises(RunError) as error:
        read(value, flag="--train_annotations_file")
    assert str(error.value).startswith(f"--train_annotations_file {tmp_path / 'instances.json'}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is nested too deeply; must be annotations"),
        ('{"a":' * 100_000, "is nested too deeply; must be annotations"),
        ("9" * 5000, "has a number that cannot be read: Exceeds the limit (4300 digits)"),
    ],
)
def test_extreme_json_is_a_sentence(read, text, message):
    with pytest.raises(RunError) as error:
        read(text.encode())
    assert message in str(error.value)


@pytest.mark.parametrize("depth", [3, 30, 300, 900])
def test_a_value_of_any_depth_is_described_in_a_few_letters(read, depth):
    value = json.loads("[" * depth + "]" * depth)
    coco = content([image(1, "a.jpg")], [annotation(1, 1, value)])
    with pytest.raises(RunError, match=r'id 1 of "annotations": "bbox" is \[\[') as error:
        read(coco)
    assert len(str(error.value)) < 500


def test_a_device_is_no_annotation_file():
    with pytest.raises(RunError, match=r"/dev/zero: cannot be read \(it is a device, and must be a regular file\)"):
        read_coco("/dev/zero")


def test_all_faults_are_collected_without_those_that_follow_from_others(tmp_path):
    coco = content(
        [image("7", "a.jpg"), image(5, "/c.jpg"), image(6, "d.jpg")],
        [annotation(1, 5, [1, 2, 3, 4]), annotation(2, 8, [1, 2, 3, 4]), annotation(3, 6, [1, 2], 1)],
        [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": -1, "name": "dog"}],
    )
    coco["annotations"] += [annotation(4, 6, [1, 2, 3, 4], 2), annotation(5, 6, [1, 2, 3, 4], 9)]
    (tmp_path / "a.json").write_text(json.dumps(coco))
    read = read_entries(tmp_path / "a.json")
    assert [fault.kind for fault in read.faults] == [
        *("image_entry", "image_entry", "category", "annotation", "category", "annotation", "box_category")
    ]
    assert "annotation 2 refers to image 8" in read.faults[5].text
    assert "annotation 5 refers to category 9" in read.faults[6].text
    assert [one.id for one in read.file.images] == [6]
    assert read.file.annotations == ()
    with pytest.raises(RunError, match=r'"images": .* \(and 6 more faults, which tools.validate lists\)$'):
        read_coco(tmp_path / "a.json")


def test_outlines_that_are_needed_must_be_there(read):
    for outline in ({}, {"segmentation": []}, {"segmentation": "x"}):
        coco = content([image(1, "a.jpg")], [annotation(4, 1, [0, 0, 1, 1], **outline)])
        with pytest.raises(RunError, match=r'id 4 of "annotations": "segmentation" is .*, and must be polygons or run'):
            read(coco, keep_segmentation=True)
        assert len(read(coco).annotations) == 1


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"absent.json: cannot be read \(No such file or directory\)"):
        read_coco(tmp_path / "absent.json")


def test_the_sample_data_reads(sample_data):
    file = read_coco(sample_data / "bccd" / "annotations" / "instances_train.json")
    assert (len(file.images), len(file.annotations)) == (292, 3941)
    assert [category.name for category in file.categories] == ["Platelets", "RBC", "WBC"]
