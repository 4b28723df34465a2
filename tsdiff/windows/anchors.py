"""Anchors: what the last values, the seasons and the trend of a series say of its steps that are not known.

A handful of simple forecasts (the last value, the value a season ago, a line, …) are weighted by how well each did on
the series' own past. Their mean is the anchor, around which the model of all frequencies diffuses the residual, and the
error that it made there is the residual's unit. So a series' level, unit, trend and seasons are settled before the
network sees it, in double precision, and the network has to tell only what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tsdiff.data.frequency import candidate_seasons
from tsdiff.windows.gaps import bridged_line
from tsdiff.windows.medians import median
from tsdiff.windows.simple import CANDIDATES, Seasons, simple_forecasts
from tsdiff.windows.spikes import without_spikes
from tsdiff.windows.tries import (
    SEASONS_AGO,
    Earlier,
    a_season_ago,
    backtests,
    has_weeks,
    mean_error,
    seen_backtests,
)

EVIDENCE, AGO, LATE, ABOUT = 8, 2, 3, 14
"""Numbers that tell of a simple forecast's past, of that a season ago, of the last steps, and of a series."""

_TINY = 1e-200
_LEAST_REMEMBERED, _MOST_REMEMBERED, _SEASONS_REMEMBERED = 2048, 32768, 3
_OF_LAST_VALUES = np.isin(np.arange(CANDIDATES), (0, 1))
"""Which simple forecasts are trusted where none can be tried."""
_RECENCY, _SHARPNESS = 0.8, 4.0
"""Weight of each past forecast beside the next, and how much the better one gets."""
_FEW_WEEKS = 2.0
"""Tries weeks ago that count for half of what they tell."""
_OF_LATE = np.array([0.25, 0.5])
"""Parts of the horizon that shorter tries go back, which hear of a break before whole ones do."""


def seasons_of(freq: str) -> Seasons:
    """The seasons of a normalised frequency."""
    first, second, *_ = (*(season for season in candidate_seasons(freq) if season > 1), 0, 0)
    return first, second


def remembered(seasons: Seasons) -> int:
    """Last values of a history that are looked at: two weeks of quarter-hours, five years of days; of finer steps three
    of each season, unless those are too many."""
    whole = [_SEASONS_REMEMBERED * season for season in seasons]
    return max(_LEAST_REMEMBERED, *(count for count in whole if count <= _MOST_REMEMBERED))


@dataclass(frozen=True)
class Pool:
    """Simple forecasts of the steps after a history, and what they are worth.

    Attributes:
        forecasts: (CANDIDATES, horizon), in the series' units.
        usable: of which the history is long enough, (CANDIDATES,).
        shares: of each in the mean, (CANDIDATES,), which add up to 1.
        errors: mean absolute error of each on the past, (CANDIDATES,); infinite where unknown.
        mean: the weighted mean, (horizon,).
        scale: typical size of its error, a positive number.
        profile: mean absolute error that the mean made on the past at each step, (horizon,), by the scale; without any
            tries √step, as of a random walk.
        tries: past forecasts that tell all this.
        tail: root mean square of their errors over the mean absolute error, at least 1; 0 without any.
        missed: errors of the mean at each of them, the latest first, (tries, steps), in the series' units; steps are
            fewer than the horizon where the history is short.
        evidence: how well each did: (CANDIDATES, EVIDENCE). Whether the past tells, logarithms of the error by the best
            one's (over all, at the last origin, over the first and the last third of the steps), the bias by the error,
            how often it was above, and how much of the past tells.
        about: of the series: (ABOUT,). Its seasons, lengths, how large error and changes are by its spread, how many
            values are zero or whole, whether none is negative, where the last value lies, tries and tail.
        tilt: logarithm of how much larger the mean's past errors are where it is high than where it is low.
        height: how high the mean is at each step, by what past forecasts said, (horizon,).
        ago: how well each did a long season ago, where that is before the other tries: (CANDIDATES, AGO). Whether that
            tells, and the logarithm of the error by the best one's.
        swing: logarithm of the mean's error there by that of late.
        late: how well each did on the last quarter and half of a horizon: (CANDIDATES, LATE). Logarithms of each error
            by the best one's, and of both by the error on the past.
        gain: logarithm of the best one's error on the past by the mean's.
        outliers: how many known values `without_spikes` put back.
    """

    forecasts: np.ndarray
    usable: np.ndarray
    shares: np.ndarray
    errors: np.ndarray
    mean: np.ndarray
    scale: float
    profile: np.ndarray
    missed: np.ndarray
    evidence: np.ndarray
    about: np.ndarray
    height: np.ndarray
    ago: np.ndarray
    late: np.ndarray
    tries: int = 0
    tail: float = 0.0
    tilt: float = 0.0
    swing: float = 0.0
    gain: float = 0.0
    outliers: int = 0


def pooled(values: np.ndarray, horizon: int, seasons: Seasons, known: np.ndarray | None = None) -> Pool:
    """The simple forecasts of what follows a history, weighted by how well they did on it.

    Args:
        values: (n,), finite, n at least 1.
        horizon: steps.
        seasons: of the series.
        known: (n,): which values were observed; the others were filled in, and no forecast is judged by them, nor
            begins after one of them, which was told what follows. None for all.
    """
    known = None if known is None or known.all() else known
    observed = values if known is None else np.where(known, values, np.nan)
    cleaned = without_spikes(observed, seasons)
    outliers = int((~np.isnan(cleaned) & (cleaned != observed)).sum())
    values = np.where(np.isnan(cleaned), values, cleaned)
    count, recent = len(values), values[-max(4 * seasons[0], 64) :]
    tried, ends = backtests(count, horizon, seasons) if known is None else seen_backtests(known, horizon, seasons)
    seen = None if known is None else known[ends[:, None] + np.arange(tried)]
    lately = count - np.ceil(tried * _OF_LATE).astype(int)[: len(ends)]
    far = max(horizon, tried)
    all_made, all_usable = simple_forecasts(values, np.array([count, *lately, *ends]), far, seasons)
    made, usable = all_made[0, :, :horizon], all_usable[0]
    # A constant has no error; what double precision resolves of its level is the least.
    least = 1e-3 * float(recent.std()) + 1e-13 * float(np.abs(recent).max()) + _TINY
    if not len(ends):
        return _untried(values, recent, made, usable, seasons, least, outliers)
    first = 1 + len(lately)
    past, there = all_made[first:, :, :tried], all_usable[first:]
    actual = values[ends[:, None] + np.arange(tried)]
    recency = _RECENCY ** np.arange(len(ends))
    recency /= recency.sum()
    weights = (there & usable) * recency[:, None]
    judged, errors = _errors(past - actual[:, None], seen, weights)
    earlier = a_season_ago(values, known, (int(ends[-1]), tried), usable, seasons)
    shares = _shares(errors, earlier if has_weeks(seasons) else None, least)
    said = np.einsum("k,okh->oh", shares, past)
    signed, missed, off = _of_mean(said - actual, seen)
    # Of a mean absolute error the deviation; more where few forecasts tell it, by which the shares were chosen too.
    scale = max(1.25 * (1 + 1 / len(ends)) * float(off @ recency), least)
    profile = np.pad(recency @ missed / scale, (0, far - tried), mode="edge")[:horizon]
    tail = float(np.sqrt((missed**2).mean()) + least) / float(missed.mean() + least)
    evidence = _evidence(past - actual[:, None], seen, weights, judged, errors, least)
    mean = shares @ made
    tilt, height = _tilted(said, missed, seen, mean, scale, least)
    pool = Pool(
        forecasts=made,
        usable=usable,
        shares=shares,
        errors=errors,
        mean=mean,
        scale=scale,
        profile=profile,
        missed=signed[:, :horizon],
        evidence=evidence,
        about=_about(values, recent, horizon, seasons, scale, len(ends), tail),
        height=height,
        ago=np.stack([np.zeros(CANDIDATES), evidence[:, 1]], axis=1),
        late=_of_late(values, known, lately, all_made[1:first], all_usable[1:first], errors + least),
        tries=len(ends),
        tail=tail,
        tilt=tilt,
        gain=float(np.clip(np.log((errors.min() + least) / (float(off @ recency) + least)), -3, 1)),
        outliers=outliers,
    )
    return pool if earlier is None else _with_a_season_ago(pool, earlier, least)


def _untried(
    values: np.ndarray,
    recent: np.ndarray,
    made: np.ndarray,
    usable: np.ndarray,
    seasons: Seasons,
    least: float,
    outliers: int,
) -> Pool:
    """The pool of a history too short for any try: `_OF_LAST_VALUES` in equal shares, as far off as values differ."""
    horizon = made.shape[1]
    usable = usable & _OF_LAST_VALUES
    shares = usable / usable.sum()
    moves = float(np.abs(np.diff(values)).mean()) if len(values) > 1 else 0.1 * abs(float(values[-1]))
    scale = max(float(recent.std()), moves, least)
    return Pool(
        forecasts=made,
        usable=usable,
        shares=shares,
        errors=np.where(usable, scale, np.inf),
        mean=shares @ made,
        scale=scale,
        profile=np.sqrt(np.arange(1.0, horizon + 1)),
        missed=np.zeros((0, horizon)),
        evidence=np.stack([usable, *np.zeros((EVIDENCE - 1, CANDIDATES))], axis=1),
        about=_about(values, recent, horizon, seasons, scale, 0, 0.0),
        height=np.zeros(horizon),
        ago=np.zeros((CANDIDATES, AGO)),
        late=np.zeros((CANDIDATES, LATE)),
        outliers=outliers,
    )


def _of_late(
    values: np.ndarray,
    known: np.ndarray | None,
    ends: np.ndarray,
    made: np.ndarray,
    usable: np.ndarray,
    errors: np.ndarray,
) -> np.ndarray:
    """`Pool.late` of forecasts (origins, CANDIDATES, horizon) of what follows the first values; as if they were no
    better nor worse than on the past where nothing is known of the steps since.

    Args:
        values, known: as in `pooled`.
        ends, made, usable: how many values each forecast knew, what it said, and which can be used.
        errors: of the candidates on the past, (CANDIDATES,).
    """
    usual = np.clip(np.log(errors / errors.min()), 0, 4)
    columns, sizes = [usual] * (LATE - 1), []
    for place, end in enumerate(ends):
        steps = slice(None) if known is None else known[end:] & known[end - 1]
        off = np.abs(made[place, :, : len(values) - end] - values[end:])[:, steps]
        if off.shape[1] and usable[place].any():
            size = off.mean(1) + 0.2 * errors.min()
            columns[place] = np.where(usable[place], np.clip(np.log(size / size[usable[place]].min()), 0, 4), 4.0)
            sizes.append(size)
    surprise = np.log(np.mean(sizes, axis=0)) - np.log(errors) if sizes else np.zeros(CANDIDATES)
    return np.stack([*columns, np.where(np.isfinite(errors), np.clip(surprise, -3, 3), 0.0)], axis=1)


def _errors(missed: np.ndarray, seen: np.ndarray | None, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates enough tries tell of, (CANDIDATES,), and `Pool.errors`.

    Args:
        missed: errors, (tries, CANDIDATES, steps).
        seen: which steps were, (tries, steps).
        weights: of each try, (tries, CANDIDATES), 0 where it has none.
    """
    total = weights.sum(0)
    judged = total >= 0.5 * total.max()
    typical = (mean_error(np.abs(missed), seen) * weights).sum(0) / np.maximum(total, 1e-12)
    return judged, np.where(judged, typical, np.inf)


def _shares(errors: np.ndarray, weeks_ago: Earlier | None, least: float) -> np.ndarray:
    """`Pool.shares` of `Pool.errors`; those of the same days whole weeks ago count, too."""
    behind = np.log((errors + least) / (errors.min() + least))
    if weeks_ago is not None:
        behind += _on_such_days(weeks_ago, np.minimum(behind, 4), least)
    shares = np.exp(-_SHARPNESS * behind)
    return shares / shares.sum()


def _of_mean(signed: np.ndarray, seen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of the mean with their signs and without, (tries, steps), and the mean of each try's, (tries,).

    What was not seen lies on lines between the errors that were, or without the signs is as large as their mean.
    """
    if seen is None:
        missed = np.abs(signed)
        return signed, missed, mean_error(missed, None)
    signed = np.stack([bridged_line(np.where(ok, row, np.nan)) for ok, row in zip(seen, signed, strict=True)])
    off = mean_error(np.abs(signed), seen)
    return signed, np.where(seen, np.abs(signed), off[:, None]), off


def _on_such_days(earlier: Earlier, lately: np.ndarray, least: float) -> np.ndarray:
    """How much more each is behind, (CANDIDATES,): what is surely worse at this hour of the week than it is lately
    counts less, as yesterday does on the first day of a weekend.

    Args:
        earlier: tries whole weeks ago.
        lately: logarithms of errors by the best one's, (CANDIDATES,).
        least: error that counts as none.
    """
    then, weeks = earlier.surely_behind(least)
    return weeks / (weeks + _FEW_WEEKS) * np.maximum(then - lately, 0)


def _with_a_season_ago(pool: Pool, earlier: Earlier, least: float) -> Pool:
    """The pool with its `ago` and `swing`, of the latest tries long seasons ago."""
    behind = earlier.behind(SEASONS_AGO, least)
    said = np.einsum("k,okh->oh", pool.shares, earlier.made[:SEASONS_AGO])
    seen = None if earlier.seen is None else earlier.seen[:SEASONS_AGO]
    off = float(mean_error(np.abs(said - earlier.actual[:SEASONS_AGO]), seen).mean())
    late = pool.scale / (1.25 * (1 + 1 / pool.tries))
    swing = float(np.clip(np.log((off + least) / (late + least)), -3, 3))
    return replace(pool, ago=np.stack([np.ones(CANDIDATES), behind], axis=1), swing=swing)


def _tilted(
    said: np.ndarray, missed: np.ndarray, seen: np.ndarray | None, mean: np.ndarray, scale: float, least: float
) -> tuple[float, np.ndarray]:
    """`Pool.tilt` and `Pool.height` of past forecasts and how far off they were, (origins, steps), of which some were
    seen; height is by the deviation of what they said, and small where that is little beside the scale."""
    if seen is not None:
        said, missed = said[seen], missed[seen]
    middle = float(median(said.reshape(-1)))
    high = said > middle
    height = np.clip((mean - middle) / (float(said.std()) + 0.3 * scale), -3, 3)
    if not high.any() or high.all():
        return 0.0, height
    ratio = (float(missed[high].mean()) + least) / (float(missed[~high].mean()) + least)
    return float(np.clip(np.log(ratio), -3, 3)), height


def _evidence(
    missed: np.ndarray,
    seen: np.ndarray | None,
    weights: np.ndarray,
    judged: np.ndarray,
    errors: np.ndarray,
    least: float,
) -> np.ndarray:
    """`Pool.evidence` of errors (origins, CANDIDATES, steps), the latest origin first, of which some were seen."""
    if seen is not None:
        missed = np.where(seen[:, None], missed, mean_error(missed, seen)[..., None])
    size, total = np.abs(missed), np.maximum(weights.sum(0), 1e-12)
    best = errors.min() + least

    def behind(error: np.ndarray) -> np.ndarray:
        return np.where(judged, np.clip(np.log((error + least) / best), -3, 4), 4.0)

    part = max(1, missed.shape[2] // 3)
    mean = [(size[..., steps].mean(2) * weights).sum(0) / total for steps in (slice(part), slice(-part, None))]
    bias = (missed.mean(2) * weights).sum(0) / total / (errors + least)
    last = size[0].mean(1)
    return np.stack(
        [
            judged,
            behind(errors),
            behind(last),
            behind(mean[0]),
            behind(mean[1]),
            np.where(judged, bias, 0.0),
            np.where(judged, np.sign(missed.mean(2)[: min(4, len(missed))]).mean(0), 0.0),
            judged * np.minimum(total / total.max(), 1),
        ],
        axis=1,
    )


def _about(
    values: np.ndarray, recent: np.ndarray, horizon: int, seasons: Seasons, scale: float, tries: int, tail: float
) -> np.ndarray:
    """`Pool.about` of a history and its last values."""
    moves, spread = np.abs(np.diff(recent)), float(recent.std()) + _TINY
    return np.array(
        [
            np.log2(max(seasons[0], 1)) / 4,
            np.log2(max(seasons[1], 1)) / 4,
            bool(seasons[0]),
            bool(seasons[1]),
            np.log2(len(values)) / 8,
            np.log2(horizon) / 4,
            np.clip(np.log(scale / spread), -5, 3) / 2,
            np.clip(np.log(((moves.mean() if len(moves) else 0.0) + 1e-9 * spread) / spread), -5, 1) / 2,
            (recent == 0).mean(),
            (recent == np.round(recent)).mean(),
            bool((values >= 0).all()),
            np.clip((values[-1] - recent.mean()) / spread, -4, 4) / 2,
            np.log1p(tries) / 2,
            min(tail, 4.0),
        ]
    )
