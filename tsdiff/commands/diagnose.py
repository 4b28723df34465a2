"""`tsdiff diagnose`: what the score of a model is worth by itself."""

from __future__ import annotations

from dataclasses import replace

from shared.console.command import claim_output, prepare
from shared.diagnostics.files import leave_diagnosis, settings_of
from tsdiff.commands.common import given_predictor
from tsdiff.commands.job import load_job
from tsdiff.commands.options import Diagnose
from tsdiff.tasks.diagnosis import diagnose_model


def main(options: Diagnose) -> None:
    """Measure the score of a model on the last windows of series."""
    prepare(options.threads)
    settings = settings_of(options, options.seed_or_zero)
    claim_output(options.output)
    job = load_job(replace(options, windows=0), 0, forecast_only=True)
    model = given_predictor(options.model, job, {}, options.device).model
    found = diagnose_model(model, job.split.train, settings, windows=options.windows or 8, progress=True)
    leave_diagnosis(found, options.output, f"Diagnosis of {options.model}")
