"""The errors that users meet. Each message names the offending value and the remedy."""


class DiffusionError(Exception):
    """Base of every error that this toolkit raises on purpose."""


class ConfigError(DiffusionError, ValueError):
    """A setting has a value that cannot be used."""


class DataError(DiffusionError, ValueError):
    """Data that cannot be used; the message names the item."""


class CheckpointError(DiffusionError, ValueError):
    """A saved model that cannot be read: truncated, of another version, or with keys that do not fit."""


class TrainingError(DiffusionError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite."""
