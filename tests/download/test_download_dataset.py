"""COCO's files are downloaded, continued, checked, unpacked and converted."""

import os
import signal
from pathlib import Path

import pytest

from tests.download.coco_server import requested, write_zip
from tests.utils.tiny_images import jpeg
from utils.records.manifest import read_manifest


def test_everything_is_downloaded_checked_unpacked_and_converted(server, run, tmp_path):
    status, output = run("download_dataset.sh", "data")
    assert status == 0, output
    manifest = read_manifest(tmp_path / "data")
    assert {name: split.examples for name, split in manifest.splits.items()} == {
        **{"train": 3, "validation": 2},
        "testdev": 2,
    }
    raw = tmp_path / "data" / "raw-data"
    assert sorted(path.name for path in raw.iterdir()) == [
        *("annotations", "annotations_trainval2017.zip", "image_info_test2017.zip", "test2017", "test2017.zip"),
        *("train2017", "train2017.zip", "val2017", "val2017.zip"),
    ]
    assert sorted(path.name for path in (raw / "annotations").iterdir()) == [
        *("image_info_test-dev2017.json", "instances_train2017.json", "instances_val2017.json")
    ]
    assert len(requested(server)) == 5
    status, output = run("download_dataset.sh", "data")
    assert (status, requested(server)) == (0, [])
    assert "shards are complete and unchanged since an earlier run" in output


def test_zips_can_be_removed_and_are_not_fetched_again(server, run, tmp_path):
    for _ in range(2):
        status, output = run("download_dataset.sh", "--download_only", "--remove_zips", "--without_testdev", "data")
        assert status == 0, output
        assert sorted(path.name for path in (tmp_path / "data" / "raw-data").iterdir()) == [
            *("annotations", "train2017", "val2017")
        ]
    assert sorted(requested(server)) == ["annotations_trainval2017.zip", "train2017.zip", "val2017.zip"]
    assert not (tmp_path / "data" / "dataset.json").exists()


def without(tool, tmp_path):
    """A PATH with every program except one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name != tool and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def only(*arguments):
    return ("download_dataset.sh", "--download_only", "--without_testdev", *arguments, "data")


@pytest.mark.parametrize("missing", [None, pytest.param("curl", marks=pytest.mark.slow)])
def test_a_download_that_breaks_off_is_continued_by_the_next_run(server, run, tmp_path, missing):
    path = {"PATH": without(missing, tmp_path)} if missing else {}
    size = (server.root / "zips" / "train2017.zip").stat().st_size
    server.breaks["train2017.zip"] = lambda: None
    status, output = run(*only(), **path)
    if missing is None:  # wget tries again by itself
        assert status == 1
        assert "train2017.zip: the download failed; run the same command again to continue it" in output
        assert (tmp_path / "data" / "raw-data" / "train2017.zip.part").stat().st_size == size // 2
        assert not (tmp_path / "data" / "raw-data" / "train2017").exists()
        status, output = run(*only(), **path)
    assert status == 0, output
    assert [request for request in server.requests if "train" in request[0].rsplit("/")[-1][:5]] == [
        *(("/zips/train2017.zip", 0), ("/zips/train2017.zip", size // 2))
    ]
    data = (server.root / "zips" / "train2017.zip").read_bytes()
    assert (tmp_path / "data" / "raw-data" / "train2017.zip").read_bytes() == data


def test_a_script_killed_while_it_downloads_continues(server, start, run, tmp_path):
    processes = []
    server.breaks["val2017.zip"] = lambda: os.killpg(processes[0].pid, signal.SIGKILL)
    processes.append(start(*only()))
    with processes[0] as process:
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "data" / "raw-data" / "val2017.zip").exists()
    status, output = run(*only())
    assert status == 0, output
    assert len(list((tmp_path / "data" / "raw-data" / "val2017").iterdir())) == 2


def test_a_download_that_was_complete_but_not_yet_named_is_taken(server, run, tmp_path):
    raw = tmp_path / "data" / "raw-data"
    raw.mkdir(parents=True)
    (raw / "val2017.zip.part").write_bytes((server.root / "zips" / "val2017.zip").read_bytes())
    assert run(*only())[0] == 0
    assert "val2017.zip" not in requested(server)


@pytest.mark.parametrize("size", [100, 100_000], ids=["shorter", "longer"])
def test_a_damaged_part_is_downloaded_anew(server, run, tmp_path, size):
    raw = tmp_path / "data" / "raw-data"
    raw.mkdir(parents=True)
    (raw / "val2017.zip.part").write_bytes(bytes(size))
    status, output = run(*only())
    assert status == 0, output
    assert [start for path, start in server.requests if path == "/zips/val2017.zip"] == [size, 0]


def test_a_server_that_sends_whole_files_only_is_enough(server, run):
    server.ranges = False
    server.breaks["val2017.zip"] = lambda: None
    assert run(*only())[0] == 1
    status, output = run(*only())
    assert status == 0, output


@pytest.mark.parametrize("damage", ["middle", "count", "text"])
def test_a_damaged_zip_is_told_and_removed(server, run, tmp_path, damage):
    path = server.root / "zips" / "train2017.zip"
    good = path.read_bytes()
    if damage == "middle":
        path.write_bytes(good[:200] + bytes(50) + good[250:])
    elif damage == "count":
        write_zip(path, {"train2017/0.jpg": jpeg()})
    else:
        path.write_bytes(b"<html>Please sign in</html>")
    status, output = run(*only())
    assert status == 1
    assert "zips/train2017.zip: the downloaded file is damaged or unexpected, and was removed" in output
    raw = tmp_path / "data" / "raw-data"
    assert not [file for file in raw.iterdir() if file.name.startswith("train2017")]
    path.write_bytes(good)
    assert run(*only())[0] == 0


def test_a_folder_that_lacks_images_is_unpacked_again(run, tmp_path):
    assert run(*only())[0] == 0
    folder = tmp_path / "data" / "raw-data" / "train2017"
    (folder / "1.jpg").unlink()
    assert run(*only())[0] == 0
    assert len(list(folder.iterdir())) == 3


def test_a_missing_file_on_the_server_is_a_sentence_and_keeps_what_came(server, run, tmp_path):
    (server.root / "zips" / "train2017.zip").unlink()
    raw = tmp_path / "data" / "raw-data"
    raw.mkdir(parents=True)
    (raw / "train2017.zip.part").write_bytes(b"the first gigabytes")
    status, output = run(*only())
    assert status == 1
    assert "train2017.zip: the download failed" in output
    assert (raw / "train2017.zip.part").read_bytes() == b"the first gigabytes"


@pytest.mark.parametrize("script", ["download_all.sh", "download_dataset.sh"])
def test_help_says_what_a_script_does_and_unknown_options_are_refused(run, script):
    status, output = run(script, "--help")
    assert (status, "Exit status" in output) == (0, True)
    assert "#" not in output
    assert "set -euo" not in output
    status, output = run(script, "--overwite", "data")
    assert (status, output) == (2, f"{script}: --overwite: no such option; see --help\n")


def test_missing_python_packages_are_told_before_anything_is_downloaded(run, server, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    status, output = run("download_dataset.sh", "data", PYTHON=str(tmp_path / "python"))
    assert status == 1
    assert "lacks the packages of requirements.txt, which the conversion needs" in output
    assert requested(server) == []
