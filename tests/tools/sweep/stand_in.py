"""Stands in for main.py in the tests of sweeps: leaves the prepared results of a launch, or does as a file says.

STAND_IN names a folder with the prepared results ``<setting>/<cell>``. In it, the file ``do`` has lines of a cell and
what each of its next starts does: "kill", "fail" or "wait" for a signal.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

folder = Path(next(word for word in sys.argv if word.startswith("--results_dir=")).partition("=")[2])
prepared = Path(os.environ["STAND_IN"])
with (prepared / "started").open("a") as file:
    print(f"{folder.parent.name}/{folder.name}", *sys.argv[1:], file=file)
orders = prepared / "do"
lines = orders.read_text().splitlines() if orders.is_file() else []
mine = next((line for line in lines if line.startswith(f"{folder.parent.name}/{folder.name} ")), None)
if mine:
    lines.remove(mine)
    orders.write_text("\n".join(lines))
    what = mine.split()[1]
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail":
        print("INFO: begins\nCRITICAL: it cannot be\x07done\n")
        sys.exit(1)
    if what == "wait":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        (prepared / "waiting").touch()
        time.sleep(60)
shutil.copytree(prepared / folder.parent.name / folder.name, folder, dirs_exist_ok=True)
for name in ("model.ckpt-5.index", "checkpoint", "best/model.ckpt-5.index"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("weights")
