"""Packages that only an extra of this distribution installs: loaded when something needs them, asked for by name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from shared.errors import MissingPackageError


def needed(module: str, extra: str, what: str) -> Any:
    """The module, loaded now.

    Args:
        module: its name for `import`, with dots.
        extra: of this distribution, that installs it.
        what: needs it, as the error says.

    Raises:
        MissingPackageError: it cannot be imported; the message tells what needs it and the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        broken = f", which cannot be loaded ({error})" if is_there(package) else ""
        raise MissingPackageError(f"{what} needs {package}{broken}: {install(extra)}") from error


def is_there(package: str) -> bool:
    """Whether a package can be found; it is not loaded for this."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'anchored-diffusion[{extra}]' (in a clone: pip install -e '.[{extra}]')"
