"""What a trained model's score is worth by itself: measures that need no second model, for any data prediction."""

from shared.diagnostics.dimension import Dimension, ScoreSpectrum, flipd, lidl, score_spectrum
from shared.diagnostics.field import ScoreField
from shared.diagnostics.measures import (
    Asymmetry,
    FokkerPlanck,
    LoopIntegral,
    asymmetric_plane,
    asymmetry,
    fokker_planck,
    loop_integral,
)
from shared.diagnostics.report import Diagnosis, DiagnosisSettings, Level, Measure, diagnose
from shared.diagnostics.sampling import SamplingDistance, sampling_errors
