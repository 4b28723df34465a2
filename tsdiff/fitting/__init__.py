"""How a model is trained where the caller leaves it open: settings from the data, and a stop on held-out windows."""
