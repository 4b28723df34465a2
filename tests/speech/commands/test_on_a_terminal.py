"""speech/commands/enhance.py and replacing.py on a terminal: what is asked there, and what is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import soundfile
import typer

from shared.errors import DataError
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


def test_a_file_that_is_there_is_asked_about(
    two: tuple[Path, Path], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    before = second.read_bytes()
    with answering("n\n", monkeypatch) as here:
        with pytest.raises(typer.Abort):
            main(Enhance(source=first, target=str(second), model=model))
        assert "b.wav is there already (1.5 s; " in shown(here)
    assert second.read_bytes() == before
    with answering("y\n", monkeypatch):
        main(Enhance(source=first, target=str(second), model=model))
    assert soundfile.info(second).frames == 16000
    second.write_text("no sound")
    with answering("y\n", monkeypatch) as here:
        main(Enhance(source=first, target=str(second), model=model))
        assert "b.wav is there already. Replace it?" in shown(here)
    assert soundfile.info(second).frames == 16000


def test_nobody_is_asked_where_it_is_told_or_the_result_is_the_reports_own(
    two: tuple[Path, Path], model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = two
    with answering("n\nn\nn\nn\n", monkeypatch):
        main(Enhance(source=first, target=str(second), model=model, overwrite=True))
        for _ in range(2):
            main(Enhance(source=first, output=tmp_path / "report", model=model))
        main(Enhance(source=first, target=str(second), model=model, overwrite=False))
        main(Enhance(source=first, target=str(second), model=model, dry_run=True))
    assert soundfile.info(second).frames == 16000
    assert (tmp_path / "report/enhanced/a.wav").is_file()


def test_where_nobody_sits_a_file_that_is_there_is_refused_before_the_work(
    two: tuple[Path, Path], model: str, tmp_path: Path
) -> None:
    first, second = two
    before = second.read_bytes()
    (tmp_path / "old").mkdir()
    for target in (tmp_path / "old/a.wav", tmp_path / "text"):
        target.write_text("kept")
    for target in (second, tmp_path / "old", tmp_path / "text"):
        with pytest.raises(DataError, match=r"is there already; --overwrite replaces it, or choose another name"):
            main(Enhance(source=first, target=str(target), model="./none", output=tmp_path / "report"))
    assert second.read_bytes() == before
    assert (tmp_path / "old/a.wav").read_text() == (tmp_path / "text").read_text() == "kept"
    assert not (tmp_path / "report").exists()
    with pytest.raises(DataError, match="is the noisy file itself"):
        main(Enhance(source=first, target=str(first), model=model))


def test_an_empty_file_as_a_shell_makes_it_for_its_output_is_replaced_unasked(
    two: tuple[Path, Path], model: str, tmp_path: Path
) -> None:
    (tmp_path / "c.wav").write_bytes(b"")
    main(Enhance(source=two[0], target=str(tmp_path / "c.wav"), model=model))
    assert soundfile.info(tmp_path / "c.wav").frames == soundfile.info(two[0]).frames


def test_a_rehearsal_tells_of_a_file_that_is_there(
    two: tuple[Path, Path], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(Enhance(source=two[0], target=str(two[1]), model=model, dry_run=True))
    assert "b.wav is there already: who sits at a terminal" in capsys.readouterr().err.replace("\n", " ")


def test_the_pictures_of_a_folder_show_how_far_they_are(
    two: tuple[Path, Path], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering("", monkeypatch) as here:
        main(Enhance(source=two[0].parent, target=str(tmp_path / "out"), model=model, picture=True))
        assert "pictures:   0%|" in shown(here)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.wav.png", "b.wav.png"]
