import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_detection.label_map import (
    COCO_LABEL_MAP,
    Category,
    label_map_text,
    parse_label_map,
    read_label_map,
)
from utils.errors import RunError

UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def test_items_may_be_written_in_every_way_the_format_knows():
    text = """
    # animals
    item { id: 2 name: 'cat' display_name: "Cat" }
    item: < display_name: "it's" 'a' "dog",
            name: 'd\\x6fg'; id: 1 >  # one more
    item{name:"caf\\303\\251\\n\\\\\\"",id:7}
    """
    assert parse_label_map(text, "here") == (
        Category(id=1, name="dog", display_name="it'sadog"),
        Category(id=2, name="cat", display_name="Cat"),
        Category(id=7, name='café\n\\"'),
    )


def test_fields_of_other_tools_are_passed_over():
    text = """
    item {
      frequency: 1.5e3 ancestor_ids: ["a", "b"] ancestor_ids: 3
      keypoints { id: 9 label: "nose" nested < x: 1 > }
      keypoints: { id: 10 }
      id: 4 name: "x"
    }
    """
    assert parse_label_map(text, "here") == (Category(id=4, name="x"),)


@given(st.lists(st.text(min_size=1).filter(lambda text: "\r" not in text), unique=True, min_size=1, max_size=5))
def test_what_is_written_is_read_back(names):
    try:
        [name.encode() for name in names]
    except UnicodeEncodeError:
        return  # half of a pair of surrogates is no text
    categories = tuple(
        Category(id=2 * index + 1, name=name, display_name=name[::-1] + str(index)) for index, name in enumerate(names)
    )
    assert parse_label_map(label_map_text(categories), "here") == categories


def test_the_file_that_is_written_is_read_back(tmp_path):
    categories = (Category(id=1, name="größe", display_name='a "b"'), Category(id=5, name="c", display_name="c"))
    (tmp_path / "map.pbtxt").write_text(label_map_text(categories), encoding="utf-8")
    assert read_label_map(tmp_path / "map.pbtxt") == categories
    (tmp_path / "map.pbtxt").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "map.pbtxt").read_bytes())
    assert read_label_map(tmp_path / "map.pbtxt") == categories, "a byte order mark does no harm"


def test_coco_has_80_classes_with_ids_up_to_90():
    categories = read_label_map(COCO_LABEL_MAP)
    assert {category.id for category in categories} == set(range(1, 91)) - UNUSED_IDS
    names = {category.id: category.name for category in categories}
    assert [names[number] for number in (1, 11, 13, 27, 67, 70, 84, 90)] == [
        *("person", "fire hydrant", "stop sign", "backpack", "dining table", "toilet", "book", "toothbrush")
    ]
    assert all(category.name == category.display_name for category in categories)


@pytest.mark.parametrize(
    ("item", "is_background"),
    [
        ("id: 0 name: 'background'", True),
        ("id: 0 name: '/m/0' display_name: 'background'", True),
        ("id: 0 name: 'cat'", False),
        ("id: 1 name: 'background'", False),
    ],
)
def test_id_0_is_the_backgrounds_or_a_class_as_any_other(item, is_background):
    (category,) = parse_label_map(f"item {{ {item} }}", "here")
    assert category.is_background == is_background


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item {\n name: 'cat' }", "line 1: the item has no id"),
        ("\n\nitem { id: 1 }", "line 3: the item with id 1 has neither name nor display_name"),
        ("item { id: -1 name: 'cat' }", "line 1: id -1 of 'cat': must be 0 or more"),
        ("item { id: 1.5 name: 'cat' }", "line 1: id is 1.5, and must be a whole number"),
        ("item { id: '1' name: 'cat' }", "line 1: id is '1', and must be a whole number"),
        ("item { id: 1 id: 2 name: 'cat' }", "line 1: the item has id twice"),
        ("item { id: 1 name: 'a' }\nitem { id: 1 name: 'b' }", "line 2: id 1 is already used by the item on line 1"),
        (
            "item { id: 1 name: 'a' }\nitem { id: 2 name: 'a' }",
            "line 2: name 'a' is already used by the item on line 1",
        ),
        (
            "item { id: 1 display_name: 'a' }\nitem { id: 2 display_name: 'a' }",
            "line 2: display_name 'a' is already used by the item on line 1",
        ),
        ("item { id: 1 name: cat }", "line 1: name is cat, and must be a text in quotes"),
        ("item { id: 1\n name: 'cat }", "line 2: a text has no closing quote"),
        ("item { id: 1 name: 'cat'", "line 1: expected }, found the end of the file"),
        ("item { id: 1 other", "line 1: expected : after other, found the end of the file"),
        ("item { id: 1 other:", "line 1: the file ends inside an item"),
        ("item { id:", "line 1: id is the end of the file, and must be a whole number"),
        ("item { id: 1 keypoints { id: 2 name: 'cat' }", "line 1: expected }, found the end of the file"),
        ("item { id: 1 keypoints { id: 2", "line 1: { has no matching bracket"),
        ("item { id: 1 other: } name: 'cat' }", "line 1: } has no matching bracket"),
        ("item { id: 1 name: 'cat' >", "line 1: expected }, found >"),
        ("item ( id: 1 )", "line 1: '(' is not part of a label map"),
        ("cat\ndog", "line 1: expected item, found cat"),
        ("item { id: 1 name: '\\xff' }", "line 1: the text '\\xff' cannot be read"),
        ("item { id: 1 name: '\\q' }", "unknown escape \\q"),
        ("item { id: 1 name: '\\ud800' }", "line 1: the text '\\ud800' cannot be read"),
        ("item { id: 1 name: '\\UFFFFFFFF' }", "cannot be read"),
        ("# nothing\n", "holds no item; a label map holds one for each class"),
    ],
)
def test_what_is_no_label_map_is_a_sentence_with_the_line(text, message):
    with pytest.raises(RunError) as error:
        parse_label_map(text, "here")
    assert str(error.value).startswith("here: ")
    assert message in str(error.value)


def test_files_that_cannot_be_read_are_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"absent: cannot be read \(No such file or directory\)"):
        read_label_map(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"item { \xff }")
    with pytest.raises(RunError, match="binary: line 1: is not UTF-8 text"):
        read_label_map(tmp_path / "binary")
