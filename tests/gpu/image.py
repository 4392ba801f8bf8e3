"""``docker build`` without Docker: the instructions of the Dockerfile, run in a root folder that stands for an image.

It differs from a build by Docker in three ways. The base image is a Debian that is prepared to resemble the named one.
Packages of the distribution are Debian's of today, because the snapshots of Ubuntu's archive are not asked for. Nothing
but files and processes is isolated. It needs root, overlayfs and debootstrap.
"""

import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.dockerfile import ROOT, STEPS

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "image-stand-ins"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
OURS = "/etc/ssl/certificates-of-the-host.crt"  # which no package replaces
SNAPSHOT = '-o APT::Snapshot="$UBUNTU_SNAPSHOT" '
ENTER = """
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
shift 2
exec "$@"
"""


def base(suite, packages, commands):
    """The folder of a Debian with packages, in which shell commands were run; made once and cached."""
    name = hashlib.sha256(repr((suite, packages, commands)).encode()).hexdigest()[:8]
    folder = CACHE / f"{suite}-{name}"
    if not folder.exists():
        part = CACHE / f"{suite}-{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        components = "--components=main,contrib,non-free"
        _run(["debootstrap", "--variant=minbase", components, "--include=ca-certificates", suite, str(part)])
        for file, there in (("/etc/resolv.conf", "/etc/resolv.conf"), (CERTIFICATES, OURS)):
            shutil.copy(file, part / there.removeprefix("/"))
        install = f"apt-get install -y --no-install-recommends {packages}"
        for command in ("apt-get update", install, "apt-get clean", *commands):
            _run(["chroot", part, "/bin/bash", "-ec", command], {"DEBIAN_FRONTEND": "noninteractive"})
        part.rename(folder)
    return folder


def _run(command, environment=None):
    """Runs a command with the variables of the network only; its output is the test's if it fails."""
    known = ("PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    network = {name: os.environ[name] for name in known if name in os.environ}
    variables = {"PATH": PATH, "PIP_CERT": OURS, **network, **(environment or {})}
    done = subprocess.run(
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout[-5000:]}"
    return done.stdout


class Image:
    """What the instructions make of a base image.

    Args:
        folder: An empty folder.
        lower: The root folder of the base image; nothing in it changes.
        environment: Variables that the base image sets.
        arguments: The values of ``--build-arg``.
    """

    def __init__(self, folder, lower, environment, arguments):
        self.folder, self.lower = folder, lower
        self.environment = {"PATH": PATH, "HOME": "/root", **environment}
        self.asked, self.arguments = arguments, {}
        self.shell, self.place, self.user = ["/bin/sh", "-c"], "/", "0:0"
        for name in ("upper/etc", "work", "root"):
            (folder / name).mkdir(parents=True)
        # Docker writes this file too; Gloo crashes where the host's own name has no address.
        names = f"127.0.0.1 localhost\n127.0.1.1 {socket.gethostname()}\n"
        (folder / "upper" / "etc" / "hosts").write_text(names, encoding="utf-8")

    def build(self):
        """Follows all instructions but FROM, which the base stands for."""
        for name, words in STEPS[[name for name, _ in STEPS].index("FROM") + 1 :]:
            getattr(self, f"_{name.lower()}")(words)

    def run(self, command):
        """Runs a shell command in the image as its user; returns what it says."""
        inner = ["chroot", f"--userspec={self.user}", self.folder / "root", *self.shell, f"cd {self.place}; {command}"]
        outer = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-ec", ENTER, "-"]
        outer += [self.lower, self.folder]
        return _run([*outer, *inner], {**self.environment, **self.arguments})

    def _run(self, words):
        self.run(words.replace(SNAPSHOT, ""))

    def _arg(self, words):
        name, _, value = words.partition("=")
        self.arguments[name] = self.asked.get(name, value.strip('"'))

    def _env(self, words):
        for word in shlex.split(words):
            name, _, value = word.partition("=")
            self.environment[name] = value.replace("$PATH", self.environment["PATH"])

    def _shell(self, words):
        self.shell = json.loads(words)

    def _workdir(self, words):
        self.place = words
        (self.folder / "upper" / words.removeprefix("/")).mkdir(parents=True)

    def _user(self, words):
        self.user = words

    def _cmd(self, words):
        assert json.loads(words)

    def _copy(self, words):
        """Copies what git tracks; all of it with the repository, as .dockerignore leaves it in."""
        *sources, target = words.split()
        there = self.folder / "upper" / self.place.removeprefix("/")
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for file in map(Path, tracked.splitlines()):
            for source in sources:
                if source == "." or file.match(source) or file.is_relative_to(source):
                    within = file.relative_to(source) if (ROOT / source).is_dir() else file.name
                    (there / target / within).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / file, there / target / within)
        if sources == ["."]:
            shutil.copytree(ROOT / ".git", there / ".git", symlinks=True)


def require_chroot():
    """Skips a test where a root folder can be neither made nor entered."""
    if os.geteuid() != 0:
        pytest.skip("only root can make and enter the root folder of an image")
    for tool in ("debootstrap", "unshare", "chroot"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt-get install debootstrap util-linux)")
