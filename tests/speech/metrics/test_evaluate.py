"""Folders of recordings scored: pairing, bad files, means and intervals, and reports."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from matplotlib.figure import Figure
from scipy import stats
from scipy.signal import correlate, correlation_lags

from shared.errors import ConfigError, DataError
from speech.metrics import (
    chosen_metrics,
    delay,
    evaluate,
    failures,
    lsd,
    plot_scores,
    si_sdr,
    si_sir,
    summarise,
    write_report,
)
from tests.speech.metrics.recordings import RATE, Folders, by_file, voice, write

FAST = ["si_sdr", "lsd"]
KINDS = ("clean", "enhanced", "noisy")


def test_every_file_gets_the_scores_of_its_pair(folders: Folders) -> None:
    frame = evaluate(folders["clean"], folders["enhanced"], folders["noisy"], metrics=FAST, workers=1)
    assert list(frame) == ["file", "seconds", "si_sdr", "lsd", "noisy_si_sdr", "noisy_lsd", "reason"]
    assert list(frame["file"]) == ["part0/0", "part0/2", "part0/4", "part1/1", "part1/3"]
    for row in frame.to_dict("records"):
        clean, noisy, enhanced = (soundfile.read(folders[kind] / f"{row['file']}.wav")[0] for kind in folders)
        assert row["si_sdr"] == si_sdr(clean, enhanced, RATE)
        assert row["noisy_lsd"] == lsd(clean, noisy, RATE)
        assert row["seconds"] == 0.6
        assert row["reason"] == ""


@pytest.mark.slow
def test_workers_change_nothing(folders: Folders) -> None:
    one, two = (evaluate(folders["clean"], folders["enhanced"], metrics=FAST, workers=count) for count in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_what_cannot_be_scored_is_listed_and_left_out(folders: Folders) -> None:
    clean, enhanced = folders["clean"], folders["enhanced"]
    (enhanced / "part0" / "0.wav").unlink()
    write(enhanced / "more.wav", voice(7))
    (enhanced / "part0" / "2.wav").write_text("no sound")
    write(enhanced / "part0" / "4.wav", 0 * voice(4))
    write(enhanced / "part1" / "1.flac", voice(1))
    write(clean / "nan.wav", voice(8))
    write(enhanced / "nan.wav", voice(8) + np.where(np.arange(9600) == 5, np.nan, 0))
    write(clean / "cut.flac", voice(9, 5.0))
    write(enhanced / "cut.flac", voice(9, 5.0))
    whole = (enhanced / "cut.flac").read_bytes()
    (enhanced / "cut.flac").write_bytes(whole[: len(whole) // 2])
    write(clean / "short.wav", voice(10))
    write(enhanced / "short.wav", voice(10)[:6000])
    write(clean / "stereo.wav", np.stack([voice(11), voice(12)]))
    write(enhanced / "stereo.wav", voice(11))
    write(clean / "same.wav", voice(13))
    write(enhanced / "same.wav", voice(13))
    frame = evaluate(clean, enhanced, metrics=FAST, workers=1)
    why = {failure["file"]: failure["reason"] for failure in failures(frame)}
    assert why["part0/0"] == "no enhanced file"
    assert why["more"] == "no clean file"
    assert "is not audio that libsndfile reads" in why["part0/2"]
    assert why["part0/4"] == "enhanced si_sdr, lsd: the estimate is silent"
    assert why["part1/1"] == "2 enhanced files have this name: 1.flac, 1.wav"
    assert "1 samples that are NaN or infinite" in why["nan"]
    assert "cut" in why
    assert "the reference lasts 0.600 s, the estimate 0.375 s" in why["short"]
    assert why["stereo"] == "channels: 2 in the clean file, 1 in the enhanced one"
    assert "enhanced si_sdr: is inf" in why["same"]
    assert set(frame["file"]) - set(why) == {"part1/3"}
    summary = summarise(frame).set_index("metric")
    assert summary.loc["si_sdr", "n"] == 1
    assert summary.loc["lsd", "n"] == 2
    assert summary.loc["si_sdr", "mean"] == by_file(frame)["part1/3"]["si_sdr"]
    assert math.isnan(float(summary.loc["si_sdr", "std"]))


def test_names_pair_whatever_their_accents_and_the_format_of_the_noisy_files(tmp_path: Path) -> None:
    write(tmp_path / "clean" / "\u00fc.wav", voice(1))
    write(tmp_path / "enhanced" / "u\u0308.flac", voice(1) + 0.1 * voice(2))
    write(tmp_path / "clean" / "call.wav", voice(3))
    write(tmp_path / "enhanced" / "call.amr.wav", voice(3) + 0.1 * voice(4))
    frame = evaluate(tmp_path / "clean", tmp_path / "enhanced", metrics=["si_sdr"], workers=1)
    assert list(frame["file"]) == ["call", "\u00fc"]
    assert not failures(frame)


def test_names_with_an_snr_pair_with_the_clean_file_without(tmp_path: Path) -> None:
    for name, seed in (("00000", 1), ("00001", 2), ("00002", 3), ("00003", 4)):
        write(tmp_path / "clean" / f"p1/{name}.wav", voice(seed))
    for name, seed in (("00000_5.3dB", 1), ("00000_-2.5dB", 1), ("00001_10dB", 2), ("00002", 3)):
        for kind, share in (("noisy", 0.3), ("enhanced", 0.1)):
            write(tmp_path / kind / f"p1/{name}.wav", voice(seed) + share * voice(9))
    frame = evaluate(*(tmp_path / kind for kind in ("clean", "enhanced", "noisy")), metrics=["si_sdr"], workers=1)
    assert list(frame["file"]) == ["p1/00000_-2.5dB", "p1/00000_5.3dB", "p1/00001_10dB", "p1/00002", "p1/00003"]
    assert failures(frame) == [{"file": "p1/00003", "reason": "no enhanced file"}]
    assert (frame["si_sdr"][:4] > frame["noisy_si_sdr"][:4] + 9).all()


def test_links_to_folders_are_followed(folders: Folders, tmp_path: Path) -> None:
    """They were passed over without a word: what they lead to had "no clean file"."""
    for kind in KINDS:
        (tmp_path / "links" / kind).mkdir(parents=True)
        for name in ("part0", "again"):
            (tmp_path / "links" / kind / name).symlink_to(folders[kind] / "part0")
    (tmp_path / "links/clean/up").symlink_to(tmp_path)
    with pytest.warns(UserWarning, match="1 files or folders below .*clean are passed over, up for one"):
        frame = evaluate(*(tmp_path / "links" / kind for kind in KINDS), metrics=FAST, workers=1)
    assert list(frame["file"]) == [f"{name}/{n}" for name in ("again", "part0") for n in (0, 2, 4)]
    whole = by_file(evaluate(*(folders[kind] for kind in KINDS), metrics=FAST, workers=1))
    assert by_file(frame)["part0/2"]["si_sdr"] == by_file(frame)["again/2"]["si_sdr"] == whole["part0/2"]["si_sdr"]


def test_channels_are_averaged_rates_resampled_delays_taken_out(tmp_path: Path) -> None:
    clean = np.stack([voice(1), voice(2)])
    noisy = clean + 0.1 * np.stack([voice(3), voice(4)])
    write(tmp_path / "clean" / "stereo.wav", clean)
    write(tmp_path / "enhanced" / "stereo.flac", noisy)
    low = soxr.resample(soxr.resample(voice(5), RATE, 8000, quality="VHQ"), 8000, RATE, quality="VHQ")
    write(tmp_path / "clean" / "rate.wav", low)
    write(tmp_path / "enhanced" / "rate.wav", soxr.resample(low, RATE, 8000, quality="VHQ"), 8000)
    write(tmp_path / "clean" / "late.wav", voice(6))
    write(tmp_path / "enhanced" / "late.wav", np.r_[np.zeros(300), voice(6)][:9600])
    write(tmp_path / "clean" / "longer.wav", voice(6))
    write(tmp_path / "enhanced" / "longer.wav", np.r_[np.zeros(1105), voice(6) + 0.1 * voice(7), np.zeros(200)])
    frame = by_file(evaluate(tmp_path / "clean", tmp_path / "enhanced", metrics=["si_sdr"], workers=1))
    expected = np.mean([si_sdr(c, n, RATE) for c, n in zip(clean, noisy, strict=True)])
    assert frame["stereo"]["si_sdr"] == pytest.approx(expected, abs=0.01)
    assert float(str(frame["rate"]["si_sdr"])) > 20
    assert float(str(frame["late"]["si_sdr"])) < 0
    aligned = evaluate(tmp_path / "clean", tmp_path / "enhanced", metrics=["si_sdr"], workers=1, align=True)
    assert float(str(by_file(aligned)["late"]["si_sdr"])) > 10
    assert "lengths may differ" in str(frame["longer"]["reason"])
    whole = si_sdr(voice(6), voice(6) + 0.1 * voice(7), RATE)
    assert by_file(aligned)["longer"]["si_sdr"] == pytest.approx(whole, abs=1e-3)


@pytest.mark.parametrize("seconds", [-6.0, -0.4, 0.0, 0.3, 2.0, 9.0])
def test_a_delay_of_seconds_is_found_and_what_it_pushed_out_is_not_scored(tmp_path: Path, seconds: float) -> None:
    clean, late = voice(6, 12.0), round(seconds * RATE)
    made, noisy = clean + 0.1 * voice(7, 12.0), clean + 0.3 * voice(8, 12.0)
    write(tmp_path / "clean" / "a.wav", clean)
    for kind, signal in (("enhanced", made), ("noisy", noisy)):
        write(tmp_path / kind / "a.wav", np.r_[np.zeros(max(late, 0)), signal[max(-late, 0) :]][: len(clean)])
    metrics = ["si_sdr", "si_sir"]
    found = evaluate(*(tmp_path / kind for kind in KINDS), metrics=metrics, workers=1, align=True).iloc[0]
    heard = slice(max(-late, 0), len(clean) - max(late, 0))
    assert found["reason"] == ""
    assert found["si_sdr"] == pytest.approx(si_sdr(clean[heard], made[heard], RATE), abs=1e-3)
    assert found["noisy_si_sdr"] == pytest.approx(si_sdr(clean[heard], noisy[heard], RATE), abs=1e-3)
    noise = noisy[heard] - clean[heard]
    assert found["si_sir"] == pytest.approx(si_sir(clean[heard], made[heard], RATE, noise=noise), abs=1e-2)


@pytest.mark.parametrize(("samples", "others"), [(70_000, 70_000), (150_000, 90_000), (300, 200_000), (1, 1)])
@pytest.mark.parametrize("most", [0.0, 0.4, 10.0])
def test_a_delay_in_blocks_is_that_of_the_whole(samples: int, others: int, most: float) -> None:
    x, y = voice(1, 13.0)[-samples:], voice(1, 13.0)[-others:] + voice(2, 13.0)[:others]
    lags = correlation_lags(others, samples)
    near = np.abs(lags) <= most * RATE
    assert delay(x, y, RATE, max_seconds=most) == lags[near][np.argmax(np.abs(correlate(y, x)[near]))]


def test_summary_is_mean_deviation_and_students_interval_of_the_same_files() -> None:
    frame = pd.DataFrame(
        {
            "file": list("abcd"),
            "seconds": 1.0,
            "estoi": [0.8, 0.9, math.nan, 0.7],
            "noisy_estoi": [0.6, 0.5, 0.9, math.inf],
            "reason": ["", "", "enhanced estoi: …", "noisy estoi: …"],
        }
    )
    rows = {row["kind"]: row for row in summarise(frame).to_dict("records")}
    assert [row["n"] for row in rows.values()] == [2, 2, 2]
    assert rows["enhanced"]["mean"] == pytest.approx(0.85)
    assert rows["noisy"]["mean"] == pytest.approx(0.55)
    assert rows["gain"]["mean"] == pytest.approx(0.3)
    low, high = stats.ttest_1samp([0.2, 0.4], 0).confidence_interval(0.95)
    assert rows["gain"]["mean"] - rows["gain"]["ci95"] == pytest.approx(low)
    assert rows["gain"]["mean"] + rows["gain"]["ci95"] == pytest.approx(high)
    assert rows["gain"]["std"] == pytest.approx(np.std([0.2, 0.4], ddof=1))


def test_report(folders: Folders, tmp_path: Path) -> None:
    write(folders["enhanced"] / "part0" / "0.wav", 0 * voice(0))
    frame = evaluate(folders["clean"], folders["enhanced"], folders["noisy"], metrics=FAST, workers=1)
    found = write_report(tmp_path / "report", frame, rtf=0.5, nfe=3)
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == found
    assert list(found) == ["noisy", "enhanced", "rtf", "nfe", "files", "failed"]
    assert set(found["noisy"]) == set(found["enhanced"]) == set(FAST)
    assert (found["rtf"], found["nfe"], found["files"]) == (0.5, 3, 5)
    assert found["failed"] == [{"file": "part0/0", "reason": "enhanced si_sdr, lsd: the estimate is silent"}]
    kept = frame[frame["reason"] == ""]
    assert found["enhanced"]["si_sdr"] == pytest.approx(kept["si_sdr"].mean())
    assert found["noisy"]["si_sdr"] == pytest.approx(kept["noisy_si_sdr"].mean())
    text = (tmp_path / "report" / "metrics.md").read_text()
    assert f"{kept['si_sdr'].mean():.2f} ± {kept['si_sdr'].std():.2f}" in text
    assert "| part0/0 | enhanced si_sdr, lsd: the estimate is silent |" in text
    assert len(pd.read_csv(tmp_path / "report" / "per_file.csv")) == 5
    assert set(pd.read_csv(tmp_path / "report" / "summary.csv")["kind"]) == {"noisy", "enhanced", "gain"}
    assert (tmp_path / "report" / "metrics.png").stat().st_size > 10_000


def test_all_that_is_compared_is_within_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *given, **options: figures.append(figure))
    frame = pd.DataFrame({"file": ["a", "b"], "noisy_si_sdr": [1.0, 3.0], "si_sdr": [5.0, 8.0], "reason": ["", ""]})
    plot_scores(frame, tmp_path / "x.png")
    (panel,) = (axes for axes in figures[0].axes if axes.get_title(loc="left"))
    assert [label.get_text() for label in panel.get_xticklabels()] == ["noisy\nmean 2.00", "enhanced\nmean 6.50"]
    left, right = panel.get_xlim()
    for collection in panel.collections:
        places = np.asarray(collection.get_offsets())[:, 0]
        assert left < places.min()
        assert places.max() < right


def test_pictures_say_of_which_measures_less_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *given, **options: figures.append(figure))
    frame = pd.DataFrame({"file": ["a", "b"], "si_sdr": [5.0, 8.0], "lsd": [2.0, 3.0], "reason": ["", ""]})
    plot_scores(frame, tmp_path / "x.png")
    titles = [title for axes in figures[0].axes if (title := axes.get_title(loc="left"))]
    assert ["lower is better" in title for title in titles] == [False, True]


def test_report_of_no_score_at_all(tmp_path: Path) -> None:
    write(tmp_path / "clean" / "a.wav", voice(0))
    write(tmp_path / "enhanced" / "b.wav", voice(0))
    frame = evaluate(tmp_path / "clean", tmp_path / "enhanced", metrics=FAST, workers=1)
    assert write_report(tmp_path, frame)["enhanced"] == {"si_sdr": None, "lsd": None}
    assert not (tmp_path / "metrics.png").exists()
    (tmp_path / "metrics.png").write_bytes(b"of a run before, where there was a score")
    write_report(tmp_path, frame)
    assert not (tmp_path / "metrics.png").exists()
    with pytest.raises(DataError, match="no file has a score"):
        plot_scores(frame, tmp_path / "metrics.png")


def test_bad_arguments(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; name a folder"):
        evaluate(tmp_path / "nowhere", folders["enhanced"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"enhanced folder .* holds no audio file"):
        evaluate(folders["clean"], tmp_path / "empty")
    for workers in (0, "2", 1.5):
        with pytest.raises(ConfigError, match=f"workers={workers!r}: need a whole number, at least 1, or None"):
            evaluate(folders["clean"], folders["enhanced"], workers=workers)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none of `files` lies in .*enhanced"):
        evaluate(None, folders["enhanced"], metrics=["dnsmos_sig"], files=[])
    assert chosen_metrics(["lsd", "all"], noise=False) == chosen_metrics("all", noise=False)
    with pytest.raises(ConfigError, match="unknown metric 3"):
        evaluate(folders["clean"], folders["enhanced"], metrics=["si_sdr", 3])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="si_sir"):
        evaluate(folders["clean"], folders["enhanced"], metrics=["si_sir"])
