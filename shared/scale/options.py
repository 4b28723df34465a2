"""Options of commands that may work on many machines. Needs neither Ray nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from shared.errors import ConfigError
from shared.scale.run import Where


@dataclass(frozen=True, kw_only=True)
class ScaleOut:
    """Many machines"""

    engine: Annotated[
        Literal["local", "ray"] | None,
        typer.Option(
            help="ray: work item by item on many CPUs or machines (extra `scale`), and go on where a run was stopped; "
            "local: the same in this process."
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster: auto, or ray://HOST:10001 [--engine ray begins one on this machine]."),
    ] = None

    def where(self, workers: int | None) -> Where:
        """What `shared.scale.run.run` takes of the options.

        Raises:
            ConfigError: --address without --engine.
        """
        if self.engine is None:
            raise ConfigError("--address is of --engine ray; give that too, or leave it out")
        return {"engine": self.engine, "workers": workers, "address": self.address}
