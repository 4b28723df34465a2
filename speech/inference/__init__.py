"""From a model to enhanced recordings: windows, streams, folders."""
