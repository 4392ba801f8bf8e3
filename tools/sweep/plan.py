"""The plan of a sweep: its settings, and the launches of ``main.py`` for each seed and fold (no TF)."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from utils.cmdline_helper import Command, parse
from utils.errors import UsageError, require
from utils.flags import recipes
from utils.flags.table import BY_NAME
from utils.flags.typed_arguments import complete
from utils.records.folds import folds_of
from utils.records.split_files import load_split

FORMAT = 1
MODE = "train_and_evaluate"
AS_GIVEN = "as given"
"""Name of the only setting of a sweep without a grid."""
_ON, _OFF = "on", "off"
_OURS = {
    "seed": "--seeds sets it",
    "folds": "give it before the --",
    "fold": "each launch has its own",
    "mode": f"it is {MODE}",
    "results_dir": "each launch has its own in --output",
    "model_dir": "it is the folder of each launch",
    "log_filename": "the sweep reads the log",
    "export_dir": "all launches would write to it",
    "dry_run": "give it to main.py",
}
_LONGEST_SLUG = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting: its name, and the flags that it adds to those of all launches."""

    name: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch: a setting with a seed, and the fold that it holds out, if there are folds."""

    setting: str
    seed: int
    fold: int | None
    folder: Path
    flags: tuple[str, ...]

    @property
    def cell(self) -> tuple[int, int | None]:
        """Its seed and fold; launches of the same cell are evaluated on the same images."""
        return self.seed, self.fold

    @property
    def name(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.setting}, seed {self.seed}{fold}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All launches of a sweep.

    Attributes:
        settings: The settings.
        folds: Number of folds; None without folds.
        seeds: Number of seeds.
        flags: The flags of every setting.
        notes: Sentences about flags of recipes that are not used.
    """

    settings: tuple[Setting, ...]
    folds: int | None
    seeds: int
    flags: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def launches(self, output: Path) -> Iterator[Launch]:
        """The launches, those of one seed and fold after each other, so that even a part of them can be compared."""
        folds = (None,) if self.folds is None else range(self.folds)
        for seed, fold in product(range(1, self.seeds + 1), folds):
            for number, setting in enumerate(self.settings, 1):
                folder = output / _folder_name(number, setting.name) / _cell_name(seed, fold)
                held_out = () if fold is None else (f"--folds={self.folds}", f"--fold={fold}")
                own = (f"--mode={MODE}", *held_out, f"--seed={seed}", f"--results_dir={folder}")
                yield Launch(
                    setting=setting.name,
                    seed=seed,
                    fold=fold,
                    folder=folder,
                    flags=(*self.flags, *setting.flags, *own),
                )

    def to_json(self) -> dict[str, Any]:
        """The plan as stored beside the results."""
        settings = [{"name": one.name, "flags": list(one.flags)} for one in self.settings]
        return {
            "format": FORMAT, "folds": self.folds, "seeds": self.seeds, "flags": list(self.flags), "settings": settings
        }  # fmt: skip


def make_plan(
    folds: int | None, seeds: int, grids: Sequence[str], settings: Sequence[str], flags: Sequence[str]
) -> Plan:
    """The plan: each of ``settings``, or none, with each combination of the values of ``grids``.

    Raises:
        UsageError: The flags or the grid make no sense.
    """
    require(folds is None or folds >= 2, "folds", folds, "2 or more")
    require(seeds >= 1, "seeds", seeds, "1 or more")
    notes: list[str] = []
    common = _words("", flags, notes)
    begun = [_setting(text, notes) for text in settings] or [Setting(name="", flags=())]
    axes = [_axis(text, common) for text in grids]
    made = []
    for first, values in product(begun, product(*axes)):
        name = ", ".join(filter(None, (first.name, *(one.name for one in values)))) or AS_GIVEN
        made.append(Setting(name=name, flags=(*first.flags, *(word for one in values for word in one.flags))))
    for name, times in Counter(one.name for one in made).items():
        if times > 1:
            raise UsageError(f"{'--setting' if settings else '--grid'}: {name} comes {times} times; must differ")
    return Plan(settings=tuple(made), folds=folds, seeds=seeds, flags=common, notes=tuple(notes))


def check(plan: Plan, output: Path, environ: Mapping[str, str]) -> list[str]:
    """Checks the flags of every setting and its data before anything runs; returns sentences about the flags.

    Raises:
        UsageError: A launch would be refused.
        RunError: The data cannot be read.
    """
    notes = dict.fromkeys(plan.notes)
    folders: dict[str, None] = {}
    first = {launch.setting: launch for launch in reversed([*plan.launches(output)])}
    for setting in plan.settings:
        try:
            command: Command = parse(first[setting.name].flags, environ)
        except UsageError as error:
            raise UsageError(f"{setting.name}: {error}" if setting.name != AS_GIVEN else str(error)) from None
        notes |= dict.fromkeys(f"{setting.name}: {note}" for note in command.notes)
        folders |= dict.fromkeys([str(command.config.data.data_dir)])
    for folder in folders:
        if plan.folds is not None:
            folds_of(folder, plan.folds, seed=1)
        else:
            load_split(folder, "train")
            load_split(folder, "validation")
    return [*notes]


def _words(where: str, words: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """The flags with their full names, those of recipes in place of the recipes.

    Flags that the sweep sets itself are refused; in a recipe they are left out, with a note.
    """
    if any(word in ("-h", "--help") for word in words):
        raise UsageError(f"{where or 'flags of main.py'}: ask for help; see main.py --help")
    try:
        found = complete(recipes.expand(words))
    except UsageError as error:
        raise UsageError(f"{where}: {error}" if where else str(error)) from None
    kept = []
    for word in found:
        name, _, value = word.removeprefix("--").partition("=")
        if name not in _OURS:
            kept.append(str(word))
        elif origin := recipes.origin_of(word):
            notes.append(f"{origin}: {word}: not used, it belongs to the sweep, {_OURS[name]}")
        elif (name, value) != ("mode", MODE):
            raise UsageError(f"{where}: {word}: belongs to the sweep, {_OURS[name]}; leave it out".removeprefix(": "))
    return tuple(kept)


def _setting(text: str, notes: list[str]) -> Setting:
    """A setting as typed: NAME='FLAGS'."""
    name, equals, flags = text.partition("=")
    if not equals or not name.strip() or name.startswith(("-", "@")):
        raise UsageError(f"--setting {text or repr(text)}: must be NAME='FLAGS', as in small='@recipes/small.args'")
    try:
        words = shlex.split(flags)
    except ValueError as error:
        raise UsageError(f"--setting {text}: {str(error).lower()}; quote a value as in a shell") from None
    return Setting(name=name.strip(), flags=_words(f"--setting {name}", words, notes))


def _axis(text: str, common: Sequence[str]) -> list[Setting]:
    """The values of a grid as typed, FLAG=VALUE,VALUE, each as a setting of one flag."""
    where = f"--grid {text or repr(text)}"
    name, equals, values = text.removeprefix("--").partition("=")
    if not equals or not name:
        raise UsageError(f"{where}: must be FLAG=VALUE,VALUE, as in optimizer=momentum,adamw")
    full = _full_name(where, name)
    found = []
    for value in values.split(","):
        if not value:
            raise UsageError(f"{where}: has an empty value; must be values with commas between them")
        if BY_NAME[full].is_switch:
            if value not in (_ON, _OFF):
                raise UsageError(f"{where}: --{full} is a switch; its values must be {_ON} or {_OFF}")
            if value == _OFF and f"--{full}" in common:
                raise UsageError(f"{where}: the flags of all launches have --{full}; leave it out there")
            words: tuple[str, ...] = (f"--{full}",) if value == _ON else ()
        else:
            words = _words(where, [f"--{full}={value}"], [])
        found.append(Setting(name=f"{full}={value}", flags=words))
    for shown, times in Counter(one.name for one in found).items():
        if times > 1:
            raise UsageError(f"{where}: {shown} comes {times} times; must differ")
    return found


def _full_name(where: str, name: str) -> str:
    """The full name of a flag of ``main.py``; it may be shortened."""
    try:
        (word,) = complete([f"--{name}=1"])
    except UsageError as error:
        if "is a switch" not in str(error):
            raise UsageError(f"{where}: {error}") from None
        (word,) = complete([f"--{name}"])
    full = word.removeprefix("--").partition("=")[0]
    if full in _OURS:
        raise UsageError(f"{where}: --{full} belongs to the sweep, {_OURS[full]}; leave it out")
    return full


def _folder_name(number: int, name: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:_LONGEST_SLUG]
    return f"{number:02d}-{slug}" if slug else f"{number:02d}"


def _cell_name(seed: int, fold: int | None) -> str:
    return f"seed-{seed}" if fold is None else f"seed-{seed}-fold-{fold}"
