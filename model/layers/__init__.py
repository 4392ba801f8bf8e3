"""Single layers on ``get_variable``, each a function of its input and a frozen ``LayerOptions``."""
