"""Recordings by the hour: folders enhanced and scored on Ray, or in this process, file by file."""

from speech.scale.calls import enhance_dir, evaluate
