"""The task of classification: its network, losses, metrics, presentation, options and teacher."""
