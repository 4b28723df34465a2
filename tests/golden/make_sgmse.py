"""Make sgmse.npz from a checkout of the published SGMSE+ code, whose modules it imports.

    python tests/golden/make_sgmse.py --public CHECKOUT

The checkout is of the repository sp-uhh/sgmse, as of its commit ae690e8; it needs torch_ema beside this toolkit's own
packages. Nothing else here knows of that code.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from speech.model.config import Parameterisation
from tests.golden import sgmse_cases as cases
from tests.golden.recipe import RecipeNoise, complex_draw, digest, fill
from tests.golden.sgmse_cases import key
from tests.golden.store import save, shape_text, text
from tests.speech.conftest import TINY_FRONT_END, LinearBackbone
from tests.speech.published import COMMON, OUVE, SBVE, SMALL

Arrays = dict[str, np.ndarray]
LOSSES = {"score": "score_matching", "denoiser": "denoiser", "data": "data_prediction"}


def public(module: str) -> Any:
    """A module of the published code."""
    return importlib.import_module(f"sgmse.{module}")


def backbone(name: str) -> Any:
    """A class of network."""
    return public("backbones").BackboneRegistry.get_by_name(name)


def layout(network: nn.Module) -> np.ndarray:
    """Names, shapes and kinds of a network's tensors, in the order of its state dict."""
    kinds = {n: "trained" if p.requires_grad else "frozen" for n, p in network.named_parameters()}
    state = network.state_dict()
    assert list(kinds) == [name for name in state if name in kinds]
    lines = [f"{name} {shape_text(tensor.shape)} {kinds.get(name, 'buffer')}" for name, tensor in state.items()]
    return text(lines)


def ncsnpp() -> Arrays:
    """Each variant with each option, and the full network."""
    found: Arrays = {}
    x, y, t = cases.spectrograms(cases.NCSNPP["image_size"], 24)
    for variant, option in cases.NCSNPP_CASES:
        network = backbone(variant)(**{**cases.NCSNPP, **cases.NCSNPP_OPTIONS[option]}).eval()
        fill(network.state_dict())
        output = network(x, y, t) if variant == "ncsnpp_v2" else network(torch.cat([x, y], dim=1), t)
        found |= {
            key("ncsnpp", variant, option): digest(output),
            key("ncsnpp", variant, option, "layout"): layout(network),
        }
    network = backbone("ncsnpp")().eval()
    fill(network.state_dict())
    x, y, t = cases.spectrograms(256, 64)
    return found | {key("ncsnpp", "full"): digest(network(torch.cat([x, y], dim=1), t))}


def dcunet() -> Arrays:
    """Each architecture, and the options of one."""
    found: Arrays = {}
    for name, option in cases.DCUNET_CASES:
        values = {
            f"dcunet_{setting}": "none" if value is None else value
            for setting, value in {
                "temb_layers_global": 1,
                "activation": "leaky_relu",
                **cases.DCUNET_OPTIONS[option],
            }.items()
        }
        network = backbone("dcunet")(dcunet_architecture=name, embed_dim=16, **values).eval()
        fill(network.state_dict())
        x, y, t = cases.spectrograms(cases.DCUNET_BINS[name], 18)
        found[key("dcunet", name, option)] = digest(network(torch.cat([x, y], dim=1), t))
        found[key("dcunet", name, option, "layout")] = layout(network)
    return found


def front_ends() -> Arrays:
    """Spectrograms, and waveforms of spectrograms."""
    found: Arrays = {}
    waveform = cases.waveforms("front end", 1, 8000)
    for name, config in cases.FRONT_END_CASES.items():
        module = data_module(config)
        spectrogram = module.spec_fwd(module.stft(waveform))
        found[key("front end", name)] = digest(spectrogram)
        changed = spectrogram * (1 + 0.3 * complex_draw("gains", *spectrogram.shape))
        found[key("front end", name, "inverse")] = digest(module.istft(module.spec_back(changed), 8000))
    return found


def data_module(config: Any) -> Any:
    """The published front end of these settings."""
    return public("data_module").SpecsDataModule(
        "",
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        window=config.window,
        spec_factor=config.factor,
        spec_abs_exponent=config.exponent,
        transform_type=config.transform,
        gpu=False,
    )


def process(name: str, steps: int = 30) -> Any:
    """The published process."""
    sdes = public("sdes")
    return sdes.OUVESDE(1.5, 0.05, 0.5, N=steps) if name == "ouve" else sdes.SBVESDE(2.6, 0.4, N=steps)


def linear_network() -> LinearBackbone:
    """The linear network with the weights of the recipe."""
    network = LinearBackbone(TINY_FRONT_END.frequencies)
    cases.fill_linear(network)
    return network


def score_model(sde: Any, scales: Parameterisation, network: nn.Module, **more: Any) -> Any:
    """What the published model's forward pass and loss need of one, around another network."""
    published = public("model").ScoreModel
    model = types.SimpleNamespace(
        backbone="ncsnpp_v2",
        dnn=network,
        sde=sde,
        loss_type="denoiser" if scales.c_skip == "-1/sigma^2" else LOSSES[scales.output],
        network_scaling=scales.network_scaling,
        c_in=scales.c_in,
        c_out=scales.c_out,
        c_skip=scales.c_skip,
        sigma_data=scales.sigma_data,
        **more,
    )
    for name in ("_c_in", "_c_out", "_c_skip", "forward", "_loss"):
        setattr(model, name, types.MethodType(getattr(published, name), model))
    return model


def outputs() -> Arrays:
    """What the forward pass makes of a network's output."""
    x, y, t = cases.spectrograms(TINY_FRONT_END.frequencies, 8)
    return {
        key("output", name, scales): digest(
            score_model(process(name), cases.SCALES[scales], linear_network()).forward(x, y, t)
        )
        for name, scales in cases.SCALE_CASES
    }


def losses() -> Arrays:
    """Of each item; for one item, the published mean over the batch is the item's."""
    found: Arrays = {}
    front_end = data_module(TINY_FRONT_END)
    clean = cases.waveforms("clean", 3, cases.LOSS_SAMPLES)
    noisy = clean + cases.waveforms("noise", 3, cases.LOSS_SAMPLES) / 2
    scale = noisy.abs().amax(1, keepdim=True)
    x, y = (front_end.spec_fwd(front_end.stft(signal / scale))[:, None] for signal in (clean, noisy))
    z = complex_draw("loss noise", *x.shape)
    for loss, weighting, output, name in cases.LOSS_CASES:
        sde = process(name)
        model = score_model(
            sde,
            Parameterisation(output),  # type: ignore[arg-type]
            linear_network(),
            loss_weighting=weighting,
            l1_weight=0.5,
            pesq_weight=0.0,
            data_module=types.SimpleNamespace(num_frames=x.shape[-1], hop_length=TINY_FRONT_END.hop_length),
            to_audio=lambda spectrogram, length: front_end.istft(front_end.spec_back(spectrogram[None]), length),
        )
        model.loss_type = loss
        mean, std = sde.marginal_prob(x, y, cases.LOSS_TIMES.float())
        x_t = mean + std[:, None, None, None] * z
        items = []
        for i, t in enumerate(cases.LOSS_TIMES.float().split(1)):
            one = slice(i, i + 1)
            model.loss_type = LOSSES[output]  # the forward pass goes by what the network gives
            result = model.forward(x_t[one], y[one], t)
            model.loss_type = loss
            items.append(model._loss(result, x_t[one], z[one], t, mean[one], x[one]))
        found[key("loss", loss, weighting, output)] = torch.stack(items).detach().double().numpy()
    return found


def recipe_noise(batch: int) -> Any:
    """In place of `torch.randn_like`: the noise that the recipe gives each item."""
    items = [RecipeNoise(i) for i in range(batch)]
    return lambda like: torch.stack([item.randn(like.shape[1:], like.dtype) for item in items])


def sampled(sampler: Any, batch: int) -> tuple[Tensor, int]:
    """What a published sampler returns, on the recipe's noise."""
    drawn, torch.randn_like = torch.randn_like, recipe_noise(batch)
    try:
        return sampler()  # type: ignore[no-any-return]
    finally:
        torch.randn_like = drawn


def probability_flow_predictor() -> str:
    """The name of a predictor that takes the published reverse process with the flag `probability_flow`.

    The published predictors keep the flag and do not pass it on: with it, they do what they do without.
    """
    predictors = public("sampling.predictors")

    class FlowPredictor(predictors.Predictor):  # type: ignore[misc, name-defined]
        """A step of the discretised reverse process, which has no noise."""

        def update_fn(self, x: Tensor, y: Tensor, t: Tensor, stepsize: Tensor) -> tuple[Tensor, Tensor]:
            reverse = self.sde.reverse(self.score_fn, probability_flow=True)
            step, spread = reverse.discretize(x, y, t, stepsize)
            assert not spread.any()
            return x - step, x - step

    if "probability_flow" not in predictors.PredictorRegistry.get_all_names():
        predictors.PredictorRegistry.register("probability_flow")(FlowPredictor)
    return "probability_flow"


def samples() -> Arrays:
    """Of the predictor–corrector and the bridge samplers; "langevin" of one item, as its step is the batch's."""
    found: Arrays = {}
    sampling = public("sampling")
    y = 0.3 * complex_draw("sampled", 2, 1, TINY_FRONT_END.frequencies, 8)
    for corrector, corrections, start, flow in cases.PC_CASES:
        sde = process("ouve", cases.PC_STEPS)
        noisy = y[:1] if corrector == "langevin" else y
        if start < 1:  # the follow-up code: the same steps from a later time, and the noise of that time
            sde = started_at(sde, start)
        model = score_model(sde, cases.SCALES["score, skip"], linear_network())
        predictor = probability_flow_predictor() if flow else "reverse_diffusion"
        sampler = sampling.get_pc_sampler(
            predictor, corrector, sde, model.forward, noisy, snr=0.5, corrector_steps=corrections
        )
        result, calls = sampled(sampler, len(noisy))
        assert calls == cases.PC_STEPS * (1 + corrections)
        found[key("pc", corrector, corrections, start, flow)] = digest(result)
        if not flow:
            inert = sampling.get_pc_sampler(
                predictor, corrector, sde, model.forward, noisy, snr=0.5, corrector_steps=corrections,
                probability_flow=True,
            )  # fmt: skip
            assert torch.equal(sampled(inert, len(noisy))[0], result), "the published flag does something after all"
    for kind, steps in cases.BRIDGE_CASES:
        sde = process("sbve", steps)
        model = score_model(sde, cases.SCALES["data"], linear_network())
        result, _ = sampled(sampling.get_sb_sampler(sde, single(model.forward), y, sampler_type=kind), len(y))
        found[key("bridge", kind, steps)] = digest(result)
    return found


def single(forward: Any) -> Any:
    """The published samplers call the network with states of the precision they work in."""
    return lambda x, y, t: forward(x.to(torch.complex64), y, t.float()).to(x.dtype)


def started_at(sde: Any, start: float) -> Any:
    """The process, sampled from an earlier time than 1."""

    class Later(type(sde)):  # type: ignore[misc]
        T = start

        def prior_sampling(self, shape: Any, y: Tensor) -> Tensor:
            return y + torch.randn_like(y) * self._std(torch.full((len(y),), start))[:, None, None, None]

    return Later(sde.theta, sde.sigma_min, sde.sigma_max, N=sde.N)


def checkpoints() -> Arrays:
    """Checkpoints as Lightning saves the published model: all but the numbers, what these are, and what it gives."""
    import pytorch_lightning

    found: Arrays = {}
    data = public("data_module").SpecsDataModule
    for name, sde in cases.CHECKPOINT_CASES:
        small = SMALL if name != "dcunet" else {"n_fft": 64, "dcunet_architecture": "DCUNet-10", "embed_dim": 16}
        steps = cases.CHECKPOINT_STEPS[sde]
        settings = {**COMMON, **(OUVE if sde == "ouve" else SBVE), **small, "N": steps}
        settings["loss_type"] = "score_matching" if sde == "ouve" else "data_prediction"
        model = public("model").ScoreModel(backbone=name, data_module_cls=data, **settings)
        fill(model.dnn.state_dict(), "state ")
        average = dict(zip([n for n, _ in model.dnn.named_parameters()], model.ema.shadow_params, strict=True))
        fill(average, "average ")
        with tempfile.TemporaryDirectory() as folder:
            trainer = pytorch_lightning.Trainer(
                accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=folder
            )
            trainer.strategy.connect(model)
            path = Path(folder) / "last.ckpt"
            trainer.save_checkpoint(path)
            found |= skeleton(path, key("checkpoint", name, sde), model.dnn.state_dict(), average)
        model.eval()
        bins = 33 if name == "dcunet" else 32
        x, y, t = cases.spectrograms(bins, 16)
        found[key("checkpoint", name, sde, "output")] = digest(model(x, y, t))
        sampler = (
            model.get_pc_sampler("reverse_diffusion", "ald", y, N=steps, corrector_steps=1, snr=0.5)
            if sde == "ouve"
            else model.get_sb_sampler(model.sde, y, sampler_type="ode")
        )
        found[key("checkpoint", name, sde, "sample")] = digest(sampled(sampler, len(y))[0])
    return found


def skeleton(path: Path, name: str, state: Mapping[str, Tensor], average: Mapping[str, Tensor]) -> Arrays:
    """A saved file without its numbers: its pickle, and for each of its storages which tensor it is."""
    known = {
        tensor.numpy().tobytes(): f"{part}{label} {shape_text(tensor.shape)} {tensor.numpy().dtype}"
        for part, tensors in (("average ", average), ("state ", state))
        for label, tensor in tensors.items()
    }
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        count = sum(entry.startswith(f"{root}/data/") for entry in archive.namelist())
        storages = [known[archive.read(f"{root}/data/{i}")] for i in range(count)]
        pickled = archive.read(f"{root}/data.pkl")
    return {key(name, "pickle"): np.frombuffer(pickled, np.uint8), key(name, "storages"): text(storages)}


def main() -> None:
    """Ask the published code, and write the file."""
    parser = argparse.ArgumentParser(description="Make sgmse.npz from a checkout of the published SGMSE+ code.")
    parser.add_argument("--public", type=Path, required=True, help="the checkout: the folder that holds sgmse/")
    folder = parser.parse_args().public
    if not (folder / "sgmse").is_dir():
        parser.error(f"{folder} holds no folder sgmse; give a checkout of the published code")
    sys.path.append(str(folder))
    torch.manual_seed(0)
    arrays: Arrays = {}
    for part in (ncsnpp, dcunet, front_ends, outputs, losses, samples, checkpoints):
        with torch.no_grad():
            made = part()
        print(f"{part.__name__}: {len(made)} arrays")
        arrays |= made
    save(cases.FILE, arrays)
    print(f"{cases.FILE}: {cases.FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
