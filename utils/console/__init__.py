"""What a launch shows: ``DLL`` lines for programs that read along, and a readable console for people."""
