"""Refuses to go on where `import shared` finds something else, such as a user's own file of that name, by its path.

tsdiff and speech run this file by its path before they import anything of `shared`: a package that is hidden cannot
check itself.
"""

from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _found() -> Path | None:
    """The file that `import shared` takes, which is not run for this; None where there is none."""
    try:
        spec = find_spec("shared")
    except ValueError:  # one that was put into sys.modules by hand
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve()


if _found() != _HERE / "__init__.py":
    raise ImportError(
        f"`import shared` finds {_found()}, which hides the package `shared` that tsdiff and speech need ({_HERE}); "
        "rename that file or folder, or run from another folder"
    )
