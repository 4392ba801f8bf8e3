import io
import sys
import tarfile

import pytest

from tests.utils.tiny_images import jpeg, write_files
from tools.convert.imagenet_archives import TRAIN_TAR, VALIDATION_TAR, label_flat_images
from tools.convert.shard_writer import read_source
from tools.convert.source_layout import read_sources
from tools.convert.sources import ImageSource
from utils.errors import RunError, UsageError

FISH, BIRD = "n01440764", "n01530575"


def _tar(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _train_files():
    return {
        synset: {f"{synset}_{index}.JPEG": jpeg(seed) for index, seed in enumerate(seeds)}
        for synset, seeds in ((BIRD, (1, 2)), (FISH, (3, 4, 5)))
    }


def _train_tar():
    return _tar({f"{synset}.tar": _tar(files) for synset, files in _train_files().items()})


def _validation_files():
    return {f"ILSVRC2012_val_{index:08d}.JPEG": jpeg(10 + index) for index in (3, 1, 2)}


@pytest.fixture
def source(tmp_path):
    """ImageNet in small: the two tar files and a label file."""
    files = {TRAIN_TAR: _train_tar(), VALIDATION_TAR: _tar(_validation_files())}
    write_files(tmp_path / "imagenet", files)
    (tmp_path / "labels.txt").write_text(f"{FISH}\n{BIRD}\n{FISH}\n")
    return tmp_path / "imagenet"


def _contents(root, images):
    return {image.name.rsplit("/", 1)[-1]: read_source(root, image) for image in images}


def test_the_train_tar_gives_the_images_of_every_class(source, tmp_path):
    sources = read_sources(source, validation_labels=tmp_path / "labels.txt")
    assert sources.class_folders == (FISH, BIRD)
    assert sources.is_imagenet
    for synset, files in _train_files().items():
        assert _contents(source, sources.splits["train"][synset]) == files
    assert [image.name for image in sources.splits["train"][BIRD]] == [f"train/{BIRD}/{BIRD}_{i}.JPEG" for i in (0, 1)]


def test_an_incomplete_train_tar_is_told(source, tmp_path):
    notes = read_sources(source, validation_labels=tmp_path / "labels.txt").notes
    assert notes == (f"{source / TRAIN_TAR}: 5 images of 2 classes; the whole file has 1,281,167 of 1,000",)


def test_flat_validation_images_take_the_labels_in_the_order_of_their_names(source, tmp_path):
    validation = read_sources(source, validation_labels=tmp_path / "labels.txt").splits["validation"]
    assert {synset: sorted(_contents(source, images)) for synset, images in validation.items()} == {
        FISH: ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000003.JPEG"],
        BIRD: ["ILSVRC2012_val_00000002.JPEG"],
    }
    files = _validation_files()
    assert all(
        data == files[name] for images in validation.values() for name, data in _contents(source, images).items()
    )


def test_extracted_folders_give_the_same_as_the_archives(source, tmp_path):
    extracted = tmp_path / "extracted"
    for synset, files in _train_files().items():
        write_files(extracted / "train" / synset, files)
    write_files(extracted / "val", _validation_files())
    labels = tmp_path / "labels.txt"
    from_tar, from_folders = (read_sources(root, validation_labels=labels) for root in (source, extracted))
    for split in ("train", "validation"):
        for synset in (FISH, BIRD):
            assert _contents(source, from_tar.splits[split][synset]) == _contents(
                extracted, from_folders.splits[split][synset]
            )


def test_a_train_folder_of_class_tars_is_read(tmp_path):
    write_files(tmp_path / "train", {f"{synset}.tar": _tar(files) for synset, files in _train_files().items()})
    sources = read_sources(tmp_path)
    for synset, files in _train_files().items():
        assert _contents(tmp_path, sources.splits["train"][synset]) == files


def test_a_flat_validation_folder_needs_labels(tmp_path):
    write_files(tmp_path, {f"train/{FISH}/a.JPEG": b"x", "val/b.JPEG": b"x"})
    with pytest.raises(UsageError, match=r"val: holds 1 image and no class folders, so --validation_labels FILE must"):
        read_sources(tmp_path)


def test_labels_that_nothing_needs_are_an_error(tmp_path):
    write_files(tmp_path, {f"train/{FISH}/a.JPEG": b"x"})
    with pytest.raises(UsageError, match="has no validation images that need it"):
        read_sources(tmp_path, validation_labels=tmp_path / "labels")
    write_files(tmp_path, {f"val/{FISH}/a.JPEG": b"x"})
    with pytest.raises(UsageError, match="val has class folders, which give the labels"):
        read_sources(tmp_path, validation_labels=tmp_path / "labels")


@pytest.mark.parametrize("cut", [2000, 5000])
def test_a_train_tar_that_is_cut_off_is_named(source, cut):
    path = source / TRAIN_TAR
    path.write_bytes(path.read_bytes()[: -10240 - cut])
    (source / VALIDATION_TAR).unlink()
    with pytest.raises(RunError, match=r"ILSVRC2012_img_train\.tar: is (cut off|not a valid)"):
        read_sources(source)


def test_a_class_tar_that_is_cut_off_inside_the_train_tar_is_named(source):
    (source / VALIDATION_TAR).unlink()
    inner = _tar(_train_files()[FISH])[:1300]
    (source / TRAIN_TAR).write_bytes(_tar({f"{FISH}.tar": inner, f"{BIRD}.tar": _tar(_train_files()[BIRD])}))
    with pytest.raises(
        RunError, match=rf"train\.tar: {FISH}\.tar: is cut off inside {FISH}_0\.JPEG; get the file again"
    ):
        read_sources(source)


def test_files_that_are_no_tar_files_are_named(source):
    for content in (b"", b"<html>404</html>" * 100, _tar({"a.tar": b""}, mode="w:gz")):
        (source / TRAIN_TAR).write_bytes(content)
        with pytest.raises(RunError, match="is not a valid uncompressed tar file"):
            read_sources(source)


def test_a_train_tar_without_class_tars_is_an_error(source):
    (source / TRAIN_TAR).write_bytes(_tar({"a.JPEG": jpeg()}))
    with pytest.raises(RunError, match=r"holds no tar file; it must hold one for each class, such as n01440764\.tar"):
        read_sources(source)


def test_a_folder_and_a_tar_for_one_split_are_an_error(source):
    write_files(source, {f"train/{FISH}/a.JPEG": b"x"})
    with pytest.raises(RunError, match=r"has train and ILSVRC2012_img_train\.tar for one split; keep one of them"):
        read_sources(source)


def _flat(count):
    return [ImageSource(f"val/{index}.JPEG", 1, 1) for index in range(count)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{FISH}\n", "has 1 label for 2 validation images; there must be one for each (all of ImageNet has 50,000)"),
        (f"{FISH}\ntench\n", "entry 2 is 'tench'; must be a synset such as n01440764"),
        ("490\n361\n", "entry 1 is '490'; must be a synset such as n01440764; for ILSVRC ids give the devkit archive"),
    ],
)
def test_label_files_that_do_not_fit_are_sentences(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    path.write_text(content)
    with pytest.raises(UsageError) as error:
        label_flat_images(_flat(2), path)
    assert str(error.value).startswith(f"--validation_labels {path}: {message}")


def test_label_files_that_cannot_be_read_are_sentences(tmp_path):
    with pytest.raises(RunError, match=r"cannot be read \(No such file or directory\)"):
        label_flat_images(_flat(2), tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"cannot be read \(it is not text\)"):
        label_flat_images(_flat(2), tmp_path / "binary")


def _devkit(path, truth, with_meta=True):
    scipy_io = pytest.importorskip("scipy.io")
    numpy = pytest.importorskip("numpy")
    rows = numpy.zeros(3, [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (number, synset) in zip(rows, ((1, BIRD), (2, FISH), (1001, "n00001740")), strict=True):
        row["ILSVRC2012_ID"], row["WNID"], row["words"] = number, synset, "x"
    meta = io.BytesIO()
    scipy_io.savemat(meta, {"synsets": rows.reshape(3, 1)})
    folder = "ILSVRC2012_devkit_t12/data/"
    files = {f"{folder}ILSVRC2012_validation_ground_truth.txt": truth}
    if with_meta:
        files[f"{folder}meta.mat"] = meta.getvalue()
    path.write_bytes(_tar(files, mode="w:gz"))
    return path


def test_the_devkit_archive_gives_labels_by_way_of_its_ids(tmp_path):
    path = _devkit(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", b"2\n1\n2\n")
    images = _flat(3)
    assert label_flat_images(images, path) == {FISH: [images[0], images[2]], BIRD: [images[1]]}


def test_a_devkit_that_lacks_something_is_a_sentence(tmp_path):
    path = _devkit(tmp_path / "devkit.tar.gz", b"2\n", with_meta=False)
    with pytest.raises(UsageError, match=r"lacks 'meta.mat'; is it ILSVRC2012_devkit_t12.tar.gz\?"):
        label_flat_images(_flat(1), path)
    path = _devkit(tmp_path / "devkit.tar.gz", b"77\n")
    with pytest.raises(UsageError, match="lacks 77"):
        label_flat_images(_flat(1), path)
    path.write_bytes(b"no archive")
    with pytest.raises(UsageError, match="cannot be read as the devkit archive"):
        label_flat_images(_flat(1), path)


def test_the_devkit_without_scipy_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(
        UsageError, match=r"reading the devkit needs SciPy \(pip install scipy\); a text file of synset"
    ):
        label_flat_images(_flat(1), tmp_path / "devkit.tar.gz")


def test_an_image_past_the_end_of_its_archive_is_unreadable(source):
    from utils.images.image_files import UnreadableImage

    image = ImageSource("train/x/a.JPEG", 100, 1, TRAIN_TAR, (source / TRAIN_TAR).stat().st_size - 50)
    with pytest.raises(UnreadableImage, match=r"train/x/a\.JPEG: is cut off in ILSVRC2012_img_train\.tar"):
        read_source(source, image)


def _odd_header(kind=b"0", name="n01440764_1.JPEG", size=0, holes=0):
    """A tar header whose size need not be one."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, 0
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    raw[482] = holes  # more of them follow
    raw[124:136] = (size % 2**96).to_bytes(12, "big") if not 0 <= size < 8**11 else b"%011o\0" % size
    if size >= 8**11:
        raw[124] |= 0x80
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def _pax(**fields):
    lines = b"".join(_pax_line(key, value) for key, value in fields.items())
    return _odd_header(tarfile.XHDTYPE, "pax", len(lines)) + lines.ljust(512, b"\0")


def _pax_line(key, value):
    line = f" {key}={value}\n".encode()
    length = len(line) + 2
    return f"{length}".encode() + line


ODD_MEMBERS = {
    "negative size": _odd_header(size=-512),
    "back to the start": _odd_header(size=-1024),
    "long name of 8 TB": _odd_header(tarfile.GNUTYPE_LONGNAME, size=2**43),
    "long name of -1 bytes": _odd_header(tarfile.GNUTYPE_LONGNAME, size=-1),
    "PAX fields of 3 GB": _odd_header(tarfile.XHDTYPE, size=3 * 2**30),
    "negative size in PAX fields": _pax(size="-99") + _odd_header(),
    "no time": _pax(mtime="nan") + _odd_header(),
    "extensions without end": _odd_header(tarfile.GNUTYPE_LONGNAME, size=1).ljust(1024, b"\0") * 3000,
    "noise": b"\1" * 512,
}
CUT_MEMBERS = {
    "before a header": b"",
    "in a header": _odd_header()[:200],
    "in a list of holes": _odd_header(tarfile.GNUTYPE_SPARSE, holes=1) + b"\1" * 1024,
}


@pytest.mark.parametrize("kind", ODD_MEMBERS)
@pytest.mark.parametrize("nested", [False, True])
def test_members_of_impossible_sizes_end_in_a_sentence(tmp_path, kind, nested):
    archive = _tar({"n01440764_0.JPEG": b"x"})[:1024] + ODD_MEMBERS[kind] + bytes(1024)
    files = {f"train/{FISH}.tar": archive} if not nested else {TRAIN_TAR: _tar({f"{FISH}.tar": archive})}
    write_files(tmp_path, files)
    with pytest.raises(RunError, match=r"tar.*: is (not a valid uncompressed tar file|cut off)") as told:
        read_sources(tmp_path)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("place", CUT_MEMBERS)
def test_an_archive_that_ends_without_its_end_mark_was_cut_off(tmp_path, place):
    archive = _tar({"n01440764_0.JPEG": b"x"})[:1024] + CUT_MEMBERS[place]
    write_files(tmp_path, {f"train/{FISH}.tar": archive})
    with pytest.raises(RunError, match=r"is not a valid uncompressed tar file"):
        read_sources(tmp_path)
