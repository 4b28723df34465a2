"""A page to try both domains in a browser: clean a recording; forecast a table, fill its gaps, find what is odd in it.

    python recipes/app.py                                  then open http://127.0.0.1:7860/
    python recipes/app.py --port 8000 --minutes 30         another port; recordings of up to half an hour
    python recipes/app.py --host 0.0.0.0                   for other machines too: whoever reaches it can use it

All is computed here, on the CPU, by the models that ship. Nothing is sent elsewhere; what is uploaded is removed after
--keep minutes, and when the page is stopped (Ctrl-C). Needs the extra "app": pip install -e '.[app]' -c constraints.txt
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from shared.console.command import run, show


def main(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 7860,
    minutes: Annotated[float, typer.Option(help="Longest recording.", min=0.1)] = 10.0,
    rows: Annotated[int, typer.Option(help="Longest table.", min=1)] = 50_000,
    seconds: Annotated[float, typer.Option(help="Of work on one request, which is then stopped.", min=1)] = 120.0,
    keep: Annotated[float, typer.Option(help="Minutes that files are kept.", min=1)] = 30.0,
    workers: Annotated[int, typer.Option(help="Requests that are worked on at once, a process each.", min=1)] = 2,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each; by default its share.", min=1)] = None,
) -> None:
    """Serve the page."""
    from page.limits import Limits  # what it needs takes seconds to load, which help does not
    from page.serving import serve

    limits = replace(
        Limits(), sound_seconds=60 * minutes, rows=rows, job_seconds=seconds, keep_seconds=60 * max(keep, seconds / 60)
    )
    serve(host, port, limits, workers, threads, lambda where: show(f"open {where} in a browser; Ctrl-C stops it"))


if __name__ == "__main__":
    run(main, __doc__)
