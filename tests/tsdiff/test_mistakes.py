"""What is easily got wrong in Python: types, GluonTS's names, a model that was not adapted; each answer helps."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.core import serde
from gluonts.core.component import equals
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split as gluonts_split
from gluonts.model.predictor import Localizer

from shared.console.notes import Note
from shared.errors import ConfigError, DataError
from shared.objectives import DiffusionLoss
from shared.sde import VPSDE
from shared.training.module import TrainingConfig
from tests.tsdiff.conftest import CONTEXT, HORIZON, sines, tiny_estimator
from tests.tsdiff.universal import UNIVERSAL
from tsdiff import Sampling, TSDiff, TSDiffEstimator, TSDiffPredictor
from tsdiff.ensemble import EnsemblePredictor
from tsdiff.model.backbones import S4Config, S4DConfig
from tsdiff.tasks.anomaly.scores import anomaly_scores
from tsdiff.windows.missing import MissingContext


@pytest.fixture(scope="module")
def any_frequency() -> TSDiffPredictor:
    return TSDiffPredictor.from_pretrained("default")


def daily() -> pd.DataFrame:
    return pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=40, freq="D"), "target": np.arange(40.0)})


def entries(freq: str) -> list[dict[str, Any]]:
    return [{"start": pd.Period("2024-01-01", freq=freq), "target": np.arange(40.0)}]


@pytest.mark.parametrize(
    ("call", "freq"),
    [
        (lambda p: list(p.predict(entries("W-SUN"))), "W-SUN"),
        (lambda p: list(p.impute(entries("15min"))), "15min"),
        (lambda p: p.log_likelihood(entries("M")), "M"),
        (lambda p: list(p.refine([], entries("h"))), "h"),
        (lambda p: anomaly_scores(TSDiff(UNIVERSAL), entries("D")), "D"),
    ],
)
def test_a_model_of_all_frequencies_tells_the_call_that_adapts_it(any_frequency, call, freq):
    with pytest.raises(ConfigError) as told:
        call(any_frequency)
    line = f"predictor = predictor.adapted('{freq}', 24)"
    assert str(told.value).endswith(line)
    made: dict[str, Any] = {"predictor": any_frequency}
    exec(line, made)
    assert (made["predictor"].freq, made["predictor"].prediction_length) == (freq, 24)


def test_gaps_of_frames_need_no_adapted(any_frequency):
    quick = any_frequency.with_sampling(steps=1)
    given, options = daily().drop(index=[20]), {"num_samples": 2}
    with pytest.warns(Note, match="1 gap"):
        made = quick.impute_df(given, **options)
    assert made["timestamp"][made["imputed"]].tolist() == [pd.Timestamp("2024-01-21")]
    with pytest.warns(Note, match="1 gap"):
        own = quick.adapted("D", quick.prediction_length).impute_df(given, **options)
    pd.testing.assert_frame_equal(made, own)


def test_gaps_of_frames_take_the_names_of_forecasts_and_settings_and_refuse_others(any_frequency):
    quick = any_frequency.with_sampling(steps=1)
    noise = daily().rename(columns={"timestamp": "day"}).assign(target=np.random.default_rng(0).normal(10, 3, 40))
    given = pd.concat([noise.assign(shop=shop) for shop in (1, 2)]).drop(index=[20])
    with pytest.warns(Note, match="gap"):
        made = quick.impute_df(given, id_column="shop", timestamp_column="day", num_samples=20, maximum=11, seed=1)
    with pytest.warns(Note, match="gap"):
        same = quick.impute_df(given, item_id="shop", timestamp="day", num_samples=20, maximum=11, seed=1)
    pd.testing.assert_frame_equal(made, same)
    assert made["shop"].unique().tolist() == [1, 2]
    gone = made["imputed"]
    assert gone.sum() == 2
    assert made.loc[gone, "0.95"].max() <= 11
    with pytest.warns(Note, match="gap"):
        other = quick.impute_df(given, id_column="shop", timestamp_column="day", num_samples=20, maximum=11, seed=2)
    assert not made.equals(other)
    ends = daily().iloc[[0, 30]]
    with pytest.raises(DataError, match="give freq"):
        quick.impute_df(ends)
    with pytest.warns(Note, match="29 gaps"):
        assert len(quick.impute_df(ends, freq="D", num_samples=2)) == 31
    with pytest.warns(Note, match=r"columns 'promo' are not used; gaps are filled by"):
        quick.impute_df(daily().assign(promo=1.0), num_samples=2)
    for wrong, message in (
        ({"prediction_length": 5}, "prediction_length=5: this call has no such option"),
        ({"horizons": 5}, "horizons=5: no such setting of the sampling"),
        ({"maximun": 5}, "did you mean maximum"),
        ({"id_col": "shop"}, "use id_column"),
        ({"quantile_levels": [1.5]}, "quantile_levels"),
    ):
        with pytest.raises(ConfigError, match=message):
            quick.impute_df(daily(), **wrong)
    with pytest.raises(ConfigError, match="forecasts 'D'"):
        quick.adapted("D", 7).impute_df(daily(), freq="h")


def test_frames_need_no_adapted_but_a_horizon(any_frequency):
    for call in (any_frequency.predict_df, any_frequency.forecast_df, any_frequency.cross_validation_df):
        with pytest.raises(ConfigError, match="prediction_length=24"):
            call(daily())
    with pytest.raises(ConfigError, match="prediction_length=24"):
        any_frequency.fine_tune(daily())
    for minutes in (0, -1, float("nan"), "5"):
        with pytest.raises(ConfigError, match=r"^minutes="):
            any_frequency.fine_tune(daily(), minutes, prediction_length=7)


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ({"h": 7}, "h=7: use prediction_length=…"),
        ({"level": [90]}, "level=[90]: use quantile_levels=…"),
        ({"prediction_lenght": 7}, "did you mean prediction_length?"),
        ({"temprature": 2.0}, "did you mean temperature?"),
        ({"qqqq": 2.0}, "no such setting of the sampling; there are guidance, covariance"),
    ],
)
def test_options_that_there_are_not_are_told_what_is_meant(any_frequency, option, remedy):
    for call in (any_frequency.predict_df, any_frequency.cross_validation_df, any_frequency.plot):
        with pytest.raises(ConfigError, match=re.escape(remedy)):
            call(daily(), **option)
    with pytest.raises(ConfigError, match="no such setting of the sampling"):
        any_frequency.with_sampling(**option)


def test_frames_of_the_future_go_where_they_are_known(any_frequency):
    future = daily().assign(promo=1.0)
    with pytest.raises(ConfigError, match=r"^future_df: .*covariates=\[…\]$"):
        any_frequency.cross_validation_df(daily(), future_df=future, prediction_length=7)
    with pytest.raises(ConfigError, match=r"^X_df: use future_df=…$"):
        any_frequency.predict_df(daily(), X_df=future, prediction_length=7)
    with pytest.raises(ConfigError, match=r"^future_df: this call has no such option; leave it out$"):
        any_frequency.impute_df(daily(), future_df=future)
    with pytest.raises(ConfigError, match=r"covariates=\['promo'\]: need True or False"):
        any_frequency.predict_df(future, covariates=["promo"], prediction_length=7)


WRONG = {
    "path": ("sales.csv", "load_dataset('sales.csv')"),
    "frame": (daily(), "predict_df(df, prediction_length=…)"),
    "entry": (sines()[0], "[entry]"),
    "arrays": ([np.zeros(40)], "item 0 of the dataset is a ndarray"),
    "pairs": (gluonts_split(sines(), offset=-8)[1].generate_instances(8), "test_data.input"),
    "template": (gluonts_split(sines(), offset=-8)[1], "template.generate_instances(prediction_length).input"),
    "split": (gluonts_split(sines(), offset=-8), "take it apart: training, template = split(dataset, …)"),
    "number": (5, "cannot be iterated"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_dataset_is_refused_with_the_remedy(trained, kind):
    given, remedy = WRONG[kind]
    calls = [
        lambda: list(trained.predict(given)),
        lambda: list(trained.impute(given)),
        lambda: trained.log_likelihood(given),
        lambda: list(trained.refine([], given)),
        lambda: list(EnsemblePredictor([trained]).predict(given)),
        lambda: tiny_estimator().train(given, progress=False),
        lambda: tiny_estimator(steps=1).train(sines(), given, progress=False),
    ]
    for call in calls:
        with pytest.raises(DataError, match=re.escape(remedy)):
            call()


@pytest.mark.parametrize("freq", ["15min", "h", "D", "B", "M", "W-SUN"])
@pytest.mark.parametrize("start", ["2024-01-01", pd.Timestamp("2024-01-01"), pd.Period("2024-01-01 05:00", "2h"), None])
def test_a_start_that_does_not_suit_is_refused_with_the_one_to_give(any_frequency, freq, start):
    adapted, target = any_frequency.adapted(freq, HORIZON), np.where(np.arange(90) == 70, np.nan, np.arange(90.0))
    for call in (adapted.predict, adapted.impute):
        for entry in ({"start": start, "target": target}, {"target": target}):
            with pytest.raises(DataError, match=f"this model needs a pd.Period of frequency '{freq}'"):
                list(call([entry]))


@pytest.mark.parametrize("wrong", [8.0, 8.5, "8", None])
def test_counts_are_whole_numbers(trained, any_frequency, wrong):
    calls = [
        lambda: any_frequency.adapted("h", wrong),
        lambda: any_frequency.model.adapted("h", wrong),
        lambda: TSDiffEstimator("h", wrong),
        lambda: TSDiffEstimator("h", 8, batch_size=wrong),
        lambda: TSDiffEstimator("h", 8, channels=wrong),
        lambda: TSDiffEstimator("h", 8, lags=[wrong]),
        lambda: trained.with_sampling(steps=wrong),
        lambda: trained.with_sampling(batch_rows=wrong),
        lambda: trained.with_sampling(seed=wrong),
        lambda: trained.predict(sines(), wrong),
        lambda: trained.impute(sines(), wrong),
        lambda: EnsemblePredictor([trained]).predict(sines(), wrong),
    ]
    for call in calls:
        with pytest.raises(
            ConfigError, match=rf"={wrong!r}: need a whole number|lags=\({wrong!r},\): need values, each a whole"
        ):
            call()


@pytest.mark.parametrize("wrong", [8.0, 8.5, "8", 0])
def test_a_horizon_of_a_frame_is_a_whole_number(any_frequency, wrong):
    with pytest.raises(ConfigError, match=rf"prediction_length={wrong!r}"):
        any_frequency.predict_df(daily(), prediction_length=wrong)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [("sales.csv", "read_csv"), (sines(), r"predict\(dataset\)"), (daily().iloc[:0], "no rows"), (None, "NoneType")],
)
def test_what_is_no_frame_is_refused_with_the_call_to_use(any_frequency, wrong, remedy):
    for call in (any_frequency.predict_df, any_frequency.cross_validation_df):
        with pytest.raises(DataError, match=remedy):
            call(wrong, prediction_length=3)


def test_integers_of_numpy_work_and_a_folder_may_be_a_string(tmp_path):
    estimator = TSDiffEstimator(
        "h",
        np.int64(HORIZON),
        np.int32(CONTEXT),
        categories=np.array([2]),
        lags=[np.int64(3)],
        backbone=S4DConfig(patch=4, width=16, blocks=1, state=4),
        training=TrainingConfig(max_steps=np.int64(2), seed=np.int32(1)),
        batch_size=np.int64(4),
        sampling=Sampling(steps=np.int64(4), seed=np.int64(2)),
    )
    data = [{**entry, "feat_static_cat": np.array([0])} for entry in sines()]
    predictor = estimator.train(data, progress=False)
    predictor.serialize(str(tmp_path / "model"))
    read = TSDiffPredictor.deserialize(str(tmp_path / "model"))
    for one, other in zip(predictor.predict(data, np.int64(3)), read.predict(data, 3), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    EnsemblePredictor([read]).serialize(str(tmp_path / "ensemble"))
    assert len(EnsemblePredictor.deserialize(str(tmp_path / "ensemble")).members) == 1


def test_gluonts_names_mean_what_they_mean_there():
    trainer = {"max_epochs": 3, "gradient_clip_val": 0.5, "precision": "bf16-mixed", "accelerator": "cpu"}
    given = copy.deepcopy(trainer)
    estimator = TSDiffEstimator(
        "h",
        8,
        lr=2e-3,
        weight_decay=0.1,
        num_batches_per_epoch=7,
        trainer_kwargs=trainer,
        lags_seq=[24],
        cardinality=[3, 5],
        num_feat_static_cat=2,
        num_feat_static_real=1,
        num_feat_dynamic_real=4,
        nonnegative_pred_samples=True,
        scaling="std",
        training=TrainingConfig(seed=5),
    )
    assert trainer == given
    training = TrainingConfig(21, 2e-3, 0.1, gradient_clip=0.5, precision="bf16-mixed", seed=5)
    ours = TSDiffEstimator(
        "h",
        8,
        lags=(24,),
        categories=(3, 5),
        static_features=1,
        dynamic_features=4,
        scaling="standard",
        training=training,
        sampling=Sampling(nonnegative=True),
    )
    assert estimator == ours
    assert TSDiffEstimator("h", 8, trainer_kwargs={"max_epochs": 2}).training.max_steps == 100
    assert TSDiffEstimator("h", 8, num_batches_per_epoch=2).training.max_steps == 200
    assert TSDiffEstimator("h", 8, trainer_kwargs={"max_steps": 9}).training.max_steps == 9
    assert TSDiffEstimator("h", 8, cardinality=None, lags_seq=None) == TSDiffEstimator("h", 8)
    ours = TSDiffEstimator("h", 8, categories=(3, 5))
    assert TSDiffEstimator("h", 8, categories=(3, 5), num_feat_static_cat=2) == ours


def test_what_a_pandas_dataset_tells_of_itself_makes_an_estimator():
    """Its cardinalities are floats in an array, and were refused, or ended in numpy's "truth value of an array"."""
    static = pd.DataFrame({"region": ["a", "b"], "kind": ["x", "x"], "size": [1.0, 2.0]}, index=["s0", "s1"])
    stamps = pd.period_range("2024-01-01", periods=200, freq="h")
    series = {e["item_id"]: pd.DataFrame({"target": e["target"]}, stamps) for e in sines(2)}
    data = PandasDataset(series, static_features=static.astype({"region": "category", "kind": "category"}))
    estimator = tiny_estimator(
        steps=2,
        num_feat_dynamic_real=data.num_feat_dynamic_real,
        num_feat_static_real=data.num_feat_static_real,
        num_feat_static_cat=data.num_feat_static_cat,
        cardinality=data.static_cardinalities,
    )
    assert estimator.config.categories == (2, 1)
    made = list(estimator.train(data, progress=False).predict(data, num_samples=2))
    assert [forecast.item_id for forecast in made] == ["s0", "s1"]


def test_gluonts_trains_a_model_for_each_series():
    """Its `Localizer` asks the estimator for the horizon."""
    made = list(Localizer(tiny_estimator(steps=2)).predict(sines(2), num_samples=2))
    assert [forecast.samples.shape for forecast in made] == [(2, HORIZON)] * 2


@pytest.mark.parametrize(
    ("keyword", "instead"),
    [
        ({"hidden_size": 40}, r"S4DConfig\(width="),
        ({"num_layers": 2}, r"S4DConfig\(blocks="),
        ({"num_parallel_samples": 100}, r"predict\(dataset, num_samples="),
        ({"max_steps": 10}, r"with_training\(max_steps="),
        ({"learning_rate": 0.1}, r"with_training\(learning_rate=…\), which leaves the rest as it is"),
        ({"seed": 1}, r"with_training\(seed="),
        ({"patience": 5}, r"with_training\(decay=…\)"),
        ({"epochs": 5}, r"with_training\(max_steps=…\)"),
        ({"guidance": "mse"}, r"sampling=Sampling\(guidance="),
        ({"width": 8}, r"backbone=S4DConfig\(width="),
        ({"contxt_length": 8}, "did you mean context_length"),
        ({"xyz": 1}, "there are freq, prediction_length"),
        ({"trainer_kwargs": {"callbacks": []}}, r"train\(dataset, callbacks="),
        ({"trainer_kwargs": {"fast_dev_run": True}}, "no such setting"),
        ({"trainer_kwargs": {"max_steps": 5}, "num_batches_per_epoch": 5}, "one of them"),
        ({"num_feat_static_cat": 1}, r"categories="),
        ({"num_feat_static_cat": 1, "cardinality": np.array([2.0, 3.0])}, r"the sizes of 2 are given"),
        ({"cardinality": [3], "categories": (2,)}, r"cardinality=\[3\] and categories=\(2,\): one thing"),
        ({"num_feat_dynamic_real": 2, "dynamic_features": 1}, "give dynamic_features alone"),
        ({"trainer_kwargs": ["max_epochs"]}, "need a dict of Lightning's settings"),
        ({"cardinality": 5}, r"cardinality=5: need the number of values of each category"),
        ({"cardinality": np.array([2.5])}, r"categories=.*whole number"),
        ({"lags": 24}, "lags=24: need values"),
        ({"categories": None}, "categories=None: need values"),
        ({"num_batches_per_epoch": "3"}, "num_batches_per_epoch='3': need a whole number"),
        ({"trainer_kwargs": {"max_epochs": "2"}}, "max_epochs='2': need a whole number"),
        ({"lead_time": 1}, "leave it out"),
        ({"scaling": False}, "choose one of mean"),
    ],
)
def test_other_names_are_refused_with_the_one_to_use(keyword, instead):
    with pytest.raises(ConfigError, match=instead):
        TSDiffEstimator("h", 8, **keyword)


def test_training_takes_gluonts_keywords_that_change_nothing_and_refuses_others():
    plain = tiny_estimator(steps=3).train(sines(), progress=False)
    as_there = tiny_estimator(steps=3).train(
        sines(), progress=False, shuffle_buffer_length=100, cache_data=True, callbacks=[]
    )
    for one, other in zip(plain.predict(sines(), 2), as_there.predict(sines(), 2), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    for keyword, instead in (
        ("ckpt_path", "folder="),
        ("num_workers", r"with_training\(num_workers=…\)"),
        ("lr", "TSDiffEstimator"),
        ("item_id", "id_column="),
        ("timestamp", "timestamp_column="),
    ):
        with pytest.raises(ConfigError, match=instead):
            tiny_estimator().train(sines(), **{keyword: "x"})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sde": VPSDE(0.2, 10.0), "conditional": True, "missing": MissingContext("BM-E", 0.25), "lags": (24, 48)},
        {
            "backbone": S4Config(width=8, blocks=1),
            "loss": DiffusionLoss(weighting="edm"),
            "training": TrainingConfig(max_steps=5, precision="bf16-mixed"),
            "sampling": Sampling(guidance="quantile", minimum=-1.0),
            "categories": (3,),
            "batch_size": 7,
            "horizon_weight": 2.0,
        },
    ],
)
def test_gluonts_writes_and_reads_an_estimator(settings, tmp_path: Path):
    estimator = TSDiffEstimator("D", 7, 28, **settings).with_training(seed=3)
    for read in (serde.decode(serde.encode(estimator)), serde.load_json(serde.dump_json(estimator))):
        assert type(read) is TSDiffEstimator
        assert read == estimator
        assert equals(read, estimator)
        assert hash(read) == hash(estimator)
        assert read.config == estimator.config
    assert pickle.loads(pickle.dumps(estimator)) == copy.deepcopy(estimator) == estimator
    assert estimator != TSDiffEstimator("D", 7, 28, **settings)
