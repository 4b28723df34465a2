"""Names with escape sequences, line breaks or markup, as commands tell them: a terminal shows them and does nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.console import Console

from shared.console.command import fail, note, run, show, show_lines
from shared.console.harmless import harmless
from shared.console.progress import bar
from shared.console.tables import rich_table, turned
from tests.recipes.harness import Recipes

EVIL = "\x1b[2Ja\nb\u202ec\x9b1m[red]:100:.wav"
SHOWN = r"\x1b[2Ja\nb\u202ec\x9b1m[red]:100:.wav"


@pytest.mark.parametrize("text", ["Grüße 10 %", "می\u200cخواهم", "a\u00a0b", "🎙️ 1.wav"])
def test_names_of_all_scripts_are_themselves(text: str) -> None:
    assert harmless(text) == text


def test_what_acts_on_a_terminal_is_escaped() -> None:
    assert harmless(EVIL) == SHOWN
    assert harmless(SHOWN) == SHOWN
    assert harmless("\r\t\x07\u2028") == r"\r\t\x07\u2028"


@pytest.mark.parametrize("say", [note, fail, show, lambda text: show_lines(f"a table:\n{harmless(text)}\n")])
def test_every_line_is_harmless(say: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{EVIL} ends")
    said = capsys.readouterr()
    assert f"{SHOWN} ends\n" in said.out + said.err
    assert harmless((said.out + said.err).replace("\n", "")) == (said.out + said.err).replace("\n", "")


def test_tables_are_harmless_on_whichever_console(capsys: pytest.CaptureFixture[str]) -> None:
    table = rich_table(["file", EVIL], [[EVIL, "1"]], title=EVIL, caption=EVIL)
    for one in (table, turned(table)):
        show(one)
        Console(width=200).print(one)
    said = capsys.readouterr().out
    assert said.count(SHOWN) == 4 * 4
    assert "\x1b[2J" not in said


def test_progress_is_harmless(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with bar(2, EVIL, "s") as shown:
        shown.update(1)
    assert f"{SHOWN}:" in capsys.readouterr().err


def test_what_was_typed_is_told_harmlessly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def main(number: int) -> None:
        raise typer.Abort

    for word, code, said in ((f"--{EVIL}", 2, "--\\x1b[2Ja"), ("1", 1, "Aborted!")):
        monkeypatch.setattr(sys, "argv", ["verb", word])
        with pytest.raises(SystemExit) as ended:
            run(main, None)
        told = capsys.readouterr().err
        assert (ended.value.code, said in told, "\x1b" in told) == (code, True, False), told


@pytest.mark.skipif(sys.platform == "win32", reason="such names")
def test_commands_of_both_domains_tell_files_and_series_harmlessly(tmp_path: Path) -> None:
    sound, table = tmp_path / "in\x1b[2J", tmp_path / "t\x1b[31m.csv"
    sound.mkdir()
    for name in ("a\x1b]0;title\x07.wav", "b\nfailed: c.wav"):
        (sound / name).write_text("no sound")
    days = [f"2024-01-{day:02},{item},1" for item in ("a\x1b[5m", "a\x1b[5m ") for day in range(1, 31)]
    table.write_text("\n".join(["timestamp,item_id,target", *days]))
    recipes = Recipes(tmp_path)
    for said in (
        recipes.run("enhance", sound, "out").said,
        recipes.run("forecast", "--data", table, "--freq", "D", "--horizon", 3, "--no-train", "--windows", 0).said,
        recipes.run("impute", "--data", tmp_path / "none\x1b[2J.csv").said,
    ):
        assert "Traceback" not in said
        assert r"\x1b[" in said, said
        assert not {"\x1b", "\x07"} & set(said), said
