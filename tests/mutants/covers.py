"""Which tests are to fall when a file is wrong."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "shared",
    "tsdiff",
    "speech",
    "recipes/speech_pairs",
    "recipes/default_forecaster",
    "recipes/free_sources",
    "recipes/upper_band",
)

LEFT_OUT = ("/__init__.py", "plots.py", "/picture.py", "shared/errors.py", "/commands/", "/presets.py")
"""Exports, what is looked at, words, and tables of settings; commands are tested by whole runs, minutes for each."""

TESTS = {
    "shared/": (
        "shared/console/test_progress.py",
        "shared/training/test_training.py",
        "shared/training/test_optimisation.py",
    ),
    "shared/files/checkpoint.py": ("shared/files/test_checkpoint.py", "tsdiff/model/test_model.py", "test_hub.py"),
    "shared/console/harmless.py": ("shared/console/test_harmless.py",),
    "shared/console/command.py": ("shared/console/test_command.py",),
    "shared/elbo.py": ("shared/test_elbo.py",),
    "shared/views.py": ("shared/test_likelihood.py", "shared/samplers/test_solvers.py"),
    "shared/guidance.py": (
        "shared/samplers/test_samplers.py",
        "shared/test_guidance.py",
        "tsdiff/sampling/test_guidance.py",
    ),
    "shared/files/io.py": ("shared/files/test_io.py", "shared/files/test_checkpoint.py"),
    "shared/likelihood.py": ("shared/test_likelihood.py",),
    "shared/optional.py": ("test_extras.py",),
    "shared/lazy.py": ("shared/test_siblings.py", "tsdiff/test_mistakes.py"),
    "shared/training/loop.py": (
        "shared/training/test_training.py",
        "shared/console/test_progress.py",
        "data_parallel/test_data_parallel.py",
    ),
    "shared/experiment.py": (
        "speech/training/test_default_settings.py",
        "speech/training/test_speech_training.py",
        "tsdiff/experiment/test_experiment.py",
    ),
    "shared/samplers/mcmc.py": ("shared/samplers/test_mcmc.py",),
    "shared/training/optimisers.py": (
        "shared/training/test_optimisers.py",
        "shared/training/test_optimisation.py",
    ),
    "shared/training/memory.py": ("shared/training/test_memory.py",),
    "shared/training/monitoring.py": ("speech/training/test_speech_training.py",),
    "shared/objectives.py": ("shared/test_objectives.py", "speech/training/test_losses.py"),
    "shared/files/pickles.py": ("shared/files/test_pickles.py",),
    "shared/predictions.py": (
        "shared/test_predictions.py",
        "speech/model/test_scales.py",
        "shared/flow_maps/test_sampler.py",
    ),
    "shared/console/progress.py": ("shared/console/test_progress.py", "recipes/test_verbs.py"),
    "shared/random.py": ("shared/test_random.py", "shared/training/test_training.py"),
    "shared/samplers/published.py": (
        "shared/samplers/test_published_start.py",
        "speech/inference/test_speech_sampling.py",
    ),
    "shared/samplers/trial.py": ("speech/inference/test_advice.py",),
    "shared/samplers/gaussian.py": ("shared/samplers/test_gaussian_sampler.py",),
    "shared/samplers/laws.py": ("shared/samplers/test_gaussian_sampler.py", "shared/samplers/test_level_shift.py"),
    "shared/samplers/search.py": ("shared/samplers/test_search.py",),
    "shared/samplers/level.py": ("shared/samplers/test_level_shift.py",),
    "shared/samplers/evodiff.py": ("shared/samplers/test_evodiff.py",),
    "shared/samplers/brownian.py": ("shared/samplers/test_solvers.py",),
    "shared/shift.py": ("shared/samplers/test_solvers.py",),
    "shared/coupling.py": ("shared/test_coupling.py",),
    "shared/noise/": (
        "shared/noise/test_factors.py",
        "shared/noise/test_coloured_paths.py",
        "shared/noise/test_student.py",
        "tsdiff/model/test_tsflow.py",
    ),
    "shared/kinds.py": ("shared/sde/test_sde.py", "tsdiff/model/test_model.py"),
    "shared/samplers/": (
        "shared/samplers/test_samplers.py",
        "shared/samplers/test_solvers.py",
        "shared/samplers/test_probability_flow.py",
    ),
    "shared/sde/anchored.py": (
        "shared/sde/test_sde.py",
        "shared/test_predictions.py",
        "shared/samplers/test_solvers.py",
        "shared/sde/test_own_end.py",
    ),
    "shared/flow_maps/span.py": ("tsdiff/model/test_flow_map_backbones.py",),
    "shared/sde/": ("shared/sde/test_sde.py", "shared/test_predictions.py", "shared/sde/test_own_end.py"),
    "shared/files/settings.py": ("speech/training/test_speech_training.py", "tsdiff/experiment/test_experiment.py"),
    "speech/": ("speech/test_enhancer.py", "speech/model/test_speech_model.py", "speech/model/test_frontend.py"),
    "speech/enhancer.py": (
        "speech/test_enhancer.py",
        "speech/inference/test_plausible.py",
        "speech/model/test_frontend.py",
    ),
    "speech/inference/files.py": (
        "speech/inference/test_plausible.py",
        "speech/test_enhancer.py",
        "speech/inference/test_removed.py",
    ),
    "speech/inference/advice.py": ("speech/inference/test_advice.py", "speech/inference/test_plausible.py"),
    "speech/audio/arrays.py": ("speech/test_enhancer.py", "speech/inference/test_streaming.py"),
    "speech/audio/paths.py": ("speech/model/test_hostile.py", "speech/audio/test_audio.py"),
    "speech/audio/files.py": ("speech/audio/test_audio.py", "speech/audio/test_kept.py"),
    "speech/audio/writing.py": (
        "speech/audio/test_audio.py",
        "speech/audio/test_kept.py",
        "speech/audio/test_eight_bits.py",
    ),
    "speech/audio/resampling.py": ("speech/audio/test_audio.py",),
    "speech/model/backbones/": (
        "speech/model/test_light.py",
        "speech/model/test_ncsnpp.py",
        "speech/model/test_dcunet.py",
    ),
    "speech/model/backbones/dcunet.py": ("speech/model/test_dcunet.py",),
    "speech/model/backbones/fir.py": ("speech/model/test_fir.py", "speech/model/test_ncsnpp.py"),
    "speech/model/backbones/light": ("speech/model/test_light.py", "speech/inference/test_streaming.py"),
    "speech/model/backbones/ncsnpp": ("speech/model/test_ncsnpp.py", "speech/importing/test_speech_importing.py"),
    "speech/audio/chunks.py": ("speech/audio/test_kept.py",),
    "speech/audio/measured.py": ("speech/audio/test_kept.py",),
    "speech/audio/wide_text.py": ("speech/audio/test_positions.py",),
    "speech/audio/coding.py": ("speech/audio/test_kept.py", "speech/audio/test_audio.py"),
    "speech/model/config.py": ("speech/model/test_speech_model.py", "speech/inference/test_speech_sampling.py"),
    "speech/model/corrector.py": ("speech/model/test_corrector.py",),
    "speech/training/curves.py": ("recipes/test_train_speech_recipe.py",),
    "speech/data/": ("speech/data/test_mixing.py", "speech/data/test_targets.py", "speech/data/test_noises.py"),
    "speech/data/degrade.py": ("speech/data/test_degrade.py", "speech/data/test_mixing.py"),
    "speech/data/pairs.py": ("speech/data/test_pairs.py", "speech/training/test_splits.py"),
    "recipes/speech_pairs/": ("speech/data/test_backgrounds.py", "recipes/test_prepare.py"),
    "speech/data/rooms.py": ("speech/data/test_sabine.py", "speech/data/test_rooms.py", "speech/data/test_targets.py"),
    "speech/data/validation.py": ("speech/data/test_validation_pairs.py",),
    "speech/training/settings.py": (
        "speech/training/test_default_settings.py",
        "speech/training/test_speech_training.py",
        "speech/training/test_splits.py",
    ),
    "speech/audio/ogg.py": ("speech/audio/test_kept_lengths.py",),
    "speech/audio/flac.py": ("speech/audio/test_kept.py", "speech/audio/test_audio.py"),
    "speech/inference/folders.py": ("speech/inference/test_folders.py", "speech/test_enhance_recipe.py"),
    "speech/importing/": ("speech/importing/test_speech_importing.py",),
    "speech/inference/longform.py": ("speech/inference/test_longform.py",),
    "speech/training/terms.py": ("speech/training/test_losses.py",),
    "speech/metrics/": (
        "speech/metrics/test_metrics.py",
        "speech/metrics/test_evaluate.py",
        "speech/metrics/test_evaluate_command.py",
    ),
    "speech/metrics/loizou.py": ("speech/metrics/test_composite.py", "speech/metrics/test_composite_regressions.py"),
    "speech/metrics/segmental.py": ("speech/metrics/test_composite.py",),
    "speech/model/model.py": ("speech/model/test_speech_model.py", "speech/model/test_frontend.py"),
    "speech/inference/sampling.py": ("speech/inference/test_speech_sampling.py",),
    "speech/audio/media.py": ("speech/audio/test_media.py",),
    "speech/audio/muxing.py": ("speech/audio/test_media.py", "speech/audio/test_tracks.py"),
    "speech/audio/tracks.py": ("speech/audio/test_tracks.py",),
    "speech/audio/changes.py": ("speech/inference/test_changing_files.py",),
    "speech/audio/edit_lists.py": ("speech/audio/test_edit_lists.py",),
    "speech/audio/loudness.py": ("speech/audio/test_loudness.py",),
    "speech/audio/levelled.py": ("speech/audio/test_limiter.py", "speech/audio/test_loudness.py"),
    "speech/audio/limiter.py": ("speech/audio/test_limiter.py",),
    "speech/inference/removed.py": ("speech/inference/test_removed.py",),
    "speech/inference/engine.py": ("speech/test_enhancer.py", "speech/inference/test_folders.py"),
    "speech/inference/members.py": ("speech/inference/test_members.py",),
    "speech/inference/companion.py": ("speech/inference/test_members.py",),
    "speech/inference/plan.py": ("speech/inference/test_folders.py", "speech/test_enhance_pipes.py"),
    "speech/audio/search.py": ("speech/inference/test_folders.py", "speech/data/test_clips.py"),
    "speech/audio/errors.py": (
        "speech/audio/test_full_disks.py",
        "speech/inference/test_folders.py",
        "speech/data/test_clips.py",
    ),
    "speech/inference/plausible.py": ("speech/inference/test_plausible.py",),
    "speech/inference/segments.py": (
        "speech/inference/test_segments.py",
        "speech/inference/test_longform.py",
        "speech/inference/test_streaming.py",
        "speech/inference/test_held_level.py",
    ),
    "speech/inference/streaming.py": (
        "speech/inference/test_onnx.py",
        "speech/inference/test_stream_frames.py",
        "speech/inference/test_streaming.py",
        "speech/inference/test_plausible.py",
        "speech/inference/test_held_level.py",
    ),
    "speech/audio/tags.py": ("speech/audio/test_kept.py",),
    "speech/training/fit.py": ("speech/training/test_speech_training.py",),
    "speech/training/recordings.py": ("speech/training/test_splits.py", "speech/training/test_speech_training.py"),
    "tsdiff/windows/sides.py": ("tsdiff/windows/test_sides.py", "tsdiff/windows/test_anchors.py"),
    "tsdiff/windows/hanging.py": ("tsdiff/windows/test_sides.py", "tsdiff/sampling/test_dependence.py"),
    "tsdiff/": ("tsdiff/test_predictor.py", "tsdiff/model/test_model.py", "tsdiff/test_estimator.py"),
    **dict.fromkeys(
        (f"tsdiff/tasks/anomaly/{name}.py" for name in ("scored", "scores", "thresholds")),
        ("tsdiff/tasks/test_anomaly.py",),
    ),
    "tsdiff/tasks/anomaly/forecasts.py": ("tsdiff/tasks/test_anomaly_forecasts.py",),
    "tsdiff/tasks/anomaly/lasting.py": ("tsdiff/tasks/test_anomaly_forecasts.py",),
    "tsdiff/tasks/calendar_search.py": (
        "tsdiff/tasks/test_calendar_days.py",
        "tsdiff/tasks/test_calendar_hours.py",
    ),
    "tsdiff/tasks/calendar_shape.py": ("tsdiff/tasks/test_calendar_shape.py",),
    "tsdiff/tasks/decisions.py": ("tsdiff/tasks/test_changed.py", "tsdiff/tasks/test_totals.py"),
    "tsdiff/tasks/noted.py": ("tsdiff/tasks/test_covariates.py", "tsdiff/tasks/test_totals.py"),
    "tsdiff/tasks/anomaly/calendars.py": ("tsdiff/tasks/test_anomaly_calendar.py",),
    "tsdiff/model/backbones/": (
        "tsdiff/model/test_backbone.py",
        "tsdiff/model/test_s4.py",
        "tsdiff/model/test_gradients.py",
    ),
    **dict.fromkeys(
        (f"tsdiff/model/backbones/{name}.py" for name in ("companion", "spacetime")),
        ("tsdiff/model/test_spacetime.py",),
    ),
    "tsdiff/windows/transforms.py": ("tsdiff/windows/test_transforms.py",),
    "tsdiff/baselines/": (
        "tsdiff/data/test_layout.py",
        "tsdiff/baselines/test_baselines.py",
    ),
    "tsdiff/windows/calendar.py": ("tsdiff/windows/test_windows.py", "tsdiff/pretraining/test_synthetic.py"),
    "tsdiff/model/config.py": ("tsdiff/test_estimator.py", "tsdiff/model/test_model.py", "tsdiff/test_predictor.py"),
    "tsdiff/windows/covariance.py": ("tsdiff/windows/test_measured.py", "tsdiff/windows/test_covariance.py"),
    "tsdiff/data/": ("tsdiff/data/test_data.py", "tsdiff/data/test_load.py", "tsdiff/data/test_data_sets.py"),
    "tsdiff/data/agreed.py": ("tsdiff/data/test_agreed.py",),
    "tsdiff/data/grids.py": ("tsdiff/data/test_times.py", "tsdiff/data/test_data.py"),
    "tsdiff/data/stuck.py": ("tsdiff/data/test_stuck.py",),
    "tsdiff/data/covariates.py": (
        "tsdiff/data/test_layout.py",
        "tsdiff/data/test_covariates.py",
        "tsdiff/data/test_data.py",
    ),
    "tsdiff/data/frames.py": ("tsdiff/data/test_data.py", "tsdiff/data/test_load.py", "tsdiff/data/test_covariates.py"),
    "tsdiff/data/named.py": ("tsdiff/faces/test_input_names.py", "tsdiff/faces/test_covariate_order.py"),
    "tsdiff/data/columns.py": ("tsdiff/data/test_data.py", "tsdiff/data/test_frames.py"),
    "tsdiff/data/layouts.py": ("tsdiff/data/test_load.py", "tsdiff/data/test_frames.py"),
    "tsdiff/data/store.py": ("tsdiff/data/test_store.py",),
    "tsdiff/data/spool.py": ("tsdiff/data/test_store.py",),
    "tsdiff/data/windows.py": (
        "tsdiff/data/test_data_sets.py",
        "tsdiff/evaluation/test_evaluation.py",
        "tsdiff/data/test_data.py",
    ),
    "tsdiff/tasks/anomaly/detection.py": ("tsdiff/tasks/test_detection.py",),
    "tsdiff/ensemble.py": ("tsdiff/test_ensemble.py",),
    "tsdiff/windows/series.py": (
        "tsdiff/windows/test_recent_history.py",
        "tsdiff/data/test_data.py",
        "tsdiff/windows/test_windows.py",
        "tsdiff/test_predictor.py",
    ),
    "tsdiff/estimator.py": (
        "tsdiff/model/test_averaged_weights.py",
        "tsdiff/test_estimator.py",
        "tsdiff/windows/test_missing.py",
    ),
    "tsdiff/evaluation/metrics.py": ("tsdiff/evaluation/test_evaluation.py", "tsdiff/evaluation/test_scores.py"),
    "tsdiff/experiment/experiment.py": ("tsdiff/experiment/test_experiment.py",),
    "tsdiff/sampling/settings.py": (
        "tsdiff/test_mistakes.py",
        "tsdiff/sampling/test_guidance.py",
        "tsdiff/test_predictor.py",
    ),
    "tsdiff/sampling/guidance.py": ("tsdiff/sampling/test_guidance.py", "tsdiff/sampling/test_posterior.py"),
    "tsdiff/importing/": ("tsdiff/importing/test_importing.py", "tsdiff/importing/test_parity.py"),
    "tsdiff/tasks/imputation/": ("tsdiff/tasks/test_imputation.py",),
    "tsdiff/tasks/anomaly/injection.py": ("tsdiff/tasks/test_injection.py",),
    "tsdiff/evaluation/joint.py": ("tsdiff/test_predictor.py", "tsdiff/data/test_covariates.py"),
    "tsdiff/sampling/known_covariance.py": ("tsdiff/windows/test_covariance.py", "tsdiff/sampling/test_posterior.py"),
    "tsdiff/sampling/kernels.py": ("tsdiff/windows/test_covariance.py", "tsdiff/sampling/test_guidance.py"),
    "tsdiff/faces/doors.py": ("tsdiff/fitting/test_told_unused.py", "tsdiff/faces/test_input_names.py"),
    "tsdiff/fitting/starting.py": ("tsdiff/faces/test_input_names.py", "tsdiff/test_flow_map.py"),
    "tsdiff/faces/saved.py": ("tsdiff/test_saved.py",),
    "tsdiff/faces/keywords.py": ("tsdiff/test_mistakes.py",),
    "tsdiff/tasks/likelihood.py": ("tsdiff/tasks/test_likelihood.py",),
    "tsdiff/windows/missing.py": ("tsdiff/windows/test_missing.py",),
    "tsdiff/model/model.py": (
        "tsdiff/windows/test_measured.py",
        "tsdiff/model/test_model.py",
        "tsdiff/test_predictor.py",
    ),
    "tsdiff/model/times.py": ("tsdiff/sampling/test_guidance.py",),
    "tsdiff/sampling/drawing.py": ("tsdiff/sampling/test_posterior.py",),
    "tsdiff/predictor.py": (
        "tsdiff/windows/test_recent_history.py",
        "tsdiff/test_predictor.py",
        "tsdiff/test_saved.py",
    ),
    "tsdiff/sampling/published.py": ("tsdiff/sampling/test_published_guidance.py",),
    "tsdiff/tasks/refinement/": (
        "tsdiff/tasks/test_refine.py",
        "tsdiff/tasks/test_refine_energy.py",
        "tsdiff/tasks/test_refine_tuning.py",
    ),
    "tsdiff/evaluation/tables.py": ("tsdiff/evaluation/test_results_table.py", "tsdiff/evaluation/test_scores.py"),
    "tsdiff/faces/serde.py": ("tsdiff/test_mistakes.py", "tsdiff/test_saved.py"),
    "tsdiff/windows/scales.py": (
        "tsdiff/windows/test_windows.py",
        "tsdiff/windows/test_levels.py",
        "tsdiff/importing/test_parity.py",
    ),
    "tsdiff/windows/short.py": ("tsdiff/windows/test_short.py", "tsdiff/windows/test_windows.py"),
    "tsdiff/windows/source.py": (
        "tsdiff/windows/test_measured.py",
        "tsdiff/windows/test_windows.py",
        "tsdiff/test_estimator.py",
    ),
    "tsdiff/tasks/synthesis/": ("tsdiff/tasks/test_synthesis.py", "tsdiff/tasks/test_realism.py"),
    "tsdiff/tasks/synthesis/downstream.py": ("tsdiff/tasks/test_downstream.py",),
    "tsdiff/tasks/synthesis/statistics.py": ("tsdiff/tasks/test_realism.py",),
    "recipes/default_forecaster/": ("tsdiff/pretraining/test_synthetic.py",),
    "recipes/upper_band/": (
        "speech/training/test_upper_band_training.py",
        "speech/training/test_extension_training.py",
    ),
    "recipes/free_sources/": ("recipes/test_series_sets.py", "tsdiff/pretraining/test_further_sets.py"),
    "tsdiff/pretraining/": ("tsdiff/pretraining/test_synthetic.py", "tsdiff/model/test_averaged_weights.py"),
    "tsdiff/pretraining/finetuning.py": ("tsdiff/test_default_model.py",),
    "tsdiff/evaluation/tuning.py": ("tsdiff/evaluation/test_tuning.py",),
    "tsdiff/windows/conditioning.py": ("tsdiff/windows/test_windows.py", "tsdiff/windows/test_levels.py"),
}
"""Files below tests/ by the beginning of a path; the longest beginning counts. Tests that import a file need no entry,
nor do those in the folder of the same name."""

PARTS: dict[str, tuple[str, ...]] = {
    "recipes/test_page.py": ("recipes/test_page_sound.py",),
    "recipes/test_prepare.py": ("recipes/test_prepare_own.py",),
    "shared/samplers/test_samplers.py": (
        "shared/samplers/test_published_steps.py",
        "shared/samplers/test_sampler_calls.py",
        "shared/samplers/test_sampler_states.py",
        "shared/samplers/test_sampler_times.py",
    ),
    "shared/sde/test_sde.py": (
        "shared/sde/test_sde_settings.py",
        "shared/sde/test_sde_tables.py",
    ),
    "shared/training/test_training.py": ("shared/training/test_training_settings.py",),
    "speech/audio/test_audio.py": (
        "speech/audio/test_full_disks.py",
        "speech/audio/test_resampling.py",
    ),
    "speech/audio/test_kept.py": ("speech/audio/test_kept_lengths.py",),
    "speech/data/test_mixing.py": ("speech/data/test_clips.py",),
    "speech/test_enhancer.py": ("speech/test_enhancer_arguments.py",),
    "speech/training/test_speech_training.py": ("speech/training/test_experiment_settings.py",),
    "tsdiff/data/test_data.py": ("tsdiff/data/test_times.py",),
    "tsdiff/data/test_frames.py": ("tsdiff/data/test_frame_times.py",),
    "tsdiff/data/test_load.py": ("tsdiff/data/test_load_folders.py",),
    "tsdiff/faces/test_predict_df.py": (
        "tsdiff/faces/test_cross_validation_df.py",
        "tsdiff/faces/test_predict_df_covariates.py",
    ),
    "tsdiff/importing/test_importing.py": (
        "tsdiff/importing/test_importing_conditional.py",
        "tsdiff/importing/test_importing_refused.py",
    ),
    "tsdiff/scale/test_scale.py": ("tsdiff/scale/test_scale_covariates.py",),
    "tsdiff/tasks/test_refine.py": ("tsdiff/tasks/test_refine_base.py",),
    "tsdiff/tasks/test_synthesis.py": ("tsdiff/tasks/test_synthesis_files.py",),
    "tsdiff/test_default_model.py": (
        "tsdiff/test_default_model_gaps.py",
        "tsdiff/test_fine_tuning.py",
    ),
    "tsdiff/windows/test_anchors.py": ("tsdiff/windows/test_anchored_windows.py",),
}
"""What test files were parted into, of those that are one where tests are chosen."""

SLOW = ("shared/scale/on_ray.py",)
"""Files that only tests marked slow are of: on Ray, which takes seconds to start."""

ROOT = Path(__file__).resolve().parents[2]
_MOST_OF_ITS_OWN, _MOST_BESIDE = 4, 5
_WHOLE = ("shared/", "speech/", "tsdiff/")


def covering(file: str, line: str = "") -> tuple[str, ...]:
    """Paths of the test files of a line of a file: those listed, those that import the file, of which the ones that
    import least else, and those of its folder, if they are few; where there is none, those of the whole package."""
    beginning = max((key for key in TESTS if file.startswith(key)), key=len)
    listed = [f"tests/{name}" for name in TESTS[beginning]]
    module = file.removesuffix(".py").replace("/", ".").removeprefix("recipes.")
    importing = sorted((len(names), name) for name, names in _imports().items() if module in names)
    own = [name for _, name in importing[:_MOST_OF_ITS_OWN]]
    folder = f"tests/{Path(file).parent.as_posix()}"
    if beginning in _WHOLE and folder.count("/") > 1:
        beside = [name for name in _imports() if Path(name).parent.as_posix() == folder]
        own += beside if not own or len(beside) <= _MOST_BESIDE else []
    if beginning in _WHOLE and own:
        listed = []
    of_all = ["tests/test_settings.py"] if line.startswith("@dataclass") else []
    chosen = dict.fromkeys([*of_all, *listed, *own])
    return tuple(f"tests/{part}" for name in chosen for part in _parts(name.removeprefix("tests/")))


def _parts(name: str) -> tuple[str, ...]:
    return (name, *PARTS.get(name, ()))


@functools.cache
def _imports() -> dict[str, frozenset[str]]:
    """The modules, and what may be modules, that each test file imports, with all of its parts."""
    whole = {f"tests/{part}": f"tests/{name}" for name in PARTS for part in _parts(name)}
    found: dict[str, frozenset[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        name = path.relative_to(ROOT).as_posix()
        name = whole.get(name, name)
        found[name] = found.get(name, frozenset()) | names
    return found


def mutable_files(root: Path) -> Iterator[str]:
    """Paths, from the root, of the files that bugs are planted in."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            if not any(part in file for part in LEFT_OUT):
                yield file
