"""The mechanics of a run: graphs, the loop, sessions, precision; and the tasks that plug into them."""
