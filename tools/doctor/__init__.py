"""A check of this machine: tries each part that runs need in a separate process, within a time limit."""
