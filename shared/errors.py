"""The errors that users meet. Each message names the offending value and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_MESSAGE = 2000
"""Characters of a message; of a longer one the middle is left out."""


class DiffusionError(Exception):
    """Base of every error that this toolkit raises on purpose."""

    def __str__(self) -> str:
        """The message; names and values in it come from files too, and may be of any length."""
        text = super().__str__()
        return text if len(text) <= LONGEST_MESSAGE else f"{text[:1200]} … {text[-400:]}"


class ConfigError(DiffusionError, ValueError):
    """A setting has a value that cannot be used."""


class DataError(DiffusionError, ValueError):
    """Data that cannot be used; the message names the item."""


class CheckpointError(DiffusionError, ValueError):
    """A saved model that cannot be read: truncated, of another version, or with keys that do not fit."""


class TrainingError(DiffusionError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite."""


class SamplingError(DiffusionError, RuntimeError):
    """Sampling came to a result that cannot be right, for example values that are not finite."""


class MissingPackageError(DiffusionError, ModuleNotFoundError):
    """A package that only an extra installs is not there; the message tells the command."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def reason(error: BaseException) -> str:
    """Why an item failed, in the words of the error where those are meant for users."""
    known = isinstance(error, (DiffusionError, OSError))
    return str(error) if known else f"{type(error).__name__}: {error}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """So many of a thing, in words: "1 channel", "2 channels", or by its own word for `many`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def first_few(said: Sequence[str], most: int, between: str = ", ") -> str:
    """The first ones, at most so many, and how many more there are."""
    more = f" and {len(said) - most} more" if len(said) > most else ""
    return between.join(said[:most]) + more
