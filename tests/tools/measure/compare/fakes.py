"""Contestants that are short programs, for the comparison."""

import json
import sys

from tools.measure.compare.turns import Contestant

STEADY = """
from tools.measure.compare.protocol import serve
import json, sys
seconds, facts = json.loads(sys.argv[1])
print("a library's greeting")
serve(lambda steps: None if seconds is None else seconds * steps, facts)
"""
MORTAL = """
from tools.measure.compare.protocol import serve
import os, sys
turns = iter(range(int(sys.argv[1])))
def work(steps):
    if next(turns, None) is None:
        print("first line", "out of memory, I fear", sep="\\n\\n", file=sys.stderr, flush=True)
        os._exit(9)
serve(work, {}, warmup=1)
"""


def steady(name, seconds=0.01, *, peer=False, work=1.0, wanted=None, **facts):
    """A contestant whose steps count some seconds; None for the time that passes."""
    command = (sys.executable, "-c", STEADY, json.dumps([seconds, facts]))
    return Contestant(name=name, command=command, peer=peer, work=work, precision=wanted)


def mortal(name, calls, *, peer=False):
    """A contestant that dies after a number of calls: one warms up, one measures a step, and each turn is one."""
    return Contestant(name=name, command=(sys.executable, "-c", MORTAL, str(calls)), peer=peer)
