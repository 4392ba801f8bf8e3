"""Archives of stored entries: every number is compared with the file."""

import io
import struct
import zipfile

import pytest

from tools.weights.stored_archive import MOST_ENTRIES, ArchiveError, StoredArchive


def zipped(entries, *, comment=b"", compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


def opened(tmp_path, content):
    path = tmp_path / "file.zip"
    path.write_bytes(content)
    return StoredArchive(path)


def with_64_bits(content):
    """The archive of one entry as PyTorch writes it: sizes and places are in fields of 64 bits."""
    begin = content.rindex(b"PK\x01\x02")
    end = content.rindex(b"PK\x05\x06")
    head = bytearray(content[begin:end])
    packed, size, name = struct.unpack("<IIH", head[20:30])
    place = struct.unpack("<I", head[42:46])[0]
    head[20:28], head[42:46] = b"\xff" * 8, b"\xff" * 4
    extra = struct.pack("<HH", 0x4246, 2) + b"ZZ" + struct.pack("<HHQQQ", 1, 24, size, packed, place)
    head[30:32] = struct.pack("<H", len(extra))
    directory = bytes(head[: 46 + name]) + extra
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, len(directory), begin)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, begin + len(directory), 1)
    rest = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    return content[:begin] + directory + record + locator + rest


@pytest.mark.parametrize("comment", [b"", b"made by PK\x01\x02 or so"])
def test_entries_are_read_by_name(tmp_path, comment):
    archive = opened(tmp_path, zipped({"a": b"one", "b/c": b""}, comment=comment))
    assert archive.names == (b"a", b"b/c")
    assert archive.read(b"a") == b"one"
    assert archive.read(b"b/c") == b""
    assert archive.size(b"a") == 3
    with pytest.raises(ArchiveError, match="there is no d"):
        archive.read(b"d")


def test_numbers_of_64_bits_are_read(tmp_path):
    archive = opened(tmp_path, with_64_bits(zipped({"a/data.pkl": b"content"})))
    assert archive.read(b"a/data.pkl") == b"content"


def changed(content, offset, form, value):
    """The archive with a field of its first directory entry changed."""
    raw = bytearray(content)
    struct.pack_into(form, raw, content.index(b"PK\x01\x02") + offset, value)
    return bytes(raw)


@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (8, "<H", 1, "a is encrypted"),
        (10, "<H", 8, "a is compressed, which PyTorch's files never are"),
        (16, "<I", 7, "the checksum of a is wrong"),
        (20, "<I", 9, "a has two sizes"),
        (24, "<I", 2**32 - 1, "a has two sizes"),
        (28, "<H", 60_000, "its directory is damaged|has no|there is no"),
        (42, "<I", 2**32 - 2, "outside the file"),
        (42, "<I", 3, "is not where the directory says"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(tmp_path, offset, form, value, words):
    with pytest.raises(ArchiveError, match=words):
        opened(tmp_path, changed(zipped({"a": b"one", "b": b"two"}), offset, form, value)).read(b"a")


def test_entries_larger_than_the_file_are_refused(tmp_path):
    content = zipped({"a": bytes(4000)})
    begin, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    listed = b"".join(content[begin : end - 1] + bytes([65 + number]) for number in range(50))  # of other names
    tail = content[end : end + 12] + struct.pack("<II", len(listed), begin) + bytes(2)
    with pytest.raises(ArchiveError, match="its entries are larger than the file"):
        opened(tmp_path, content[:begin] + listed + tail)


def test_a_name_may_occur_once(tmp_path):
    content = zipped({"a": b"1"})
    begin, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    tail = content[end : end + 12] + struct.pack("<II", 2 * (end - begin), begin) + bytes(2)
    with pytest.raises(ArchiveError, match="two entries of one name"):
        opened(tmp_path, content[:begin] + content[begin:end] * 2 + tail)


def test_more_entries_than_weights_have_are_refused(tmp_path):
    one = b"PK\x01\x02" + bytes(42)
    end = b"PK\x05\x06" + bytes(8) + struct.pack("<II", len(one) * (MOST_ENTRIES + 1), 0) + bytes(2)
    with pytest.raises(ArchiveError, match="more than"):
        opened(tmp_path, one * (MOST_ENTRIES + 1) + end)
    with pytest.raises(ArchiveError, match="its directory has 4294967295 bytes"):
        opened(tmp_path, b"PK\x05\x06" + bytes(8) + struct.pack("<II", 2**32 - 1, 0) + bytes(2))


@pytest.mark.parametrize("kept", [0, 1, 21, 60, 100])
def test_what_was_cut_off_has_no_directory(tmp_path, kept):
    with pytest.raises(ArchiveError):
        opened(tmp_path, zipped({"a": bytes(300)})[:kept])
