import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.examples.loading import load_example

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "examples" / "make_digits.py"


@pytest.fixture(scope="module")
def make_digits():
    pytest.importorskip("sklearn")
    return load_example("make_digits")


@pytest.fixture(scope="module")
def digits(make_digits, tmp_path_factory):
    """The folders that the command writes."""
    out = tmp_path_factory.mktemp("digits") / "out"
    assert make_digits.main([str(out)]) == 0
    return out


def _count(folder):
    return len(list(folder.rglob("*.png")))


def test_there_are_ten_classes_in_both_splits_and_a_flat_folder_of_unseen_images(digits):
    assert sorted(path.name for path in digits.iterdir()) == ["train", "unseen", "validation"]
    for split in ("train", "validation"):
        assert sorted(path.name for path in (digits / split).iterdir()) == list("0123456789")
    assert all(path.suffix == ".png" for path in (digits / "unseen").iterdir())
    assert (_count(digits / "validation"), _count(digits / "unseen"), _count(digits)) == (340, 40, 1797)
    assert all(_count(digits / "validation" / name) == 34 for name in "0123456789")


def test_every_image_is_in_one_place_alone(digits):
    numbers = [path.stem.rsplit("-", 1)[-1] for path in digits.rglob("*.png")]
    assert sorted(numbers) == [f"{index:04d}" for index in range(1797)]


def test_images_are_the_digits_in_8_bits_at_32_pixels(digits, make_digits):
    from sklearn.datasets import load_digits

    data = load_digits()
    for path in sorted(digits.glob("train/*/*.png"))[::200]:
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (32, 32))
            pixels = np.asarray(image)
        index = int(path.stem)
        assert int(path.parent.name) == data.target[index]
        shrunk = pixels.reshape(8, 4, 8, 4).mean((1, 3))  # each pixel became 4x4 of about its own value
        assert np.corrcoef(shrunk.ravel(), data.images[index].ravel())[0, 1] > 0.95
    assert np.asarray(make_digits.enlarge(np.full((8, 8), 16.0))).min() == 255
    assert np.asarray(make_digits.enlarge(np.zeros((8, 8)))).max() == 0
    assert np.asarray(make_digits.enlarge(np.full((8, 8), 8.0)))[0, 0] == 128  # 8 * 255 / 16 = 127.5, to even


def test_a_second_run_writes_the_same_files(digits, make_digits, tmp_path):
    assert make_digits.main([str(tmp_path / "again")]) == 0
    for path in digits.rglob("*.png"):
        assert (tmp_path / "again" / path.relative_to(digits)).read_bytes() == path.read_bytes()
    assert _count(tmp_path / "again") == _count(digits)


def test_what_cannot_be_written_is_a_sentence(make_digits, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert make_digits.main([str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: cannot be written (Not a directory)\n"


def test_without_scikit_learn_it_says_so(make_digits, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert make_digits.main([str(tmp_path)]) == 1
    assert "error: needs scikit-learn, which is not installed" in capsys.readouterr().err


def test_runs_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "OUT" in done.stdout
