import subprocess

import pytest

from tests.utils.input_records import encode, noise, record, write_files
from utils.benchmark_input import main
from utils.input_speed import InputSpeed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight records of each split, one of them unreadable."""
    path = tmp_path_factory.mktemp("data")
    records = [record(encode(noise(i), "JPEG")) for i in range(7)] + [record(b"")]
    for split in ("train", "validation"):
        write_files(path, records, name=split)
    return path


@pytest.mark.parametrize("split", ["train", "validation"])
def test_it_prints_speeds_and_the_share_of_decoding(folder, capsys, split):
    flags = ["--data_dir", str(folder), "--split", split, "--image_size", "8", "--batch_size", "3", "--batches", "2"]
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "pipeline", "decoding alone", "share of decoding in the pipeline's time",
    ]  # fmt: skip
    assert int(lines[0].split()[1]) > 0
    assert 0 <= int(lines[2].split()[-1].rstrip("%")) <= 100


def test_the_share_is_that_of_the_seconds_an_image_takes():
    # 10 ms an image in all, 4 ms of it decoding.
    assert InputSpeed(pipeline=100, decoding=250).decoding_share == pytest.approx(0.4)
    assert InputSpeed(pipeline=260, decoding=250).decoding_share == 1


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--batches", "0"], 2, "--batches 0: must be a positive integer"),
        (["--batch_size", "0"], 2, "--batch_size 0: must be a positive integer"),
        (["--batch_size", "9"], 2, "--batch_size 9: a step takes 9 examples"),
        (["--data_dir", "/no/such/folder"], 1, "--data_dir /no/such/folder: no such folder"),
    ],
)
def test_bad_input_ends_with_a_sentence(folder, capsys, flags, status, message):
    assert main(["--data_dir", str(folder), *flags]) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_the_help_answers_without_tensorflow(python):
    code = (
        "import sys, utils.benchmark_input as b\n"
        "try: b.main(['--help'])\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "--data_dir" in done.stdout
