"""Saves checkpoints in child processes and kills them: python -m tests.utils.saving FOLDER operations|moments KEEP.

Each child works in its own numbered folder and writes a byte to ``<folder>.done`` for each saved step. Children are
forked before TensorFlow starts its threads, so only one process has to import it.
"""

import os
import random
import select
import signal
import sys
import traceback
from pathlib import Path

import tensorflow as tf

from utils.checkpoints import CheckpointDir

tf1 = tf.compat.v1

SIZE = 20_000
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"}
MOMENTS = 12
LONGEST_WAIT = 0.3


def save_steps(folder: Path, steps, keep: int, report) -> None:
    """Saves each step with variables filled with its number, also as the best, and annotates it."""
    with tf.Graph().as_default() as graph:
        names = ("network/kernel", "network/kernel/Momentum")
        variables = [tf1.get_variable(name, [SIZE], use_resource=True) for name in names]
        value = tf1.placeholder(tf.float32, [])
        assign = [variable.assign(tf.fill([SIZE], value)) for variable in variables]
        saver = tf1.train.Saver(variables)
    checkpoints = CheckpointDir(folder, keep)
    checkpoints.prepare()
    with tf1.Session(graph=graph) as session:
        for step in steps:
            session.run(assign, {value: step})
            checkpoints.save(session, saver, step, {"step": step})
            report(step)
            checkpoints.keep_best(step)
            checkpoints.annotate(step, {"step": step, "evaluation": {"top1_accuracy": 0.5}})


def child(folder: Path, steps, keep: int, kill_at: int | None, pipe: int) -> int:
    """Starts a process that saves and kills itself before its n-th change of a folder; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    changes = 0

    def count(event, _):
        nonlocal changes
        changes += event in CHANGES
        if changes == kill_at and event in CHANGES:
            os.kill(os.getpid(), signal.SIGKILL)

    done = os.open(f"{folder}.done", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def report(step):
        os.write(done, b".")
        os.write(pipe, b".")

    sys.addaudithook(count)
    try:
        save_steps(folder, steps, keep, report)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def kill_at_each_change(root: Path, keep: int) -> None:
    """One child for each change of a folder while two steps are saved."""
    number, ended = 0, False
    _, pipe = os.pipe()
    while not ended:
        number += 1
        pid = child(root / f"{number:03}", range(1, 3), keep, number, pipe)
        ended = os.WIFEXITED(os.waitpid(pid, 0)[1])


def kill_at_random_moments(root: Path, keep: int) -> None:
    """Children that save forever, killed at a random time after their first step."""
    delays = random.Random(7)
    for number in range(MOMENTS):
        reading, writing = os.pipe()
        pid = child(root / f"{number:03}", range(1, 10**6), keep, None, writing)
        os.close(writing)
        os.read(reading, 1)
        select.select([], [], [], delays.uniform(0, LONGEST_WAIT))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)


if __name__ == "__main__":
    ROOT, KIND, KEEP = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    {"operations": kill_at_each_change, "moments": kill_at_random_moments}[KIND](ROOT, KEEP)
