import os

import pytest

from object_detection.text_format import FaultError, TokenReader, read_source, tokenize


def test_tokens_are_found_with_their_places_and_without_blanks_and_comments():
    text = "a_b: 'it\\'s' # {\n\n  c < \"x\ty\", -1.5e3 >"
    found = [(token.kind, token.value, token.line, token.column) for token in tokenize(text)]
    assert found == [
        *(("word", "a_b", 1, 1), ("mark", ":", 1, 4), ("text", "'it\\'s'", 1, 6)),
        *(("word", "c", 3, 3), ("mark", "<", 3, 5), ("text", '"x\ty"', 3, 7), ("mark", ",", 3, 12)),
        *(("word", "-1.5e3", 3, 14), ("mark", ">", 3, 21), ("end", "the end of the file", 3, 22)),
    ]


def test_a_quote_that_its_line_does_not_close_is_a_token_of_its_own():
    assert [(token.kind, token.line) for token in tokenize('"a\nb"')] == [
        *(("open_quote", 1), ("word", 1), ("word", 2), ("open_quote", 2), ("end", 2)),
    ]


def test_a_reader_skips_only_the_mark_that_is_asked_for_and_stays_at_the_end():
    reader = TokenReader(tokenize("{ a"))
    assert not reader.skip("a")
    assert reader.skip("{")
    assert not reader.skip("a"), "a word is no mark"
    assert [reader.take().value for _ in range(3)] == ["a", "the end of the file", "the end of the file"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a git-lfs pointer; git lfs pull"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\x1f\x8b\x08", "is compressed with gzip; gunzip it"),
    ],
)
def test_a_file_of_another_kind_is_named_as_such(content, kind, tmp_path):
    (tmp_path / "any.config").write_bytes(content)
    with pytest.raises(FaultError, match=kind):
        read_source(tmp_path / "any.config")


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe, and must be a regular file"):
        read_source(tmp_path / "pipe")
