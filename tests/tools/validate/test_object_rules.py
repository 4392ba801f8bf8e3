"""Records with objects and COCO annotation files: planted faults are found, named, and absent from the copy."""

import json

import pytest

from object_detection.coco.annotations import read_coco
from object_detection.records.object_records import fault_in
from tests.object_detection.detection_records import FAULTS, SOUND, TABLE, UNEVEN
from tests.object_detection.tiny_coco import tiny_split
from tests.tools.validate.validating import (
    as_it_is,
    files,
    kinds,
    other_split,
    payloads,
    spoil,
    validate,
    with_objects,
)
from tests.utils.tiny_images import jpeg
from tools.validate.__main__ import main
from tools.validate.decoded_image import decode_image
from tools.validate.findings import KINDS
from tools.validate.object_rules import make_object_rules
from utils.records.example_proto import decode_example
from utils.records.split_files import load_split

NAN = float("nan")
BOX = "image__object__bbox__"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return with_objects(tmp_path_factory.mktemp("objects"))


def sides(ymin=(0.1, 0.5), xmin=(0.1, 0.5), ymax=(0.4, 0.9), xmax=(0.4, 0.9)):
    """The features of two boxes, by their sides."""
    return {f"{BOX}{name}": list(values) for name, values in locals().items()}


PLANTED = {  # changes to a record with two objects, dog and cat, and the number of objects left
    "box_not_finite": (sides(ymin=(NAN, 0.5)), 1),
    "box_inverted": (sides(ymin=(0.6, 0.5)), 1),
    "box_empty": (sides(xmin=(0.4, 0.5)), 1),
    "box_outside, gone": (sides(xmin=(1.2, 0.5), xmax=(1.4, 0.9)), 1),
    "box_outside, in pixels": (sides(ymax=(20.0, 0.9), xmax=(30.0, 0.9)), 2),
    "box_outside, cut": (sides(ymin=(-0.2, 0.5)), 2),
    "box_tiny": (sides(xmax=(0.115, 0.9)), 1),
    "box_duplicate": ({**sides(*[(0.1, 0.1)] * 2, *[(0.4, 0.4)] * 2), "image__object__class__label": [1, 1],
                       "image__object__class__text": [b"cat", b"cat"]}, 1),
    "box_category, unknown id": ({"image__object__class__label": [2, 3], "image__object__class__text": []}, 1),
    "box_category, unknown name": ({"image__object__class__text": [b"lion", b"dog"]}, 1),
    "box_category, another name": ({"image__object__class__text": [b"dog", b"dog"]}, 1),
    "objects_uneven": ({"image__object__class__label": [1]}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_of_an_object_is_named_and_gone_from_the_copy(name, records, tmp_path, capsys):
    changed, left = PLANTED[name]
    spoil(files(records)[0], 2, **changed)
    as_it_is(records)
    kind = name.partition(",")[0]
    status, findings = validate(records, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {kind})
    (finding,) = [one for one in findings if one["severity"] == "fault"]
    assert (finding["file"], finding["record"]) == ("coco_train.record-00000-of-00001", 2)
    assert "coco_train.record-00000-of-00001 record 2: " in capsys.readouterr().out
    assert validate(tmp_path / "repaired", tmp_path=tmp_path)[0] == 0
    kept = payloads(files(tmp_path / "repaired")[0])
    assert len(kept) == (5 if left is None else 6)
    if left is not None:
        features = decode_example(kept[2])
        lengths = {len(values) for key, values in features.items() if key.startswith("image/object/")}
        assert lengths <= {left, 0}
        assert all(0 <= edge <= 1 for key, values in features.items() if "/bbox/" in key for edge in values)


def test_sound_objects_are_clean_in_their_copy_too(records, tmp_path, capsys):
    status, findings = validate(records, "--fix", tmp_path / "copy", tmp_path=tmp_path, workers=2)
    assert (status, kinds(findings)) == (0, set())
    assert kinds(findings, "remark") == {"image_without_boxes"}
    assert "train: 6 images in 1 file" in (out := capsys.readouterr().out)
    assert "6 boxes, 2 images without any" in out
    assert (tmp_path / "copy" / "label_map.pbtxt").read_bytes() == (records / "label_map.pbtxt").read_bytes()
    assert load_split(tmp_path / "copy", "train").examples == 6


def test_a_label_map_of_other_classes_is_a_fault(records, tmp_path):
    path = records / "label_map.pbtxt"
    path.write_text(path.read_text().replace("cat", "lion"))
    status, findings = validate(records, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"label_map"})
    assert validate(tmp_path / "repaired", tmp_path=tmp_path)[0] == 0


def test_boxes_that_nearly_coincide_are_remarked(records, tmp_path):
    both = {"image__object__class__label": [1, 1], "image__object__class__text": [b"cat", b"cat"]}
    spoil(files(records)[0], 2, **{**sides(*[(0.1, 0.1)] * 2, *[(0.9, 0.88)] * 2), **both})
    as_it_is(records)
    status, findings = validate(records, tmp_path=tmp_path)
    assert status == 0
    assert "box_similar" in kinds(findings, "remark")


def rules():
    from tools.validate.object_rules import ObjectRules

    return ObjectRules(TABLE)


def faults_of(serialized):
    features = decode_example(serialized)
    checked = rules()(features, decode_image(features["image/encoded"][0], as_record=True))
    return {kind for kind, _ in checked.notes if KINDS[kind].severity == "fault"}


@pytest.mark.parametrize("name", [*FAULTS, *UNEVEN])
def test_whatever_training_refuses_is_a_fault(name):
    serialized = (FAULTS | UNEVEN)[name][0]
    assert fault_in(decode_example(serialized), TABLE)
    assert faults_of(serialized)


@pytest.mark.parametrize("name", SOUND)
def test_what_training_takes_is_no_fault_but_for_boxes_that_reach_outside(name):
    assert faults_of(SOUND[name]) == ({"box_outside"} if name == "partly outside" else set())


def test_without_manifest_and_label_map_the_categories_are_cocos(tmp_path):
    _, classes, faults = make_object_rules(tmp_path, None)
    assert (len(classes), classes[1], faults) == (80, "person", [])


@pytest.fixture
def annotations(tmp_path):
    """An annotation file of six images with up to two objects each."""
    tiny_split(tmp_path, "train")
    return tmp_path / "train.json"


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def annotation_2(**changed):
    """Changes the first of the two annotations of image 102."""

    def do(content):
        (one,) = [one for one in content["annotations"] if one["id"] == 20]
        one.update(changed)

    return do


SPOILED_FILES = {
    "box_not_finite": annotation_2(bbox=[NAN, 2, 4, 5]),
    "box_inverted": annotation_2(bbox=[10, 2, -4, 5]),
    "box_empty": annotation_2(bbox=[10, 2, 0, 5]),
    "box_outside": annotation_2(bbox=[30, 2, 20, 5]),
    "box_tiny": annotation_2(bbox=[3, 2, 0.5, 5]),
    "box_duplicate": annotation_2(bbox=[1, 2, 4.5, 6], category_id=3),
    "box_category": annotation_2(category_id=7),
    "box_category, background": lambda content: (
        content["categories"].append({"id": 0, "name": "background"}),
        annotation_2(category_id=0)(content),
    ),
    "annotation, bbox": annotation_2(bbox=[1, 2, 3]),
    "annotation, id": annotation_2(id=21),
    "annotation, image": annotation_2(image_id=5),
    "image_entry, name": lambda content: content["images"][3].update(file_name=""),
    "image_entry, twice": lambda content: content["images"][3].update(file_name="0.jpg"),
    "image_unreadable": lambda content: content["images"][3].update(file_name="gone.jpg"),
    "image_size": lambda content: content["images"][2].update(width=72, height=48),
    "category": lambda content: content["categories"].append({"id": 9, "name": "cat"}),
}


@pytest.mark.parametrize("name", SPOILED_FILES)
def test_a_fault_of_an_annotation_file_is_named_and_gone_from_the_copy(name, annotations, tmp_path, capsys):
    edit(annotations, SPOILED_FILES[name])
    kind = name.partition(",")[0]
    out = tmp_path / "repaired"
    status, findings = validate(annotations, "--fix", out, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {kind})
    assert f"({kind}): " in capsys.readouterr().out
    read_coco(out / "train.json")
    status, findings = validate(out / "train.json", "--image_dir", tmp_path / "train", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (0, set())


def test_a_sound_annotation_file_is_clean_and_its_copy_says_the_same(annotations, tmp_path):
    status, findings = validate(annotations, "--fix", tmp_path / "copy", tmp_path=tmp_path, workers=2)
    assert (status, kinds(findings)) == (0, set())
    assert json.loads((tmp_path / "copy" / "train.json").read_text()) == json.loads(annotations.read_text())


def test_two_annotation_files_are_one_data_set(annotations, tmp_path):
    other_split(tmp_path)
    (tmp_path / "val" / "1.jpg").write_bytes((tmp_path / "train" / "4.jpg").read_bytes())
    both = (annotations, tmp_path / "val.json")
    status, findings = validate(*both, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"duplicate_in_splits"})
    assert len(read_coco(tmp_path / "repaired" / "train.json").images) == 5
    assert len(read_coco(tmp_path / "repaired" / "val.json").images) == 6


def test_annotation_files_whose_categories_differ_are_refused_as_by_the_converter(annotations, tmp_path):
    other_split(tmp_path)
    edit(tmp_path / "val.json", lambda content: content["categories"][0].update(name="lion"))
    status, findings = validate(annotations, tmp_path / "val.json", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"categories_differ"})


def test_the_findings_never_take_the_place_of_a_source(annotations, capsys):
    before = annotations.read_bytes()
    assert main([str(annotations), f"--json={annotations}"]) == 2
    assert "which the command reads; name another file" in capsys.readouterr().err
    assert annotations.read_bytes() == before


@pytest.mark.parametrize("name", ["latest.json", "contest.json"])
def test_only_a_word_of_the_name_says_that_images_are_for_testing(name, annotations, tmp_path):
    edit(annotations, lambda content: content.update(annotations=[]))
    annotations.rename(tmp_path / name)
    status, findings = validate(tmp_path / name, "--image_dir", tmp_path / "train", tmp_path=tmp_path)
    assert status == 1
    assert "split_without_objects" in kinds(findings)


def test_a_picture_that_exif_turns_may_be_described_either_way(annotations, tmp_path):
    (tmp_path / "train" / "2.jpg").write_bytes(jpeg(2, orientation=6))
    assert validate(annotations, tmp_path=tmp_path)[0] == 0
    edit(annotations, lambda content: content["images"][2].update(width=24, height=36))
    assert validate(annotations, tmp_path=tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "it holds a list, as files of detections do; must be an object with images"),
        ("{", "is not valid JSON"),
        ('{"images": 3}', "\"annotations\" is missing; it has 'images'"),
    ],
)
def test_a_file_that_is_no_annotation_file_is_a_sentence(text, message, tmp_path, capsys):
    (tmp_path / "any.json").write_text(text)
    assert validate(tmp_path / "any.json", tmp_path=tmp_path)[0] == 1
    assert message in capsys.readouterr().err


def test_an_image_that_is_named_twice_is_dropped_with_its_annotations_and_without_further_faults(annotations, tmp_path):
    edit(annotations, lambda content: content["images"][5].update(file_name="./1.jpg"))
    status, findings = validate(annotations, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    (fault,) = [one for one in findings if one["severity"] == "fault"]
    assert (status, fault["kind"], fault["file"]) == (1, "image_entry", "./1.jpg")
    assert fault["text"] == 'the file of id 105 of "images" is also that of id 101'
    assert {one.image_id for one in read_coco(tmp_path / "repaired" / "train.json").annotations} == {101, 102, 104}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("image_entry", lambda content: [image.update(id=str(image["id"])) for image in content["images"]]),
        ("image_entry", lambda content: [image.update(id=float(image["id"])) for image in content["images"]]),
        ("image_entry", lambda content: [image.pop("file_name") for image in content["images"]]),
        ("image_entry", lambda content: content.update(images=[])),
        ("split_without_objects", lambda content: content.update(annotations=[])),
    ],
)
def test_faults_of_all_entries_are_named_without_a_folder_of_images(kind, change, annotations, tmp_path):
    edit(annotations, change)
    status, findings = validate(annotations, tmp_path=tmp_path)
    assert status == 1
    assert kind in kinds(findings)


def test_a_file_of_test_images_needs_no_annotations(annotations, tmp_path):
    edit(annotations, lambda content: content.pop("annotations"))
    annotations.rename(tmp_path / "test.json")
    status, findings = validate(tmp_path / "test.json", "--image_dir", tmp_path / "train", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (0, set())


def test_boxes_in_another_format_are_one_fault_that_no_repair_treats(annotations, tmp_path, capsys):
    def in_fractions(content):
        for one in content["annotations"]:
            one["bbox"] = [side / length for side, length in zip(one["bbox"], (36, 24, 36, 24), strict=True)]

    edit(annotations, in_fractions)
    status, findings = validate(annotations, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, findings) == (1, None)
    assert "--box_format=xywh_fractions" in capsys.readouterr().err
    assert not (tmp_path / "repaired").exists()
    status, findings = validate(annotations, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"box_format"})
    status, findings = validate(annotations, "--box_format=xywh_fractions", tmp_path=tmp_path)
    assert (status, kinds(findings)) == (0, set())


def test_no_repair_gives_resized_images_the_boxes_of_larger_ones(annotations, tmp_path, capsys):
    def enlarge(content):
        for one in content["images"]:
            one |= {"width": 360, "height": 240}
        for one in content["annotations"]:
            one["bbox"] = [10 * side for side in one["bbox"]]

    edit(annotations, enlarge)
    status, findings = validate(annotations, "--fix", tmp_path / "repaired", tmp_path=tmp_path)
    assert (status, findings) == (1, None)
    assert "scale the boxes of the resized images first" in capsys.readouterr().err
    status, findings = validate(annotations, tmp_path=tmp_path)
    assert status == 1
    assert "image_resized" in kinds(findings)


def test_images_in_no_usual_place_are_to_be_named(annotations, tmp_path, capsys):
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    assert validate(annotations, tmp_path=tmp_path)[0] == 2
    assert "give their folder with --image_dir" in capsys.readouterr().err
    assert validate(annotations, "--image_dir", tmp_path / "elsewhere", tmp_path=tmp_path)[0] == 0


def test_numbers_that_evaluation_refuses_are_faults_of_validation_images(records, tmp_path):
    for number in range(3):
        spoil(files(records, "val")[0], number, image__source_id=[b"07" if number else b"7"])
        spoil(files(records)[0], number, image__source_id=[b"7"])
    as_it_is(records)
    status, findings = validate(records, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"source_id"})
    assert {one["split"] for one in findings if one["kind"] == "source_id"} == {"validation"}


def test_a_split_without_any_object_is_a_fault(records, tmp_path):
    for number in range(6):
        spoil(files(records)[0], number, **dict.fromkeys(sides()), image__object__class__label=None,
              image__object__class__text=None, image__object__area=None, image__object__is_crowd=None)  # fmt: skip
    as_it_is(records)
    status, findings = validate(records, tmp_path=tmp_path)
    assert (status, kinds(findings)) == (1, {"split_without_objects"})
