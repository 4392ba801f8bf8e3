from object_detection.text_format import TokenReader, tokenize


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
