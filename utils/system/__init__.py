"""The machine, and the processes that share it: facts, versions, worker pools and the watchdog."""
