"""Reports opened from disk in a headless Chromium without network."""

import json
import os
import shutil
import subprocess

import pytest

from tests.utils.reporting.made_runs import ODD_NAMES, write_boxes, write_classes, write_log
from tests.utils.reporting.made_runs import comparison as tables
from tools.report import main

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH; apt-get install chromium brings one")
# After loading, reads the number of colors of each picture, the positions of boxes, and the elements beyond the page.
PROBE = """
<script>
addEventListener("load", () => {
  const colors = (image) => {
    const canvas = document.createElement("canvas");
    canvas.width = 120; canvas.height = 80;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 120, 80);
    return new Set(new Uint32Array(context.getImageData(0, 0, 120, 80).data.buffer)).size;
  };
  const pictures = [...document.images].map((image) => ({
    name: image.alt, width: image.naturalWidth, shown: image.clientWidth, colors: image.naturalWidth && colors(image),
  }));
  const drawings = [...document.querySelectorAll("figure svg")].map((svg) => {
    const whole = svg.getBoundingClientRect();
    return {
      name: svg.getAttribute("aria-label"),
      picture: svg.querySelector("image").getBoundingClientRect().width / whole.width,
      boxes: [...svg.querySelectorAll("rect")].map((rect) => {
        const box = rect.getBBox();
        const at = svg.viewBox.baseVal;
        return [box.y / at.height, box.x / at.width, (box.y + box.height) / at.height, (box.x + box.width) / at.width];
      }),
    };
  });
  const said = document.createElement("pre");
  said.id = "probe";
  said.textContent = JSON.stringify({
    pictures, drawings, width: document.documentElement.scrollWidth, window: innerWidth,
    loaded: performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 5)),
    sections: [...document.querySelectorAll("section h2")].map((title) => title.textContent),
  });
  document.body.append(said);
});
</script>
"""


def opened(folder, *runs):
    """The measurements of a browser on the report of some runs, and its console output."""
    target = folder / "report.html"
    assert main([*map(str, runs), f"--output={target}"]) == 0
    probed = folder / "probed.html"
    probed.write_text(target.read_text(encoding="utf-8") + PROBE, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--window-size=1240,2000"]
    command += ["--virtual-time-budget=10000", "--dump-dom", probed.as_uri()]
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    text = done.stdout.split('<pre id="probe">')[1].split("</pre>")[0]
    for sign, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(sign, letter)
    return json.loads(text), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_classifiers_report_loads_and_its_pictures_are_not_blank(tmp_path):
    run = write_log(tmp_path / "run")
    content = write_classes(run, len(ODD_NAMES), 300, names=list(ODD_NAMES))
    seen, console = opened(tmp_path, run)
    assert console == []
    assert set(seen["loaded"]) <= {"data:"}
    assert seen["width"] <= seen["window"]  # nothing makes the page scroll sideways, not even the longest name
    charts = [picture for picture in seen["pictures"] if not picture["name"].startswith("example ")]
    assert len(charts) == 10
    assert all(picture["colors"] > 8 and picture["shown"] > 200 for picture in charts)
    mistakes = [picture for picture in seen["pictures"] if picture["name"].startswith("example ")]
    assert [p["name"] for p in mistakes] == [f"example {entry['index']}" for entry in content["pictures"]]
    assert all(picture["width"] == 96 and picture["shown"] > 100 for picture in mistakes)
    assert {"Result", "Confusions", "Calibration", "The most confident mistakes", "Speed"} <= set(seen["sections"])


def test_a_detectors_report_shows_the_boxes_where_they_are(tmp_path):
    run = write_log(tmp_path / "run")
    content = write_boxes(run, tables(), dict(enumerate(ODD_NAMES, 1)))
    seen, console = opened(tmp_path, run)
    assert console == []
    assert len(seen["drawings"]) == len(content["pictures"])
    for drawing, entry in zip(seen["drawings"], content["pictures"], strict=True):
        assert drawing["picture"] == pytest.approx(1, abs=0.01)
        for drawn, box in zip(drawing["boxes"], entry["boxes"], strict=True):
            assert drawn == pytest.approx(box["box"], abs=1e-3)


def test_a_comparison_and_a_thousand_classes_load(tmp_path):
    runs = [write_log(tmp_path / f"run{n}", lr_init=n / 10) for n in range(3)]
    write_classes(runs[0], 1000, 3000)
    seen, console = opened(tmp_path, *runs)
    assert console == []
    assert all(picture["width"] > 0 for picture in seen["pictures"])
    assert seen["width"] <= seen["window"]
    assert {"Results", "What differs", "Curves"} <= set(seen["sections"])
