"""The environment of a clone: which one it is, and what a TensorFlow of the system keeps in it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def installed(folder, name, version, *needed):
    """A package without content, as pip leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {it}" for it in needed),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "top_level.txt").write_text(f"{name}\n")


def clone(folder):
    """A clone with requirements that need no network, and a pip that records how it is called."""
    (folder / "requirements").mkdir()
    for name in ("requirements.txt", "requirements/image.txt"):
        (folder / name).write_text("")
    pip = folder / "system" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text("import sys\nprint(*sys.argv[1:], file=open('pip_was_told', 'w'))\n")


def set_up(folder, requirements, **variables):
    script = f"source {ROOT}/utils/shell/setup_venv.sh && setup_venv {requirements}"
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PYTHONPATH": str(folder / "system"), **variables}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return (folder / "pip_was_told").read_text().split()


def test_what_the_systems_tensorflow_needs_keeps_its_version(tmp_path):
    clone(tmp_path)
    system = tmp_path / "system"
    installed(system, "tensorflow", "2.17.0+nv25.2", "numpy<2", "protobuf!=4.21,>=3.20", 'gone; extra == "and-cuda"')
    installed(system, "numpy", "1.26.4")
    installed(system, "protobuf", "4.25.3", "unneeded")
    told = set_up(tmp_path, "requirements/image.txt", VENV_OPTIONS="--system-site-packages --without-pip")
    assert told[told.index("--constraint") + 1] == ".venv/kept.txt"
    assert (tmp_path / ".venv" / "kept.txt").read_text().splitlines() == [
        *("tensorflow==2.17.0+nv25.2", "numpy==1.26.4", "protobuf==4.25.3"),
    ]


def test_an_environment_of_its_own_keeps_nothing_and_may_have_another_name(tmp_path):
    clone(tmp_path)
    told = set_up(tmp_path, "requirements.txt", VENV=".venv-gpu", VENV_OPTIONS="--without-pip")
    assert "--constraint" not in told
    assert sorted(path.name for path in tmp_path.glob(".venv*")) == [".venv-gpu"]
    assert (tmp_path / ".venv-gpu" / "installed-requirements.txt").is_file()
