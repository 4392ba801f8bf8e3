"""The report of a run: logs and evaluations, findings, charts, and the page."""
