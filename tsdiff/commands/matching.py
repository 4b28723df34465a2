"""Whether a model fits the series that it is given: the features that both have, and the order of covariates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.console.command import note
from shared.errors import ConfigError
from tsdiff.commands.groups import Series
from tsdiff.data import SeriesSet
from tsdiff.data.covariates import Layout
from tsdiff.data.known import in_order
from tsdiff.model.beside import AUTO
from tsdiff.predictor import TSDiffPredictor

if TYPE_CHECKING:
    from tsdiff.automatic import AutoPredictor

Forecaster: TypeAlias = "TSDiffPredictor | AutoPredictor"


OF_COLUMNS = ("--dynamic", "--static")
"""The options by which most verbs name columns of dynamic and of static features."""


def match_features(
    path: str, predictor: Forecaster, layout: Layout, options: tuple[str, str] | None = OF_COLUMNS
) -> None:
    """Refuse a model that takes other features than the data has; those that it takes none of are left out, and said.

    Args:
        path: of the model.
        predictor: the model.
        layout: of the data.
        options: by which the command line names columns of dynamic and of static features; None where it does not.
    """
    config, (dynamic, static) = predictor.config, options or ("", "")
    kinds = (
        ("dynamic covariates", config.dynamic_features, layout.dynamic, dynamic),
        ("static categories", len(config.categories), layout.categories, static),
        ("static numbers", config.static_features, layout.reals, static),
    )
    for kind, takes, has, option in kinds:
        if takes and takes != has:
            named = f"name the columns of a table by {option}, give" if option else "a table has none here: give"
            raise ConfigError(
                f"{path} takes {takes} {kind}, the data has {has}; {named} a folder that holds them, or take another "
                "model"
            )
    unused = [
        f"{has} {kind}"
        for kind, takes, has, _ in kinds
        if has > takes and not (kind == kinds[0][0] and predictor.sampling.covariates)
    ]
    if unused:
        note(f"{path} takes no such features, and the data's {', '.join(unused)} are left out; to use them, train anew")


def refuse_other_order(path: str, predictor: Forecaster, series: SeriesSet) -> None:
    """Refuse covariates of a table in another order than the model was trained with, which it would take for each
    other; other ones are noted.

    Args:
        path: of the model.
        predictor: the model.
        series: of the table.
    """
    kinds = (
        ("--dynamic", predictor.covariate_names, series.origin.dynamic),
        ("--static", tuple(predictor.vocabulary), tuple(series.vocabulary)),
        ("--static", predictor.static_names, series.origin.reals),
    )
    for option, trained, columns in kinds:
        if not trained or not columns or columns == trained:
            continue
        if sorted(columns) == sorted(trained):
            wanted = " ".join(f"{option} {name}" for name in trained)
            raise ConfigError(f"{path} was trained with these covariates in another order: give {wanted}")
        in_order([*columns], trained)


def known_categories(options: Series) -> dict[str, Any]:
    """By "vocabulary" the values of static categories that the model which the user names was trained on, so that those
    of the table have the same codes; nothing where there are none, or no such model."""
    model = getattr(options, "chosen", None)
    if model is None or not options.covariates.get("static"):
        return {}
    return {"vocabulary": saved_forecaster(model).vocabulary}


def saved_forecaster(model: str, device: str | None = None) -> Forecaster:
    """What `TSDiffPredictor` or `AutoPredictor` left in a folder, or a bundled model."""
    if (Path(model) / AUTO).is_file():
        from tsdiff.automatic import AutoPredictor  # loads gluonts.torch

        return AutoPredictor.from_pretrained(model, device)
    return TSDiffPredictor.from_pretrained(model, device=device)
