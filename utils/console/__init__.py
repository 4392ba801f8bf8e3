"""The console of a launch: ``DLL`` lines for log parsers, and a readable view for people."""
