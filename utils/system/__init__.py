"""The machine and its processes: facts, versions, worker pools and the watchdog."""
