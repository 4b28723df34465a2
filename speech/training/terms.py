"""Training objectives of speech models, on waveforms: the published ones, and terms that few-step models want."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from shared.checks import Chance, Checked, NonNegative, Share
from shared.errors import ConfigError
from shared.flow_maps import FlowMapSetting, MapLoss
from shared.objectives import DiffusionLoss, TimeSampler, Weighting
from shared.optional import install, is_there
from shared.predictions import Denoiser
from speech.model.frontend import FrontEnd
from speech.model.model import SpeechModel
from speech.training.rollout import Rollout

Loss = Literal["score_matching", "denoiser", "data_prediction"]
LossWeighting = Literal["1", "sigma^2", "edm"]

_WEIGHTINGS: Mapping[Loss | LossWeighting, Weighting] = {
    "score_matching": "noise",
    "data_prediction": "data",
    "1": "mean",
    "sigma^2": "mean_sigma2",
    "edm": "mean_edm",
}
"""The core's names of the losses, and of the denoiser's weightings."""

_OF_WAVEFORM = ("pesq_weight", "si_sdr_weight", "spectral_weight", "level_weight")
"""Terms that the data prediction alone may have."""

_LARGEST_SI_SDR = 30.0
"""dB; beyond it the SI-SDR term asks for nothing more."""

_LEVEL_RANGE = 1e-6
"""Of a recording's loudest power: what is below does not count for the levels of bands."""


@dataclass(frozen=True)
class ObjectiveConfig(Checked):
    """What is minimised (Richter et al. 2025, "Investigating training objectives", §II–III; names as in its code).

    With z the noise, D = σ²·score + x_t, μ the path's mean, F bins of frequency and N frames, an item's loss is
    "score_matching" ½ Σ |σ·score + z|²; "denoiser" ½ Σ w·|D − μ|²; "data_prediction" ½ Σ |x̂_0 − x_0|²/(F·N) and terms
    of the waveform, whose weights follow.

    Args:
        loss: which of these.
        weighting: w of "denoiser": "1", "sigma^2" or "edm", (σ² + σ_d²)/(σ σ_d)²; score matching knows "sigma^2" alone.
        per_element: divide the first two by F·N too, so that they do not grow with the crop.
        l1_weight: of half the mean absolute error of the waveform.
        pesq_weight: of a differentiable PESQ, 0.1·d + 0.0309·d_A (package torch-pesq); the paper has 5e-4.
        si_sdr_weight: of −SI-SDR in dB.
        spectral_weight: of the squared error of magnitudes^`spectral_exponent` and of the complex spectrum so
            compressed, averaged over transforms of `spectral_sizes` samples.
        spectral_magnitudes: share of the magnitudes in that. Where the phase cannot be known, a share a gives estimates
            a^(1/`spectral_exponent`) times as loud as what is most likely: −20 dB at .5 and .3, −3 dB at .9.
        spectral_exponent, spectral_sizes: of that.
        level_weight: of how far levels of bands are apart (`band_level_error`): where the fine structure cannot be
            known, the other terms are least for too little of it.
        level_quantile: which of the levels that are possible that term is least for: .5 for the middle one, below it
            for less the less is known.
        times: how training times are drawn.
        start_share: the share of items that are trained at t = T exactly, where sampling starts.
        flow_map: what a flow map's jumps are trained by, on a share of the items, to which the terms of the waveform
            have no part; None trains no map.
        rollout: fine-tuning of the sampler's last step, on states that the model's own earlier steps lead to; see
            `speech.training.rollout`.
    """

    loss: Loss = "score_matching"
    weighting: LossWeighting = "sigma^2"
    per_element: bool = False
    l1_weight: NonNegative = 0.001
    pesq_weight: NonNegative = 0.0
    si_sdr_weight: NonNegative = 0.0
    spectral_weight: NonNegative = 0.0
    spectral_magnitudes: Chance = 0.5
    spectral_exponent: Share = 0.3
    spectral_sizes: Annotated[tuple[Annotated[int, Ge(8)], ...], MinLen(1)] = (256, 512, 1024)
    level_weight: NonNegative = 0.0
    level_quantile: Share = 0.5
    times: TimeSampler = field(default_factory=lambda: TimeSampler(stratified=False))
    start_share: float = 0.0
    flow_map: FlowMapSetting | None = None
    rollout: Rollout | None = None

    def _related(self) -> None:
        met = self.loss != "score_matching" or self.weighting == "sigma^2"
        self._require(met, "weighting loss", "need weighting='sigma^2' for score matching")
        terms = [name for name in _OF_WAVEFORM if getattr(self, name)]
        met = self.loss == "data_prediction" or not terms
        need = "terms of the waveform need loss='data_prediction'; set their weights to 0 with another"
        self._require(met, " ".join(["loss", *terms]), need)
        either = self.flow_map is None or self.rollout is None
        self._require(either, "flow_map rollout", "train the map first, then roll it out in a training of its own")
        met = self.loss == "data_prediction" or self.rollout is None
        self._require(met, "loss", "a rollout needs loss='data_prediction', of the estimate that it ends with")
        _ = self.diffusion_loss  # which checks the rest

    @property
    def diffusion_loss(self) -> DiffusionLoss:
        """The core's objective that this is, without the terms of the waveform."""
        summed = self.loss != "data_prediction" and not self.per_element
        return DiffusionLoss(
            _WEIGHTINGS[self.weighting if self.loss == "denoiser" else self.loss],
            self.times,
            reduction="sum" if summed else "mean",
            scale=0.5,
            start_share=self.start_share,
        )

    @property
    def has_terms(self) -> bool:
        """Whether estimates are compared as waveforms too."""
        weights = (self.l1_weight, self.pesq_weight, self.si_sdr_weight, self.spectral_weight, self.level_weight)
        return self.loss == "data_prediction" and any(weights)


@dataclass(frozen=True)
class SpeechObjective:
    """The loss of a `SpeechModel` on a batch of waveforms; a `shared.training.module.Objective`.

    Args:
        config: what is minimised.
        teacher: of a flow map that is distilled.

    Raises:
        ConfigError: a term of PESQ without the package that computes it, or a map that lacks its teacher.
    """

    config: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    teacher: Denoiser | None = None

    def __post_init__(self) -> None:
        if self.config.pesq_weight and not is_there("torch_pesq"):
            raise ConfigError(
                f"objective.pesq_weight={self.config.pesq_weight:g} needs the package torch-pesq: "
                f"{install('pesq-loss')}, or train without this term: --set objective.pesq_weight=0"
            )
        self._loss()  # which refuses a map without its teacher

    def __call__(
        self,
        denoiser: SpeechModel,
        x0: Tensor,
        y: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
        **others: Any,
    ) -> Tensor:
        """The loss of each item, (batch,).

        Args:
            denoiser: the model under training.
            x0: clean waveforms (batch, samples) at the model's rate, as recorded; both are divided by the peak that
                the model's front end is configured for.
            y: noisy waveforms, likewise.
            generator: for times and noise.
            noise: standard complex noise (batch, 1, frequencies, frames) to use instead of drawing it.
            others: mask and condition, of which this objective takes none.

        Raises:
            ConfigError: there is no noisy waveform, or a mask, or a condition; or the score is asked for at the end of
                a bridge.
        """
        if y is None or any(value is not None and len(value) for value in others.values()):
            raise ConfigError("a speech objective takes clean and noisy waveforms, and neither masks nor conditions")
        scale = denoiser.frontend.scale(y, x0)
        clean = x0 / scale
        terms = partial(self._of_waveform, denoiser.frontend, clean) if self.config.has_terms else None
        target, anchor = denoiser.frontend(clean), denoiser.frontend(y / scale)
        if self.config.rollout is not None:
            estimate = self.config.rollout.estimate(denoiser.denoiser, anchor, generator)
            loss = 0.5 * _squared(estimate - target).flatten(1).mean(1)
            return loss if terms is None else loss + terms(estimate)
        return self._loss()(denoiser.denoiser, target, anchor, generator=generator, noise=noise, terms=terms)

    def _loss(self) -> DiffusionLoss | MapLoss:
        plain, jumps = self.config.diffusion_loss, self.config.flow_map
        return plain if jumps is None else MapLoss(plain, jumps, self.teacher)

    def _of_waveform(self, frontend: FrontEnd, clean: Tensor, estimate: Tensor) -> Tensor:
        """What estimated spectrograms (items, …), of the first items of the batch, cost as waveforms, (items,)."""
        clean = clean[: len(estimate)]
        config, loss = self.config, torch.zeros(len(clean), dtype=clean.dtype, device=clean.device)
        waveform = frontend.inverse(estimate, clean.shape[-1])
        if config.l1_weight:
            loss = loss + config.l1_weight * 0.5 * (waveform - clean).abs().mean(1)
        if config.spectral_weight:
            loss = loss + config.spectral_weight * self._spectral(waveform, clean)
        if config.level_weight:
            loss = loss + config.level_weight * band_level_error(waveform, clean, config.level_quantile)
        if config.si_sdr_weight:
            loss = loss - config.si_sdr_weight * bounded_si_sdr(waveform, clean)
        if config.pesq_weight:
            loss = loss + config.pesq_weight * pesq_term(waveform, clean, frontend.config.sample_rate)
        return loss

    def _spectral(self, estimate: Tensor, clean: Tensor) -> Tensor:
        sizes, exponent, magnitudes = (
            self.config.spectral_sizes,
            self.config.spectral_exponent,
            self.config.spectral_magnitudes,
        )
        total = torch.zeros(len(clean), dtype=clean.dtype, device=clean.device)
        for size in sizes:
            total = total + compressed_spectral_error(estimate, clean, size, exponent, magnitudes)
        return total / len(sizes)


def compressed_spectral_error(
    estimate: Tensor, clean: Tensor, size: int, exponent: float, magnitudes: float = 0.5
) -> Tensor:
    """The mean squared errors of |X|^exponent and of X·|X|^(exponent − 1), added by their shares, (batch,).

    Args:
        estimate, clean: waveforms (batch, samples).
        size: samples of the Hann window and the transform; frames are a quarter of it apart.
        exponent: of the compression (Braun and Tashev 2021, "A consolidated view of loss functions", eq. 11).
        magnitudes: share of the first of the two errors, which has no phase; the second has the rest.
    """
    estimate, clean = _at_least(size, estimate), _at_least(size, clean)
    window = torch.hann_window(size, dtype=clean.dtype, device=clean.device)

    def compressed(waveform: Tensor) -> tuple[Tensor, Tensor]:
        stft = torch.stft(waveform, size, size // 4, window=window, return_complex=True) / math.sqrt(size)
        magnitude = (_squared(stft) + 1e-8).sqrt()
        return magnitude.pow(exponent), stft * magnitude.pow(exponent - 1)

    of_estimate, of_clean = compressed(estimate), compressed(clean)
    by_magnitude, whole = (of_estimate[0] - of_clean[0]).square(), _squared(of_estimate[1] - of_clean[1])
    return (magnitudes * by_magnitude + (1 - magnitudes) * whole).flatten(1).mean(1)


def band_level_error(estimate: Tensor, clean: Tensor, quantile: float = 0.5) -> Tensor:
    """How far the levels of bands of 8 bins are apart, in tens of dB: the mean over bands and frames, (batch,).

    Spectra are those of Hann windows of 512 samples, half of that apart.

    Args:
        estimate, clean: waveforms (batch, samples).
        quantile: τ of the quantile loss, of which this is twice: a level that is too low costs τ, one too high 1 − τ
            (Koenker and Bassett 1978).

    Levels more than 60 dB below that of the loudest band and frame of `clean` count as that.
    """
    size = 512
    estimate, clean = _at_least(size, estimate), _at_least(size, clean)
    window = torch.hann_window(size, dtype=clean.dtype, device=clean.device)

    def power(waveform: Tensor) -> Tensor:
        stft = torch.stft(waveform, size, size // 2, window=window, return_complex=True)
        return nn.functional.avg_pool2d(_squared(stft)[:, 1:], (8, 1))

    of_estimate, of_clean = power(estimate), power(clean)
    floor = of_clean.amax((1, 2), keepdim=True) * _LEVEL_RANGE + torch.finfo(clean.dtype).tiny
    missing_level = torch.log10(of_clean + floor) - torch.log10(of_estimate + floor)
    return 2 * torch.maximum(quantile * missing_level, (quantile - 1) * missing_level).mean((1, 2))


def bounded_si_sdr(estimate: Tensor, clean: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), (batch,), that levels off at 30 dB.

    0 where `clean` (batch, samples) is silent.
    """
    energy = clean.square().sum(1)
    silent = energy == 0
    energy = torch.where(silent, torch.ones_like(energy), energy)
    target = ((estimate * clean).sum(1) / energy).unsqueeze(1) * clean
    signal = target.square().sum(1)
    distortion = (estimate - target).square().sum(1)
    floor = 10 ** (-_LARGEST_SI_SDR / 10)
    tiny = torch.finfo(clean.dtype).tiny ** 0.5
    ratio = 10 * torch.log10((signal + tiny) / (distortion + floor * signal + tiny))
    return torch.where(silent, torch.zeros_like(ratio), ratio)


def pesq_term(estimate: Tensor, clean: Tensor, sample_rate: int) -> Tensor:
    """0.1·d + 0.0309·d_A, the disturbances of PESQ (ITU-T P.862) as torch-pesq computes them, (batch,).

    0 for items whose waveforms (batch, samples) are silent or shorter than 0.4 s, which PESQ has no score for.
    """
    audible = (clean.abs().amax(1) > 1e-6) & (estimate.detach().abs().amax(1) > 1e-6)
    result = torch.zeros(len(clean), dtype=clean.dtype, device=clean.device)
    if clean.shape[-1] < 0.4 * sample_rate or not bool(audible.any()):
        return result
    perceived = _pesq(sample_rate, str(clean.device))
    heard = estimate[audible].float()
    if heard.requires_grad:  # where frames of both are digital silence, the package's square roots have none
        heard.register_hook(lambda gradient: gradient.nan_to_num(0.0, 0.0, 0.0))
    with torch.autocast(clean.device.type, enabled=False):
        values = perceived(clean[audible].float(), heard)
    return result.masked_scatter(audible, values.to(result.dtype))


@lru_cache(maxsize=4)
def _pesq(sample_rate: int, device: str) -> nn.Module:
    from torch_pesq import PesqLoss

    return PesqLoss(1.0, sample_rate=sample_rate).eval().requires_grad_(False).to(device)


def _at_least(samples: int, waveform: Tensor) -> Tensor:
    """Waveforms (batch, n) with silence behind them where they are shorter than so many samples."""
    return nn.functional.pad(waveform, (0, max(0, samples - waveform.shape[-1])))


def _squared(value: Tensor) -> Tensor:
    """|value|², real."""
    return torch.view_as_real(value).square().sum(-1)
