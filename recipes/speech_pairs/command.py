"""Public sets and one's own recordings made into folders of clean and noisy pairs: one subcommand a set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shared.console.command import claim_output, fail, group, show
from shared.errors import ConfigError

if TYPE_CHECKING:
    from .common import Prepared

_ABOUT = """Make clean and noisy pairs of public sets or own recordings.

    {command} voicebank DOWNLOADS --output data/voicebank
    {command} wsj0-chime3 WSJ0 CHIME3 --output data/wsj0-chime3
    {command} wsj0-reverb WSJ0 --output data/wsj0-reverb
    {command} ears-wham EARS WHAM48kHz --cuts test_files.json --output data/ears-wham
    {command} mix --clean SPEECH --noise NOISE --rooms RESPONSES --count 5000
    {command} bandwidth --clean SPEECH --cutoff 4000

The sets are downloaded by hand, for most ask to agree to a licence; WSJ0 is decompressed first, by
`sph2pipe -f wav in.wv1 out.wav` for each file. The folder named by --output holds train, valid and test with clean and
noisy (or anechoic and reverb), a table of each part, and metrics.json. Files that cannot be read are left out, listed,
and make the exit status 1 (mix refuses them). A run that is stopped goes on where it was; one with other settings needs
another folder.
"""

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder of the pairs.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Threads; as many as cores.", min=1)]
SplitOption = Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Which part the pairs are.")]
RateOption = Annotated[int, typer.Option("--sample-rate", help="Hz.", min=1000, max=1_000_000)]
CleanOption = Annotated[list[Path], typer.Option("--clean", help="Folder of clean recordings; once for each.")]


def voicebank(
    source: Annotated[Path, typer.Argument(help="Folder of the four zip files, or of what they unpack to.")],
    output: OutputOption = Path("voicebank"),
    sample_rate: RateOption = 16000,
    speakers: Annotated[int, typer.Option(help="Of the training part: 28 or 56.")] = 28,
    workers: WorkersOption = None,
) -> None:
    """VoiceBank-DEMAND, resampled; speakers p226 and p287 validate."""
    from .voicebank import prepare_voicebank

    claim_output(output)
    _report(prepare_voicebank(source, output, sample_rate=sample_rate, speakers=speakers, workers=workers), output)


def wsj0_chime3(
    wsj0: Annotated[Path, typer.Argument(help="Folder that holds si_tr_s, si_dt_05 and si_et_05, as WAV.")],
    chime3: Annotated[Path, typer.Argument(help="Folder that holds backgrounds/*.CH1.wav.")],
    output: OutputOption = Path("wsj0-chime3"),
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """WSJ0 with CHiME-3 backgrounds at 0 to 20 dB."""
    from .wsj0 import prepare_wsj0_chime3

    claim_output(output)
    _report(prepare_wsj0_chime3(wsj0, chime3, output, seed=seed, workers=workers), output)


def wsj0_reverb(
    wsj0: Annotated[Path, typer.Argument(help="Folder that holds si_tr_s, si_dt_05 and si_et_05, as WAV.")],
    output: OutputOption = Path("wsj0-reverb"),
    seed: SeedOption = 100,
    workers: WorkersOption = None,
) -> None:
    """WSJ0 in simulated rooms, T60 of 0.4 to 1 s."""
    from .wsj0 import prepare_wsj0_reverb

    claim_output(output)
    _report(prepare_wsj0_reverb(wsj0, output, seed=seed, workers=workers), output)


def ears_wham(
    ears: Annotated[Path, typer.Argument(help="Folder that holds p001 to p107.")],
    wham: Annotated[Path, typer.Argument(help="Folder of WHAM! at 48 kHz.")],
    output: OutputOption = Path("ears-wham"),
    sample_rate: RateOption = 48000,
    cuts: Annotated[Path | None, typer.Option(help="test_files.json of the public script.")] = None,
    seed: SeedOption = 42,
    workers: WorkersOption = None,
) -> None:
    """EARS with WHAM! noise at −2.5 to 17.5 dB of loudness."""
    from .ears import prepare_ears_wham

    claim_output(output)
    prepared = prepare_ears_wham(ears, wham, output, sample_rate=sample_rate, cuts=cuts, seed=seed, workers=workers)
    _report(prepared, output)


def mix(
    clean: CleanOption,
    noise: Annotated[list[Path] | None, typer.Option("--noise", help="Folder of noise; once for each.")] = None,
    rooms: Annotated[list[Path] | None, typer.Option("--rooms", help="Folder of impulse responses.")] = None,
    simulated_rooms: Annotated[int, typer.Option(help="Rooms to simulate besides.", min=0)] = 0,
    task: Annotated[str, typer.Option(help="How to mix: denoise, dereverb, …; an unknown name lists all.")] = "denoise",
    count: Annotated[int, typer.Option(help="Mixtures.", min=1)] = 1000,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 4.0,
    snr: Annotated[tuple[float, float], typer.Option(help="Lowest and highest SNR in dB.")] = (-5.0, 20.0),
    sample_rate: RateOption = 16000,
    split: SplitOption = "train",
    output: OutputOption = Path("mixtures"),
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """Mixtures of one's own clean speech, noise and rooms."""
    from shared.checks import Positive, checked, require
    from speech.data.config import PRESETS, Range, preset

    from .frozen import prepare_mix

    checked(Range, **{"--snr": snr})
    checked(Positive, **{"--seconds": seconds})
    lengths = {"--seconds": seconds, "--sample-rate": sample_rate}
    require(seconds * sample_rate >= 1, "need at least one sample", **lengths)
    if task not in PRESETS:
        raise ConfigError(f"--task {task}: choose from {', '.join(PRESETS)}")
    claim_output(output)
    changes: dict[str, object] = {"seconds": seconds, "snr_db": snr, "sample_rate": sample_rate}
    if not rooms and not simulated_rooms and task == "denoise":
        changes["reverb"] = 0.0
    config = preset(task, **changes)
    if config.noises and config.synthetic < 1 and not noise:
        raise ConfigError(f"--task {task} mixes noise: give --noise FOLDER")
    if config.reverb and not rooms and not simulated_rooms:
        raise ConfigError(f"--task {task} needs rooms: give --rooms FOLDER or --simulated-rooms COUNT")
    prepared = prepare_mix(
        clean,
        noise or [],
        rooms,
        output,
        config,
        count=count,
        split=split,
        simulated_rooms=simulated_rooms,
        seed=seed,
        workers=workers,
    )
    _report(prepared, output)


def bandwidth(
    clean: CleanOption,
    cutoff: Annotated[list[float] | None, typer.Option(help="Hz; once for each [2000 and 4000].")] = None,
    sample_rate: RateOption = 16000,
    split: SplitOption = "train",
    output: OutputOption = Path("bandwidth"),
    seed: SeedOption = 0,
    workers: WorkersOption = None,
) -> None:
    """Recordings, and what a lower sample rate leaves of them."""
    from .frozen import prepare_bandwidth

    claim_output(output)
    prepared = prepare_bandwidth(
        clean,
        output,
        cutoffs_hz=tuple(cutoff or (2000.0, 4000.0)),
        sample_rate=sample_rate,
        split=split,
        seed=seed,
        workers=workers,
    )
    _report(prepared, output)


def _report(prepared: Prepared, output: Path) -> None:
    splits = sorted({row["split"] for row in prepared.rows})
    counts = ", ".join(f"{prepared.count(split)} {split}" for split in splits)
    show(f"{counts} pairs in {output}")
    for item, reason in list(prepared.failures.items())[:20]:
        fail(f"left out: {item}: {reason}")
    if prepared.failures:
        fail(f"{len(prepared.failures)} left out; all are in {output / 'metrics.json'}")
        raise typer.Exit(1)


SETS: dict[str, Callable[..., None]] = {
    "voicebank": voicebank,
    "wsj0-chime3": wsj0_chime3,
    "wsj0-reverb": wsj0_reverb,
    "ears-wham": ears_wham,
    "mix": mix,
    "bandwidth": bandwidth,
}
"""Each is a subcommand."""


def application(command: str = "speech prepare") -> typer.Typer:
    """The subcommands, with examples of how `command` calls them."""
    return group(_ABOUT.format(command=command), SETS)
