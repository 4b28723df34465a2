"""Options that commands of both packages have, each written once. Needs no torch: a help page does not wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from shared.checks import Checked, Count, Positive, Several

Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU where there is one.")]
"""`--device`."""
Output = Annotated[Path, typer.Option("--output", help="Folder for the results.")]
"""`--output`."""
Retrain = Annotated[bool, typer.Option("--retrain", help="Train anew even where a training fits that is there.")]
"""`--retrain`."""
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: section.name=value; give it once for each.")
]
"""`--set`."""
Hardware = Annotated[
    Literal["cpu", "gpu", "ddp"] | None,
    typer.Option("--hardware", help="Preset: cpu; gpu and ddp (all GPUs) with bf16 and compilation."),
]
"""`--hardware`."""


class Options(Checked):
    """Base of the options of a verb, frozen dataclasses; a message names an option as it is typed."""

    @classmethod
    def _spoken(cls, name: str) -> str:
        typed = _typed(cls)  # type: ignore[arg-type]
        return typed.get(name) or f"--{name.replace('_', '-')}"


@cache
def _typed(options: type) -> dict[str, str]:
    """How options are typed that are not by their field's name, which typer keeps as their default."""
    hints = get_type_hints(options, include_extras=True).items()
    marks = ((name, mark) for name, hint in hints for mark in get_args(hint)[1:])
    words = {name: mark.default for name, mark in marks if isinstance(mark, OptionInfo)}
    return {name: word.partition("/")[0] for name, word in words.items() if isinstance(word, str)}


def settings_option(such_as: str, otherwise: str) -> Any:
    """The option of a file of settings, with examples of those that come with the package, and what is done without."""
    known = f"name of settings that come with the package, such as {such_as}; an unknown name lists all"
    return typer.Option(help=f"YAML file, or {known}. Left out: {otherwise}.")


@dataclass(frozen=True, kw_only=True)
class Measures(Options):
    """The measures"""

    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            help="Give it once for each: asymmetry, flipd, loop, fokker_planck, sampling, lidl, spectrum [all but the "
            "last two, which take long].",
        ),
    ] = None
    noise: Annotated[
        list[float] | None,
        typer.Option(help="Level of noise, as a multiple of the data's deviation; once for each [4, 2, 1, …, 1/16]."),
    ] = None
    probes: Annotated[Several, typer.Option(help="Random directions of each window or recording.")] = 4
    method: Annotated[str, typer.Option(help="Sampler whose few steps are compared with many.")] = "ode2"
    fine: Annotated[Count, typer.Option(help="How many are many.")] = 200
    seconds: Annotated[Positive, typer.Option(help="After which no further measurement begins.")] = 60.0
