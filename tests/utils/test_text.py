"""Counts, shares and names in messages."""

import re

from tests.conftest import ROOT
from utils.text import first_and_more, percent, plural

PERCENTAGE = re.compile(r"\{[^{}]*:[^{}]*%\}|\d%(?=[ .,;)\"'])")
EXEMPT = {
    "examples/SSD320_inference.py": "names of figures as the original program prints them: eval_90%_latency",
    "utils/reporting/page.py": "style sheets",
}


def test_a_share_has_one_decimal_and_a_space():
    assert [percent(share) for share in (0.2159, 0.22, 0, 1)] == ["21.6 %", "22.0 %", "0.0 %", "100.0 %"]


def test_every_percentage_for_people_has_a_space():
    sources = [
        path
        for name in ("model", "object_detection", "runtime", "tools", "utils", "examples", "docs")
        for path in (ROOT / name).rglob("*.*")
        if path.suffix in (".py", ".sh", ".md")
    ]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [*sources, ROOT / "README.md", ROOT / "CHANGELOG.md"]
        for line in path.read_text(encoding="utf-8").splitlines()
        if PERCENTAGE.search(line) and str(path.relative_to(ROOT)) not in EXEMPT
    ]
    assert found == []


def test_counts_agree_with_their_nouns():
    assert [plural(1, "image"), plural(1282, "image"), plural(2, "class")] == ["1 image", "1,282 images", "2 classes"]
    assert first_and_more(["a", "b"], "variable") == "a and 1 more variable"
    assert first_and_more(["a"], "variable") == "a"
