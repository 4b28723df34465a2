"""What forecasters have in a folder besides their model, or in place of it: names of files."""

from pathlib import Path

from shared.errors import CheckpointError
from shared.files.checkpoint import CONFIG, WEIGHTS
from shared.files.documents import read_json

AUTO = "auto.json"
"""What `tsdiff.automatic.AutoPredictor` writes."""
ENSEMBLE = "ensemble.json"
"""What `tsdiff.ensemble.EnsemblePredictor` writes."""
KIND, SAMPLING, HORIZON = "gluonts-config.json", "sampling.json", "predictor.json"
"""What GluonTS knows a kind of forecaster by; how forecasts are drawn; how many steps."""
ALL = (AUTO, ENSEMBLE, KIND, SAMPLING, HORIZON)
MOST_MEMBERS = 1000
"""An ensemble that states more is damaged."""


def parts_of(folder: Path) -> list[Path]:
    """Files of the models that a forecaster of several has in folders by their numbers; none of another, and of one
    that cannot be read."""
    found: list[Path] = []
    for name in (AUTO, ENSEMBLE):
        try:
            members = read_json(folder / name, CheckpointError, "").get("members")
        except (CheckpointError, OSError, AttributeError):
            continue
        count = len(members) if isinstance(members, list) else members
        places = [folder / str(place) for place in range(count)] if type(count) is int and count <= MOST_MEMBERS else []
        found += [place / file for place in places for file in (CONFIG, WEIGHTS, KIND, SAMPLING, HORIZON)]
    return found
