"""Series drawn together: what each says stays, what they say together is as in the past, and sums add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from tests.tsdiff.conftest import tiny_estimator
from tsdiff import TSDiffPredictor
from tsdiff.automatic.guards import Guard
from tsdiff.automatic.predictor import AutoPredictor, Member
from tsdiff.sampling.dependence import going_together
from tsdiff.sampling.shuffle import shuffled
from tsdiff.tasks.jointly import correlation_of, leaves_of, past_errors, together

H = 5
START = pd.Period("2024-01-01", "D")


@pytest.fixture(scope="module")
def default() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


@pytest.fixture
def naive() -> AutoPredictor:
    """Draws each series by itself, without a network."""
    return AutoPredictor([Member("naive", 1.0, Guard("naive", "D", H))])


def walks(together: float, count: int = 2, length: int = 500) -> np.ndarray:
    """(count, length), steps of unit variance with this correlation."""
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=length), rng.normal(size=(count, length))
    return np.cumsum(np.sqrt(together) * common + np.sqrt(1 - together) * own, axis=1)


def frame(values: np.ndarray, names: list[str] | list[int]) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=values.shape[1], freq="D")
    return pd.concat(pd.DataFrame({"unique_id": n, "ds": days, "y": row}) for n, row in zip(names, values, strict=True))


def test_a_shuffle_keeps_the_values_and_takes_the_ranks():
    rng = np.random.default_rng(0)
    samples, template = rng.normal(size=(50, 3, 2)), rng.normal(size=(50, 3, 2))
    made = shuffled(samples, template)
    np.testing.assert_array_equal(np.sort(made, axis=0), np.sort(samples, axis=0))
    np.testing.assert_array_equal(made.argsort(axis=0), template.argsort(axis=0))
    np.testing.assert_array_equal(shuffled(made, template), made)


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_channels_go_together_as_in_the_past_and_each_step_stays_as_it_was(naive, share):
    entry = {"item_id": "pair", "start": START, "target": walks(share)}
    (made,) = naive.predict_jointly([entry], 200)
    assert made.samples.shape == (200, H, 2)
    parts = [{**entry, "item_id": f"pair channel {n}", "target": row} for n, row in enumerate(entry["target"])]
    for place, one in enumerate(naive.predict(parts, 200)):
        np.testing.assert_array_equal(np.sort(made.samples[..., place], axis=0), np.sort(one.samples, axis=0))
        before, after = (np.corrcoef(samples.T) for samples in (one.samples, made.samples[..., place]))
        np.testing.assert_allclose(after, before, atol=0.15)
    found = np.corrcoef(made.samples.mean(axis=1).T)[0, 1]
    assert found == pytest.approx(share, abs=0.2)


@pytest.mark.parametrize("share", [-0.95, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("walk", [False, True])
def test_shocks_of_single_steps_are_shared(default, share, walk):
    """Of two white noises, or walks, whose steps have that correlation: so have samples, and their sum its width."""
    shocks = np.random.default_rng(0).multivariate_normal([0, 0], [[1, share], [share, 1]], 400).T
    target = np.cumsum(shocks, axis=1) if walk else shocks
    (made,) = default.adapted("D", 8).predict_jointly([{"item_id": "a", "start": START, "target": target}], 200)
    first, second = made.samples[..., 0], made.samples[..., 1]
    at_steps = [np.corrcoef(first[:, step], second[:, step])[0, 1] for step in range(8)]
    assert np.mean(at_steps) == pytest.approx(share, abs=0.2)
    size = np.mean([part.std(axis=0).mean() for part in (first, second)])
    assert (first + second).std(axis=0).mean() / size == pytest.approx(np.sqrt(2 + 2 * share), abs=0.2)


def test_series_that_do_not_change_go_with_none():
    errors = np.random.default_rng(0).normal(size=(50, H, 3))
    errors[..., 1] = 0.0
    errors[..., 2] = -errors[..., 0]
    made = correlation_of(errors)
    np.testing.assert_allclose(np.diag(made), 1.0)
    assert not made[1, [0, 2]].any()
    assert made[0, 2] == pytest.approx(-250 / 253)


def test_how_steps_of_a_series_hang_together_stays():
    """An autoregression of its own in each of three series that share their shocks."""
    rng = np.random.default_rng(1)
    shocks = rng.normal(size=(3, 400, 12))
    rates = np.array([0.0, 0.6, 0.95])
    draws = np.zeros((3, 400, 12))
    for step in range(12):
        draws[..., step] = (rates[:, None] * draws[..., step - 1] if step else 0.0) + shocks[..., step]
    made = going_together(list(draws), np.full((3, 3), 0.8) + 0.2 * np.eye(3), rng)
    for before, after in zip(draws, made, strict=True):
        np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
        np.testing.assert_allclose(np.corrcoef(after.T), np.corrcoef(before.T), atol=0.12)
    assert np.corrcoef(made[0][:, 5], made[1][:, 5])[0, 1] > 0.5
    (alone,) = going_together([draws[0][:1]], np.eye(1), rng)
    np.testing.assert_array_equal(alone, draws[0][:1])


def test_sums_are_as_wide_as_dependence_makes_them(naive):
    wide, narrow = (
        naive.predict_sums_df(frame(walks(share), ["a", "b"]), {"all": ["a", "b"]}, num_samples=200)
        for share in (1.0, 0.0)
    )
    widths = [
        (one["0.95"] - one["0.05"])[one["unique_id"] == "all"].mean() / (one["0.95"] - one["0.05"])[:H].mean()
        for one in (wide, narrow)
    ]
    assert widths[0] == pytest.approx(2.0, rel=0.1)
    assert widths[1] == pytest.approx(np.sqrt(2), rel=0.2)


def test_sums_add_up_through_a_hierarchy(naive):
    df = frame(walks(0.5, 3), ["a", "b", "c"])
    table = naive.predict_sums_df(df, {"top": ["ab", "c"], "ab": ["a", "b"]}, num_samples=40)
    means = table.pivot(index="ds", columns="unique_id", values="mean")
    np.testing.assert_allclose(means["ab"], means["a"] + means["b"])
    np.testing.assert_allclose(means["top"], means["ab"] + means["c"])
    assert list(dict.fromkeys(table["unique_id"])) == ["a", "b", "c", "top", "ab"]


def test_a_sum_of_one_part_may_name_it_alone(naive):
    """Its letters were taken for parts."""
    df = frame(walks(0.5, 3), ["a", "b", "ab"])
    table = naive.predict_sums_df(df, {"all": "ab"}, num_samples=10)
    means = table.pivot(index="ds", columns="unique_id", values="mean")
    np.testing.assert_array_equal(means["all"], means["ab"])


def test_ids_that_are_numbers_stay_numbers_beside_named_sums(naive):
    df = frame(walks(0.5), ["1", "2"])
    df["unique_id"] = df["unique_id"].astype(int)
    assert list(dict.fromkeys(naive.predict_sums_df(df, {"all": [1, 2]}, num_samples=10)["unique_id"])) == [1, 2, "all"]


def test_sums_that_are_numbers_stay_numbers_beside_ids_that_are(naive):
    df = frame(walks(0.5), ["1", "2"]).astype({"unique_id": int})
    table = naive.predict_sums_df(df, {9: [1, 2]}, num_samples=10)
    assert table["unique_id"].dtype == int
    assert list(dict.fromkeys(table["unique_id"])) == [1, 2, 9]


CATEGORIES = pd.CategoricalDtype(["1", "2"])


@pytest.mark.parametrize("kind", [CATEGORIES, "string", "int32", pd.CategoricalDtype(["2", "all", "1"], ordered=True)])
def test_ids_come_back_in_their_dtype_beside_sums(naive, kind):
    df = frame(walks(0.5), ["1", "2"]).astype({"unique_id": kind})
    total, parts = (9, [1, 2]) if kind == "int32" else ("all", ["1", "2"])
    table = naive.predict_sums_df(df, {total: parts}, num_samples=10)
    assert table["unique_id"].drop_duplicates().tolist() == [*parts, total]
    assert table["unique_id"].dtype == (pd.CategoricalDtype(["1", "2", "all"]) if kind is CATEGORIES else kind)


def test_sums_tell_what_was_decided_from_their_series(default):
    rng = np.random.default_rng(0)
    price, noise = rng.normal(size=(2, 2, 147))
    df = frame(20 + 3 * price + 0.3 * noise, ["a", "b"]).assign(price=price.ravel())
    past, future = df[df["ds"] < "2024-05-20"], df[df["ds"] >= "2024-05-20"].drop(columns="y")
    table = default.predict_sums_df(past, {"t": ["a", "b"]}, future, prediction_length=7, num_samples=10)
    assert {name: table.attrs[name] for name in ("nonnegative", "counts")} == {"nonnegative": 2, "counts": 0}
    assert min(table.attrs["covariates"].values()) > 0.5
    led = default.predict_sums_df(
        past, {"t": ["a", "b"]}, prediction_length=7, num_samples=10, past_covariates=["price"]
    )
    assert set(led.attrs["covariates"]) == {"a", "b"}


def test_given_totals_need_no_covariates(default):
    rng = np.random.default_rng(0)
    price, noise = rng.normal(size=(2, 2, 147))
    values = 20 + 3 * price + 0.3 * noise
    df = frame(np.vstack([values, values.sum(axis=0)]), ["a", "b", "t"])
    df["price"] = [*price.ravel(), *[np.nan] * 147]
    past, future = df[df["ds"] < "2024-05-20"], df[(df["ds"] >= "2024-05-20") & (df["unique_id"] != "t")]
    options = {"prediction_length": 7, "num_samples": 10}
    with pytest.warns(Note) as told:
        table = default.predict_sums_df(past, {"t": ["a", "b"]}, future.drop(columns="y"), **options)
    assert [str(one.message) for one in told] == [
        "given sums t are forecast as sums of their parts, their own past is not used"
    ]
    alone = default.predict_sums_df(
        past[past["unique_id"] != "t"], {"t": ["a", "b"]}, future.drop(columns="y"), **options
    )
    pd.testing.assert_frame_equal(table, alone)


def test_given_totals_are_said_not_to_be_used(naive):
    values = walks(0.5)
    for total, said in ((values.sum(axis=0), "is not used$"), (values.sum(axis=0) + 3, "past of all is not the sum")):
        df = frame(np.vstack([values, total]), ["a", "b", "all"])
        with pytest.warns(UserWarning, match=said):
            table = naive.predict_sums_df(df, {"all": ["a", "b"]}, num_samples=20)
        means = table.pivot(index="ds", columns="unique_id", values="mean")
        np.testing.assert_allclose(means["all"], means["a"] + means["b"])
        assert len(table) == 3 * H


def test_given_totals_are_compared_where_all_are_known(naive):
    """A part that begins later, a gap in one, and a total that begins later are no sign of a wrong total."""
    values = walks(0.5)
    df = frame(np.vstack([values, values.sum(axis=0)]), ["a", "b", "all"])
    first, a, b, total = df["ds"].min(), *(df["unique_id"] == name for name in ("a", "b", "all"))
    late = df["ds"] >= first + pd.Timedelta(days=9)
    gap = df.assign(y=df["y"].mask(a & (df["ds"] == first + pd.Timedelta(days=20))))
    for given in (df[~b | late], gap, df[~total | late]):
        with pytest.warns(Note, match="is not used$"):
            naive.predict_sums_df(given, {"all": ["a", "b"]}, num_samples=20)
        wrong = given.assign(y=given["y"] + 3 * (given["unique_id"] == "all"))
        with pytest.warns(Note, match="past of all is not the sum"):
            naive.predict_sums_df(wrong, {"all": ["a", "b"]}, num_samples=20)


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        ({"t": ["a", "x"]}, "'x' is no series"),
        ({"t": ["u"], "u": ["t"]}, "circle"),
        ({"t": ["u", "a"], "u": ["a"]}, "counts a twice"),
        ({"t": []}, "counts nothing"),
    ],
)
def test_sums_that_cannot_be_are_refused(sums, message):
    with pytest.raises(ConfigError, match=message):
        leaves_of(sums, ["a", "b"])


def test_a_past_too_short_leaves_paths_as_they_came():
    entries = [{"item_id": n, "start": START, "target": np.arange(12.0) + n} for n in range(2)]
    assert past_errors(entries, (7,), H) is None
    made = [SampleForecast(np.random.default_rng(n).normal(size=(4, H)), START + 12, item_id=str(n)) for n in range(2)]
    dealt = together(made, entries, (7,), np.random.default_rng(0))
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(made, dealt, strict=True))


def test_weights_of_parts_are_refused(naive):
    with pytest.raises(ConfigError, match="'gap' has weights, and each part counts once"):
        naive.predict_sums_df(frame(walks(0.5), ["a", "b"]), {"gap": {"a": 1, "b": -1}})


def test_one_part_may_be_given_by_itself_whatever_its_kind(naive):
    table = naive.predict_sums_df(frame(walks(0.5), [1, 2]), {"t": 1})
    assert table["unique_id"].tolist() == [1] * H + [2] * H + ["t"] * H
    with pytest.raises(ConfigError, match="'None' is no series and no sum"):
        naive.predict_sums_df(frame(walks(0.5), [1, 2]), {"t": None})


def test_sums_that_have_one_name_as_text_are_refused(naive):
    with pytest.raises(ConfigError, match="two of 0, '0' are the same as text"):
        naive.predict_sums_df(frame(walks(0.5), ["a", "b"]), {0: ["a"], "0": ["b"]})


@pytest.mark.parametrize("sums", [["a", "b"], "ab"])
def test_sums_without_names_are_refused(naive, sums):
    with pytest.raises(ConfigError, match=r"name each with its parts, \{'total': \['a', 'b'\]\}"):
        naive.predict_sums_df(frame(walks(0.5), ["a", "b"]), sums)


def test_no_sums_at_all_are_refused(naive):
    with pytest.raises(ConfigError, match="sums is empty"):
        naive.predict_sums_df(frame(walks(0.5), ["a", "b"]), {})


def test_series_of_different_ends_are_refused(naive):
    df = frame(walks(0.5), ["a", "b"])
    with pytest.raises(DataError, match="fill those that end early up"):
        naive.predict_sums_df(df.iloc[:-1], {"all": ["a", "b"]})


def test_what_is_joint_already_or_has_no_channels_is_refused(naive):
    joint = tiny_estimator(1, channels=2).train(
        [{"start": pd.Period("2024", "h"), "target": np.ones((2, 60))}], progress=False
    )
    with pytest.raises(ConfigError, match="together already"):
        next(joint.predict_jointly([]))
    with pytest.raises(DataError, match=r"shape \(9,\)"):
        next(naive.predict_jointly([{"start": START, "target": np.arange(9.0)}]))
