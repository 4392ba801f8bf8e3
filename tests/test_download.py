"""The download scripts, against a server of this process with a data set laid out as COCO's."""

import io
import json
import os
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.object_detection.tiny_coco import annotation, content, image
from tests.range_server import RangeServer
from tests.utils.tiny_images import jpeg
from utils.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent
COUNTS = {"train2017": 3, "val2017": 2, "test2017": 2}
ARCHIVE = "resnet_v1_50_2016_08_28.tar.gz"


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.fixture
def server(tmp_path):
    """Serves the zip files of a tiny COCO and the archive of weights."""
    root = tmp_path / "server"
    annotations = {}
    for split, count in COUNTS.items():
        write_zip(
            root / "zips" / f"{split}.zip",
            {f"{split}/": b"", **{f"{split}/{index}.jpg": jpeg(index + len(split)) for index in range(count)}},
        )
        images = [image(index, f"{index}.jpg") for index in range(count)]
        annotations[split] = content(images, [annotation(1, 0, [1, 2, 3, 4])])
    del annotations["test2017"]["annotations"]
    folder = root / "annotations"
    write_zip(
        folder / "annotations_trainval2017.zip",
        {
            "annotations/instances_train2017.json": json.dumps(annotations["train2017"]),
            "annotations/instances_val2017.json": json.dumps(annotations["val2017"]),
            "annotations/captions_val2017.json": "{}",
        },
    )
    write_zip(
        folder / "image_info_test2017.zip",
        {"annotations/image_info_test-dev2017.json": json.dumps(annotations["test2017"])},
    )
    with tarfile.open(root / ARCHIVE, "w:gz") as archive:
        member = tarfile.TarInfo("resnet_v1_50.ckpt")
        member.size = 7
        archive.addfile(member, io.BytesIO(b"weights"))
    with RangeServer(root).running() as running:
        yield running


@pytest.fixture
def start(server, tmp_path):
    """Starts a script with the server's addresses and answers the process."""

    def do(script, *arguments, **environment):
        variables = {
            **os.environ,
            "COCO_URL": server.url,
            "RESNET_URL": f"{server.url}/{ARCHIVE}",
            "COCO_COUNTS": " ".join(map(str, COUNTS.values())),
            **environment,
        }
        command = ["bash", str(ROOT / script), *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    return do


@pytest.fixture
def run(start):
    """Runs a script and answers (exit status, what it printed)."""

    def do(script, *arguments, **environment):
        with start(script, *arguments, **environment) as process:
            out, error = process.communicate(timeout=100)
        return process.returncode, out + error

    return do


def requested(server):
    paths = [path.rsplit("/", 1)[1] for path, _ in server.requests]
    server.requests.clear()
    return paths


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
    """A PATH that has every program but one."""
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
    assert "zips/train2017.zip: what came is damaged or not what was expected, and was removed" in output
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


def test_download_all_needs_an_image_and_takes_three_places(run):
    for places in ((), ("image", "data", "checkpoints", "more")):
        status, output = run("download_all.sh", *places)
        assert status == 2
        assert "bash download_all.sh [options] IMAGE" in output


def fake_docker(tmp_path, answers):
    """A PATH on which docker notes how it is called; its daemon answers or not."""
    folder = tmp_path / "docker"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = info ] && exit {0 if answers else 1}\n'
        f'printf "%s\\n" "$@" > {tmp_path}/docker.txt\nexit 3\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_download_all_fetches_the_weights_and_converts_in_the_image(run, server, tmp_path):
    docker = fake_docker(tmp_path, answers=True)
    status, output = run(
        "download_all.sh", "--without_testdev", "an_image", "data", "ckpt", "--", "--workers=1", **docker
    )
    assert status == 3, f"docker's own: {output}"
    assert (tmp_path / "ckpt" / "resnet_v1_50" / "model.ckpt").read_bytes() == b"weights"
    called = (tmp_path / "docker.txt").read_text().splitlines()
    data = tmp_path / "data"
    assert called == [
        *("run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{data}:{data}", "an_image"),
        *("bash", "download_dataset.sh", "--without_testdev", str(data), "--", "--workers=1"),
    ]
    assert (data / "raw-data" / "train2017").is_dir()
    requested(server)
    assert run("download_all.sh", "--without_testdev", "an_image", "data", "ckpt", **docker)[0] == 3
    assert requested(server) == []


@pytest.mark.slow
def test_download_all_converts_with_the_clone_where_no_docker_answers(run, tmp_path):
    docker = fake_docker(tmp_path, answers=False)
    status, output = run("download_all.sh", "an_image", "data", "ckpt", "--", "--workers=1", **docker)
    assert status == 0, output
    assert "no Docker answers: converting with this clone instead of the image an_image" in output
    assert read_manifest(tmp_path / "data").splits["train"].examples == 3


def test_damaged_weights_are_told_and_removed(run, server, tmp_path):
    path = server.root / ARCHIVE
    path.write_bytes(path.read_bytes()[:-9])
    status, output = run("download_all.sh", "an_image", "data", "ckpt")
    assert status == 1
    assert f"{ARCHIVE}: what came is damaged" in output
    assert not (tmp_path / "ckpt" / "resnet_v1_50").exists()
    with tarfile.open(path, "w:gz"):
        pass
    status, output = run("download_all.sh", "an_image", "data", "ckpt")
    assert status == 1
    assert f"{ARCHIVE}: has no resnet_v1_50.ckpt in it" in output


def test_missing_python_packages_are_told_before_anything_is_downloaded(run, server, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    status, output = run("download_dataset.sh", "data", PYTHON=str(tmp_path / "python"))
    assert status == 1
    assert "lacks the packages of requirements.txt, which converting needs" in output
    assert requested(server) == []
