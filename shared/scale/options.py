"""Options of commands that may work or train on many machines. Needs neither Ray nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from shared.errors import ConfigError
from shared.scale.run import Where

Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto, or ray://HOST:10001 [--engine ray begins one on this machine]."),
]
"""`--address`."""


ENGINE = (
    "ray: work item by item on many CPUs or machines (extra `scale`), and go on where a run was stopped; local: the "
    "same in this process."
)
"""What `--engine` does."""


@dataclass(frozen=True, kw_only=True)
class ScaleOut:
    """Many machines"""

    engine: Annotated[Literal["local", "ray"] | None, typer.Option(help=ENGINE)] = None
    address: Address = None

    def where(self, workers: int | None) -> Where:
        """What `shared.scale.run.run` takes of the options.

        Raises:
            ConfigError: --address or workers without --engine.
        """
        if self.engine is None:
            option = "--workers" if self.address is None else "--address"
            raise ConfigError(f"{option} is of --engine ray; give that too, or leave it out")
        return {"engine": self.engine, "workers": workers, "address": self.address}


@dataclass(frozen=True, kw_only=True)
class Together:
    """Many machines"""

    engine: Annotated[
        Literal["ray"] | None,
        typer.Option(
            help="ray: train in several processes of a cluster (extra `scale`); where one dies, all go on from the "
            "state that was saved last."
        ),
    ] = None
    workers: Annotated[
        int | None, typer.Option(help="Processes of --engine ray [one a CPU, or a GPU with cuda].", min=1)
    ] = None
    address: Address = None

    @property
    def is_together(self) -> bool:
        """Whether several are to train.

        Raises:
            ConfigError: --workers or --address without --engine.
        """
        if self.engine is None and (self.workers, self.address) != (None, None):
            raise ConfigError("--workers and --address are of --engine ray; give that too, or leave them out")
        return self.engine is not None
