"""Make tsdiff.npz from a checkout of the published TSDiff code, whose modules it imports.

    python tests/golden/make_tsdiff.py --public CHECKOUT

The checkout is of the repository amazon-science/unconditional-time-series-diffusion, as of its commit 3eafeff. It needs
an environment of its own with the versions that it is pinned to: Python 3.10, torch 1.13.1, pytorch-lightning 1.9.4,
gluonts 0.12.3, numpy<2, pandas<2, matplotlib, seaborn, opt_einsum, einops, scikit-learn, without pykeops. Of this
repository only tests/golden and what that takes of `shared` are imported.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytorch_lightning as pl
import torch
from gluonts.dataset.common import ListDataset
from gluonts.dataset.loader import InferenceDataLoader
from gluonts.torch.batchify import batchify
from gluonts.torch.modules.scaler import MeanScaler
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.golden import tsdiff_cases as cases
from tests.golden.recipe import digest
from tests.golden.store import save, text

Arrays = dict[str, np.ndarray]


@contextmanager
def conjugates(both: bool) -> Iterator[None]:
    """The sums of the published code on a plain CPU, or those that KeOps and the CUDA extension make."""
    from uncond_ts_diff.arch import s4

    single = s4.cauchy_naive

    def double(v: Tensor, z: Tensor, w: Tensor) -> Tensor:
        return single(torch.cat([v, v.conj()], -1), z, torch.cat([w, w.conj()], -1))

    with patch.object(s4, "cauchy_naive", double if both else single):
        yield


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """What numbers are made in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def noise(draw: Callable[[int], Tensor]) -> Iterator[None]:
    """`torch.randn_like` gives the recipe's draws, one after the other."""
    numbers = count()
    with patch("torch.randn_like", lambda like, **_: draw(next(numbers)).to(like)):
        yield


def networks() -> Arrays:
    """Every network at every length, in double precision; and one that was saved before its first call."""
    from uncond_ts_diff.arch import BackboneModel

    found: Arrays = {}
    for channels, skip, features in cases.NETWORKS:
        network = BackboneModel(
            channels, cases.WIDTH, channels, cases.STEP_EMBEDDING, cases.BLOCKS, features or 8, init_skip=skip
        )
        network = network.eval().double()
        for both in (False, True):
            cases.fill(network.state_dict())
            for at, (length, steps) in enumerate(cases.ASKED):
                x, known = cases.noisy(length, channels, features)
                with conjugates(both), precision(torch.float64), torch.no_grad():
                    output = network(x, torch.tensor(steps), known)
                found[f"network/{channels}/{features}/{both}/{at}"] = digest(output)
    cases.fill(network.state_dict(), horizon=0)
    x, known = cases.noisy(cases.HORIZON, channels, features)
    with precision(torch.float64), torch.no_grad():
        output = network(x, torch.tensor(cases.ASKED[0][1]), known)
    return found | {"network/uncalled": digest(output)}


def samplers() -> Arrays:
    """Guided sampling of a small function by both published samplers, in double precision."""
    from uncond_ts_diff.model.diffusion._base import TSDiffBase
    from uncond_ts_diff.sampler import DDIMGuidance, DDPMGuidance

    class Model(torch.nn.Module):
        timesteps = 100
        p_sample, p_sample_genddim = TSDiffBase.p_sample, TSDiffBase.p_sample_genddim
        fast_denoise = TSDiffBase.fast_denoise

        def __init__(self) -> None:
            super().__init__()
            self.betas = torch.linspace(1e-4, 0.1, 100, dtype=torch.float64)
            self.alphas_cumprod = kept = torch.cumprod(1 - self.betas, 0)
            self.sqrt_alphas_cumprod, self.sqrt_one_minus_alphas_cumprod = kept.sqrt(), (1 - kept).sqrt()
            self.sqrt_recip_alphas = (1 / (1 - self.betas)).sqrt()
            self.sqrt_one_minus_beta = (1 - self.betas).sqrt()
            before = torch.cat([kept.new_ones(1), kept[:-1]])
            self.posterior_variance = self.betas * (1 - before) / (1 - kept)

        @staticmethod
        def backbone(x: Tensor, t: Tensor, features: None) -> Tensor:
            return cases.noise_of(x, int(t[0]))

    found: Arrays = {}
    for energy, published in cases.ENERGIES.items():
        settings = {"num_samples": cases.ROWS, "guidance": published}
        scale = cases.DDPM_SCALES[energy]
        ddpm = DDPMGuidance(Model(), 4, scale=scale, **settings)
        with noise(cases.guided_noise), precision(torch.float64):
            found[f"ddpm/{energy}"] = ddpm.guide(cases.VALUES, cases.MASK, None, scale).numpy()
        for skip, kind, eta in cases.DDIM:
            scale = cases.DDIM_SCALES[energy]
            ddim = DDIMGuidance(Model(), 4, eta=eta, skip_factor=skip, skip_type=kind, scale=scale, **settings)
            with noise(cases.guided_noise), precision(torch.float64):
                drawn = ddim.guide(cases.VALUES, cases.MASK, None, scale)
            found[f"ddim/{energy}/{skip}/{kind}/{eta}"] = drawn.numpy()
    return found


def scalers() -> Arrays:
    """What MeanScaler makes of the rows."""
    found: Arrays = {}
    values, observed = (torch.from_numpy(part) for part in cases.rows())
    for name, (default, minimum) in cases.SCALES.items():
        _, scale = MeanScaler(1, True, default, minimum)(values, observed)
        found[f"scale/{name}"] = scale.numpy()
    return found


def built(name: str) -> pl.LightningModule:
    """A small published module with weights by the recipe."""
    from uncond_ts_diff.model import TSDiff, TSDiffCond
    from uncond_ts_diff.utils import linear_beta_schedule

    kind = TSDiffCond if name == "conditional" else TSDiff
    model = kind(
        backbone_parameters=cases.BACKBONE,
        timesteps=cases.TIMESTEPS,
        diffusion_scheduler=linear_beta_schedule,
        **cases.COMMON,
        **cases.MODELS[name],
    )
    cases.fill(model.state_dict(), cases.CONTEXT + cases.PREDICTION)
    return model.eval()


def forecasts(name: str) -> Arrays:
    """What a published module makes of the series by the published transforms: inputs, and a forecast."""
    from uncond_ts_diff.sampler import DDPMGuidance
    from uncond_ts_diff.utils import MaskInput, create_splitter, create_transforms

    model = built(name)
    entries = [{"start": cases.start(), "target": target} for target in cases.series()]
    transforms = create_transforms(0, 0, 0, model.time_features, cases.PREDICTION)
    splitter = create_splitter(cases.CONTEXT + max(model.lags_seq), cases.PREDICTION, "test")
    masking = MaskInput("target", "observed_values", cases.CONTEXT, "none", 0)
    # The copy: transforms write into the entries.
    data = transforms.apply(ListDataset(entries, freq="H"), is_train=False)
    (batch,) = InferenceDataLoader(data, transform=splitter + masking, batch_size=8, stack_fn=batchify)
    x, scale, features = model._extract_features(
        {**batch, "future_target": torch.zeros(len(entries), cases.PREDICTION)}
    )
    found = {f"{name}/values": x.numpy(), f"{name}/scale": scale.numpy()}
    if features is not None:
        found[f"{name}/features"] = features.detach().numpy()
    rows = len(entries) * (1 if name == "conditional" else cases.SAMPLES)
    net = model if name == "conditional" else DDPMGuidance(model, cases.PREDICTION, cases.STRENGTH, cases.SAMPLES)
    names = ["past_target", "past_observed_values", "feat_static_cat", "feat_static_real"]
    names += ["past_time_feat", "future_time_feat", "orig_past_target" if name == "conditional" else "stats"]
    with noise(lambda number: cases.noise(number, rows, x.shape[-1])):
        found[f"{name}/forecast"] = net(**{key: batch[key] for key in names}).detach().numpy()
    return found


def layout(name: str) -> dict[str, Any]:
    """Of the Lightning checkpoint that the training script's callback writes: kinds, names, shapes, settings."""
    model, trainer = built(name), pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    with tempfile.TemporaryDirectory() as folder:
        trainer.save_checkpoint(Path(folder) / "last.ckpt", weights_only=True)
        content = torch.load(Path(folder) / "last.ckpt")
    tensors = {key: [list(value.shape), str(value.dtype)] for key, value in content["state_dict"].items()}
    hyper = content["hyper_parameters"]
    schedule = hyper["diffusion_scheduler"]
    hyper["diffusion_scheduler"] = f"{schedule.__module__}.{schedule.__qualname__}"
    return {"keys": list(content), "state_dict": tensors, "hyper_parameters": hyper}


def main() -> None:
    """Read the command line, ask the published code, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, required=True, help="checkout of the published code")
    sys.path.insert(0, str(parser.parse_args().public / "src"))
    from uncond_ts_diff.arch import s4

    if s4.has_pykeops or s4.has_cauchy_extension:
        parser.error("the published code's sums on a plain CPU are replaced here; make an environment without pykeops")
    arrays = networks() | samplers() | scalers()
    for name in cases.MODELS:
        arrays |= forecasts(name)
        arrays[f"{name}/layout"] = text([json.dumps(layout(name))])
    save(cases.PATH, arrays)
    print(f"{cases.PATH}: {len(arrays)} arrays, {cases.PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
