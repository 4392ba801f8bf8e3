"""The check of this machine: each part that runs need is tried in a process of its own, within a time limit."""
