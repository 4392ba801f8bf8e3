"""Whether what runs are made of works on this machine: each part tried in a process of its own, within a time limit."""
