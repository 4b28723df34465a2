"""speech/commands/enhance.py and replacing.py on a terminal: what is asked there, and what is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import soundfile
import typer

from speech.commands.enhance import main
from speech.commands.options import Enhance
from tests.speech.commands.terminal import answering, shown
from tests.speech.models import noise, tiny_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(steps=1).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Recordings of other lengths, as a shell names them where *.wav is typed."""
    for name, samples in (("a", 16000), ("b", 24000)):
        soundfile.write(tmp_path / f"{name}.wav", noise(samples), 16000)
    return tmp_path / "a.wav", tmp_path / "b.wav"


def test_another_recording_is_asked_about(two: tuple[Path, Path], model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two
    before = second.read_bytes()
    with answering("n\n", monkeypatch) as here:
        with pytest.raises(typer.Abort):
            main(Enhance(source=first, target=str(second), model=model))
        assert "b.wav is another recording (1.5 s; " in shown(here)
    assert second.read_bytes() == before
    with answering("y\n", monkeypatch):
        main(Enhance(source=first, target=str(second), model=model))
    assert soundfile.info(second).frames == 16000


def test_nobody_is_asked_about_earlier_results_nor_where_it_is_told_or_nobody_sits(
    two: tuple[Path, Path], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    target = first.with_name("clean.wav")
    with answering("n\nn\nn\n", monkeypatch):
        for _ in range(2):
            main(Enhance(source=first, target=str(target), model=model))
        target.write_text("no sound")
        main(Enhance(source=first, target=str(target), model=model))
        main(Enhance(source=second, target=str(target), model=model, overwrite=True))
    assert soundfile.info(target).frames == 24000
    main(Enhance(source=first, target=str(target), model=model))
    assert soundfile.info(target).frames == 16000


def test_the_pictures_of_a_folder_show_how_far_they_are(
    two: tuple[Path, Path], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering("", monkeypatch) as here:
        main(Enhance(source=two[0].parent, target=str(tmp_path / "out"), model=model, picture=True))
        assert "pictures:   0%|" in shown(here)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.wav.png", "b.wav.png"]
