"""Which tests are to fall when a file is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("shared", "tsdiff", "speech", "recipes/speech_pairs", "recipes/default_forecaster")

LEFT_OUT = ("/__init__.py", "plots.py", "/picture.py", "shared/errors.py", "/commands/", "/presets.py")
"""Exports, what is looked at, words, and tables of settings; commands are tested by whole runs, minutes for each."""

TESTS = {
    "shared/": ("shared/test_progress.py", "shared/test_training.py", "shared/test_optimisation.py"),
    "shared/files/checkpoint.py": ("shared/test_checkpoint.py", "tsdiff/test_model.py"),
    "shared/console/command.py": ("shared/test_command.py",),
    "shared/elbo.py": ("shared/test_elbo.py",),
    "shared/guidance.py": ("shared/test_samplers.py", "tsdiff/test_guidance.py"),
    "shared/files/io.py": ("shared/test_io.py", "shared/test_checkpoint.py"),
    "shared/likelihood.py": ("shared/test_likelihood.py",),
    "shared/optional.py": ("test_extras.py",),
    "shared/lazy.py": ("shared/test_siblings.py", "tsdiff/test_mistakes.py"),
    "shared/training/loop.py": (
        "shared/test_training.py",
        "shared/test_progress.py",
        "data_parallel/test_data_parallel.py",
    ),
    "shared/experiment.py": (
        "speech/test_default_settings.py",
        "speech/test_speech_training.py",
        "tsdiff/test_experiment.py",
    ),
    "shared/samplers/mcmc.py": ("shared/test_mcmc.py",),
    "shared/training/memory.py": ("shared/test_memory.py",),
    "shared/training/monitoring.py": ("speech/test_speech_training.py",),
    "shared/objectives.py": ("shared/test_objectives.py", "speech/test_losses.py"),
    "shared/files/pickles.py": ("shared/test_pickles.py",),
    "shared/predictions.py": ("shared/test_predictions.py", "speech/test_scales.py"),
    "shared/console/progress.py": ("shared/test_progress.py", "recipes/test_verbs.py"),
    "shared/random.py": ("shared/test_random.py", "shared/test_training.py"),
    "shared/samplers/published.py": ("speech/test_published_start.py", "speech/test_speech_sampling.py"),
    "shared/samplers/trial.py": ("speech/test_advice.py",),
    "shared/samplers/gaussian.py": ("shared/test_gaussian_sampler.py",),
    "shared/samplers/brownian.py": ("shared/test_solvers.py",),
    "shared/shift.py": ("shared/test_solvers.py",),
    "shared/kinds.py": ("shared/test_sde.py", "tsdiff/test_model.py"),
    "shared/samplers/": ("shared/test_samplers.py", "shared/test_solvers.py", "shared/test_probability_flow.py"),
    "shared/sde/": ("shared/test_sde.py", "shared/test_predictions.py"),
    "shared/files/settings.py": ("speech/test_speech_training.py", "tsdiff/test_experiment.py"),
    "speech/": ("speech/test_enhancer.py", "speech/test_speech_model.py", "speech/test_frontend.py"),
    "speech/enhancer.py": ("speech/test_enhancer.py", "speech/test_plausible.py", "speech/test_frontend.py"),
    "speech/inference/files.py": ("speech/test_plausible.py", "speech/test_enhancer.py"),
    "speech/inference/advice.py": ("speech/test_advice.py", "speech/test_plausible.py"),
    "speech/audio/arrays.py": ("speech/test_enhancer.py", "speech/test_streaming.py"),
    "speech/audio/paths.py": ("speech/test_hostile.py",),
    "speech/audio/files.py": ("speech/test_audio.py", "speech/test_kept.py"),
    "speech/model/backbones/": ("speech/test_light.py", "speech/test_ncsnpp.py", "speech/test_dcunet.py"),
    "speech/model/backbones/dcunet.py": ("speech/test_dcunet.py",),
    "speech/model/backbones/fir.py": ("speech/test_fir.py", "speech/test_ncsnpp.py"),
    "speech/model/backbones/light": ("speech/test_light.py", "speech/test_streaming.py"),
    "speech/model/backbones/ncsnpp": ("speech/test_ncsnpp.py", "speech/test_speech_importing.py"),
    "speech/audio/chunks.py": ("speech/test_kept.py",),
    "speech/audio/coding.py": ("speech/test_kept.py", "speech/test_audio.py"),
    "speech/model/config.py": ("speech/test_speech_model.py", "speech/test_speech_sampling.py"),
    "speech/training/curves.py": ("recipes/test_train_speech_recipe.py",),
    "speech/data/": ("speech/test_mixing.py", "speech/test_targets.py", "speech/test_noises.py"),
    "speech/data/degrade.py": ("speech/test_degrade.py", "speech/test_mixing.py"),
    "speech/data/pairs.py": ("speech/test_pairs.py", "speech/test_splits.py"),
    "recipes/speech_pairs/": ("speech/test_backgrounds.py", "recipes/test_prepare.py"),
    "speech/data/rooms.py": ("speech/test_sabine.py", "speech/test_rooms.py", "speech/test_targets.py"),
    "speech/data/validation.py": ("speech/test_validation_pairs.py",),
    "speech/training/settings.py": (
        "speech/test_default_settings.py",
        "speech/test_speech_training.py",
        "speech/test_splits.py",
    ),
    "speech/audio/flac.py": ("speech/test_kept.py", "speech/test_audio.py"),
    "speech/inference/folders.py": ("speech/test_folders.py", "speech/test_enhance_recipe.py"),
    "speech/importing/": ("speech/test_speech_importing.py",),
    "speech/inference/longform.py": ("speech/test_longform.py",),
    "speech/training/terms.py": ("speech/test_losses.py",),
    "speech/metrics/": ("speech/test_metrics.py", "speech/test_evaluate.py"),
    "speech/metrics/loizou.py": ("speech/test_composite.py", "speech/test_composite_regressions.py"),
    "speech/metrics/segmental.py": ("speech/test_composite.py",),
    "speech/model/model.py": ("speech/test_speech_model.py", "speech/test_frontend.py"),
    "speech/audio/patched.py": ("speech/test_kept.py",),
    "speech/inference/sampling.py": ("speech/test_speech_sampling.py",),
    "speech/inference/search.py": ("speech/test_folders.py", "speech/test_kept.py"),
    "speech/inference/plausible.py": ("speech/test_plausible.py",),
    "speech/inference/segments.py": ("speech/test_segments.py", "speech/test_longform.py", "speech/test_streaming.py"),
    "speech/inference/streaming.py": (
        "speech/test_stream_frames.py",
        "speech/test_streaming.py",
        "speech/test_plausible.py",
    ),
    "speech/audio/tags.py": ("speech/test_kept.py",),
    "speech/training/fit.py": ("speech/test_speech_training.py", "speech/test_splits.py"),
    "tsdiff/": ("tsdiff/test_predictor.py", "tsdiff/test_model.py", "tsdiff/test_estimator.py"),
    "tsdiff/tasks/anomaly/scores.py": ("tsdiff/test_anomaly.py",),
    "tsdiff/model/backbones/": ("tsdiff/test_backbone.py", "tsdiff/test_s4.py", "tsdiff/test_gradients.py"),
    "tsdiff/baselines/": (
        "tsdiff/test_layout.py",
        "tsdiff/test_baselines.py",
    ),
    "tsdiff/windows/calendar.py": ("tsdiff/test_windows.py", "tsdiff/test_synthetic.py"),
    "tsdiff/model/config.py": ("tsdiff/test_estimator.py", "tsdiff/test_model.py", "tsdiff/test_predictor.py"),
    "tsdiff/windows/covariance.py": ("tsdiff/test_measured.py", "tsdiff/test_covariance.py"),
    "tsdiff/data/": ("tsdiff/test_data.py", "tsdiff/test_load.py", "tsdiff/test_data_sets.py"),
    "tsdiff/data/covariates.py": ("tsdiff/test_layout.py", "tsdiff/test_covariates.py", "tsdiff/test_data.py"),
    "tsdiff/data/frames.py": ("tsdiff/test_data.py", "tsdiff/test_load.py", "tsdiff/test_covariates.py"),
    "tsdiff/data/store.py": ("tsdiff/test_store.py",),
    "tsdiff/data/spool.py": ("tsdiff/test_store.py",),
    "tsdiff/data/windows.py": ("tsdiff/test_data_sets.py", "tsdiff/test_evaluation.py", "tsdiff/test_data.py"),
    "tsdiff/tasks/anomaly/detection.py": ("tsdiff/test_detection.py",),
    "tsdiff/ensemble.py": ("tsdiff/test_ensemble.py",),
    "tsdiff/windows/series.py": (
        "tsdiff/test_recent_history.py",
        "tsdiff/test_data.py",
        "tsdiff/test_windows.py",
        "tsdiff/test_predictor.py",
    ),
    "tsdiff/estimator.py": ("tsdiff/test_averaged_weights.py", "tsdiff/test_estimator.py"),
    "tsdiff/evaluation/metrics.py": ("tsdiff/test_evaluation.py", "tsdiff/test_scores.py"),
    "tsdiff/experiment/experiment.py": ("tsdiff/test_experiment.py",),
    "tsdiff/sampling/settings.py": ("tsdiff/test_mistakes.py", "tsdiff/test_guidance.py", "tsdiff/test_predictor.py"),
    "tsdiff/sampling/guidance.py": ("tsdiff/test_guidance.py", "tsdiff/test_posterior.py"),
    "tsdiff/importing/": ("tsdiff/test_importing.py", "tsdiff/test_parity.py"),
    "tsdiff/tasks/imputation/": ("tsdiff/test_imputation.py",),
    "tsdiff/tasks/anomaly/injection.py": ("tsdiff/test_injection.py",),
    "tsdiff/evaluation/joint.py": ("tsdiff/test_predictor.py", "tsdiff/test_covariates.py"),
    "tsdiff/sampling/kernels.py": ("tsdiff/test_covariance.py", "tsdiff/test_guidance.py"),
    "tsdiff/faces/keywords.py": ("tsdiff/test_mistakes.py",),
    "tsdiff/tasks/likelihood.py": ("tsdiff/test_likelihood.py",),
    "tsdiff/windows/missing.py": ("tsdiff/test_missing.py",),
    "tsdiff/model/model.py": ("tsdiff/test_measured.py", "tsdiff/test_model.py", "tsdiff/test_predictor.py"),
    "tsdiff/sampling/drawing.py": ("tsdiff/test_posterior.py",),
    "tsdiff/predictor.py": ("tsdiff/test_recent_history.py", "tsdiff/test_predictor.py", "tsdiff/test_saved.py"),
    "tsdiff/sampling/published.py": ("tsdiff/test_published_guidance.py",),
    "tsdiff/tasks/refinement/": (
        "tsdiff/test_refine.py",
        "tsdiff/test_refine_energy.py",
        "tsdiff/test_refine_tuning.py",
    ),
    "tsdiff/evaluation/tables.py": ("tsdiff/test_results_table.py", "tsdiff/test_scores.py"),
    "tsdiff/faces/serde.py": ("tsdiff/test_mistakes.py", "tsdiff/test_saved.py"),
    "tsdiff/windows/scales.py": ("tsdiff/test_windows.py", "tsdiff/test_levels.py", "tsdiff/test_parity.py"),
    "tsdiff/windows/short.py": ("tsdiff/test_short.py", "tsdiff/test_windows.py"),
    "tsdiff/windows/source.py": ("tsdiff/test_measured.py", "tsdiff/test_windows.py", "tsdiff/test_estimator.py"),
    "tsdiff/tasks/synthesis/": ("tsdiff/test_synthesis.py", "tsdiff/test_realism.py"),
    "tsdiff/tasks/synthesis/downstream.py": ("tsdiff/test_downstream.py",),
    "tsdiff/tasks/synthesis/statistics.py": ("tsdiff/test_realism.py",),
    "recipes/default_forecaster/": ("tsdiff/test_synthetic.py",),
    "tsdiff/pretraining/": ("tsdiff/test_synthetic.py", "tsdiff/test_averaged_weights.py"),
    "tsdiff/pretraining/finetuning.py": ("tsdiff/test_default_model.py",),
    "tsdiff/evaluation/tuning.py": ("tsdiff/test_tuning.py",),
    "tsdiff/windows/conditioning.py": ("tsdiff/test_windows.py", "tsdiff/test_levels.py"),
}
"""Files below tests/ by the beginning of a path; the longest beginning counts."""


def covering(file: str, line: str = "") -> tuple[str, ...]:
    """Paths of the test files of a line of a file of a package."""
    beginning = max((key for key in TESTS if file.startswith(key)), key=len)
    of_all = ("test_settings.py",) if line.startswith("@dataclass") else ()
    return tuple(f"tests/{name}" for name in (*of_all, *TESTS[beginning]))


def mutable_files(root: Path) -> Iterator[str]:
    """Paths, from the root, of the files that bugs are planted in."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            if not any(part in file for part in LEFT_OUT):
                yield file
