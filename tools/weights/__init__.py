"""Reading weights that other programs wrote, and turning them into checkpoints."""
