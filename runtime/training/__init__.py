"""Parts of training: updates, convolutions, starting weights, and the options that a checkpoint stores."""
