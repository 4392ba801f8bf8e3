"""Four significant digits, units, and names that leave any terminal as it is."""

import pytest
from rich.cells import cell_len

from utils.console.figures import duration, isolated, plain_name, plain_paths, quantity, significant


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.302585092994046, "2.303"),
        (0.012500000000000001, "0.01250"),
        (123.456, "123.5"),
        (999.96, "1,000"),
        (12345.678, "12,346"),
        (0.00012345, "1.234e-04"),
        (-0.5, "-0.5000"),
        (0.0, "0"),
        (1437, "1,437"),
        (True, "True"),
        (None, "-"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("nan", "nan"),
    ],
)
def test_a_number_has_four_significant_digits(value, shown):
    assert significant(value) == shown


def test_times_and_large_counts_have_units():
    assert [duration(s) for s in (7.9, 225, 3753, 200_000)] == ["0:07", "3:45", "1:02:33", "2 d 07:33"]
    assert quantity(11_689_512, " parameters") == "11.69 M parameters"
    assert quantity(8_178_000_000, "FLOP") == "8.178 GFLOP"
    assert quantity(640, " parameters") == "640 parameters"


@pytest.mark.parametrize("cells", [1, 3, 8, 20, 79])
@pytest.mark.parametrize("name", ["a" * 300, "茶" * 150, "ab" * 4 + "é" * 290, "x" * 299 + "茶"])
def test_a_long_name_is_cut_in_its_middle_to_the_columns_there_are(name, cells):
    short = plain_name(name, cells)
    assert cell_len(short) <= max(cells, 3)
    assert "..." in short
    if cells >= 20:
        assert (short[0], short[-1]) == (name[0], name[-1])


def test_a_short_name_stays():
    assert plain_name("a name.jpg", 10) == "a name.jpg"


def test_control_characters_and_broken_bytes_are_escaped():
    assert plain_name("a\x1b[31mb\x07\u202ec") == r"a\x1b[31mb\x07\u202ec"
    assert plain_name("a\nb\tc") == "a b c"
    assert plain_name("caf\udce9.jpg") == r"caf\udce9.jpg"


@pytest.mark.parametrize("name", ["שלום.jpg", "قطة", "cat ‎שלום"])
def test_a_name_that_reads_from_right_to_left_is_closed_off(name):
    assert isolated(name) == f"\u2068{name}\u2069"
    assert plain_name(f"dir/{'ש' * 300}", 30).startswith("\u2068dir/")
    assert plain_name(f"dir/{'ש' * 300}", 30).endswith("\u2069")


def test_of_long_paths_their_common_folder_is_shortened_and_their_names_stay():
    names = ["img_0001.jpg", "img_0002.jpg", "sub/3.jpg"]
    paths = [f"/mnt/data/photographs/2024/{name}" for name in names]
    assert plain_paths(paths, 60) == paths
    assert plain_paths(paths, 18) == [f".../{name}" for name in names]
    assert plain_paths(paths, 30) == [f"/mnt/data/...2024/{name}" for name in names]
    assert plain_paths(paths[:1], 18) == [".../img_0001.jpg"]
    assert plain_paths(["a.jpg", "b\n.jpg"], 18) == ["a.jpg", "b .jpg"]
    assert plain_paths([], 18) == []
    long = plain_paths([*paths, f"/mnt/data/{'x' * 99}.jpg"], 18)
    assert all(cell_len(name) <= 18 for name in long)


def test_other_names_are_not():
    assert isolated("Müsli 茶") == "Müsli 茶"
