"""Speech enhancement, dereverberation and bandwidth extension by diffusion around the noisy recording."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

runpy.run_path(f"{__path__[0]}/../shared/beside.py")  # before all that needs `shared`

if TYPE_CHECKING:
    from shared.version import __version__
    from speech.enhancer import Enhancer
    from speech.importing import import_checkpoint
    from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
    from speech.model.frontend import FrontEndConfig
    from speech.model.model import SpeechModel
else:
    from shared.lazy import lazy

    __getattr__, __dir__, __all__ = lazy(
        __name__,
        {
            "speech.model.config": ["Parameterisation", "SamplingConfig", "SpeechConfig"],
            "speech.model.frontend": ["FrontEndConfig"],
            "speech.model.model": ["SpeechModel"],
            "speech.enhancer": ["Enhancer"],
            "speech.importing": ["import_checkpoint"],
            "shared.version": ["__version__"],
        },
    )
