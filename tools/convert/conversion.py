"""Carries out a conversion plan: several processes write its shards; the manifest comes last (no TF)."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tools.convert.conversion_plan import ConversionPlan
from tools.convert.output_folder import check_not_read, clear, explain_write_error, output_folder
from tools.convert.remarks import Remarks
from tools.convert.shard_writer import ShardPlan, ShardResult, UnreadableImagesError, finished, write_shard
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, RunError
from utils.files.atomic_file import write_atomically
from utils.records.manifest import MANIFEST_NAME, write_manifest
from utils.system.worker_pool import Progress, progress_of, worker_pool
from utils.text import plural, printable

_LISTED_IMAGES = 100

_log = logging.getLogger(__name__)


def convert(plan: ConversionPlan, out: Path, *, workers: int, overwrite: bool) -> int:
    """Writes the shards and the manifest of a plan, or completes an interrupted run of the same plan.

    Args:
        plan: The shards and the manifest to write.
        out: The folder to write to; created if missing.
        workers: Number of processes that write shards.
        overwrite: Whether to replace a data set in the folder.

    Returns:
        ``EXIT_DONE``, or ``EXIT_SOME_SKIPPED`` if unreadable images were left out.

    Raises:
        UsageError: The output folder holds something else, or lies among the images.
        RunError: Images cannot be converted, or writing failed. Complete shards are kept.
        KeyboardInterrupt: The user or SIGTERM stopped it. Complete shards are kept.
    """
    for note in plan.notes:
        _log.warning("%s", note)
    check_not_read(out, plan.folders_read)
    with _stop_on_sigterm(), output_folder(out, plan.sources, overwrite=overwrite):
        try:
            results = _write_missing(plan, out, workers)
            return _finish(plan, out, results)
        except OSError as error:
            raise explain_write_error(error, out) from error


def _write_missing(plan: ConversionPlan, out: Path, workers: int) -> dict[str, ShardResult]:
    """Writes the shards that no earlier run completed; returns the results of all shards by file name."""
    shards = plan.all_shards
    results = {shard.file: done for shard in shards if (done := finished(shard)) is not None}
    missing = [shard for shard in shards if shard.file not in results]
    if results:
        _log.info("%d of %d shards are complete and unchanged since an earlier run", len(results), len(shards))
    names = {shard.file for shard in shards}
    if missing:
        if removed := clear(out, keep=names):
            _log.info("removed %s of an earlier plan", plural(removed, "shard"))
        images = sum(len(shard.records) for shard in missing)
        _log.info("writing %s to %s in %s", plural(images, "image"), plural(len(missing), "shard"), out)
        writers = _ShardWriters(missing, min(workers, len(missing)))
        try:
            with progress_of(images) as progress:
                writers.write_all(progress)
        except OSError as error:
            kept = sum(
                finished(shard) is not None for shard in shards
            )  # includes shards that workers completed meanwhile
            failure = explain_write_error(error, out)
            raise RunError(f"{failure}; {kept} of {len(shards)} shards are complete and kept") from error
        if writers.unreadable:
            raise _unreadable_error(writers.unreadable, len(results) + len(writers.results), len(shards))
        results.update(writers.results)
    return results


def _listing(images: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"  {printable(name)}: {printable(reason)}" for name, reason in sorted(images)[:_LISTED_IMAGES]]
    if len(images) > _LISTED_IMAGES:
        lines.append(f"  and {len(images) - _LISTED_IMAGES} more")
    return lines


def _unreadable_error(images: Sequence[tuple[str, str]], kept: int, total: int) -> RunError:
    return RunError(
        f"{plural(len(images), 'image')} cannot be read:",
        *_listing(images),
        f"{kept} of {total} shards are complete and kept; mend or remove these files and run the same command again, "
        "or give --skip_unreadable to leave them out",
    )


def _finish(plan: ConversionPlan, out: Path, results: dict[str, ShardResult]) -> int:
    """Writes the files beside the shards, the manifest last, and logs a summary."""
    manifest = plan.manifest(results)
    for name, split in manifest.splits.items():
        if not split.examples:
            raise RunError(f"{plan.source_names}: none of its {name} images can be read")
    beside = {**plan.companions, MANIFEST_NAME: manifest.to_json().encode()}
    if any(not (out / name).is_file() or (out / name).read_bytes() != data for name, data in beside.items()):
        clear(out, keep=results)
        for name, data in plan.companions.items():
            write_atomically(out / name, data)
        write_manifest(out, manifest)
    _log_remarks(plan, results)
    for name, split in manifest.splits.items():
        _log.info("%s: %s in %s", name, plural(split.examples, "example"), plural(len(split.shards), "shard"))
    _log.info(
        *("%s, head size %d; described in %s", plural(manifest.class_count, "class"), manifest.head_size),
        out / MANIFEST_NAME,
    )
    return EXIT_SOME_SKIPPED if any(done.skipped for done in results.values()) else EXIT_DONE


def _log_remarks(plan: ConversionPlan, results: dict[str, ShardResult]) -> None:
    """Logs everything that this run or an earlier one repaired or left out."""
    done_shards = [results[shard.file] for shard in plan.all_shards]
    remarks = Remarks()
    for done in done_shards:
        remarks.merge(done.remarks)
    for remark in remarks.as_tuple():
        _log.warning("%s", remark.sentence())
    skipped = [image for done in done_shards for image in done.skipped]
    if skipped:
        names = "\n".join(_listing(skipped))
        _log.warning("left out %s that cannot be read:\n%s", plural(len(skipped), "image"), names)


class _ShardWriters:
    """The shards to write, and their results so far."""

    def __init__(self, shards: Sequence[ShardPlan], workers: int) -> None:
        self._shards, self._workers = shards, workers
        self.results: dict[str, ShardResult] = {}
        self.unreadable: list[tuple[str, str]] = []

    def write_all(self, progress: Progress) -> None:
        """Writes every shard; unreadable images in one are noted and do not stop the others."""
        if self._workers == 1:
            for shard in self._shards:
                self._collect(shard, lambda shard=shard: write_shard(shard), progress)  # type: ignore[misc]
            return
        pool = worker_pool(self._workers)
        try:
            futures: dict[Future[ShardResult], ShardPlan] = {
                pool.submit(write_shard, shard): shard for shard in self._shards
            }
            for future in as_completed(futures):
                self._collect(futures[future], future.result, progress)
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process was killed, perhaps for lack of memory; run the same command again to continue, with "
                f"fewer than --workers {self._workers} if it happens again"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _collect(self, shard: ShardPlan, result: Callable[[], ShardResult], progress: Progress) -> None:
        try:
            self.results[shard.file] = result()
        except UnreadableImagesError as error:
            self.unreadable.extend(error.images)
        progress.update(len(shard.records))


@contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM end the block as Ctrl-C does; only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
