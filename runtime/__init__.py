"""The mechanics of a run: graphs, loop, sessions, precision; and the tasks that plug into them."""
