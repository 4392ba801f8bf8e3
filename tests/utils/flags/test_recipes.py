"""Recipe files: valid lines, includes, and the locations in error messages."""

import itertools
import os
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.errors import UsageError
from utils.flags.recipes import expand, origin_of


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def test_arguments_without_a_recipe_stay_as_they_are():
    assert expand(["--amp", "--lr_init", "0.1"]) == ["--amp", "--lr_init", "0.1"]


def test_a_recipe_holds_flags_comments_and_blank_lines(write):
    write(
        "a.args",
        "# what it costs\n\n--lr_init 0.256   # per 256 images\n--lr_warmup_epochs=8\n  --amp\n"
        "--to_predict 'my photos/*.jpg'\n--results_dir=run#1\n--model_dir \"it's # here\"\n",
    )
    assert expand(["--seed", "1", "@a.args", "--seed=2"]) == [
        *("--seed", "1", "--lr_init", "0.256", "--lr_warmup_epochs=8", "--amp"),
        *("--to_predict", "my photos/*.jpg", "--results_dir=run#1", "--model_dir", "it's # here", "--seed=2"),
    ]


def test_a_comment_may_contain_quotes(write):
    write("a.args", "--amp # don't\n# it's \"open\n")
    assert expand(["@a.args"]) == ["--amp"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    (tmp_path / "a.args").write_bytes(b"\xef\xbb\xbf--amp\r\n--seed 3\r\n")
    assert expand(["@a.args"]) == ["--amp", "--seed", "3"]


def test_an_include_is_named_relative_to_the_file_that_includes_it(write):
    write("common/base.args", "--momentum 0.9\n")
    write("common/cosine.args", "--cosine_lr\n@base.args\n")
    write("dgx/full.args", "@../common/cosine.args\n--momentum 0.875\n")
    assert expand(["@dgx/full.args"]) == ["--cosine_lr", "--momentum", "0.9", "--momentum", "0.875"]


def test_a_recipe_may_be_included_twice_side_by_side(write):
    write("base.args", "--amp\n")
    write("a.args", "@base.args\n@base.args\n")
    assert expand(["@a.args", "@base.args"]) == ["--amp"] * 3


def test_arguments_remember_file_and_line(write):
    write("base.args", "\n--amp\n")
    write("a.args", "@base.args\n--seed 3\n")
    assert [origin_of(argument) for argument in expand(["@a.args", "--xla"])] == [
        *("base.args, line 2", "a.args, line 2", "a.args, line 2", None)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--amp\nlr_init 3\n", "a.args, line 2: lr_init: a line must be a flag (--name value), @another.args or a # "
         "comment"),
        ("--amp --xla\n", "a.args, line 1: --amp --xla: one flag a line; quote a value that contains spaces"),
        ("--to_predict my photo.jpg\n",
         "a.args, line 1: --to_predict my photo.jpg: one flag a line; quote a value that contains spaces"),
        ("--to_predict=my photo.jpg\n",
         "a.args, line 1: --to_predict=my photo.jpg: one flag a line; quote a value that contains spaces"),
        ("--to_predict 'my\n", "a.args, line 1: --to_predict 'my: no closing quotation; quote a value as in a shell"),
        ("\n@none.args\n", "a.args, line 2: @none.args: there is no recipe file none.args"),
        ("@\n", "a.args, line 1: @: . is a folder; must be a recipe file, one flag a line"),
        ("@a.args\n", "a.args, line 1: @a.args: a.args and a.args include each other; a recipe cannot contain itself"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_file(write, text, message):
    write("a.args", text)
    with pytest.raises(UsageError) as error:
        expand(["@a.args"])
    assert str(error.value) == message


def test_recipes_that_include_each_other_are_both_named(write):
    write("a.args", "@b.args\n")
    write("b.args", "--amp\n@a.args\n")
    with pytest.raises(UsageError, match=r"^b.args, line 2: @a.args: a.args and b.args include each other; "):
        expand(["@a.args"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "@b0\n", **{f"b{n}": f"@b{n + 1}\n" for n in range(30)}}, r"b18, line 1: @b19: 20 recipes include"),
        ({"a": "@b0\n", **{f"b{n}": f"@b{n + 1}\n" * 9 for n in range(9)}, "b9": "--amp\n"}, r"more than 2,000 lines"),
        ({"a": "@b\n" * 1001, "b": "--amp\n"}, r"^a, line 1001: recipes have more than 2,000 lines together"),
        ({"a": "#" * (2**20 + 1)}, r"^@a: a has more than 1 MiB; it is no recipe file$"),
        ({"a": "--amp\n--data_dir=a\0b\n"}, r"^a, line 2: --data_dir=a\\x00b: holds a NUL byte, "),
    ],
    ids=itertools.count(),
)
def test_recipes_without_end_are_refused_in_a_moment(write, files, message):
    for name, text in files.items():
        write(name, text)
    with pytest.raises(UsageError, match=message):
        expand(["@a"])


def test_a_link_to_itself_is_no_recipe(write, tmp_path):
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(UsageError, match=r"^@a: cannot read a: "):
        expand(["@a"])


def test_a_pipe_is_refused_at_once(write):
    os.mkfifo("pipe")
    write("a", "@pipe\n")
    with pytest.raises(UsageError, match=r"^a, line 1: @pipe: cannot read pipe: it is a named pipe"):
        expand(["@a"])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "binary.args").write_bytes(b"\xff\xfe\x00")
    for argument, message in [
        ("@none.args", "@none.args: there is no recipe file none.args"),
        ("@", "@: . is a folder; must be a recipe file, one flag a line"),
        ("@binary.args", "@binary.args: binary.args is not a text file in UTF-8 (invalid start byte)"),
    ]:
        with pytest.raises(UsageError) as error:
            expand([argument])
        assert str(error.value) == message


_printable = st.text(st.characters(min_codepoint=32, exclude_categories=["C", "Z"], include_characters=" \"'\\#=@-"))


@settings(deadline=None)
@given(value=_printable)
def test_whatever_the_shell_quotes_comes_back_as_it_was(tmp_path_factory, value):
    recipe = tmp_path_factory.mktemp("quoting") / "a.args"
    quoted = shlex.quote(f"--to_predict={value}")
    recipe.write_text(f"{quoted} # a comment\n--to_predict {shlex.quote(value)}\n", encoding="utf-8")
    if value.startswith("--"):
        recipe.write_text(f"{quoted} # a comment\n", encoding="utf-8")
    assert expand([f"@{recipe}"])[0] == f"--to_predict={value}"
    assert expand([f"@{recipe}"])[1:] in ([], ["--to_predict", value])
