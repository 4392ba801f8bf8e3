"""The Dockerfile, checked without Docker: its downloads are pinned, and it runs the scripts of tests/run.sh."""

import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.dockerfile import ROOT, STEPS, TEXT, of


def tool(name):
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (requirements/dev.txt)")
    return path


def tracked(*patterns):
    command = ["git", "ls-files", *patterns]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_a_linter_finds_nothing_in_it():
    done = subprocess.run([tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_a_linter_finds_nothing_to_warn_of_in_any_shell_script():
    command = [tool("shellcheck"), "-x", "-s", "bash", "-P", "SCRIPTDIR", "--severity=warning"]
    done = subprocess.run(
        [*command, *tracked("*.sh"), ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_base_image_and_packages_are_pinned():
    (base,) = [words for words in of("ARG") if words.startswith("BASE_IMAGE=")]
    assert re.fullmatch(r"BASE_IMAGE=[\w./-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?", base)
    assert of("FROM") == ["${BASE_IMAGE}"]
    for step in of("RUN"):
        for call in re.findall(r"apt-get .*?(?=&&|$)", step):
            assert '-o APT::Snapshot="$UBUNTU_SNAPSHOT"' in call
    assert re.search(r"^ARG UBUNTU_SNAPSHOT=\d{8}T\d{6}Z$", TEXT, flags=re.MULTILINE)


def test_nothing_else_is_downloaded_but_by_the_scripts():
    assert of("ADD") == []
    for step in of("RUN"):
        commands = re.findall(r"(?:^|&&|\|\||;|\{)\s*([\w./-]+)", step)
        assert not {"curl", "wget", "pip", "pip3", "git clone"} & set(commands)
        assert "pip install" not in step
        assert "://" not in step


def test_what_it_runs_exists_and_is_what_the_test_command_runs():
    scripts = set(re.findall(r"utils/(?:shell/)?\w+\.sh", " ".join(of("RUN"))))
    assert scripts == {"utils/shell/setup_venv.sh", "utils/install_horovod.sh"}
    command = (ROOT / "tests" / "run.sh").read_text(encoding="utf-8")
    for script in scripts:
        assert (ROOT / script).is_file()
        assert script in command


@pytest.mark.parametrize("name", ["requirements/gpu.txt", "requirements/image.txt"])
def test_requirements_are_pinned_and_what_they_share_has_one_version(name):
    assert name in TEXT
    pins = dict(re.findall(r"^([\w-]+)(?:\[[\w-]+\])?==(\S+)$", (ROOT / name).read_text(), flags=re.MULTILINE))
    base = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE))
    shared = pins.keys() & base.keys()
    assert {"pillow", "pycocotools", "rich"} <= shared
    assert {key: pins[key] for key in shared} == {key: base[key] for key in shared}


def test_an_image_with_its_own_tensorflow_keeps_it_and_what_it_needs():
    lines = (ROOT / "requirements/image.txt").read_text().splitlines()
    pins = {canonical(line.partition("==")[0]): line.partition("==")[2] for line in lines if not line.startswith("#")}
    needed = {canonical(Requirement(line).name) for line in importlib.metadata.requires("tensorflow-cpu") or []}
    assert not pins.keys() & (needed | {"tensorflow", "keras"})
    assert pins.items() <= pinned().items()
    assert "--build-arg VENV_OPTIONS=--system-site-packages" in TEXT
    assert "VENV_OPTIONS" in (ROOT / "utils" / "shell" / "setup_venv.sh").read_text()


@pytest.mark.parametrize("works", [True, False], ids=["TensorFlow is sound", "TensorFlow is broken"])
@pytest.mark.parametrize("kept", [True, False], ids=["of the image", "of the environment"])
def test_the_last_step_of_horovod_dali_and_export_is_to_import_tensorflow_and_horovod(tmp_path, kept, works):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "utils" / "shell").mkdir(parents=True)
    if kept:
        (tmp_path / ".venv" / "kept.txt").touch()
    call = 'echo "$(basename "$0") $*" >> calls\n'
    (tmp_path / ".venv" / "bin" / "python").write_text(
        f'#!/bin/bash\n{call}[[ "$2" != *"import tensorflow"* ]] || {str(works).lower()}\n'
    )
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    (tmp_path / "utils" / "shell" / "setup_venv.sh").write_text('setup_venv() { echo "setup_venv $*" >> calls; }\n')
    (step,) = [step for step in of("RUN") if "install_horovod.sh" in step]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", step.replace("/tmp/cache", str(tmp_path / "cache"))],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (0 if works else 1)
    *calls, last = (tmp_path / "calls").read_text().splitlines()
    assert ("setup_venv requirements/export.txt" in calls) is not kept
    assert last.startswith("python -c import tensorflow, horovod.tensorflow as hvd; assert hvd.nccl_built()")


def test_it_runs_as_any_user():
    assert STEPS[-2:] == [("USER", "1000:1000"), ("CMD", '["bash"]')]
    assert "chmod -R a+rX . && mkdir -m 1777 /home/anyone" in of("RUN")
    assert any(shlex.split(words)[0] == "HOME=/home/anyone" for words in of("ENV"))
    assert "git config --system --add safe.directory '*'" in " ".join(of("RUN"))
    assert of("WORKDIR") == ["/workspace"]


def test_docker_leaves_out_what_git_leaves_out():
    def entries(name):
        lines = (ROOT / name).read_text().splitlines()
        return {line.strip("/") for line in lines if line and not line.startswith("#")}

    docker = {entry.removeprefix("**/") for entry in entries(".dockerignore")}
    assert docker == {entry.removeprefix("**/") for entry in entries(".gitignore")}


def test_nothing_that_git_knows_is_left_out():
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.gitignore"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == ""


def pinned():
    """The version of each pinned package."""
    files = [ROOT / "requirements/constraints.txt", ROOT / "requirements.txt"]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    found = [re.match(r"([\w.-]+)(?:\[[\w-]+\])?==([^\s;]+)", line) for line in lines]
    return {canonical(pin[1]): pin[2] for pin in found if pin}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def cuda_packages():
    """The packages of CUDA's libraries that TensorFlow for GPUs needs, with their allowed versions."""
    needed = importlib.metadata.requires("tensorflow-cpu") or []
    return [Requirement(line) for line in needed if 'extra == "and-cuda"' in line]


def test_what_tensorflow_for_gpus_pulls_in_is_pinned_to_a_version_that_it_allows():
    pins, packages = pinned(), cuda_packages()
    assert len(packages) > 5
    assert [one.name for one in packages if pins[canonical(one.name)] not in one.specifier] == []


def test_cudnn_still_has_code_for_volta():
    """From 9.11 on, most of cuDNN's libraries hold no code for V100s: tests/gpu/test_cards.py looks."""
    assert Version("9.10") <= Version(pinned()["nvidia-cudnn-cu12"]) < Version("9.11")


def test_what_is_installed_here_is_pinned_with_all_that_it_needs():
    """Checks each installed requirement; the environment's own tools are exempt."""
    seen, waiting = set(), [name for name in pinned() if installed(name)]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        needed = map(Requirement, importlib.metadata.requires(name) or [])
        waiting += [canonical(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert seen - {"pip", "setuptools", "wheel"} <= pinned().keys()


def installed(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
