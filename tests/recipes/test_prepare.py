"""Preparation of public sets on small trees in their layouts: splits, SNRs, names, what is left out."""

from __future__ import annotations

import csv
import json
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from recipes.speech_pairs.command import application
from recipes.speech_pairs.ears import _mix_loudness, _pieces, prepare_ears_wham
from recipes.speech_pairs.frozen import prepare_bandwidth
from recipes.speech_pairs.voicebank import prepare_voicebank
from recipes.speech_pairs.wsj0 import prepare_wsj0_chime3, prepare_wsj0_reverb
from shared.errors import ConfigError, DataError
from speech import commands
from speech.commands import application as speech_application
from speech.data.levels import power
from speech.data.pairs import find_pairs, pairs
from tests.recipes.harness import Recipes
from tests.speech.trees import RATE, hiss, mixing_folders, put, speech_like


def table(output: Path, split: str) -> list[dict[str, str]]:
    with open(output / f"{split}.csv", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def voicebank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voicebank")
    for part, names in (("trainset_28spk", ("p226_001", "p228_002", "p287_003")), ("testset", ("p232_001",))):
        for name in names:
            speech = speech_like(0.5, 3, 48000)
            put(root / f"clean_{part}_wav" / f"{name}.wav", speech, 48000)
            put(root / f"noisy_{part}_wav" / f"{name}.wav", speech + hiss(0.5, 1, 48000), 48000)
    return root


def test_voicebank_from_folders_and_from_zip_files(voicebank: Path, tmp_path: Path) -> None:
    prepared = prepare_voicebank(voicebank, tmp_path / "a", progress=False)
    assert [prepared.count(split) for split in ("train", "valid", "test")] == [1, 2, 1]
    assert [pair.id for pair in find_pairs(tmp_path / "a", "valid")] == ["p226_001", "p287_003"]
    _, clean, noisy = next(pairs(tmp_path / "a", "test"))
    assert abs(len(clean) - RATE // 2) <= 1
    assert 0.05 < (noisy - clean).std() < 0.15

    zips = tmp_path / "zips"
    zips.mkdir()
    for folder in voicebank.iterdir():
        with zipfile.ZipFile(zips / f"{folder.name}.zip", "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"{folder.name}/{path.name}")
            archive.writestr(f"{folder.name}/licence.txt", "CC BY")
            archive.writestr(f"__MACOSX/{folder.name}/._{path.name}", b"no sound")
    assert not prepare_voicebank(zips, tmp_path / "b", progress=False).failures
    for path in (tmp_path / "a").rglob("*.wav"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_voicebank_tells_what_is_missing_and_leaves_bad_files_out(voicebank: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clean_trainset_56spk_wav"):
        prepare_voicebank(voicebank, tmp_path / "out", speakers=56, progress=False)
    with pytest.raises(ConfigError, match="speakers=29: choose one of 28, 56"):
        prepare_voicebank(voicebank, tmp_path / "out", speakers=29, progress=False)
    copy = tmp_path / "copy"
    shutil.copytree(voicebank, copy)
    (copy / "noisy_trainset_28spk_wav" / "p228_002.wav").write_bytes(b"not audio")
    prepared = prepare_voicebank(copy, tmp_path / "out", progress=False)
    assert list(prepared.failures) == ["p228_002.wav"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["failed"][0]["item"] == "p228_002.wav"
    (copy / "noisy_testset_wav" / "p232_001.wav").unlink()
    with pytest.raises(DataError, match=r"noisy_testset_wav|p232_001"):
        prepare_voicebank(copy, tmp_path / "out", progress=False)


def test_a_zip_file_that_is_damaged_within_costs_the_file_that_it_hits(voicebank: Path, tmp_path: Path) -> None:
    shutil.copytree(voicebank, tmp_path / "sets")
    folder = tmp_path / "sets" / "noisy_trainset_28spk_wav"
    archive = tmp_path / "sets" / f"{folder.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(folder.iterdir()):
            made.write(path, path.name)
    shutil.rmtree(folder)
    content = bytearray(archive.read_bytes())
    content[3000:3100] = b"\xff" * 100  # of which zlib says that it is no code of its own
    archive.write_bytes(content)
    prepared = prepare_voicebank(tmp_path / "sets", tmp_path / "out", progress=False)
    assert list(prepared.failures) == ["p226_001.wav"]
    assert "download it again" in prepared.failures["p226_001.wav"]
    assert prepared.count("train") == 1


@pytest.fixture(scope="module")
def wsj0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wsj0")
    for part in ("si_tr_s", "si_dt_05", "si_et_05"):
        for take in range(2):
            name = f"{part[3]}{take}ac020{take}"
            put(root / "disc" / part / "01a" / f"{name}.wav", 0.3 * speech_like(1.0, take))
    return root


def test_wsj0_chime3_has_the_snr_of_its_table(wsj0: Path, tmp_path: Path) -> None:
    for channel in ("CH1", "CH2"):
        put(tmp_path / "chime/audio/16kHz/backgrounds" / f"BGD_1_BUS.{channel}.wav", hiss(5.0, 2))
    output = tmp_path / "out"
    prepared = prepare_wsj0_chime3(wsj0, tmp_path / "chime", output, progress=False)
    assert len(prepared.rows) == 6
    for split in ("train", "valid", "test"):
        rows = {row["id"]: row for row in table(output, split)}
        for name, clean, noisy in pairs(output, split):  # type: ignore[arg-type]
            snr = float(rows[name]["snr_db"])
            assert 0 <= snr <= 20
            assert rows[name]["noise"] == "BGD_1_BUS.CH1"
            assert 10 * math.log10(power(clean) / power(noisy - clean)) == pytest.approx(snr, abs=0.02)
    again = prepare_wsj0_chime3(wsj0, tmp_path / "chime", tmp_path / "again", workers=1, progress=False)
    assert again.rows == prepared.rows


def test_backgrounds_and_utterances_that_are_left_out_are_listed(wsj0: Path, tmp_path: Path) -> None:
    shutil.copytree(wsj0, tmp_path / "wsj0")
    put(tmp_path / "wsj0/second/si_tr_s/01b/t0ac0200.wav", 0.3 * speech_like(1.0, 9))
    put(tmp_path / "chime/backgrounds/BGD_1.CH1.wav", hiss(5.0, 2))
    put(tmp_path / "chime/backgrounds/BGD_2.CH1.wav", hiss(0.0))
    (tmp_path / "chime/backgrounds/BGD_3.CH1.wav").write_bytes(b"not audio")
    prepared = prepare_wsj0_chime3(tmp_path / "wsj0", tmp_path / "chime", tmp_path / "out", progress=False)
    told = {Path(name).name: reason for name, reason in prepared.failures.items()}
    assert prepared.count("train") == 2
    assert sorted(told) == ["BGD_2.CH1.wav", "BGD_3.CH1.wav", "t0ac0200.wav"]
    assert "no samples" in told["BGD_2.CH1.wav"]
    assert "cannot be read as audio" in told["BGD_3.CH1.wav"]
    assert "disc/si_tr_s/01a/t0ac0200.wav's; remove or rename" in told["t0ac0200.wav"]


def test_other_backgrounds_are_other_pairs(wsj0: Path, tmp_path: Path) -> None:
    put(tmp_path / "chime/backgrounds/BGD_1.CH1.wav", hiss(5.0, 2))
    prepare_wsj0_chime3(wsj0, tmp_path / "chime", tmp_path / "out", progress=False)
    put(tmp_path / "chime/backgrounds/BGD_0.CH1.wav", hiss(3.0, 3))
    with pytest.raises(ConfigError, match="other settings or recordings"):
        prepare_wsj0_chime3(wsj0, tmp_path / "chime", tmp_path / "out", progress=False)


def test_recordings_without_samples_or_with_such_as_are_no_numbers_are_listed(
    wsj0: Path, voicebank: Path, tmp_path: Path
) -> None:
    shutil.copytree(wsj0, tmp_path / "wsj0")
    put(tmp_path / "wsj0/disc/si_tr_s/01a/t2ac0202.wav", hiss(0.0))
    put(tmp_path / "chime/backgrounds/BGD_1.CH1.wav", hiss(5.0, 2))
    chime = prepare_wsj0_chime3(tmp_path / "wsj0", tmp_path / "chime", tmp_path / "a", progress=False)
    assert [Path(name).name for name in chime.failures] == ["t2ac0202.wav"]
    assert chime.count("train") == 2

    shutil.copytree(voicebank, tmp_path / "vb")
    spoilt = hiss(0.5, 1, 48000)
    spoilt[100] = np.nan
    for kind in ("clean", "noisy"):
        put(tmp_path / "vb" / f"{kind}_trainset_28spk_wav/p229_001.wav", hiss(0.0), 48000)
        put(tmp_path / "vb" / f"{kind}_trainset_28spk_wav/p229_002.wav", spoilt, 48000, "FLOAT")
    found = prepare_voicebank(tmp_path / "vb", tmp_path / "b", progress=False)
    assert "no samples" in found.failures["p229_001.wav"]
    assert "NaN or infinite" in found.failures["p229_002.wav"]
    assert found.count("train") == 1


def test_wsj0_needs_wav_files(tmp_path: Path) -> None:
    (tmp_path / "si_tr_s").mkdir()
    (tmp_path / "si_tr_s" / "a.wv1").write_bytes(b"NIST_1A")
    with pytest.raises(DataError, match="sph2pipe"):
        prepare_wsj0_reverb(tmp_path, tmp_path / "out", progress=False)


def test_wsj0_reverb_is_aligned_and_has_its_rooms(tmp_path: Path) -> None:
    for part in ("si_tr_s", "si_dt_05", "si_et_05"):
        put(tmp_path / "wsj0" / part / "01a" / f"{part[3]}0.wav", hiss(1.0, len(part)))
    prepared = prepare_wsj0_reverb(tmp_path / "wsj0", tmp_path / "out", progress=False)
    assert len(prepared.rows) == 3
    for row in prepared.rows:
        assert 0.4 <= row["t60_s"] <= 1.0
    for split in ("train", "valid", "test"):
        ((name, dry, wet),) = pairs(tmp_path / "out", split)  # type: ignore[arg-type]
        assert len(dry) == round(1.5 * RATE)
        assert max(np.abs(wet).max(), np.abs(dry).max()) == pytest.approx(0.9, abs=1e-3)
        assert name.split("_")[1] == f"{float(table(tmp_path / 'out', split)[0]['t60_s']):.2f}"
        size = 2 * len(dry)
        of_dry = np.fft.rfft(dry, size)
        response = np.fft.irfft(np.fft.rfft(wet, size) * of_dry.conj() / (np.abs(of_dry) ** 2 + 1e-2), size)
        assert response[0] == pytest.approx(1, abs=0.2)
        assert np.sum(response[-2000:-32] ** 2) < 0.01 * np.sum(response[:2000] ** 2)


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ears")
    for speaker in ("p001", "p100", "p102"):
        put(root / "EARS" / speaker / "sentences_01_fast.wav", speech_like(4.5, 1, 48000), 48000, "FLOAT")
    put(root / "EARS/p001/emo_anger_freeform.wav", speech_like(15.0, 2, 48000), 48000, "FLOAT")
    put(root / "EARS/p001/rainbow_01_fast.wav", speech_like(2.0, 2, 48000), 48000, "FLOAT")
    put(root / "EARS/p001/nonverbal_laughter.wav", speech_like(5.0, 2, 48000), 48000, "FLOAT")
    put(root / "WHAM/audio/a.wav", np.stack([hiss(20.0, 1, 48000), hiss(20.0, 2, 48000)], 1), 48000)
    put(root / "WHAM/audio/short.wav", hiss(1.0, 3, 48000), 48000)
    return root


@pytest.mark.slow
def test_ears_wham(ears: Path, tmp_path: Path) -> None:
    prepared = prepare_ears_wham(ears / "EARS", ears / "WHAM", tmp_path / "48", progress=False)
    assert [prepared.count(split) for split in ("train", "valid", "test")] == [3, 1, 1]
    rows = table(tmp_path / "48", "train")
    assert {row["speech"] for row in rows} == {"sentences_01_fast", "emo_anger_freeform"}
    assert {row["noise"] for row in rows} == {"a"}
    found = find_pairs(tmp_path / "48", "train")
    assert [soundfile.info(pair.clean).duration for pair in found] == [10.0, 5.0, 4.5]
    for pair in found:
        clean, rate = soundfile.read(pair.clean, dtype="float32")
        noisy, _ = soundfile.read(pair.noisy, dtype="float32")
        assert rate == 48000
        assert np.abs(noisy).max() < 1
        assert (noisy - clean).std() > 1e-3
    assert all(float(row["snr_db"]) >= -2.5 for row in rows)
    clean, _ = soundfile.read(find_pairs(tmp_path / "48", "test")[0].clean)
    assert clean[0] == 0

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "48").rglob("*.wav")}
    again = prepare_ears_wham(ears / "EARS", ears / "WHAM", tmp_path / "48", progress=False)
    assert again.rows == prepared.rows
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "48").rglob("*.wav")}


def test_ears_wham_at_16_khz_with_given_cuts(ears: Path, tmp_path: Path) -> None:
    cuts = tmp_path / "cuts.json"
    cuts.write_text(json.dumps({"p102": {"sentences_01_fast": [[0, 96000], [96000, -1]]}}))
    small = tmp_path / "EARS"
    shutil.copytree(ears / "EARS/p102", small / "p102")
    prepare_ears_wham(small, ears / "WHAM", tmp_path / "out", sample_rate=16000, cuts=cuts, progress=False)
    lengths = [len(clean) for _, clean, _ in pairs(tmp_path / "out", "test")]
    assert lengths == [2 * RATE, round(2.5 * RATE)]
    cuts.write_text(json.dumps({"p102": {"sentences_01_fast": [[0, 96000]], "rainbow_01_fast": [[0, -1]]}}))
    missing = prepare_ears_wham(small, ears / "WHAM", tmp_path / "b", sample_rate=16000, cuts=cuts, progress=False)
    assert [Path(name).name for name in missing.failures] == ["rainbow_01_fast.wav"]
    for wrong in ([5], [-5, 1000], ["a", 1]):
        cuts.write_text(json.dumps({"p102": {"sentences_01_fast": [wrong]}}))
        with pytest.raises(DataError, match="pairs of a first and a last sample"):
            prepare_ears_wham(small, ears / "WHAM", tmp_path / "c", cuts=cuts, progress=False)
    with pytest.raises(ConfigError, match="96000"):
        prepare_ears_wham(small, ears / "WHAM", tmp_path / "out", sample_rate=96000, progress=False)


def test_a_recording_more_of_ears_takes_no_name_of_a_pair_that_is_there(ears: Path, tmp_path: Path) -> None:
    small = tmp_path / "EARS"
    put(small / "p001/sentences_01_fast.wav", speech_like(4.5, 1, 48000), 48000)
    (small / "p001/broken.wav").write_bytes(b"not audio")
    prepared = prepare_ears_wham(small, ears / "WHAM", tmp_path / "out", sample_rate=16000, progress=False)
    assert [Path(name).name for name in prepared.failures] == ["broken.wav"]
    assert prepared.rows[0]["id"] == "00000"
    put(small / "p001/rainbow_01_fast.wav", speech_like(5.0, 2, 48000), 48000)
    with pytest.raises(ConfigError, match="other settings or recordings"):
        prepare_ears_wham(small, ears / "WHAM", tmp_path / "out", sample_rate=16000, progress=False)
    with pytest.raises(ConfigError, match="choose a folder outside"):
        prepare_ears_wham(small, ears / "WHAM", ears / "WHAM/out", sample_rate=16000, progress=False)


def test_ears_pieces_and_loudness() -> None:
    second = 48000
    assert _pieces(round(3.9 * second), "train") == []
    assert _pieces(13 * second, "train") == [(0, 13 * second)]
    assert _pieces(24 * second, "train") == [(0, 10 * second), (10 * second, 20 * second), (20 * second, 24 * second)]
    assert _pieces(30 * second, "test") == [(0, 29 * second), (29 * second, 30 * second)]
    noise = hiss(1.0, 1, 48000)
    noisy, snr = _mix_loudness(noise, hiss(1.0, 2, 48000), 6.0, "x")
    assert snr == 6.0
    assert 10 * math.log10(power(noise) / power(noisy - noise)) == pytest.approx(6.0, abs=0.2)
    _, raised = _mix_loudness(8 * noise / np.abs(8 * noise).max(), hiss(1.0, 2, 48000), -2.5, "x")
    assert raised > -2.5
    with pytest.raises(DataError, match="silent"):
        _mix_loudness(noise, np.zeros_like(noise), 0.0, "x")


def test_a_set_is_not_put_among_another(voicebank: Path, tmp_path: Path) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 0.5)
    prepare_voicebank(voicebank, tmp_path / "a", progress=False)
    with pytest.raises(ConfigError, match=r"pairs of other settings or recordings.*voicebank\.json"):
        prepare_bandwidth(clean, tmp_path / "a", split="train", progress=False)
    prepare_bandwidth(clean, tmp_path / "b", split="valid", progress=False)
    with pytest.raises(ConfigError, match=r"pairs of other settings or recordings.*valid\.json"):
        prepare_voicebank(voicebank, tmp_path / "b", progress=False)


def test_every_subcommand(wsj0: Path, voicebank: Path, ears: Path, tmp_path: Path) -> None:
    clean, noise, rooms = mixing_folders(tmp_path / "in", 1.0)
    put(tmp_path / "chime/backgrounds/BGD.CH1.wav", hiss(5.0, 2))
    out = tmp_path / "out"
    for arguments, pairs_said in (
        (["voicebank", voicebank], "1 test, 1 train, 2 valid"),
        (["wsj0-chime3", wsj0, tmp_path / "chime"], "2 test, 2 train, 2 valid"),
        (["ears-wham", ears / "EARS", ears / "WHAM"], "1 test, 3 train, 1 valid"),
        (["mix", "--clean", clean, "--noise", noise, "--rooms", rooms, "--count", 2, "--snr", 0, 5], "2 train"),
        (["mix", "--clean", clean, "--task", "dereverb", "--rooms", rooms, "--count", 1], "1 train"),
        (["bandwidth", "--clean", clean, "--split", "test"], "6 test"),
    ):
        folder = out / f"{arguments[0]}{len(arguments)}"
        result = CliRunner().invoke(application(), [*map(str, arguments), "--output", str(folder)])
        assert result.exit_code == 0, result.output
        assert pairs_said in result.output
        assert json.loads((folder / "metrics.json").read_text())["failed"] == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--split", "../x", "'train', 'valid', 'test'"), ("--split", "", "'train'"), ("--sample-rate", "16", "1000")],
)
def test_parts_and_rates_that_cannot_be_are_refused(tmp_path: Path, option: str, value: str, said: str) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 0.5)
    arguments = ["bandwidth", "--clean", clean, "--cutoff", 2000, "--output", tmp_path / "a" / "out", option, value]
    result = CliRunner().invoke(application(), [*map(str, arguments)])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "a").exists()


def test_the_recipe_as_a_process(tmp_path: Path) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 1.0)
    (clean / "broken.wav").write_bytes(b"not audio")
    bandwidth = Recipes(tmp_path).run("prepare_speech", "bandwidth", "--clean", clean, "--output", "bw")
    assert bandwidth.code == 1
    assert "broken.wav" in bandwidth.err
    assert len(list((tmp_path / "bw/train/noisy").iterdir())) == 6
    assert "Traceback" not in bandwidth.err


def test_the_console_command_passes_on_to_the_recipe(tmp_path: Path) -> None:
    clean, _, _ = mixing_folders(tmp_path / "in", 0.5)
    said = CliRunner().invoke(speech_application(), ["prepare", "--help"]).output
    assert "speech prepare ears-wham EARS" in said
    arguments = ["bandwidth", "--clean", str(clean), "--output", str(tmp_path / "out")]
    made = CliRunner().invoke(speech_application(), ["prepare", *arguments])
    assert made.exit_code == 0, made.output
    assert "train pairs in" in made.output


def test_without_a_clone_the_console_command_tells_where_the_recipe_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "RECIPES", Path("nowhere"))
    made = CliRunner().invoke(speech_application(), ["prepare", "voicebank", "downloads", "--output", "x"])
    assert isinstance(made.exception, ConfigError)
    assert "python recipes/prepare_speech.py" in str(made.exception)
