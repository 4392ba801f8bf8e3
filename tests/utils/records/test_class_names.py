import pytest

from utils.errors import RunError, UsageError
from utils.records.class_names import read_class_names, read_names_in_order

FOLDERS = ("n01440764", "n01443537")
NAMES = ("ant", "bee", "cat")


def _file(tmp_path, content):
    path = tmp_path / "names.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_one_name_a_line_in_label_order(tmp_path):
    assert read_class_names(_file(tmp_path, "tench\n goldfish \r\n\n"), FOLDERS) == ("tench", "goldfish")


def test_folder_tab_name_in_any_order_with_lines_for_other_folders(tmp_path):
    path = _file(tmp_path, "n01443537\tgoldfish, Carassius auratus\nn99999999\tother\nn01440764\ttench\n")
    assert read_class_names(path, FOLDERS) == ("tench", "goldfish, Carassius auratus")


def test_two_synsets_may_share_a_name_as_imagenets_cranes_do(tmp_path):
    assert read_class_names(_file(tmp_path, "n01440764\tcrane\nn01443537\tcrane\n"), FOLDERS) == ("crane", "crane")


def test_reads_a_byte_order_mark_unicode_and_very_long_names(tmp_path):
    path = _file(tmp_path, b"\xef\xbb\xbf" + ("猫\n" + "x" * 5000 + "\n").encode())
    assert read_class_names(path, FOLDERS) == ("猫", "x" * 5000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; must hold one class name per line"),
        ("tench\n", "has 1 name; must have one for each of 2 classes"),
        ("a\nb\nc\n", "has 3 names; must have one for each of 2 classes"),
        ("tench\n\ntench\n", "lines 1 and 3 are both 'tench'; must differ"),
        ("n01440764\ttench\ngoldfish\n", "line 2 has no TAB, but others do"),
        ("n01440764\ttench\n", "has no name for 1 class; the first is n01443537"),
        ("n01440764\ta\nn01440764\tb\nn01443537\tc\n", "line 2 names n01440764 a second time with another name"),
        (b"\xff\xfe\x00", "cannot be read (it is not UTF-8 text)"),
    ],
)
def test_every_bad_file_is_a_sentence(tmp_path, content, message):
    path = _file(tmp_path, content)
    with pytest.raises(UsageError) as error:
        read_class_names(path, FOLDERS)
    assert str(error.value).startswith(f"--class_names {path}: {message}")


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(RunError, match=r"--class_names .*absent: cannot be read \(No such file or directory\)"):
        read_class_names(tmp_path / "absent", FOLDERS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ant\nbee\ncat\n", NAMES),
        ("ant\nbee\ncat", NAMES),
        ("ant\r\nbee \r\ncat\r\n\r\n\n", NAMES),
        ("\ufeffant\nbee\ncat\n", NAMES),
        ("n01\tant\nn02\tbee\nn03\tcat\n", NAMES),
        ("n01440764\ttench, Tinca\nn02012849\tcrane\nn03126707\tcrane\n", ("tench, Tinca", "crane", "crane")),
        ("n01\nn02\t\n", ("n01", "n02")),
        ("größe\n雪\n", ("größe", "雪")),
    ],
)  # fmt: skip
def test_a_file_lists_names_or_synsets_and_names(tmp_path, text, names):
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode())
    assert read_names_in_order(str(path)) == read_names_in_order(path) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; must hold one class name per line"),
        (b"\n \n", "is empty; must hold one class name per line"),
        (b"ant\nbee\nant\n", "lines 1 and 3 are both 'ant'"),
        (b"n01\tant\nn01\tbee\n", "lines 1 and 2 are both 'n01'"),
        (b"\xff\xfe", "cannot be read (it is not UTF-8 text)"),
    ],
)
def test_a_file_of_names_that_makes_no_sense_is_refused(tmp_path, content, message):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_names_in_order(path)
    assert str(error.value) == f"--class_names {path}: {message}"


def test_a_missing_file_of_names_is_named(tmp_path):
    for path, reason in [(tmp_path / "none.txt", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(RunError) as error:
            read_names_in_order(path)
        assert str(error.value) == f"--class_names {path}: cannot be read ({reason})"
