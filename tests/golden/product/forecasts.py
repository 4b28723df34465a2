"""The bundled forecaster, and tiny trained models that were saved in folders, with their samplers and tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.golden.product.case import SAVED, Results, case
from tests.golden.product.signals import frame, rich_series, series, with_gaps
from tests.golden.recipe import draw
from tsdiff import TSDiff, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.tasks.refinement import RefineConfig

SHORT = {"h": (24, 12, 60), "D": (7, 14, 60), "M": (12, 12, 50)}
"""Period, horizon and length of the series of a frequency."""
METHODS = ("ode1", "ode2", "ode3", "sde1", "sde2", "pc", "euler", "heun", "ddpm", "ddim")
COVARIANCES = ("window", "tweedie", "scalar", "kernels")
REFINEMENTS = ("most_likely", "langevin", "mala", "hmc", "underdamped", "critically_damped")


def forecast(predictor: Any, entries: list[dict[str, Any]], samples: int = 3) -> np.ndarray:
    """Samples of all forecasts, (series, samples, horizon, ...)."""
    return np.stack([made.samples for made in predictor.predict(entries, samples)])


def imputed(predictor: TSDiffPredictor, entries: list[dict[str, Any]]) -> np.ndarray:
    """Draws of the missing values of all series."""
    return np.stack([made.samples for made in predictor.impute(with_gaps(entries), 3)])


def bundled(freq: str) -> None:
    """The case of one frequency."""

    @case(f"tsdiff/default/{freq}")
    def default(folder: Path) -> Results:
        period, horizon, length = SHORT[freq]
        entries = series(freq, 2, length, period)
        predictor = TSDiffPredictor.from_pretrained("default").with_sampling(steps=3).adapted(freq, horizon)
        table = predictor.forecast_df(frame(entries), num_samples=3)
        predictor.serialize(folder)
        return {
            "forecast": forecast(predictor, entries),
            "saved and loaded": forecast(TSDiffPredictor.from_pretrained(folder), entries),
            "imputed": imputed(predictor, entries),
            "table": table.drop(columns=list(table.columns[:2])).to_numpy(dtype=float),
            "sample": predictor.model.sample(2, steps=3),
        }


for each in SHORT:
    bundled(each)


@case("tsdiff/default/beyond its reach")
def beyond(folder: Path) -> Results:
    predictor = TSDiffPredictor.from_pretrained("default").with_sampling(steps=2).adapted("h", 140)
    return {"forecast": forecast(predictor, series("h", 1, 60, 24), 2)}


def saved(name: str) -> TSDiffPredictor:
    """A predictor of the folder of saved files."""
    return TSDiffPredictor.from_pretrained(SAVED / f"tsdiff_{name}")


ENTRIES = series("h", 2, 40, 8)


@case("tsdiff/saved/samplers")
def samplers(folder: Path) -> Results:
    predictor = saved("plain")
    few = {"steps": 4, "skip": 20}
    found: Results = {"as saved": forecast(predictor, ENTRIES)}
    for method in METHODS:
        scale = 0.1 if method.startswith("dd") else 1.0
        table = {"skip": 20} if method == "ddim" else {}
        if method == "ddpm":
            continue
        found[method] = forecast(predictor.with_sampling(method=method, scale=scale, **{**few, **table}), ENTRIES)
    for guidance in ("mse", "quantile"):
        for covariance in COVARIANCES:
            settings = {"guidance": guidance, "covariance": covariance, "scale": 0.5, **few}
            found[f"{guidance}, {covariance}"] = forecast(predictor.with_sampling(**settings), ENTRIES)
        settings = {"guidance": guidance, "method": "ddim", "scale": 0.1, "eta": 0.3, "skip_type": "quadratic", **few}
        found[f"{guidance}, ddim"] = forecast(predictor.with_sampling(**settings), ENTRIES)
    changes: dict[str, dict[str, Any]] = {
        "eta": {"method": "ode2", "eta": 0.5},
        "kernels, share": {"covariance": "kernels", "kernel_share": 0.5},
        "trust": {"observation_std": 0.3, "scale": 2.0},
        "end": {"log_snr_end": 1.0},
        "minimum": {"minimum": 12.0},
        "seed": {"seed": 3, "batch_rows": 2},
    }
    for name, changed in changes.items():
        found[name] = forecast(predictor.with_sampling(**{**few, **changed}), ENTRIES)
    return found


@case("tsdiff/saved/published sampler", tolerance=1e-4)
def ddpm(folder: Path) -> Results:
    """A hundred steps."""
    predictor = saved("plain")
    return {
        guidance: forecast(predictor.with_sampling(method="ddpm", guidance=guidance, scale=0.1), ENTRIES[:1], 2)
        for guidance in ("mse", "quantile")
    }


@case("tsdiff/saved/tasks")
def tasks(folder: Path) -> Results:
    predictor = saved("plain")
    model, small = predictor.model, predictor.with_sampling(steps=4)
    density: dict[str, dict[str, Any]] = {
        "exact": {"trace": "exact", "steps": 4},
        "hutchinson": {"trace": "hutchinson", "probes": 2, "steps": 4, "stride": 8},
        "elbo": {"method": "elbo", "levels": 4},
    }
    found: Results = {"imputed": imputed(small, ENTRIES)}
    for name, settings in density.items():
        made = predictor.log_likelihood(ENTRIES, **settings)
        found[f"likelihood, {name}"] = np.stack([one.log_likelihood for one in made])
        found[f"network likelihood, {name}"] = np.stack([one.network_log_likelihood for one in made])
    base = list(small.predict(ENTRIES, 3))
    for method in REFINEMENTS:
        for prior in ("mse", "quantile"):
            kind: Any = {"method": method, "prior": prior}
            config = RefineConfig(**kind, prior_scale=0.03, steps=3, num_samples=3)
            found[f"refined, {method}, {prior}"] = np.stack([f.samples for f in small.refine(base, ENTRIES, config)])
    config = RefineConfig(
        energy="denoising", prior_scale=0.03, log_snrs=(-1.0, 0.5), redraw=False, steps=3, num_samples=3
    )
    found["refined, denoising"] = np.stack([one.samples for one in small.refine(base, ENTRIES, config)])
    x, step = draw("windows", 2, model.config.length, 1).float(), torch.tensor([3, 70])
    with torch.no_grad():
        features = draw("features", 1, model.config.length, 4).float()
        found["noise"] = model.predict_noise(x, step, features)
    for method in ("ode1", "ode2", "sde1", "sde2", "heun"):
        found[f"sample, {method}"] = model.sample(2, method=method, steps=4, seed=2)  # type: ignore[arg-type]
    found["sample, scales"] = model.sample(2, steps=4, start="2021-03-03 07:00", scales=[1.0, 30.0])
    table = small.forecast_df(frame(ENTRIES), num_samples=3)
    found["table"] = table.drop(columns=list(table.columns[:2])).to_numpy(dtype=float)
    return found


@case("tsdiff/saved/kinds")
def kinds(folder: Path) -> Results:
    """Models of each kind, as they were saved, and saved again."""
    found: Results = {}
    entries = {"rich": rich_series(2, 40, 4), "any": series("h", 2, 40, 8)}
    for name in ("plain", "rich", "conditional", "last", "s4", "any"):
        given, predictor = entries.get(name, ENTRIES), saved(name)
        if name == "any":
            predictor = predictor.adapted("h", 4)
            found["any, days"] = forecast(saved(name).adapted("D", 3), series("D", 2, 40, 7))
        found[name] = forecast(predictor, given)
        found[f"{name}, gaps"] = imputed(predictor, given)
        predictor.serialize(folder / name)
        found[f"{name}, again"] = forecast(TSDiffPredictor.deserialize(folder / name), given)
    model = TSDiff.from_pretrained(SAVED / "tsdiff_model")
    found["a model alone"] = forecast(TSDiffPredictor(model).with_sampling(steps=3), ENTRIES)
    found["an ensemble"] = forecast(EnsemblePredictor.from_pretrained(SAVED / "tsdiff_ensemble"), ENTRIES, 4)
    return found
