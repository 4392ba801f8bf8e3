"""The report of a run: its logs and evaluations, sentences, charts, and the page."""
