"""The options of each verb: a class a verb, and a class for what several share. Needs no torch, as no help page may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from typer import Argument, Option

from shared.checks import Chance, Count, NonNegative, Positive, Share
from shared.console.options import Changes, Device, Hardware, Measures, Options, Output, Retrain, settings_option
from shared.scale.options import ScaleOut, Together

Threads = Annotated[int | None, Option(help="CPU threads; left out, as many as torch sees fit.", min=1)]
UpperBand = Annotated[
    Literal["follow", "enhance", "drop", "extend"] | None,
    Option(
        help="Above the model's band: follow (kept, with a gain like its own), enhance (a gain for each band), drop "
        "(left out) or extend (kept, and what is missing added) [the model's own, else follow]."
    ),
]

Quality = Annotated[
    Literal["standard", "best"],
    Option(help="best: averaged with the model's companion, another network, at twice the cost; default has one."),
]


@dataclass(frozen=True, kw_only=True)
class Machine(Options):
    """The machine"""

    device: Device = "auto"
    threads: Threads = None
    seed: Annotated[int, Option(help="Of everything that is drawn.")] = 0


@dataclass(frozen=True, kw_only=True)
class Model(Machine):
    """The model"""

    model: Annotated[
        str | None, Option(help="Model: bundled name, folder (./NAME), hub id, or a published .ckpt [default].")
    ] = None
    sampler: Annotated[
        str | None,
        Option(
            help="pc, ode (adaptive), sb_ode, sb_sde (bridges), ode1, ode2, ode3, sde1, sde2, sde3, evodiff, euler, "
            "heun, map (of flow maps); left out, the model's own.",
        ),
    ] = None
    steps: Annotated[int | None, Ge(1), Le(10_000), Option(help="Steps of the sampler; left out, the model's own.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Enhance(ScaleOut, Model):
    """Enhance a noisy recording, or a folder of them.

    Any rate, length and channels; the result keeps them. Of a video the sound is enhanced, and the pictures stay. Files
    that cannot be enhanced are listed with the reason, the others are finished, and the exit status is then 1.
    """

    source: Annotated[
        Path,
        Argument(metavar="IN", help="Noisy file, or folder of noisy files, folders in it too; - for standard input."),
    ]
    target: Annotated[
        str | None,  # a Path would lose the slash of a folder
        Argument(
            metavar="OUT",
            help="Enhanced file (its suffix decides the format), or folder for enhanced files (of one recording, one "
            "that is there, or a name that ends with a slash); - for WAV on standard output; left out, enhanced/ in "
            "--output.",
        ),
    ] = None
    more: Annotated[
        list[str] | None,
        Argument(
            metavar="MORE",
            help="Of three names or more the last is a folder, there or with a slash at its end, and the others are "
            "recordings, whose results it gets, each under its name.",
        ),
    ] = None
    quality: Quality = "standard"
    start: Annotated[
        Share | None, Option("--reverse-starting-point", help="Time in (0, 1] to start from; below 1 is faster.")
    ] = None
    suppression: Annotated[
        NonNegative | None, Option(help="Power of the gains: 1 as estimated, above 1 stronger [the model's own].")
    ] = None
    attenuation_limit: Annotated[
        Positive | None,
        Option(help="dB below the recording that nothing falls further than; 100 is none [the model's own]."),
    ] = None
    draws: Annotated[Count, Option(help="Results to average.")] = 1
    mix: Annotated[Chance, Option(help="Share of the enhanced signal; the rest is the noisy one.")] = 1.0
    rate: Annotated[
        int | None, Option(help="Hz of the result, such as 48000 [that of IN].", min=1000, max=1_000_000)
    ] = None
    upper_band: UpperBand = None
    keep_music: Annotated[bool, Option("--keep-music", help="Leave the recording as it is where it is music.")] = False
    loudness: Annotated[
        str | None,
        Option(help="LUFS (EBU R128) of the result, such as -16, its true peak limited to -1 dB; or keep, as before."),
    ] = None
    track: Annotated[
        int | None,
        Option(help="Which sound track of a video to enhance; the others stay as they are [the first].", min=1),
    ] = None
    dry_run: Annotated[
        bool, Option("--dry-run", help="List what would be done, with the CPU time to expect; write nothing.")
    ] = False
    overwrite: Annotated[
        bool | None,
        Option(
            "--overwrite/--skip",
            help="What to do about targets that exist [skip in folders; a single "
            "file: ask on a terminal, else refuse].",
        ),
    ] = None
    picture: Annotated[
        bool, Option("--picture", help="Draw spectrograms before and after, whole; beside OUT, or in --output.")
    ] = False
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        Option(help="bfloat16 is faster and coarser [the model's own]."),
    ] = None
    window: Annotated[float, Option(help="Seconds of a recording that are enhanced at once.")] = 16.0
    batch_size: Annotated[Count | None, Option(help="Windows at a time [1 on a CPU, 4 on a GPU].")] = None
    workers: Annotated[
        int | None,
        Option(
            help="Batches of a folder at a time [one per CPU thread; 2 on a GPU]; processes of --engine ray [one a "
            "CPU, or a GPU].",
            min=1,
        ),
    ] = None
    raw_rate: Annotated[
        int | None, Option(help="Rate in Hz of .raw files (bare samples).", min=1000, max=1_000_000)
    ] = None
    raw_channels: Annotated[Count, Option(help="Channels of .raw files.")] = 1
    raw_subtype: Annotated[str, Option(help="FLOAT, PCM_16, … of .raw files.")] = "FLOAT"
    output: Annotated[
        Path | None,
        Option(help="Folder for metrics.json, metrics.md, per_file.csv and pictures [runs/enhance without OUT]."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CausalModel(Model):
    """The model"""

    model: Annotated[
        str | None, Option(help="Causal model: bundled name, folder (./NAME), hub id, or a published .ckpt [causal].")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Stream(CausalModel):
    """Enhance sound while it comes.

    From standard input to standard output, WAV (its length may be unknown) or raw PCM, in the same form as it came; or
    with --live from a microphone to a loudspeaker. Needs a causal model.
    """

    live: Annotated[bool, Option("--live", help="From microphone to loudspeaker; space switches off and on.")] = False
    list_devices: Annotated[bool, Option("--list-devices", help="List microphones and loudspeakers, and end.")] = False
    input_device: Annotated[
        str | None, Option(help="Microphone, by number or part of its name [the system's]; implies --live.")
    ] = None
    output_device: Annotated[
        str | None, Option(help="Loudspeaker, by number or part of its name [the system's]; implies --live.")
    ] = None
    rate: Annotated[
        int | None,
        Option(
            help="Rate in Hz: standard input is raw PCM [left out, it is WAV]; of the devices with --live.",
            min=1000,
            max=1_000_000,
        ),
    ] = None
    channels: Annotated[int, Option(help="Channels of raw PCM, or of the devices.", min=1)] = 1
    coding: Annotated[
        Literal["u8", "s16le", "s24le", "s32le", "f32le", "alaw", "mulaw"], Option(help="Of samples of raw PCM.")
    ] = "s16le"
    wet: Annotated[float, Option(help="Share of the enhanced signal; the rest is the noisy one.", min=0, max=1)] = 1.0
    upper_band: UpperBand = None
    runtime: Annotated[
        Literal["auto", "torch", "onnx"], Option(help="What runs the network; auto: ONNX Runtime where it can.")
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a model's network as an ONNX file.

    A causal network's memory goes in and comes out with every call. Needs the extra `onnx`.
    """

    model: Annotated[str, Argument(metavar="MODEL", help="Bundled name, folder (./NAME) or hub id.")]
    target: Annotated[
        str | None,  # a Path would lose the slash of a folder
        Argument(metavar="OUT.onnx", help="Left out, network.onnx in the model's folder, where streams look for it."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Evaluate(ScaleOut, Model):
    """Score enhanced recordings, or what a model makes of noisy ones.

    Against the clean recordings, or by themselves; leaves metrics.json, metrics.md, per_file.csv, summary.csv and
    metrics.png. Files of folders are paired by name. Files that cannot be scored are listed with the reason and left
    out of the means; the exit status is then 1.
    """

    clean: Annotated[
        Path | None,
        Argument(
            help="Clean file, or folder of them (with --no-reference, what is to score); left out, clean/ of "
            "$SHARED_DATA/speech/test_pairs, and its noisy/."
        ),
    ] = None
    enhanced: Annotated[
        Path | None, Argument(help="Enhanced file, or folder of them; left out, --noisy is enhanced first.")
    ] = None
    noisy: Annotated[Path | None, Option(help="Noisy file, or folder of them.")] = None
    quality: Quality = "standard"
    no_reference: Annotated[
        bool, Option("--no-reference", help="There are no clean files: score each recording alone, by DNSMOS.")
    ] = False
    metrics: Annotated[
        list[str] | None,
        Option(
            "--metric",
            help="Give it once for each, such as pesq_wb, estoi or si_sdr, or all; an unknown name lists them. Left "
            "out: what takes no long time; with --no-reference the four of DNSMOS.",
        ),
    ] = None
    align: Annotated[bool, Option("--align", help="Take out a constant delay of each file first, up to 10 s.")] = False
    workers: Annotated[int | None, Option(help="Processes that score [one a core].", min=1)] = None
    output: Output = Path("runs/evaluate_speech")


@dataclass(frozen=True, kw_only=True)
class Diagnose(Machine, Measures):
    """Measure a model's score by itself.

    Whether it is the gradient of a density and moves with the noise as one, how many dimensions it sees in the data,
    and what few network calls cost.
    """

    noisy: Annotated[
        Path | None,
        Argument(
            metavar="NOISY", help="Noisy file, or folder of them; left out, noisy/ of $SHARED_DATA/speech/test_pairs."
        ),
    ] = None
    clean: Annotated[
        Path | None,
        Option(help="Clean file, or folder of files of the same names; without, the model's own results serve."),
    ] = None
    model: Annotated[
        str | None, Option(help="Model: bundled name, folder (./NAME), hub id, or a published .ckpt [default].")
    ] = None
    files: Annotated[int, Option(help="Files to look at, at most.", min=1)] = 4
    length: Annotated[Positive, Option(help="Seconds of each, from its middle; the shortest file's at most.")] = 0.5
    output: Output = Path("runs/diagnose_speech")


@dataclass(frozen=True, kw_only=True)
class Train(Together):
    """Train a model as a YAML file says.

    The weights that do best on whole validation files are kept.
    """

    config: Annotated[str | None, settings_option("gpu or dereverb", "a light network, on a CPU")] = None
    changes: Changes = None
    hardware: Hardware = None
    data: Annotated[
        Path | None, Option(help="Folder with train/ and valid/ [$SHARED_DATA/speech or ../shared/data/speech].")
    ] = None
    output: Output = Path("runs/train_speech")
    steps: Annotated[int | None, Option(help="Training steps.", min=1)] = None
    minutes: Annotated[
        float | None, Option("--max-minutes", help="End by the clock, if that comes first.", min=0.01)
    ] = None
    seed: Annotated[int | None, Option(help="Of weights, data, times and noise.")] = None
    start_from: Annotated[
        str | None, Option(help="Model (folder, name or a published .ckpt) whose weights to start from.")
    ] = None
    threads: Threads = None
    retrain: Retrain = False
