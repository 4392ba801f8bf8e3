"""The summary of a scan: lines for people, and one JSON object (no TF)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tools.validate.dataset_scan import DatasetScan, Source
from tools.validate.findings import KINDS, Finding
from utils.text import plural, printable

_CLASSES_SHOWN = 12
_NAME_LETTERS = 32


def summary_lines(found: DatasetScan, *, named: int) -> Iterator[str]:
    """Yields the lines of the summary; names the first ``named`` findings of each kind."""
    for source in found.sources:
        yield f"{source.path}: {source.what}"
        for split in dict.fromkeys(one.place.split for one in found.images_of(source)):
            yield f"  {split}: {_of_split(found, source, split)}"
    yield from _class_lines(found)
    by_kind: dict[str, list[Finding]] = {}
    for finding in found.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    for kind in (kind for kind in KINDS.values() if kind.name in by_kind):
        findings = by_kind[kind.name]
        cure = f" [{kind.cure} by --fix]" if kind.cure else ""
        yield f"{kind.severity}: {kind.title} ({kind.name}): {len(findings):,}{cure}"
        yield from _named(findings, named)


def result_line(found: DatasetScan) -> str:
    """The last line, with the result."""
    faults = found.faults
    if not faults:
        return f"clean: {plural(len(found.images), 'image')}, no faults"
    kinds = Counter(finding.kind for finding in faults)
    return f"{plural(len(faults), 'fault')} of {plural(len(kinds), 'kind')} in {plural(len(found.images), 'image')}"


def repair_lines(dropped: Sequence[Finding], *, named: int) -> Iterator[str]:
    """Yields lines on what a repaired copy leaves out or changes, by cure and kind."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in dropped:
        by_kind.setdefault(finding.kind, []).append(finding)
    for name, findings in by_kind.items():
        yield f"{KINDS[name].cure}: {KINDS[name].title}: {len(findings):,}"
        yield from _named(findings, named)


def to_json(found: DatasetScan) -> dict[str, Any]:
    """The whole scan as a JSON object."""
    return {
        "sources": [{"path": str(one.path), "what": one.what, "task": one.task} for one in found.sources],
        "splits": {
            split: {
                "images": sum(one.place.split == split for one in found.images),
                "classes": _named_counts(found, split),
            }
            for split in found.splits
        },
        "clean": not found.faults,
        "findings": [finding.to_json() for finding in found.findings],
    }


def _of_split(found: DatasetScan, source: Source, split: str) -> str:
    images = found.images_of(source, split)
    size = f"{sum(one.size for one in images) / 1e6:,.1f} MB"
    text = f"{plural(len(images), 'image')} in {plural(len({one.place.file for one in images}), 'file')}, {size}"
    if source.task == "detection":
        boxes, empty = sum(len(one.labels) for one in images), sum(not one.labels for one in images)
        text += f", {plural(boxes, 'box')}, {plural(empty, 'image')} without any"
    return text


def _named_counts(found: DatasetScan, split: str) -> dict[str, int]:
    names, counts = found.classes, found.counts(split)
    labels = sorted({*names, *counts})
    return {names.get(label, str(label)): counts[label] for label in labels}


def _class_lines(found: DatasetScan) -> Iterator[str]:
    """Yields a table of the classes, the largest first; of many, only the largest and the smallest."""
    splits = found.splits
    counts = {split: found.counts(split) for split in splits}
    names = found.classes
    labels = sorted({*names, *(label for numbers in counts.values() for label in numbers)})
    labels.sort(key=lambda label: -sum(counts[split][label] for split in splits))
    if not labels or not splits:
        return
    shown = {label: printable(names.get(label, f"(label {label})"))[:_NAME_LETTERS] for label in labels}
    width = max(map(len, shown.values()))
    yield f"classes: {len(labels):,}; examples of each in {', '.join(splits)}:"
    gap = len(labels) > _CLASSES_SHOWN
    half = _CLASSES_SHOWN // 2
    for label in labels[:half] if gap else labels:
        yield _class_line(shown[label], width, [counts[split][label] for split in splits])
    if gap:
        yield f"  ... {len(labels) - 2 * half:,} more ..."
        for label in labels[-half:]:
            yield _class_line(shown[label], width, [counts[split][label] for split in splits])


def _class_line(name: str, width: int, counts: Sequence[int]) -> str:
    return f"  {name:<{width}}" + "".join(f"  {count:>9,}" for count in counts)


def _named(findings: Sequence[Finding], named: int) -> Iterator[str]:
    for finding in findings[:named]:
        yield f"  {finding.place}: {printable(finding.text)}"
    if len(findings) > named:
        yield f"  and {len(findings) - named:,} more"
