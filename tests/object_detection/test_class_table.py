"""Categories, their names and their class slots."""

from object_detection.class_table import class_table

NAMES, ALIASES = ("cat", "dog", "bird"), ("/m/cat", "", "/m/bird")


def test_there_is_a_slot_for_each_id_and_one_for_the_background():
    table = class_table((1, 3, 7), NAMES, ALIASES, 9, exact=False)
    assert (table.slots, table.slot_count) == ((1, 3, 7), 10)


def test_there_is_a_slot_for_each_category_where_that_is_asked_for():
    table = class_table((1, 3, 7), NAMES, ALIASES, 9, exact=True)
    assert (table.slots, table.slot_count) == ((0, 1, 2), 3)


def test_names_and_aliases_stand_for_a_category_and_no_text_for_none():
    table = class_table((1, 3, 7), NAMES, ALIASES, 7, exact=False)
    assert table.texts == {"cat": 1, "dog": 3, "bird": 7, "/m/cat": 1, "/m/bird": 7}
    assert class_table((1, 3, 7), NAMES, (), 7, exact=False).texts == {"cat": 1, "dog": 3, "bird": 7}
