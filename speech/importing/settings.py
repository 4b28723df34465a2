"""What the hyper-parameters of a published speech enhancement model mean here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from shared.errors import CheckpointError, ConfigError
from shared.files.checkpoint import dataclass_from
from shared.sde import OUVESDE, SBVESDE, SDE
from speech.model.backbones import BackboneConfig
from speech.model.backbones.dcunet import DCUNetConfig
from speech.model.backbones.ncsnpp import PUBLISHED, NCSNppConfig
from speech.model.config import Parameterisation, SamplingConfig, SpeechConfig
from speech.model.corrector import PublishedPC
from speech.model.frontend import FRONT_ENDS, FrontEndConfig

_BACKBONES = (*PUBLISHED, "dcunet")
_LOSSES = ("score_matching", "denoiser", "data_prediction", "mse", "mae")


class _Settings:
    """Typed access to hyper-parameters; problems name the file and the setting."""

    def __init__(self, values: Mapping[str, Any], origin: str):
        self.values, self.origin = values, origin

    def require(self, *names: str) -> None:
        """Refuse a file without these."""
        missing = [name for name in names if self.values.get(name) is None]
        if missing:
            raise CheckpointError(
                f"{self.origin} lacks the hyper-parameters {', '.join(missing)}, without which the model is not known"
            )

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise ConfigError(f"{self.origin}: hyper-parameter {name}={value!r} is no number")
        return float(value)

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        value = self.number(name, default)
        if value != int(value):
            raise ConfigError(f"{self.origin}: hyper-parameter {name}={value!r} is no whole number")
        return int(value)

    def flag(self, name: str) -> bool:
        """True or false; false where it is not given."""
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            raise ConfigError(f"{self.origin}: hyper-parameter {name}={value!r} is neither true nor false")
        return value

    def choice(self, name: str, default: str | None, known: tuple[str | None, ...]) -> str | None:
        """One of the known names."""
        value = self.values.get(name, default)
        if value not in known:
            options = ", ".join(map(repr, known))
            raise ConfigError(f"{self.origin}: hyper-parameter {name}={value!r} is not known here; known are {options}")
        return value


def published_config(values: Mapping[str, Any], origin: str) -> SpeechConfig:
    """The configuration that the hyper-parameters of a published model describe.

    What the published code has a default for may be missing. Names that only training used are passed over.

    Raises:
        CheckpointError: hyper-parameters without which the model is not known are missing.
        ConfigError: a hyper-parameter that cannot be used.
    """
    settings = _Settings(values, origin)
    settings.require("backbone", "sde")
    backbone = settings.choice("backbone", None, _BACKBONES)
    assert backbone is not None
    sde = _sde(settings)
    return SpeechConfig(
        backbone=_dcunet(settings) if backbone == "dcunet" else _ncsnpp(settings, backbone),
        frontend=_frontend(settings, backbone),
        sde=sde,
        parameterisation=_parameterisation(settings, backbone),
        sampling=_sampling(settings, backbone, sde),
    )


def _ncsnpp(settings: _Settings, backbone: str) -> BackboneConfig:
    given = settings.values
    for name, only in (("embedding_type", "fourier"), ("conditional", True)):
        if given.get(name, only) != only:
            raise ConfigError(
                f"{settings.origin}: {name}={given[name]!r} is not supported, and the published training script never "
                f"sets it; only {only!r} is"
            )
    values = {
        item.name: given[item.name] for item in fields(NCSNppConfig) if item.name in given and item.name != "kind"
    }
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if given.get("scale_by_sigma") is False:
        values["divide_by_time"] = None
    return _built(settings, NCSNppConfig, {**vars(PUBLISHED[backbone]), **values})


def _dcunet(settings: _Settings) -> BackboneConfig:
    given = {
        name.removeprefix("dcunet_"): value for name, value in settings.values.items() if name.startswith("dcunet_")
    }
    if given.pop("mask_bound", "none") != "none":
        raise ConfigError(f"{settings.origin}: dcunet_mask_bound does not run in the published code either")
    # Where nothing is given, that code's network has other defaults than its training script.
    values: dict[str, Any] = {"temb_layers_global": 2, "activation": "relu", **given}
    for name in ("time_embedding", "fix_length"):
        values[name] = None if values.get(name) == "none" else values.get(name, getattr(DCUNetConfig, name))
    if "embed_dim" in settings.values:
        values["embed_dim"] = settings.whole("embed_dim", 128)
    return _built(settings, DCUNetConfig, values)


def _built(settings: _Settings, cls: type[Any], values: dict[str, Any]) -> Any:
    return dataclass_from(cls, values, f"the hyper-parameters of {settings.origin}")


def _sde(settings: _Settings) -> SDE:
    if settings.choice("sde", None, ("ouve", "sbve")) == "sbve":
        settings.require("k", "c")
        return SBVESDE(k=settings.number("k"), c=settings.number("c"))
    settings.require("theta", "sigma_min", "sigma_max")
    return OUVESDE(settings.number("theta"), settings.number("sigma_min"), settings.number("sigma_max"))


def _frontend(settings: _Settings, backbone: str) -> FrontEndConfig:
    base = FRONT_ENDS["16k"]
    rate = settings.whole("sr", base.sample_rate)
    if backbone == "ncsnpp_48k" and rate == base.sample_rate:
        rate = 48000  # the published script goes by the backbone; the setting has come later, with 16000 as its default
    return FrontEndConfig(
        sample_rate=rate,
        n_fft=settings.whole("n_fft", base.n_fft),
        hop_length=settings.whole("hop_length", base.hop_length),
        window=settings.choice("window", base.window, ("hann", "sqrthann")),  # type: ignore[arg-type]
        transform=settings.choice("transform_type", base.transform, ("exponent", "log", "none")),  # type: ignore[arg-type]
        exponent=settings.number("spec_abs_exponent", base.exponent),
        factor=settings.number("spec_factor", base.factor),
        normalize=settings.choice("normalize", base.normalize, ("noisy", "clean", "not")),  # type: ignore[arg-type]
    )


def _parameterisation(settings: _Settings, backbone: str) -> Parameterisation:
    loss = settings.choice("loss_type", "score_matching", _LOSSES)
    output = "data" if loss == "data_prediction" else "score"
    if backbone != "ncsnpp_v2":
        # The older forward is the negative network, whatever the loss takes it for.
        return Parameterisation(output=output, sign=-1)  # type: ignore[arg-type]
    out = settings.choice("c_out", "1", ("1", "sigma", "1/sigma", "edm"))
    skip = settings.choice("c_skip", "0", ("0", "edm"))
    if loss == "denoiser":  # the network predicts the path's mean, and its other scales are not looked at
        out, skip = "1/sigma^2", "-1/sigma^2"
    return Parameterisation(
        output=output,  # type: ignore[arg-type]
        c_in=settings.choice("c_in", "1", ("1", "edm")),  # type: ignore[arg-type]
        c_out=out,  # type: ignore[arg-type]
        c_skip=skip,  # type: ignore[arg-type]
        network_scaling=settings.choice("network_scaling", None, (None, "1/sigma", "1/t")),  # type: ignore[arg-type]
        sigma_data=settings.number("sigma_data", 0.1),
    )


def _sampling(settings: _Settings, backbone: str, sde: SDE) -> SamplingConfig:
    padding = "reflect" if backbone in ("ncsnpp_v2", "ncsnpp_48k") else "zero"
    if isinstance(sde, SBVESDE):
        kind = settings.choice("sampler_type", "ode", ("ode", "sde", "pc"))
        bridge = "sb_sde" if kind == "sde" else "sb_ode"
        return SamplingConfig(sampler=bridge, steps=settings.whole("N", 50), frame_padding=padding)  # type: ignore[arg-type]
    end = settings.number("t_eps", sde.t_end)
    sampler = settings.choice("sampler_type", "pc", ("pc", "ode"))
    flow = sampler == "pc" and settings.flag("probability_flow")
    return SamplingConfig(
        PublishedPC(probability_flow=True) if flow else sampler,
        steps=settings.whole("N", 30),
        t_end=None if end == sde.t_end else end,
        frame_padding=padding,  # type: ignore[arg-type]
    )
