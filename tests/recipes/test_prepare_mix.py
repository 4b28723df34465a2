"""Mixtures of one's own recordings that no machine holds are refused before any is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.speech_pairs.frozen import prepare_mix
from shared.errors import ConfigError
from speech.data import preset


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"seconds": 1e9}, {}, r"seconds=1e\+09: 1 at once take 384,000\.0 GB of memory or more, .*\(--seconds\)"),
        ({"seconds": 1e9}, {"count": 3, "workers": 2}, r"2 at once take 768,000\.0 GB .*\(--workers\)"),
        (
            {},
            {"count": 10**11},
            r"count=100000000000, seconds=4: the pairs take 25,600,000\.0 GB, and .*\(--output\)",
        ),
        (
            {"reverb": 1.0},
            {"simulated_rooms": 10**11},
            r"simulated_rooms=100000000000: .*\(--simulated-rooms\)",
        ),
    ],
)
def test_what_no_machine_holds_is_refused_before_recordings_are_read(
    config: dict[str, float], options: dict[str, int], said: str, tmp_path: Path
) -> None:
    made = preset("denoise", **{"seconds": 4.0, **config})
    given = {"count": 1, "workers": 1, **options}
    with pytest.raises(ConfigError, match=said):
        prepare_mix(tmp_path / "nothing", [], None, tmp_path / "a" / "out", made, progress=False, **given)
    assert not list(tmp_path.iterdir())
