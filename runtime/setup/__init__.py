"""The setup of a launch: from configuration, checkpoint, data and machine to a task."""
