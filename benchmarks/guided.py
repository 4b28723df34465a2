"""Guided forecasts of M4: what one costs, what CRPS so many network calls buy, and time and memory of the whole set.

Example:
    python benchmarks/guided.py --part cost --models runs/guided --public ../unconditional-time-series-diffusion
    python benchmarks/guided.py --part curve --models runs/guided

The folder of models holds `s4d` and `s4`, each written by `TSDiffPredictor.serialize`; one that is missing is trained
here, with the estimator's defaults and, for the published S4 network, in fewer steps (--s4-steps).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

os.environ.setdefault("GOMP_SPINCOUNT", "0")  # waiting threads leave the cores to whoever works

import torch
import typer
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from benchmarks.public_tsdiff import CODE, published_samplers
from benchmarks.rows import Rows
from benchmarks.sets import DEFAULT_DATA, LoadedSet, load, thinned
from benchmarks.tsdiff_speed import public_network, reason_without
from shared.files.io import atomic_path, write_text
from shared.training.memory import keep_large_blocks
from tsdiff import TSDiffEstimator, TSDiffPredictor
from tsdiff.estimator import DEFAULT_TRAINING
from tsdiff.evaluation.metrics import Metrics, evaluate
from tsdiff.model.backbones import S4Config

CONTEXT, SAMPLES, SEED = 312, 100, 0
Network = Literal["s4d", "s4"]
Part = Literal["cost", "curve", "curve_s4", "whole"]
TITLES: dict[Network, str] = {"s4d": "patched S4D (default)", "s4": "S4 (published sizes)"}
CALLS = (4, 8, 12, 16, 32)

Settings = dict[str, Any]
"""Fields of `tsdiff.model.config.Sampling`."""


@dataclass(frozen=True)
class Curve:
    """One line of the picture: a way to sample, at several numbers of calls."""

    title: str
    points: tuple[Settings, ...]


def by_steps(title: str, **fixed: Any) -> Curve:
    return Curve(title, tuple({**fixed, "steps": steps} for steps in CALLS))


def published(method: str, scale: float, **more: Any) -> Settings:
    return {"method": method, "guidance": "quantile", "scale": scale, **more}


def curves(ddpm_scale: float, ddim_scale: float) -> list[Curve]:
    """What is compared, quantile energy throughout, the published samplers at their tuned strengths."""
    quantile = {"guidance": "quantile"}
    skips = tuple(published("ddim", ddim_scale, skip=skip) for skip in (20, 10, 5, 2))
    return [
        Curve("published DDPM", (published("ddpm", ddpm_scale),)),
        Curve("published DDIM", skips),
        by_steps("ode2, window covariance", **quantile, method="ode2"),
        by_steps("sde2, window covariance", **quantile, method="sde2"),
        by_steps("sde2, scalar variance", **quantile, method="sde2", covariance="scalar"),
        Curve("sde2, Tweedie", ({**quantile, "covariance": "tweedie", "steps": 16},)),
        Curve("DDPM steps, window covariance", ({**quantile, "method": "sde1", "steps": 100},)),
    ]


def trained(network: Network, folder: Path, data: LoadedSet, s4_steps: int) -> TSDiffPredictor:
    """The model in `folder`, or a new one."""
    place = folder / network
    if (place / "config.json").is_file():
        return TSDiffPredictor.from_pretrained(place)
    print(f"training {place}", flush=True)
    if network == "s4d":
        estimator = TSDiffEstimator(data.freq, data.prediction_length, CONTEXT)
    else:
        training = replace(
            DEFAULT_TRAINING, max_steps=s4_steps, learning_rate=2e-3, weight_decay=0.0, ema_decay=0.99, seed=SEED
        )
        estimator = TSDiffEstimator(data.freq, data.prediction_length, CONTEXT, backbone=S4Config(), training=training)
    predictor = estimator.train(data.train, folder=folder / f"{network}-training")
    predictor.serialize(place)
    return predictor


def score(predictor: TSDiffPredictor, pairs: Sequence[Any], settings: Settings) -> tuple[Metrics, int]:
    """Scores, and network calls of a sample."""
    sampler = predictor.with_sampling(**settings)
    return evaluate(sampler.predict([entry for entry, _ in pairs], SAMPLES), pairs), sampler.nfe


def seconds_of(call: Any, repeats: int) -> tuple[float, float]:
    """Shortest wall-clock and processor seconds, after one call to warm up unless there is but one."""
    walls, processors = [], []
    for _ in range(repeats + (repeats > 1)):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), min(processors)


def cost_rows(predictor: TSDiffPredictor, entry: Any, repeats: int, title: str, results: Rows) -> None:
    """One series × 100 samples: seconds of each setting."""
    settings = [
        published("ddpm", 1.0),
        published("ddim", 1.0, skip=5),
        *({"method": method, "steps": steps} for method in ("ode2", "sde2") for steps in (4, 8, 16, 32)),
        {"method": "sde2", "steps": 16, "covariance": "scalar"},
        {"method": "sde2", "steps": 16, "covariance": "tweedie"},
    ]
    for chosen in settings:
        row = {"network": title, "sampler": described(chosen)}
        if results.has(row):
            continue
        sampler = predictor.with_sampling(**{"guidance": "quantile", **chosen})
        often = 1 if chosen["method"] == "ddpm" else repeats
        wall, processor = seconds_of(lambda s=sampler: list(s.predict([entry], SAMPLES)), often)
        results.add({**row, "calls": sampler.nfe, "seconds": wall, "processor_seconds": processor})
        print(results.read()[-1], flush=True)


def described(settings: Settings) -> str:
    """A setting in words."""
    method = settings.get("method", "sde2")
    if method == "ddpm":
        return "published DDPM, 100 steps"
    if method == "ddim":
        return f"published DDIM, skip {settings['skip']}"
    return f"{method}, {settings['steps']} steps, {settings.get('covariance', 'window')}"


def public_rows(results: Rows) -> None:
    """The public code, fresh weights: DDPM and DDIM with skip 5, 100 samples of one window."""
    module = published_samplers()
    model = module.TSDiff(
        {"input_dim": 1, "hidden_dim": 64, "output_dim": 1, "step_emb": 128, "num_residual_blocks": 3},
        timesteps=100,
        diffusion_scheduler=lambda steps: torch.linspace(1e-4, 0.1, steps),
        context_length=CONTEXT,
        prediction_length=48,
        use_lags=False,
        init_skip=False,
    ).eval()
    model.backbone = public_network(pairs=False).eval()
    mask = (torch.arange(CONTEXT + 48) < CONTEXT).float().reshape(1, -1, 1).repeat(SAMPLES, 1, 1)
    values = torch.rand(SAMPLES, CONTEXT + 48, 1)
    for name, guide, calls in (
        ("published DDPM, 100 steps", module.DDPMGuidance(model, 48, num_samples=SAMPLES), 200),
        ("published DDIM, skip 5", module.DDIMGuidance(model, 48, skip_factor=5, num_samples=SAMPLES), 40),
    ):
        row = {"network": "public code, S4", "sampler": name}
        if results.has(row):
            continue
        wall, processor = seconds_of(lambda g=guide: g.guide(values, mask, None, 1.0), 1)
        results.add({**row, "calls": calls, "seconds": wall, "processor_seconds": processor})
        print(results.read()[-1], flush=True)


def tuned(predictor: TSDiffPredictor, data: LoadedSet, method: str, count: int, **more: Any) -> tuple[float, str]:
    """The published strength that does best on the last windows of training series, and all that were tried."""
    held = []
    for entry in thinned(list(data.train), count):
        cut = len(entry["target"]) - data.prediction_length
        label = {**entry, "target": entry["target"][cut:], "start": entry["start"] + cut}
        held.append(({**entry, "target": entry["target"][:cut]}, label))
    scores = {}
    for scale in (0.5, 1.0, 2.0, 4.0, 8.0):
        try:
            scores[scale] = score(predictor, held, published(method, scale, **more))[0].crps
        except ValueError:  # samples that are not finite
            scores[scale] = float("inf")
    said = ", ".join(f"{scale:g}: {crps:.4f}" for scale, crps in scores.items())
    print(method, said, flush=True)
    return min(scores, key=lambda scale: scores[scale]), said


def measure_curves(
    predictor: TSDiffPredictor, pairs: Sequence[Any], lines: list[Curve]
) -> tuple[list[list[str]], dict[str, list[tuple[int, float]]]]:
    """CRPS of every point: rows of the table, and (calls, CRPS relative to the published DDPM) by line."""
    rows: list[list[str]] = []
    drawn: dict[str, list[tuple[int, float]]] = {}
    base = float("nan")
    for line in lines:
        for settings in line.points:
            metrics, calls = score(predictor, pairs, settings)
            base = metrics.crps if settings.get("method") == "ddpm" else base
            share = metrics.crps / base
            drawn.setdefault(line.title, []).append((calls, share))
            cells = (metrics.crps, metrics.nd, metrics.coverage_50, metrics.coverage_90)
            rows.append([line.title, str(calls), f"{share:.3f}", *(f"{cell:.4f}" for cell in cells)])
            print(rows[-1], flush=True)
    return rows, drawn


def picture(drawn: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """CRPS against network calls."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(0.97, 1.03, color="0.92", label="within 3 % of the published DDPM")
    for title, points in drawn.items():
        points = sorted(points)
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", markersize=4, label=title)
    axes.set(xscale="log", xlabel="network calls of a sample", ylabel="CRPS / CRPS of the published DDPM")
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.6))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def whole_set(models: Path, network: Network, data: Path, settings: Settings, threads: int) -> dict[str, float]:
    """The whole test set in a process of its own: seconds, resident memory before and at its peak (MB), CRPS."""
    work = json.dumps({"model": str(models / network), "data": str(data), "settings": settings, "threads": threads})
    command = [sys.executable, __file__, "--worker", work]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(done.stdout.strip().splitlines()[-1])


def work_whole(job: dict[str, Any]) -> None:
    """What `whole_set` starts."""
    torch.set_num_threads(job["threads"])
    keep_large_blocks()
    data = load("m4_hourly", Path(job["data"]))
    predictor = TSDiffPredictor.from_pretrained(job["model"])
    pairs = list(data.test)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, processor = time.perf_counter(), time.process_time()
    metrics, calls = score(predictor, pairs, job["settings"])
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - wall,
                "processor": time.process_time() - processor,
                "before": before,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "crps": metrics.crps,
                "coverage_90": metrics.coverage_90,
                "calls": calls,
            }
        )
    )


def whole_rows(models: Path, data: Path, threads: int) -> list[list[str]]:
    """The whole set with the default network, by how many samples go through it together, and as published."""
    rows = []
    fast: Settings = {"guidance": "quantile", "method": "sde2", "steps": 16}
    settings = [{**fast, "batch_rows": rows} for rows in (100, 512, 2048)]
    settings.append({**fast, "steps": 8, "method": "ode2"})
    for chosen in settings:
        found = whole_set(models, "s4d", data, chosen, threads)
        rows.append(
            [
                f"{chosen['method']}, {chosen['steps']} calls",
                str(chosen.get("batch_rows", 512)),
                f"{found['crps']:.4f}",
                f"{found['coverage_90']:.3f}",
                f"{found['seconds']:.0f}",
                f"{found['processor']:.0f}",
                f"{found['before']:.0f}",
                f"{found['peak']:.0f}",
            ]
        )
        print(rows[-1], flush=True)
    return rows


def cost_report(models: Path, m4: LoadedSet, repeats: int, s4_steps: int, public: Path | None, output: Path) -> str:
    """Seconds of one forecast; what is in the CSV beside `output` already is not measured again."""
    entry = next(iter(m4.test))[0]
    results = Rows(output.with_suffix(".csv"), ("network", "sampler"))
    for network, title in TITLES.items():
        cost_rows(trained(network, models, m4, s4_steps), entry, repeats, title, results)
    missing = reason_without(public, ("seaborn",))
    if missing is None:
        public_rows(results)
    else:
        print(f"the public code is left out: {missing}", file=sys.stderr, flush=True)
    rows = [
        [r["network"], r["sampler"], str(r["calls"]), f"{r['seconds']:.2f}", f"{r['processor_seconds']:.2f}"]
        for r in results.read()
    ]
    return (
        f"\n## One series × {SAMPLES} samples\n\nShortest of {repeats} runs (DDPM and the public code: one), "
        "wall-clock, and processor seconds of all threads. "
        "Where the wall-clock is the longer one, other work had the cores.\n\n"
        + table(["network", "sampler", "calls", "seconds", "processor seconds"], rows)
    )


def curve_report(models: Path, m4: LoadedSet, network: Network, count: int, s4_steps: int, output: Path) -> str:
    """CRPS by calls, with the published strengths that suit the S4D: both networks see the same units."""
    held = max(8, count // 4)
    default = trained("s4d", models, m4, s4_steps)
    (ddpm, tried_ddpm), (ddim, tried_ddim) = tuned(default, m4, "ddpm", held), tuned(default, m4, "ddim", held, skip=5)
    lines = curves(ddpm, ddim)
    if network == "s4":  # a call costs twenty times the S4D's
        lines = [lines[0], *(Curve(line.title, line.points[:4]) for line in lines[2:4])]
    pairs = thinned(list(m4.test), count)
    rows, drawn = measure_curves(trained(network, models, m4, s4_steps), pairs, lines)
    image = output.with_suffix(".png")
    picture(drawn, image)
    return (
        f"\n## CRPS against network calls: {TITLES[network]}\n\n{len(pairs)} of 414 test series, evenly spread. "
        f"Strength of the published samplers by CRPS on {held} windows from the end of training series, "
        f"with {TITLES['s4d']}: DDPM {tried_ddpm}; DDIM {tried_ddim}.\n\n"
        f"![CRPS against network calls]({image.name})\n\n"
        + table(["sampler", "calls", "CRPS / DDPM", "CRPS", "ND", "cover 50 %", "cover 90 %"], rows)
    )


def whole_report(models: Path, data: Path, threads: int) -> str:
    """Time and memory of the whole set."""
    return (
        f"\n## The whole test set: 414 series × {SAMPLES} samples, {TITLES['s4d']}\n\nMemory is resident, in MB: "
        "before, with the series and all imports in memory, and at its peak.\n\n"
        + table(
            ["sampler", "batch_rows", "CRPS", "cover 90 %", "seconds", "processor seconds", "MB before", "MB peak"],
            whole_rows(models, data, threads),
        )
    )


def main(
    part: Annotated[Part, typer.Option(help="What to measure.")] = "cost",
    data: Annotated[Path, typer.Option(help="Data folder, which holds series/.")] = DEFAULT_DATA,
    models: Annotated[Path, typer.Option(help="Folder of the trained models s4d and s4.")] = Path("runs/guided"),
    public: Annotated[Path | None, typer.Option(help="Checkout of the published repository, for cost.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    repeats: Annotated[int, typer.Option(help="Timed calls of each setting.")] = 3,
    series: Annotated[int, typer.Option(help="Test series of a curve.")] = 104,
    s4_steps: Annotated[int, typer.Option(help="Training steps of the S4.")] = 1500,
    output: Annotated[
        Path | None, typer.Option(help="Markdown file to write [benchmarks/results/guided_PART.md].")
    ] = None,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure one part and write its table."""
    if worker:
        work_whole(json.loads(worker))
        return
    torch.set_num_threads(threads)
    keep_large_blocks()
    if public is not None:
        os.environ[CODE] = str(public.resolve())
    output = output or Path(f"benchmarks/results/guided_{part}.md")
    m4 = load("m4_hourly", data)
    if part == "cost":
        report = cost_report(models, m4, repeats, s4_steps, public, output)
    elif part == "whole":
        report = whole_report(models, data, threads)
    else:
        report = curve_report(models, m4, "s4d" if part == "curve" else "s4", series, s4_steps, output)
    text = (
        header("Guided forecasts of M4-hourly")
        + f"\nWindows of {CONTEXT} + 48 hours, {SAMPLES} samples, quantile energy, seed {SEED}, {threads} threads.\n"
        + report
    )
    write_text(output, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
