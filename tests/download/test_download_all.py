"""download_all.sh fetches the weights beside the data set, and converts in a Docker image."""

import os
import tarfile

import pytest

from tests.download.coco_server import ARCHIVE, requested
from utils.records.manifest import read_manifest


def test_download_all_needs_an_image_and_takes_three_places(run):
    for places in ((), ("image", "data", "checkpoints", "more")):
        status, output = run("download_all.sh", *places)
        assert status == 2
        assert "bash download_all.sh [options] IMAGE" in output


def fake_docker(tmp_path, answers):
    """A PATH with a docker command that records its arguments; its daemon answers or not."""
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
    assert "Docker is not running: converting with this clone instead of the image an_image" in output
    assert read_manifest(tmp_path / "data").splits["train"].examples == 3


def test_damaged_weights_are_told_and_removed(run, server, tmp_path):
    path = server.root / ARCHIVE
    path.write_bytes(path.read_bytes()[:-9])
    status, output = run("download_all.sh", "an_image", "data", "ckpt")
    assert status == 1
    assert f"{ARCHIVE}: the downloaded file is damaged" in output
    assert not (tmp_path / "ckpt" / "resnet_v1_50").exists()
    with tarfile.open(path, "w:gz"):
        pass
    status, output = run("download_all.sh", "an_image", "data", "ckpt")
    assert status == 1
    assert f"{ARCHIVE}: has no resnet_v1_50.ckpt in it" in output


@pytest.mark.parametrize("script", [("download_all.sh", "an_image"), ("download_dataset.sh",)])
def test_a_dry_run_is_refused_before_the_first_download(script, run, server, tmp_path):
    status, output = run(*script, "data", DRY_RUN="1")
    assert status == 2
    assert output == f"DRY_RUN=1: {script[0]} downloads and installs, and has no dry run; --help describes it\n"
    assert requested(server) == []
    assert not (tmp_path / "data").exists()
