import pytest

from utils.files.json_values import is_kind, shortened, typed, typed_list

CONTENT = {
    "int": 3,
    "float": 2.5,
    "text": "a",
    "list": [1],
    "object": {},
    "true": True,
    "null": None,
    "mixed": [1, "a"],
}


@pytest.mark.parametrize(
    ("key", "kind"), [("int", int), ("int", float), ("float", float), ("text", str), ("list", list), ("object", dict)]
)
def test_values_of_the_right_kind_come_as_they_are(key, kind):
    assert typed(CONTENT, key, kind) == CONTENT[key]


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("true", int, '"true" is True, and must be a whole number'),
        ("true", float, '"true" is True, and must be a number'),
        ("float", int, '"float" is 2.5, and must be a whole number'),
        ("int", str, '"int" is 3, and must be text'),
        ("text", list, "\"text\" is 'a', and must be a list"),
        ("null", dict, '"null" is None, and must be an object'),
        ("absent", int, '"absent" is missing, and must be a whole number'),
    ],
)
def test_others_are_a_sentence(key, kind, message):
    with pytest.raises(ValueError, match=message):
        typed(CONTENT, key, kind)


def test_optional_values_may_be_missing_or_null_but_not_of_another_kind():
    assert typed(CONTENT, "absent", int, optional=True) is None
    assert typed(CONTENT, "null", int, optional=True) is None
    with pytest.raises(ValueError, match='"text" is'):
        typed(CONTENT, "text", int, optional=True)


def test_numbers_may_have_a_least_value():
    assert typed(CONTENT, "int", int, least=3) == 3
    with pytest.raises(ValueError, match='"int" is 3, and must be 4 or more'):
        typed(CONTENT, "int", int, least=4)


def test_lists_are_of_one_kind():
    assert typed_list(CONTENT, "list", int) == [1]
    with pytest.raises(ValueError, match="\"mixed\" contains 'a'; every value of the list must be a whole number"):
        typed_list(CONTENT, "mixed", int)
    assert not is_kind([], dict)


def test_long_values_are_cut():
    assert shortened("a" * 100) == "'" + "a" * 56 + "..."
