"""Models by name, of whichever kind of place."""

from __future__ import annotations

import os
from collections.abc import Sequence

from speech.model.model import SpeechModel


def load_model(path_or_name: str | os.PathLike[str] = "default", custom: Sequence[type] = ()) -> SpeechModel:
    """The model in a folder, of a bundled name, of a hub id, or of a published `.ckpt`.

    Raises:
        CheckpointError: no such model, or it cannot be read.
    """
    if str(path_or_name).endswith(".ckpt"):
        from speech.importing import import_checkpoint

        return import_checkpoint(path_or_name)
    return SpeechModel.from_pretrained(path_or_name, custom)
