import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.runtime.scenes import write_scenes
from tests.utils.input_records import encode, noise, record, write_files
from tools.benchmark_input import main, verdict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight records of each split, one of them unreadable."""
    path = tmp_path_factory.mktemp("data")
    records = [record(encode(noise(i), "JPEG")) for i in range(7)] + [record(b"")]
    for split in ("train", "validation"):
        write_files(path, records, name=split)
    return path


SMALL = ("--image_size", "8", "--batch_size", "3", "--batches", "2", "--cpu")


def speeds(lines):
    return [float(re.search(r"(\d+) images/s", line).group(1)) for line in lines]


@pytest.mark.slow
def test_it_prints_the_speeds_of_both_splits_and_the_share_of_decoding(folder, capsys):
    assert main(["--data_dir", str(folder), *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()[:3]) for line in lines] == [
        "train: tf.data " + lines[0].split()[2], "train: reading and",
        "validation: tf.data " + lines[2].split()[2], "validation: reading and",
    ]  # fmt: skip
    assert min(speeds(lines)) > 0
    assert 0 <= float(re.search(r"([\d.]+) % of tf.data's time", lines[1]).group(1)) <= 100


@pytest.mark.slow
def test_the_console_shows_nothing_else(folder):
    """TensorFlow's messages when it loads and opens a session are held back as in a run."""
    command = [sys.executable, "-m", "tools.benchmark_input", "--data_dir", folder, "--split=validation", *SMALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["validation", "validation"]


def test_scaled_decoding_is_measured_beside_full_decoding(folder, capsys):
    assert main(["--data_dir", str(folder), *SMALL, "--split", "validation", "--scaled_decoding"]) == 0
    full, _, scaled = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"validation: tf.data with --scaled_decoding (\d+) images/s, ([\d.]+) times as many", scaled)
    assert float(found[2]) == pytest.approx(float(found[1]) / speeds([full])[0], rel=0.05)


def test_a_policy_of_augmentation_is_measured_beside_none_and_only_in_training(folder, capsys):
    flags = ["--data_dir", str(folder), *SMALL, "--auto_augment=trivial"]
    assert main([*flags, "--split=train"]) == 0
    plain, _, augmented = capsys.readouterr().out.splitlines()
    found = re.fullmatch(
        r"train: tf.data with --auto_augment=trivial (\d+) images/s, ([\d.]+) times as many", augmented
    )
    assert float(found[2]) == pytest.approx(float(found[1]) / speeds([plain])[0], rel=0.1, abs=0.01)
    assert main([*flags, "--split=validation"]) == 2
    assert "--auto_augment trivial: only used for training images" in capsys.readouterr().err


@pytest.mark.slow
def test_with_dali_it_prints_that_too_and_uses_the_index_it_is_given(folder, tmp_path, capsys):
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    flags = ["--data_dir", str(folder), *SMALL, "--split", "validation", "--dali"]
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("validation: DALI ")
    assert speeds(lines)[2] > 0
    assert main([*flags, "--data_idx_dir", str(tmp_path)]) == 1
    assert f"--data_idx_dir {tmp_path}: has no index of validation-00000-of-00001" in capsys.readouterr().err


@pytest.mark.slow
def test_the_speed_of_the_network_is_measured_and_compared(folder, capsys):
    assert main(["--data_dir", str(folder), "--split", "train", *SMALL, "--arch", "resnet50"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    found = re.fullmatch(
        r"train: resnet50 by itself (\S+) images/s, its input (\S+), (\S+) times as many: the (\w+) is the limit",
        last,
    )
    network, data, ratio = map(float, found.groups()[:3])
    assert ratio == pytest.approx(data / network, abs=0.01, rel=0.05)
    assert found.group(4) == ("input" if data < network else "network")


@pytest.mark.parametrize(("speed", "limit"), [("0.001", "the network is the limit"), ("1e9", "the input is the limit")])
def test_a_speed_that_is_given_is_not_measured(folder, capsys, speed, limit):
    flags = ["--data_dir", str(folder), "--split", "train", *SMALL, "--arch", "resnet50", "--network_speed", speed]
    assert main(flags) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(limit)


def test_the_input_is_the_limit_where_it_is_slower():
    assert verdict("resnet50", 400.0, 300.0) == (
        "resnet50 by itself 400.0 images/s, its input 300.0, 0.75 times as many: the input is the limit"
    )


@pytest.mark.slow
def test_detection_is_measured_with_its_objects(tmp_path, capsys):
    write_scenes(tmp_path / "scenes")
    flags = [
        "--data_dir",
        str(tmp_path / "scenes"),
        "--image_size",
        "64",
        "--batch_size",
        "2",
        "--batches",
        "2",
        "--cpu",
    ]
    assert main([*flags, "--arch", "ssd320", "--network_speed", "1", "--split", "validation"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("validation: ssd320 by itself 1.0 images/s")
    assert main(flags) == 2
    assert "are for detection; networks for it: ssd320" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--batches", "0"], 2, "--batches 0: must be a positive integer"),
        (["--batch_size", "0"], 2, "--batch_size 0: must be a positive integer"),
        (["--batch_size", "9"], 2, "--batch_size 9: the global batch of 9 is larger than the 8 training"),
        (["--threads", "0"], 2, "--threads 0: must be a positive integer"),
        (
            ["--network_speed", "5"],
            2,
            "--network_speed 5: describes one split; add --split=train or --split=validation",
        ),
        (["--network_speed", "5", "--split", "train"], 2, "--network_speed: describes a network; name it with --arch"),
        (["--amp"], 2, "--amp: describes a network; name it with --arch"),
        (["--network_speed", "-1", "--split", "train"], 2, "--network_speed -1.0: must be a positive number"),
        (
            ["--amp", "--arch", "resnet50", "--network_speed", "5", "--split", "train"],
            2,
            "--amp: applies to the measured network",
        ),
        (["--data_idx_dir", "I"], 2, "--data_idx_dir I: only used with --dali"),
        (["--data_dir", "/no/such/folder"], 1, "--data_dir /no/such/folder: no such folder"),
    ],
)
def test_bad_input_ends_with_a_sentence(folder, capsys, flags, status, message):
    assert main(["--data_dir", str(folder), *flags]) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
