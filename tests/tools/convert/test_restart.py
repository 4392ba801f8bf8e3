import os
import select
import shutil
import signal
import subprocess
import sys

import pytest

from tests.tools.convert.converting import ROOT, convert, count_written, examples, files, value
from tests.utils.tiny_images import encoded, jpeg, pattern, write_files
from utils.records.manifest import read_manifest

pytestmark = pytest.mark.usefixtures("listening")


def test_a_second_run_writes_nothing_and_says_so(source, tmp_path, monkeypatch, caplog):
    flags = ("--train_shards", "3")
    assert convert(source, tmp_path / "out", *flags) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.is_file()}
    written = count_written(monkeypatch)
    caplog.clear()
    assert convert(source, tmp_path / "out", *flags) == 0
    assert written == []
    assert "4 of 4 shards are complete and unchanged since an earlier run" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_lost_or_cut_off_shard_alone_is_written_again(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert convert(source, out, "--train_shards", "3") == 0
    complete = files(out)
    (out / "train-00001-of-00003").unlink()
    written = count_written(monkeypatch)
    assert convert(source, out, "--train_shards", "3") == 0
    assert (len(written), files(out)) == (4, complete)
    (out / "train-00002-of-00003").write_bytes(b"short")
    assert convert(source, out, "--train_shards", "3") == 0
    assert (len(written), files(out)) == (8, complete)


def _fresh(source, tmp_path, *flags):
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
    assert convert(source, tmp_path / "fresh", *flags) == 0
    return files(tmp_path / "fresh")


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "train" / "cat" / "new.jpg").write_bytes(jpeg(99)),
        lambda source: (source / "train" / "cat" / "cat0.jpg").unlink(),
        lambda source: (source / "train" / "cat" / "cat0.jpg").write_bytes(jpeg(99)),
        lambda source: write_files(source, {"train/ape/a.jpg": jpeg(99)}),
    ],
    ids=["added", "removed", "changed", "class"],
)
def test_a_changed_source_is_converted_anew(source, tmp_path, change):
    assert convert(source, tmp_path / "out") == 0
    change(source)
    assert convert(source, tmp_path / "out") == 0
    assert files(tmp_path / "out") == _fresh(source, tmp_path)


def test_an_image_replaced_by_one_of_the_same_size_is_noticed(source, tmp_path):
    path = source / "train" / "cat" / "cat0.jpg"
    first = encoded(pattern(4, 4), "BMP")
    path.write_bytes(first)
    assert convert(source, tmp_path / "out") == 0
    second = encoded(255 - pattern(4, 4), "BMP")
    assert len(first) == len(second)
    path.write_bytes(second)
    assert convert(source, tmp_path / "out") == 0
    assert files(tmp_path / "out") == _fresh(source, tmp_path)


@pytest.mark.parametrize("flags", [("--train_shards", "2"), ("--seed", "1")])
def test_changed_options_leave_nothing_of_the_earlier_files(source, tmp_path, flags, caplog):
    assert convert(source, tmp_path / "out", "--train_shards", "4") == 0
    assert convert(source, tmp_path / "out", *flags) == 0
    assert files(tmp_path / "out") == _fresh(source, tmp_path, *flags)
    assert "removed 4 shards of an earlier plan" in caplog.text


def test_other_class_names_are_written_to_every_record(source, tmp_path):
    assert convert(source, tmp_path / "out") == 0
    names = tmp_path / "names.txt"
    names.write_text("Katze\nHund\n")
    assert convert(source, tmp_path / "out", "--class_names", str(names)) == 0
    assert {value(e, "image/class/text") for e in examples(tmp_path / "out", "train")} == {b"Katze", b"Hund"}


def _run_script(body, *arguments, **options):
    """Runs the command in a separate process, with ``body`` executed before each record is encoded."""
    script = (
        "import os, signal, sys\n"
        "import tools.convert.shard_writer as writer\n"
        "from tools.convert.__main__ import main\n"
        "real, calls = writer.encode_example, []\n"
        "def encode(features):\n"
        "    calls.append(1)\n"
        f"    {body}\n"
        "    return real(features)\n"
        "writer.encode_example = encode\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, *map(str, arguments), "--workers", "1"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize("killed_at", [1, 5, 12, 18])
def test_a_conversion_killed_in_the_middle_continues_where_it_was(source, tmp_path, killed_at, monkeypatch):
    out, flags = tmp_path / "out", ("--train_shards", "4", "--validation_shards", "2")  # shards of 3 records
    body = f"if len(calls) == {killed_at}: os.kill(os.getpid(), signal.SIGKILL)"
    assert _run_script(body, source, out, *flags).returncode == -signal.SIGKILL
    complete = (killed_at - 1) // 3
    assert len(list(out.glob("[tv]*-of-*"))) == complete
    assert not (out / "dataset.json").exists()
    written = count_written(monkeypatch)
    assert convert(source, out, *flags) == 0
    assert len(written) == 18 - 3 * complete
    assert files(out) == _fresh(source, tmp_path, *flags), "and no half-written file is left"


def test_a_rebuild_killed_in_the_middle_leaves_no_manifest_that_lies(source, tmp_path):
    out = tmp_path / "out"
    assert convert(source, out, "--train_shards", "2") == 0
    (source / "train" / "cat" / "cat0.jpg").write_bytes(jpeg(99))
    body = "if len(calls) == 4: os.kill(os.getpid(), signal.SIGKILL)"
    assert _run_script(body, source, out, "--train_shards", "2").returncode == -signal.SIGKILL
    assert read_manifest(out) is None
    assert convert(source, out, "--train_shards", "2") == 0
    assert files(out) == _fresh(source, tmp_path, "--train_shards", "2")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_with_a_sentence_and_status_75(source, tmp_path, number):
    body = f"if len(calls) == 5: os.kill(os.getpid(), signal.{number})"
    done = _run_script(body, source, tmp_path / "out", "--train_shards", "4")
    assert done.returncode == 75
    assert "interrupted: complete shards are kept, and the same command continues" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(files(tmp_path / "out")) == ["train-00000-of-00004"]


def test_workers_end_when_the_command_is_killed():
    script = (
        "import os, signal\n"
        "from utils.system.worker_pool import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    pool = worker_pool(1)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    try:
        descriptor = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return  # gone already
    ended, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    assert ended
