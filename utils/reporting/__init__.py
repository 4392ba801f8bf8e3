"""What a run's report is made of: logs and evaluations read, sentences, charts, and the page."""
