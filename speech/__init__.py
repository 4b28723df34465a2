"""Speech enhancement, dereverberation and bandwidth extension by diffusion around the noisy recording."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from speech import _siblings as _siblings  # before all that needs `shared`

if TYPE_CHECKING:
    from speech.config import Parameterisation, SamplingConfig, SpeechConfig
    from speech.enhancer import Enhancer
    from speech.frontend import FrontEndConfig
    from speech.importing import import_checkpoint
    from speech.model import SpeechModel

_WHERE = {
    "Enhancer": "speech.enhancer",
    "FrontEndConfig": "speech.frontend",
    "Parameterisation": "speech.config",
    "SamplingConfig": "speech.config",
    "SpeechConfig": "speech.config",
    "SpeechModel": "speech.model",
    "import_checkpoint": "speech.importing",
}

__all__ = [
    "Enhancer",
    "FrontEndConfig",
    "Parameterisation",
    "SamplingConfig",
    "SpeechConfig",
    "SpeechModel",
    "import_checkpoint",
]


def __getattr__(name: str) -> Any:
    """Imports a public name on its first use, so that a command's help does not wait for torch."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
