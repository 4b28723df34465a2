"""speech/commands/enhance.py: a folder whose run is stopped, and the run after it."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from shared.files.documents import read_json
from speech.commands import main
from tests.isolated import as_program, forked
from tests.speech.models import noise, tiny_model

FILES = 80


def running(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> BaseProcess:
    """`speech enhance` on the recordings of a folder, in a process of its own."""
    words = ["enhance", "in", "out/", "--output", "report", "--model", "./model", "--threads", "1", *more]
    monkeypatch.setattr("sys.argv", ["speech", *words])
    monkeypatch.chdir(folder)
    return forked(as_program, [os.devnull, folder / "said", folder / "told"], main)


@pytest.mark.parametrize(("more", "goes_on"), [([], "the same command"), (["--overwrite"], "--skip")])
def test_what_was_done_before_a_stop_is_told_and_in_the_tables_of_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], goes_on: str
) -> None:
    tiny_model(steps=1).save_pretrained(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for name in range(FILES):
        soundfile.write(tmp_path / f"in/{name:03}.wav", noise(9000, seed=name), 16000)
    first = running(tmp_path, monkeypatch, *more)
    until = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("0*.wav"))) < 3:
        assert first.is_alive(), (tmp_path / "told").read_text()
        assert time.monotonic() < until
        time.sleep(0.005)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGTERM)
    first.join(60)
    done = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert first.exitcode == 128 + signal.SIGTERM, (tmp_path / "told").read_text()
    assert 3 <= len(done) < FILES
    told = [row["file"] for row in read_json(tmp_path / "report/metrics.json")["per_file"]]
    assert set(told) <= set(done)
    assert len(told) >= len(done) - 1  # it may be stopped just after the last one was there
    assert f"{len(told)} enhanced" in (tmp_path / "said").read_text()
    assert f"note: stopped before all was done; {goes_on} goes on" in (tmp_path / "told").read_text()
    rest = running(tmp_path, monkeypatch)
    rest.join(60)
    assert rest.exitcode == 0, (tmp_path / "told").read_text()
    assert read_json(tmp_path / "report/metrics.json")["skipped"] == done
    rows = pd.read_csv(tmp_path / "report/per_file.csv")
    assert set(rows["file"][rows["removed_db"].notna()]) >= set(told)
    assert len(rows) == FILES - len(done) + len(told)
