"""Files: checkpoints, settings, documents, whole or not at all."""
