"""Can a classifier tell real windows from synthetic ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shared.checks import Several, checked
from shared.errors import DataError
from shared.optional import needed
from shared.random import derive_seed
from tsdiff.tasks.synthesis.statistics import autocorrelation, power_spectrum, varying
from tsdiff.tasks.synthesis.windows import WindowSet

Classifier = Literal["logistic", "boosting"]
SMALLEST = 10
"""Windows of each kind that a classifier needs at least."""
_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_LAGS, _BANDS = 12, 12
_LEAF = 20
"""Windows in a leaf of the boosted trees, at least, unless there are few."""


@dataclass(frozen=True)
class Discrimination:
    """How well a classifier tells real from synthetic windows of series that it has not seen.

    Attributes:
        auroc: Area under the ROC curve, mean over the folds: 0.5 cannot tell, 1 always can. Below 0.5 the classifier
            takes series it has not seen for synthetic, which says no more than 0.5 does.
        auroc_deviation: Standard deviation over the folds.
        accuracy: Share that it gets right; half of the windows are real.
        score: |accuracy − 0.5| (Yoon et al. 2019, TimeGAN): 0 cannot tell, 0.5 always can.
    """

    auroc: float
    auroc_deviation: float
    accuracy: float
    score: float


def discriminate(
    real: WindowSet, synthetic: WindowSet, classifier: Classifier = "boosting", *, folds: int = 5, seed: int = 0
) -> Discrimination:
    """Cross-validated discrimination, on features of the windows (`window_features`).

    Windows that share a source are never split between training and test, or a classifier could know the real ones
    by the series they come from; but synthetic ones that all share one, as draws like a single series do. As many
    windows of both are used, drawn at random.

    Args:
        real, synthetic: windows of one length.
        classifier: "logistic" regression or gradient "boosting" (scikit-learn).
        folds: of the cross-validation; fewer where there are fewer sources.
        seed: of the split, the draw and the boosting.

    Raises:
        ConfigError: an unknown classifier, or fewer than two folds.
        DataError: windows of different lengths, fewer than ten of one kind, or real ones of a single source.
    """
    checked(Classifier, classifier=classifier)
    folds = checked(Several, folds=folds)
    if real.length != synthetic.length:
        raise DataError(f"real windows have {real.length} steps, synthetic ones {synthetic.length}; give equal lengths")
    count = min(len(real), len(synthetic))
    if count < SMALLEST:
        raise DataError(f"{len(real)} real and {len(synthetic)} synthetic windows: give at least {SMALLEST} of each")
    rng = np.random.default_rng(derive_seed(seed, "discriminate"))
    chosen = [np.sort(rng.choice(len(windows), count, replace=False)) for windows in (real, synthetic)]
    values = np.concatenate([real.values[chosen[0]], synthetic.values[chosen[1]]])
    made = synthetic.sources[chosen[1]]
    if len(np.unique(made)) == 1:  # draws that take their scale from one series do not overlap as its windows do
        made = np.char.add("draw ", np.arange(count).astype(str))
    groups = np.concatenate([real.sources[chosen[0]], made])
    is_real = np.repeat([1, 0], count)
    folds = min(folds, len(np.unique(groups[:count])), len(np.unique(groups[count:])))
    if folds < 2:
        raise DataError("all windows share one source; cut them from parts of the series (`real_windows(parts=…)`)")
    features = window_features(values)
    scores = learning("metrics")
    splitter = learning("model_selection").StratifiedGroupKFold(
        folds, shuffle=True, random_state=int(rng.integers(2**31))
    )
    areas, hits = [], []
    for train, test in splitter.split(features, is_real, groups):
        if len(np.unique(is_real[test])) < 2 or len(np.unique(is_real[train])) < 2:
            continue
        model = _classifier(classifier, len(train), int(rng.integers(2**31))).fit(features[train], is_real[train])
        probability = model.predict_proba(features[test])[:, 1]
        areas.append(scores.roc_auc_score(is_real[test], probability))
        hits.append(scores.accuracy_score(is_real[test], probability > 0.5))
    if not areas:
        raise DataError("no fold holds both real and synthetic windows; give windows of more series")
    accuracy = float(np.mean(hits))
    return Discrimination(float(np.mean(areas)), float(np.std(areas)), accuracy, abs(accuracy - 0.5))


def _classifier(kind: Classifier, windows: int, seed: int) -> Any:
    """One of scikit-learn's, which is new, for so many windows to learn from."""
    if kind == "logistic":
        logistic = learning("linear_model").LogisticRegression(C=0.1, max_iter=1000)
        return learning("pipeline").make_pipeline(learning("preprocessing").StandardScaler(), logistic)
    return learning("ensemble").HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.1,
        max_leaf_nodes=15,
        min_samples_leaf=max(
            1, min(_LEAF, windows // 4)
        ),  # of twice as many, trees are not split once, and tell nothing
        random_state=seed,
    )


def learning(part: str) -> Any:
    """A part of scikit-learn, which the classifiers are made of.

    Raises:
        MissingPackageError: it is not installed.
    """
    return needed(f"sklearn.{part}", "metrics", "telling synthetic windows from real ones")


def window_features(values: np.ndarray) -> np.ndarray:
    """What the classifiers see of each window: marginals, increments, trend, autocorrelation, spectrum.

    Args:
        values: (n, length), at least 4 steps.

    Returns:
        (n, k): quantiles, deviation, skewness, kurtosis, shares of zeros and of values below 0; deviation, median and
        largest size of the increments, and the share that are 0; last quarter's mean less the first's;
        autocorrelations at about 12 lags and the shares of power in about 12 bands, both evenly spread in the
        logarithm. Undefined ones (of constant windows) are 0.
    """
    n, length = values.shape
    steps = np.diff(values, axis=1)
    sizes = np.abs(steps)
    quarter = max(1, length // 4)
    lags = np.unique(np.geomspace(1, max(1, length // 2), _LAGS).round().astype(int))
    _, power = power_spectrum(values)
    edges = np.unique(np.geomspace(1, power.shape[1], _BANDS + 1).round().astype(int))
    bands = np.add.reduceat(power, edges[:-1] - 1, axis=1)
    deviation = values.std(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = np.where(varying(values), (values - values.mean(axis=1, keepdims=True)) / deviation, 0.0)
    columns = [
        np.quantile(values, _LEVELS, axis=1).T,
        deviation,
        (standard**3).mean(axis=1, keepdims=True),
        (standard**4).mean(axis=1, keepdims=True),
        (values == 0).mean(axis=1, keepdims=True),
        (values < 0).mean(axis=1, keepdims=True),
        steps.std(axis=1, keepdims=True),
        np.median(sizes, axis=1, keepdims=True),
        sizes.max(axis=1, keepdims=True),
        (sizes == 0).mean(axis=1, keepdims=True),
        (values[:, -quarter:].mean(axis=1) - values[:, :quarter].mean(axis=1))[:, None],
        autocorrelation(values, int(lags[-1]))[:, lags],
        np.log10(bands + 1e-8),
    ]
    return np.nan_to_num(np.concatenate(columns, axis=1).reshape(n, -1))
