"""Training of speech models: settings, losses, runs."""
