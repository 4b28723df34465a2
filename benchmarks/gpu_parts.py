"""The parts of `benchmarks/gpu.py`: peak, the published networks, the models that ship, and their data."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.determinism import make_data
from benchmarks.forecaster_speed import HORIZON, SAMPLES, series
from benchmarks.gpu_calls import Call, compiled, forward, step
from benchmarks.gpu_measure import Bench
from benchmarks.public_tsdiff import CODE, published_code
from benchmarks.speech_speed import PUBLIC
from benchmarks.tsdiff_speed import LENGTH, batch
from recipes.default_forecaster import default
from recipes.default_forecaster.sets import FREQUENCIES, synthetic_groups
from shared.training.batches import Batch, BatchSource
from speech import Enhancer
from speech.model.backbones.ncsnpp import NCSNpp, NCSNppConfig
from speech.training.fit import new_model, objective_of
from speech.training.recordings import training_source
from speech.training.settings import read_experiment
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.model.backbones import S4Backbone, S4Config
from tsdiff.model.config import TSDiffConfig
from tsdiff.pretraining.anchored import AnchoredSource, Chances
from tsdiff.pretraining.corpus import Corpus
from tsdiff.sampling.settings import Sampling

EAGER, COMPILED = ("float32", "bf16"), ("bf16 compiled", "bf16 graphs", "float32 compiled")
LARGE = NCSNppConfig(init_scale=1.0)
SMALL = NCSNppConfig(init_scale=1.0, nf=8, ch_mult=(1, 1), num_res_blocks=1, image_size=32)
WORKERS = (0, 1, 2, 4, 8, 16)


def peak(bench: Bench) -> None:
    """Products of large matrices."""
    size = 128 if bench.small else 8192

    def make(way: str) -> Call:
        torch.backends.cuda.matmul.allow_tf32 = way == "tf32"
        a, b = torch.randn(2, size, size, device=bench.device).to(torch.bfloat16 if way == "bf16" else torch.float32)
        return lambda: [a @ b for _ in range(10)]

    for way in ("float32", "tf32", "bf16"):
        bench.case(f"product of {size} × {size}", way, lambda way=way: make(way), flops=10 * 2 * size**3)


class Large:
    """The published speech network, ours or the public code's, and its inputs.

    Args:
        bench: tells the size.
        public: whose.
    """

    def __init__(self, bench: Bench, public: bool):
        self.bench, self.public = bench, public
        self.config = SMALL if bench.small else LARGE
        self.frames, self.batches = (16, (1,)) if bench.small else (256, (1, 8))
        self.side = public_resampling() if public else "ours"

    def network(self) -> nn.Module:
        """With fresh weights, a function of state, recording and time."""
        torch.manual_seed(0)
        return PublicSpeech(self.config) if self.public else NCSNpp(self.config)

    def inputs(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of a batch, on the device."""
        x, y = torch.randn(
            2, size, 1, self.config.image_size, self.frames, dtype=torch.complex64, device=self.bench.device
        )
        return x, y, torch.full((size,), 0.5, device=self.bench.device)

    def flops(self) -> float:
        """Of a forward pass of one recording."""
        with torch.device("meta"):
            network, x = (
                NCSNpp(self.config),
                torch.zeros(1, 1, self.config.image_size, self.frames, dtype=torch.complex64),
            )
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                network(x, x, torch.ones(1))
        return float(counter.get_total_flops())

    def training(self, way: str, size: int) -> Call:
        """Score matching, as far as the cost goes, without averaged weights: the public code has those of a package."""
        x, y, t = self.inputs(size)
        network = compiled(self.bench, self.network(), way)
        return step(self.bench, network, way, lambda net: (net(x, y, t) + y).abs().square().sum() / 2, average=False)

    def measure(self, ways: tuple[str, ...]) -> None:
        """Forward passes and training steps."""
        flops, last = self.flops(), self.batches[-1]
        for way in ways:
            for size in self.batches:
                self.bench.case(
                    f"forward, batch {size}",
                    way,
                    lambda way=way, size=size: forward(self.bench, self.network(), way, self.inputs(size)),
                    count=size,
                    unit="items",
                    flops=size * flops,
                    side=self.side,
                )
            self.bench.case(
                f"training step, batch {last}",
                way,
                lambda way=way: self.training(way, last),
                count=last,
                unit="crops",
                flops=3 * last * flops,
                side=self.side,
            )


class PublicSpeech(nn.Module):
    """The public code's network with our arguments."""

    def __init__(self, config: NCSNppConfig):
        super().__init__()
        from sgmse.backbones import BackboneRegistry

        made = BackboneRegistry.get_by_name("ncsnpp")
        names = ("nf", "ch_mult", "num_res_blocks", "image_size", "init_scale")
        self.inner = made(**{name: getattr(config, name) for name in names})

    def forward(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """As the public code's models call it."""
        return self.inner(torch.cat([x, y], dim=1), t)


def public_resampling() -> str:
    """Make the public code importable; what the table calls it: its CUDA extension is compiled as it is imported, and
    where that fails it resamples as it does on a CPU."""
    sys.path.append(os.environ[PUBLIC])
    try:
        import sgmse.backbones  # noqa: F401

        return "public"
    except (OSError, RuntimeError, ImportError) as error:
        print(f"the public code's extension: {str(error).splitlines()[0]}", flush=True)
    for name in [name for name in sys.modules if name.startswith("sgmse")]:
        del sys.modules[name]
    import torch.utils.cpp_extension as extensions

    extensions.load = lambda *_, **__: None
    from sgmse.backbones.ncsnpp_utils import up_or_down_sampling
    from sgmse.backbones.ncsnpp_utils.op.upfirdn2d import upfirdn2d_native

    def native(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
        return upfirdn2d_native(x, kernel, up, up, down, down, *pad, *pad)

    up_or_down_sampling.upfirdn2d = native
    return "public, resampling in PyTorch"


def speech(bench: Bench) -> None:
    """The published network, ours."""
    Large(bench, False).measure(EAGER)


def speech_public(bench: Bench) -> None:
    """The published network, the public code's; a part of `speech` in the table."""
    Large(replace(bench, part="speech"), True).measure(EAGER)


def speech_compiled(bench: Bench) -> None:
    """The published network, ours, compiled; a part of `speech` in the table."""
    Large(replace(bench, part="speech"), False).measure(COMPILED[:1] if bench.small else COMPILED)


def enhancer(bench: Bench) -> None:
    """The enhancer that ships: sound enhanced, and training steps."""
    count, seconds, sizes = (1, 1, (1,)) if bench.small else (64, 16, (4, 16, 64))
    sounds = (0.1 * np.random.default_rng(0).standard_normal((count, 1, seconds * 16000))).astype(np.float32)

    def enhancing(way: str, size: int) -> Call:
        made = Enhancer.from_pretrained("default", device=bench.device)
        precision = "bfloat16" if way.startswith("bf16") else "float32"
        made = Enhancer(made.model, sampling=replace(made.sampling, precision=precision), batch_size=size)
        compiled(bench, made.model.denoiser.network, way)
        return lambda: made.enhance(sounds, 16000)

    hours = count * seconds / 3600
    for way in (*EAGER, "bf16 compiled"):
        for size in sizes if way in EAGER else sizes[-1:]:
            what = f"{count} recordings of {seconds} s, batches of {size}"
            make = lambda way=way, size=size: enhancing(way, size)  # noqa: E731
            bench.case(what, way, make, count=hours, unit="hours of sound")
    size = 2 if bench.small else 64
    for way in (*EAGER, "bf16 compiled"):
        what = f"training step, batch {size}"
        bench.case(what, way, lambda way=way: light_step(bench, way, size), count=size, unit="crops")


def light_step(bench: Bench, way: str, size: int) -> Call:
    """A step of the enhancer's own training, all terms of its loss included."""
    experiment = read_experiment("default", [f"data.batch_size={size}"])
    with tempfile.TemporaryDirectory() as name:
        source = _mixtures(experiment, Path(name), bench)
        given = source.batch(np.random.default_rng(0)).to(torch.device(bench.device))
    model = new_model(experiment)
    objective, generator = objective_of(experiment, model), torch.Generator()
    compiled(bench, model.denoiser.network, way)
    return step(bench, model, way, lambda net: objective(net, given.x0, given.y, generator=generator).mean())


def _mixtures(experiment: Any, folder: Path, bench: Bench) -> BatchSource:
    """Of the given data, or of sounds by formula made in `folder`."""
    if bench.data is None:
        make_data(folder)
    return training_source(experiment, bench.data or folder, 1)


def forecaster(bench: Bench) -> None:
    """The forecaster that ships: series forecast, and training steps."""
    count = 4 if bench.small else 1024
    entries = list(series(count))

    def forecasting(rows: int) -> Call:
        made = TSDiffPredictor.from_pretrained("default").adapted("h", HORIZON).to(bench.device)
        made = made.with_sampling(batch_rows=rows)
        return lambda: list(made.predict(entries, num_samples=SAMPLES))

    for rows in (6400,) if bench.small else (6400, 65536):
        what = f"{count:,} series, {SAMPLES} samples, {rows:,} rows at a time"
        bench.case(what, "float32", lambda rows=rows: forecasting(rows), count=count, unit="series")
    for size in (4,) if bench.small else (48, 256):
        for way in EAGER:
            make = lambda way=way, size=size: forecaster_step(bench, way, size)  # noqa: E731
            bench.case(f"training step, {size} windows", way, make, count=size, unit="windows")


def forecaster_step(bench: Bench, way: str, size: int) -> Call:
    """A step of the forecaster's own training."""
    given = _windows(size).batch(np.random.default_rng(0)).to(torch.device(bench.device))
    model, generator = default.new_model(), torch.Generator()

    def loss(net: nn.Module) -> Tensor:
        told = {"mask": given.mask, "condition": given.condition, "generator": generator}
        return default.LOSS(net, given.x0, **told).mean()

    return step(bench, model.denoiser, way, loss)


def _windows(size: int) -> AnchoredSource:
    """Training windows of synthetic series alone."""
    made = synthetic_groups(FREQUENCIES, 40, 2 * default.LENGTH, 0)
    return AnchoredSource(Corpus([], made), default.CONFIG, size, chances=Chances(synthetic=1.0))


def published_series(bench: Bench) -> None:
    """The published TSDiff: guided forecasts, forward passes, training steps; ours."""
    count = 2 if bench.small else 64
    config = TSDiffConfig("h", HORIZON, LENGTH - HORIZON, backbone=S4Config())
    entries = list(series(count))

    def guided() -> Call:
        torch.manual_seed(0)
        made = TSDiffPredictor(TSDiff(config), Sampling(batch_rows=100 if bench.small else 6400), bench.device)
        samples = 5 if bench.small else SAMPLES
        return lambda: list(made.predict(entries, num_samples=samples))

    bench.case(f"{count} series guided, {SAMPLES} samples", "float32", guided, count=count, unit="series")
    _published(bench, "ours", lambda: S4Backbone(S4Config(), LENGTH), (*EAGER, "float32 compiled"))


def published_series_public(bench: Bench) -> None:
    """The same network of the public code; a part of `published_series` in the table."""
    _, backbones = published_code()

    def network() -> nn.Module:
        made = backbones.BackboneModel(1, 64, 1, 128, 3, 8, init_skip=False)
        with torch.no_grad():  # which sets its kernels' length
            made(torch.zeros(1, LENGTH, 1), torch.tensor([0]))
        return made

    _published(replace(bench, part="published_series"), "public", network, ("float32",))


def _published(bench: Bench, side: str, make: Callable[[], nn.Module], ways: tuple[str, ...]) -> None:
    """A forward pass and a training step of the network over whole windows."""
    size, many = (4, 8) if bench.small else (64, 6400)
    signal = torch.cumprod(1 - torch.linspace(1e-4, 0.1, 100), 0).to(bench.device)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return make()

    def training(way: str) -> Call:
        x0, at, noise = (value.to(bench.device) for value in batch(torch.Generator().manual_seed(0), size))
        share = signal[at][:, None, None]
        x = share.sqrt() * x0 + (1 - share).sqrt() * noise
        made = compiled(bench, network(), way)
        return step(bench, made, way, lambda net: (net(x, at) - noise).square().mean())

    for way in ways:
        inputs = (torch.randn(many, LENGTH, 1), torch.full((many,), 50))
        if many <= 8 or way in EAGER:
            passing = lambda way=way, inputs=inputs: forward(bench, network(), way, inputs)  # noqa: E731
            bench.case(f"forward, batch {many:,}", way, passing, count=many, unit="windows", side=side)
        bench.case(f"training step, batch {size}", way, lambda way=way: training(way), count=1, unit="steps", side=side)


class Batches(IterableDataset):
    """Batches of a source without end, shared among workers."""

    def __init__(self, source: BatchSource):
        self.source = source

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        number = first
        while True:
            yield self.source.batch(np.random.default_rng(number))
            number += stride


def loading(bench: Bench) -> None:
    """Crops mixed and windows made by N processes, beside what training steps take of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    size = 2 if bench.small else 64
    experiment = read_experiment("default", [f"data.batch_size={size}"])

    def reading(source: BatchSource, workers: int) -> Call:
        batches, each = iter(DataLoader(Batches(source), batch_size=None, num_workers=workers)), max(1, workers)
        list(islice(batches, 3 * each))  # begun, and those made ahead
        return lambda: list(islice(batches, each))

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        sources = {"crops": _mixtures(experiment, Path(name), bench), "windows": _windows(size)}
    for unit, source in sources.items():
        for workers in WORKERS[:2] if bench.small else WORKERS:
            if workers <= cores:
                make = lambda source=source, workers=workers: reading(source, workers)  # noqa: E731
                count = size * max(1, workers)
                bench.case(f"{unit} made by {workers or 'no'} workers", "processor", make, count=count, unit=unit)


Part = Callable[[Bench], None]
PARTS: Mapping[str, tuple[str, Part]] = {
    "peak": ("Products of matrices", peak),
    "speech": (f"The published speech network, 65.6 M parameters, {256} frames", speech),
    "speech_public": ("", speech_public),
    "enhancer": ("The enhancer that ships", enhancer),
    "forecaster": ("The forecaster that ships", forecaster),
    "published_series": ("The published TSDiff network, S4, windows of 360", published_series),
    "published_series_public": ("", published_series_public),
    "loading": ("Data alone", loading),
    "speech_compiled": ("", speech_compiled),
}
"""Heading and function of each, in the order in which they run; those without a heading add rows to another's table."""
NEEDS = {"speech_public": PUBLIC, "published_series_public": CODE}
"""Environment variables that tell where the checkouts are that parts need."""
