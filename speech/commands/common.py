"""What the commands share: where the shared data is."""

from __future__ import annotations

import os
from pathlib import Path


def shared_speech() -> Path:
    """The folder of speech data that commands take unless told otherwise: $SHARED_DATA/speech, or
    ../shared/data/speech."""
    root = os.environ.get("SHARED_DATA")
    return (Path(root) if root else Path("..") / "shared" / "data") / "speech"
