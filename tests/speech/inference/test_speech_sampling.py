"""Sampling of spectrograms: against the published samplers, and what holds of any."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.errors import ConfigError
from shared.files.settings import dataclass_from
from shared.random import make_generator
from shared.samplers import AdaptiveODE, Exponential, GaussianExponential, PredictorCorrector, TimeODE, sample
from shared.samplers.laws import Spectrum
from shared.samplers.level import LevelShift
from shared.sde import BBEDSDE, OUVESDE, SBVESDE, VPSDE
from speech.inference.sampling import looks_at_the_whole, only_call, sample_spectrogram, sampling_times
from speech.model.backbones import NCSNppConfig
from speech.model.config import Parameterisation, Sampler, SamplingConfig, SpeechConfig
from speech.model.corrector import PublishedPC
from speech.model.model import SpeechModel
from tests.golden.recipe import RecipeNoise, complex_draw
from tests.golden.sgmse_cases import BRIDGE_CASES, PC_CASES, PC_STEPS, SCALES, fill_linear, key
from tests.golden.store import Golden
from tests.speech.conftest import TINY_FRONT_END, LinearModel

DATA = Parameterisation(output="data")


@pytest.fixture
def noisy() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.3 * torch.randn(2, 1, TINY_FRONT_END.frequencies, 8, dtype=torch.complex64, generator=generator)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.fixture
def sampled() -> Tensor:
    """What the published samplers were given."""
    return 0.3 * complex_draw("sampled", 2, 1, TINY_FRONT_END.frequencies, 8)


@pytest.mark.parametrize(("corrector", "corrector_steps", "start", "flow"), PC_CASES)
def test_predictor_corrector_is_the_published_one(
    linear_model: LinearModel,
    sampled: Tensor,
    golden: Golden,
    corrector: Any,
    corrector_steps: int,
    start: float,
    flow: bool,
) -> None:
    model = linear_model(OUVESDE(), SCALES["score, skip"])
    fill_linear(model.backbone)
    noisy = sampled[:1] if corrector == "langevin" else sampled
    method = PublishedPC(corrector=corrector, corrector_steps=corrector_steps, probability_flow=flow)
    config = SamplingConfig(method, PC_STEPS, reverse_starting_point=start)
    found = sample_spectrogram(model, noisy, config, [RecipeNoise(i) for i in range(len(noisy))])
    golden.assert_close(found.x, key("pc", corrector, corrector_steps, start, flow), 1e-5)
    assert found.nfe == PC_STEPS * (1 + corrector_steps)


@pytest.mark.parametrize(("kind", "steps"), BRIDGE_CASES)
def test_bridge_samplers_are_the_published_ones(
    linear_model: LinearModel, sampled: Tensor, golden: Golden, kind: str, steps: int
) -> None:
    model = linear_model(SBVESDE(), DATA)
    fill_linear(model.backbone)
    sampler: Sampler = "sb_ode" if kind == "ode" else "sb_sde"
    found = sample_spectrogram(model, sampled, SamplingConfig(sampler, steps), [RecipeNoise(0), RecipeNoise(1)])
    # The published first step of the ODE multiplies rounding (`PublishedBridgeStart`): processors of other makes differ
    # so.
    golden.assert_close(found.x, key("bridge", kind, steps), 2e-3 if kind == "ode" and steps > 1 else 2e-5)
    assert found.nfe == steps


@pytest.mark.parametrize("sampler", ["ode1", "ode2", "ode3", "sde1", "sde2", "heun", "ode", "pc"])
def test_items_do_not_depend_on_their_batch(linear_model: LinearModel, noisy: Tensor, sampler: Sampler) -> None:
    model = linear_model(OUVESDE())
    config = SamplingConfig(sampler, 4)
    together = sample_spectrogram(model, noisy, config, [make_generator(0, 1), make_generator(0, 2)])
    alone = sample_spectrogram(model, noisy[1:], config, make_generator(0, 2))
    assert relative(together.x[1:], alone.x) < (1e-3 if sampler == "ode" else 1e-5)
    assert bool(torch.isfinite(torch.view_as_real(together.x)).all())


def gaussian_model(linear_model: LinearModel, sde: OUVESDE | SBVESDE | BBEDSDE, spread: float) -> SpeechModel:
    """Clean speech is y plus noise of this spread: x̂_0 has a closed form."""
    model = linear_model(sde, DATA)

    def best(x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
        total = alpha**2 * spread**2 + sigma**2
        return y if total == 0 else y + alpha * spread**2 / total * (x_t - y)

    model.backbone.forward = best  # type: ignore[assignment]
    return model


@pytest.mark.parametrize("sampler", ["sde1", "sde2", "pc"])
def test_samples_of_a_gaussian_have_its_spread(linear_model: LinearModel, sampler: Sampler) -> None:
    y = torch.zeros(1, 1, TINY_FRONT_END.frequencies, 2000, dtype=torch.complex64)
    model = gaussian_model(linear_model, SBVESDE() if sampler != "pc" else OUVESDE(), 0.2)
    config = SamplingConfig(sampler, 60, schedule="log_snr")
    found = sample_spectrogram(model, y, config, make_generator(1))
    assert float(found.x.abs().square().mean()) ** 0.5 == pytest.approx(0.2, rel=0.06)


def test_one_step_is_one_call_at_the_start(linear_model: LinearModel, noisy: Tensor) -> None:
    model = linear_model(SBVESDE(), DATA)
    found = sample_spectrogram(model, noisy, SamplingConfig("ode1", 1))
    assert found.nfe == 1
    assert relative(found.x, model.denoise(noisy, noisy, torch.ones(2)).detach()) < 1e-6


def test_suppression_is_a_power_of_the_gains_below_one(linear_model: LinearModel, noisy: Tensor) -> None:
    model = linear_model(SBVESDE(), DATA)
    noisy[..., 0] = 0
    plain = sample_spectrogram(model, noisy, SamplingConfig("ode1", 1)).x
    gain = plain.abs() / noisy.abs()
    lower = gain < 1
    assert 0.1 < float(lower.float().mean()) < 0.9
    for power in (0.5, 2.0):
        found = sample_spectrogram(model, noisy, SamplingConfig("ode1", 1, suppression=power)).x
        torch.testing.assert_close((found.abs() / noisy.abs())[lower], gain[lower] ** power, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found[~lower], plain[~lower])
        torch.testing.assert_close(found * plain.abs(), plain * found.abs(), rtol=1e-4, atol=1e-6)
        assert bool(torch.isfinite(torch.view_as_real(found)).all())


def test_fading_in_goes_by_what_was_heard(linear_model: LinearModel, noisy: Tensor) -> None:
    model = linear_model(SBVESDE(), DATA)
    noisy[1, ..., 1:3] = 0
    plain = sample_spectrogram(model, noisy, SamplingConfig("ode1", 1)).x
    fading = SamplingConfig("ode1", 1, fade_in=4)
    found = sample_spectrogram(model, noisy, fading, heard=[0, 2]).x
    more = [1.0] * (noisy.shape[-1] - 6)
    for item, shares in enumerate(([0, 0.25, 0.5, 0.75, 1, 1], [0.5, 0.75, 0.75, 0.75, 1, 1])):
        torch.testing.assert_close(found[item], torch.tensor([*shares, *more]) * plain[item])
    assert torch.equal(sample_spectrogram(model, noisy, fading, heard=[4, 900]).x, plain)
    torch.testing.assert_close(sample_spectrogram(model, noisy, fading).x[0], found[0])


@pytest.mark.parametrize(
    ("sampling", "time"),
    [
        (SamplingConfig("ode1", 1), 1.0),
        (SamplingConfig("sde1", 1), 1.0),
        (SamplingConfig("ode1", 2), None),
        (SamplingConfig("ode1", 1, t_end=0.1), None),
        (SamplingConfig("ode1", 1, reverse_starting_point=0.5), None),
        (SamplingConfig("map", 1), None),
    ],
)
def test_the_only_call_is_found(
    linear_model: LinearModel, noisy: Tensor, sampling: SamplingConfig, time: float | None
) -> None:
    assert only_call(SBVESDE(), sampling, noisy.shape[2]) == time
    assert only_call(OUVESDE(), sampling, noisy.shape[2]) is None  # whose state has noise
    if time is not None:
        model = linear_model(SBVESDE(), DATA)
        found = sample_spectrogram(model, noisy, sampling, make_generator(0)).x
        torch.testing.assert_close(model.denoise(noisy, noisy, torch.full((2,), time)).detach(), found)


def test_the_core_samplers_end_in_the_data_prediction(linear_model: LinearModel, noisy: Tensor) -> None:
    model = linear_model(OUVESDE())
    seen: list[float] = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, y, t: seen.append(float(t[0])) or forward(x, y, t)  # type: ignore[assignment]
    found = sample_spectrogram(model, noisy, SamplingConfig("ode2", 5), make_generator(0))
    assert found.nfe == len(seen) == 5
    np.testing.assert_allclose(seen, [1, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)
    seen.clear()
    assert sample_spectrogram(model, noisy, SamplingConfig("ode1", 3, t_end=0.1), make_generator(0)).t == pytest.approx(
        0.1
    )
    np.testing.assert_allclose(seen, [1, 0.7, 0.4], rtol=1e-6)


def test_the_probability_flow_predictor_alone_is_eulers_method(linear_model: LinearModel, noisy: Tensor) -> None:
    model = linear_model(OUVESDE())
    config = SamplingConfig(PublishedPC(corrector="none", probability_flow=True), 12)
    found = sample_spectrogram(model, noisy, config, make_generator(0))
    wanted = sample(
        lambda x, t: model.denoise(x, noisy, t),
        model.sde,
        y=noisy,
        method="euler",
        schedule=sampling_times(model.sde, config),
        generator=make_generator(0),
    )
    assert relative(found.x, wanted.x) < 1e-5
    assert found.nfe == wanted.nfe == 12
    assert (
        relative(found.x, sample_spectrogram(model, noisy, replace(config, sampler=PublishedPC(corrector="none"))).x)
        > 0.01
    )


@pytest.mark.parametrize("frames", [1, 7, 8])
def test_frames_are_sampled_as_they_are(linear_model: LinearModel, frames: int) -> None:
    model = linear_model(OUVESDE())
    seen: list[int] = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, y, t: seen.append(y.shape[-1]) or forward(x, y, t)  # type: ignore[assignment]
    y = torch.randn(1, 1, TINY_FRONT_END.frequencies, frames, dtype=torch.complex64)
    found = sample_spectrogram(model, y, SamplingConfig("ode2", 2, frame_padding="reflect"), make_generator(0))
    assert found.x.shape == y.shape
    assert seen == [frames, frames]


@pytest.mark.slow
def test_half_precision_is_close_and_keeps_the_state_in_float32() -> None:
    backbone = NCSNppConfig(nf=16, num_res_blocks=1)
    torch.manual_seed(0)
    model = SpeechModel(SpeechConfig(backbone=backbone, sampling=SamplingConfig("pc", 2))).eval()
    y = 0.1 * torch.randn(1, 1, 256, 64, dtype=torch.complex64)
    full = sample_spectrogram(model, y, generator=make_generator(0)).x
    half = replace(model.config.sampling, precision="bfloat16")
    coarse = sample_spectrogram(model, y, half, make_generator(0)).x
    assert coarse.dtype == torch.complex64
    assert 0 < relative(coarse, full) < 3e-2


def test_times() -> None:
    sde = OUVESDE()
    assert sampling_times(sde, SamplingConfig("pc", 1)).tolist() == [1, 0]
    np.testing.assert_allclose(sampling_times(sde, SamplingConfig("pc", 3, t_end=0.2)), [1, 0.6, 0.2, 0])
    np.testing.assert_allclose(sampling_times(SBVESDE(), SamplingConfig("sb_ode", 2)), [1, 0.50005, 1e-4])
    np.testing.assert_allclose(
        sampling_times(sde, SamplingConfig("ode1", 2, reverse_starting_point=0.5)), [0.5, 0.25, 0]
    )
    np.testing.assert_allclose(sampling_times(sde, SamplingConfig("ode1", 100))[-3:], [0.03 + 0.97 / 99, 0.03, 0])
    times = sampling_times(BBEDSDE(), SamplingConfig("ode2", 6, schedule="log_snr"))
    assert math.isclose(float(times[0]), 0.999)
    assert float(times[-1]) == 0
    assert len(times) == 7


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="SBVESDE"):
        sampling_times(VPSDE(), SamplingConfig("sb_ode"))
    with pytest.raises(ConfigError, match="t_end"):
        SamplingConfig(t_end=1.0)
    with pytest.raises(ConfigError, match="sampler 'ode2' takes no probability_flow=True"):
        SamplingConfig("ode2", probability_flow=True)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="end of a bridge"):
        sampling_times(SBVESDE(), SamplingConfig(PublishedPC(probability_flow=True)))
    sampling_times(SBVESDE(), SamplingConfig(PublishedPC(probability_flow=True), reverse_starting_point=0.9))
    with pytest.raises(ConfigError, match="reverse_starting_point"):
        sampling_times(OUVESDE(), SamplingConfig(reverse_starting_point=0.02))
    with pytest.raises(ConfigError, match="network_time"):
        SamplingConfig("ode2", network_time="next")
    with pytest.raises(ConfigError, match="suppression=-1"):
        SamplingConfig(suppression=-1)
    with pytest.raises(ConfigError, match="attenuation_limit=0"):
        SamplingConfig(attenuation_limit=0)
    with pytest.raises(ConfigError, match="sampler: 'best'"):
        SamplingConfig("best")  # type: ignore[arg-type]


def test_a_sampler_may_be_a_settings_object(linear_model: LinearModel, sampled: Tensor) -> None:
    model = linear_model(SBVESDE(), DATA)
    fill_linear(model.backbone)
    for name, method in (("ode2", Exponential(2)), ("sde3", Exponential(3, eta=1.0)), ("heun", TimeODE(2))):
        found = [
            sample_spectrogram(
                model, sampled, SamplingConfig(sampler, 4), [make_generator(i) for i in range(len(sampled))]
            )
            for sampler in (name, method)
        ]
        assert torch.equal(found[0].x, found[1].x)
    saved = json.loads(json.dumps(asdict(SamplingConfig(Exponential(2, eta=0.5)))))
    assert dataclass_from(SamplingConfig, saved, "here") == SamplingConfig(Exponential(2, eta=0.5))
    with pytest.raises(ConfigError, match="sampler: 'psychic': choose one of pc, ode, sb_ode"):
        SamplingConfig("psychic")
    with pytest.raises(ConfigError, match="order=4"):
        SamplingConfig({"kind": "exponential", "order": 4})


def test_what_chooses_its_steps_by_the_whole_is_told() -> None:
    whole = (
        "ode",
        "evodiff",
        AdaptiveODE(),
        Exponential(2, shift=LevelShift()),
        PublishedPC(corrector="langevin"),
        PredictorCorrector(corrector="langevin"),
    )
    for one in whole:
        assert looks_at_the_whole(SamplingConfig(one))
    for one in ("pc", "sde1", Exponential(3), PredictorCorrector()):
        assert not looks_at_the_whole(SamplingConfig(one))


def test_a_schedule_may_be_the_times_themselves() -> None:
    made = SamplingConfig("ode2", steps=3, schedule=(0.9, 0.5, 0.2, 0.0))
    assert sampling_times(SBVESDE(), made).tolist() == [0.9, 0.5, 0.2, 0.0]
    for text in (json.dumps(asdict(made)), json.dumps(asdict(replace(made, sampler=Exponential(2))))):
        assert dataclass_from(SamplingConfig, json.loads(text), "here").schedule == made.schedule
    with pytest.raises(ConfigError, match="give steps=3 with it"):
        replace(made, steps=8)
    with pytest.raises(ConfigError, match="must fall strictly"):
        replace(made, schedule=(0.9, 0.5, 0.5, 0.0))
    with pytest.raises(ConfigError, match="a schedule of its own; take ode2"):
        replace(made, sampler="pc")


def test_a_teleport_puts_all_steps_behind_it() -> None:
    method = GaussianExponential(Spectrum((1.0, 0.5)), teleport=0.0)
    for schedule in ("uniform", "log_snr"):
        for end in (None, 0.05):
            times = sampling_times(OUVESDE(), SamplingConfig(method, steps=4, schedule=schedule, t_end=end))
            assert (len(times), float(times[0])) == (5, 1.0)
            assert float(OUVESDE().log_snr(times[1])) > 0
    saved = json.loads(json.dumps(asdict(SamplingConfig(method))))
    assert dataclass_from(SamplingConfig, saved, "here") == SamplingConfig(method)
