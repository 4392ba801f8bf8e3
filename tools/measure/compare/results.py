"""The results of the comparison as JSON and as tables in Markdown (no TF)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.measure.compare.cells import SECONDS, Cell
from tools.measure.compare.turns import Score

NOTHING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of figures and their range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median=statistics.median(values), lowest=min(values), highest=max(values))

    def __str__(self) -> str:
        digits = 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f} to {self.highest:.{digits}f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The speed of a contestant of this program as a multiple of a peer's, round by round."""

    ours: str
    peer: str
    rounds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        return Spread.of(self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """The result of a cell.

    Attributes:
        cell: The cell.
        load: The load of the machine before it.
        scores: The scores of the contestants, in their order.
        left_out: The reasons why others are missing, by name.
        peak: The score of the matrix product, or None.
    """

    cell: Cell
    load: float
    scores: tuple[Score, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    peak: Score | None = None

    @property
    def ratios(self) -> list[Ratio]:
        """Each contestant of this program compared with each peer."""
        ours = [score for score in self.scores if not score.contestant.peer]
        peers = [score for score in self.scores if score.contestant.peer]
        return [
            Ratio(
                ours=our.contestant.name,
                peer=peer.contestant.name,
                rounds=tuple(theirs / seconds for seconds, theirs in zip(our.seconds, peer.seconds, strict=True)),
            )
            for our in ours
            for peer in peers
        ]

    @property
    def best_peer(self) -> Score | None:
        """The peer with the highest median speed; None without peers."""
        peers = [score for score in self.scores if score.contestant.peer]
        return min(peers, key=lambda score: statistics.median(score.seconds), default=None)

    def figures(self, score: Score) -> list[float]:
        """The figures of a contestant in the unit of the cell."""
        return score.seconds if self.cell.unit == SECONDS else score.speeds

    @property
    def peak_share(self) -> list[float] | None:
        """The FLOP/s of this program's inference as a share of the matrix product's, by round; None if unknown."""
        first = next((score for score in self.scores if not score.contestant.peer), None)
        flops = first.facts.get("flops_per_image") if first else None
        if self.peak is None or not first or not flops or self.cell.what != "infer":
            return None
        pairs = zip(first.speeds, self.peak.speeds, strict=True)
        return [speed * flops / 1e9 / product for speed, product in pairs]


def to_json(result: CellResult) -> dict[str, Any]:
    """A cell as JSON values."""
    best = result.best_peer
    return {
        "unit": result.cell.unit,
        "batch_size": result.cell.batch,
        "load_at_start": result.load,
        "contestants": [_contestant(result, score) for score in result.scores],
        "ratios": [{"ours": ratio.ours, "peer": ratio.peer, **figures(ratio.rounds)} for ratio in result.ratios],
        "best_peer": best and best.contestant.name,
        "left_out": dict(result.left_out),
        "matrix_product_gflops": result.peak and figures(result.peak.speeds),
        "peak_share": result.peak_share and figures(result.peak_share),
    }


def _contestant(result: CellResult, score: Score) -> dict[str, Any]:
    return {
        "name": score.contestant.name,
        "peer": score.contestant.peer,
        **score.facts,
        "start_s": round(score.start_s, 2),
        "steps_per_round": score.steps,
        **figures(result.figures(score)),
        "processor_s_per_step": statistics.median(score.processor_s),
        "peak_mb": score.peak_mb,
    }


def figures(values: Sequence[float]) -> dict[str, Any]:
    """The figures of all rounds and their spread as JSON values."""
    spread = Spread.of(values)
    return {"median": spread.median, "lowest": spread.lowest, "highest": spread.highest, "rounds": list(values)}


def markdown(facts: Mapping[str, Any], results: Sequence[CellResult], left_out: Mapping[str, str]) -> str:
    """The whole comparison: facts, a row for each cell, and a table for each cell.

    Args:
        facts: Facts about the machine and the run.
        results: The results of the cells.
        left_out: The reasons why other cells are missing, by name.
    """
    lines = ["# Comparison", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    if results:
        lines += _table(
            ("cell", "unit", "this program", "best peer", "its figure", "times as fast, by round"),
            map(_summary, results),
        )
    if left_out:
        lines += ["Left out:", "", *(f"- {name}: {reason}" for name, reason in left_out.items()), ""]
    for result in results:
        lines += _section(result)
    return "\n".join(lines).rstrip("\n") + "\n"


def _summary(result: CellResult) -> list[str]:
    ours = next((score for score in result.scores if not score.contestant.peer), None)
    best, cells = result.best_peer, [result.cell.name, result.cell.unit]
    cells.append(str(Spread.of(result.figures(ours))) if ours else NOTHING)
    cells += [best.contestant.name, str(Spread.of(result.figures(best)))] if best else [NOTHING, NOTHING]
    ratios = [one for one in result.ratios if ours and best and (one.ours, one.peer) == _names(ours, best)]
    return [*cells, _decimals(ratios[0].spread) if ratios else NOTHING]


def _names(ours: Score, peer: Score) -> tuple[str, str]:
    return ours.contestant.name, peer.contestant.name


def _section(result: CellResult) -> list[str]:
    lines = [f"## {result.cell.name}", "", f"Load before it {result.load:.1f}.", ""]
    if result.scores:
        heads = ("contestant", "version", result.cell.unit, "steps in a turn", "processor s a step", "memory")
        lines += _table(heads, (_row(result, score) for score in result.scores))
    if result.ratios:
        lines += _ratio_table(result)
    if result.peak:
        share = result.peak_share
        text = f"{result.peak.contestant.name}: {Spread.of(result.peak.speeds)} GFLOP/s in the same rounds"
        lines += [text + (f"; this program's share of it {_decimals(Spread.of(share))}." if share else "."), ""]
    missing = [f"- {name}: {reason}" for name, reason in result.left_out.items()]
    return [*lines, *(["Left out:", "", *missing, ""] if missing else [])]


def _row(result: CellResult, score: Score) -> list[str]:
    processor = f"{statistics.median(score.processor_s):.3f}"
    memory = f"{score.peak_mb:,} MB"
    version = str(score.facts.get("version", ""))
    figures = str(Spread.of(result.figures(score)))
    return [score.contestant.name, version, figures, str(score.steps), processor, memory]


def _ratio_table(result: CellResult) -> list[str]:
    """The table of how many times as fast as each peer the contestants of this program are."""
    ratios = {(ratio.ours, ratio.peer): _decimals(ratio.spread) for ratio in result.ratios}
    ours, peers = (list(dict.fromkeys(names)) for names in zip(*ratios, strict=True))
    rows = ([our, *(ratios[our, peer] for peer in peers)] for our in ours)
    return _table(("times as fast as", *peers), rows)


def _decimals(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.lowest:.2f} to {spread.highest:.2f})"


def _table(heads: Sequence[str], rows: Any) -> list[str]:
    body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {row} |" for row in body), ""]
