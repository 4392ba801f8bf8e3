"""Software versions of a run."""

import platform
import re
import shutil
import subprocess

import numpy as np
import pytest

from utils.system.versions import git_commit, versions


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments):
        identity = ("-c", "user.name=A Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "file").write_text("one\n")
    git("add", "file")
    git("commit", "--quiet", "-m", "First")
    return tmp_path, git


def test_a_clean_clone_is_its_commit(repository):
    folder, git = repository
    assert git_commit(folder) == git("rev-parse", "HEAD")


def test_changed_files_add_a_plus_and_tags_change_nothing(repository):
    folder, git = repository
    commit = git("rev-parse", "HEAD")
    git("tag", "v1.0")
    assert git_commit(folder) == commit
    (folder / "file").write_text("two\n")
    assert git_commit(folder) == f"{commit}+"


def test_no_commit_is_known_outside_a_clone(tmp_path):
    assert git_commit(tmp_path) is None


def test_no_commit_is_known_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None


def test_versions_are_those_in_use():
    found = versions()
    assert found["python_version"] == platform.python_version()
    assert found["numpy_version"] == np.__version__
    assert re.match(r"2\.\d+", found["tensorflow_version"])
    assert set(found) == {
        *("python_version", "tensorflow_version", "numpy_version", "pillow_version", "horovod_version", "dali_version"),
        "git_commit",
    }


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr("utils.system.versions.PACKAGES", {"other_version": ("surely-not-installed",)})
    assert versions()["other_version"] is None
