"""How long one waits for the page: from its start until it answers, and for first and later results of both tabs.

The page runs as its users start it, in a process of its own; requests are those of its script. A first result is the
first of its kind that a page gives, right after its start.

Example:
    python benchmarks/app.py --output benchmarks/results/app.md
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from recipes.page import examples
from shared.files.io import write_text

ROOT = Path(__file__).resolve().parents[1]
STARTED = "started, until it answers"
JOBS: dict[str, tuple[str, list[Any]]] = {
    "10 s of sound": ("enhance", [None, "default", 1.0, "as it comes"]),
    "1,000 rows, 24 steps forecast": ("forecast", ["", None, None, None, 24, "", 1]),
    "1,000 rows, gaps filled": ("fill", ["", None, None, None, 24, "", 1]),
    "1,000 rows, odd steps found": ("anomalies", ["", None, None, None, 24, "", 1]),
}
"""Functions of the page, and what they take besides the file."""


@contextmanager
def page() -> Iterator[httpx.Client]:
    """A page that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "recipes" / "app.py"), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            while process.poll() is None:
                with suppress(httpx.TransportError):
                    client.get("/").raise_for_status()
                    break
                time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def result(client: httpx.Client, path: Path, name: str, values: list[Any]) -> None:
    """Send a file and wait for what the page makes of it.

    Raises:
        RuntimeError: the page refused.
    """
    sent = client.post("/gradio_api/upload", files={"files": (path.name, path.read_bytes())}).raise_for_status()
    file = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
    begun = client.post(f"/gradio_api/call/{name}", json={"data": [file, *values]}).raise_for_status()
    kind = ""
    with client.stream("GET", f"/gradio_api/call/{name}/{begun.json()['event_id']}") as events:
        for line in events.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif kind == "error":
                raise RuntimeError(f"{name}: {json.loads(line.removeprefix('data: '))}")
            elif kind == "complete":
                return
    raise RuntimeError(f"{name}: no result came")


def measured(folder: Path, again: int) -> dict[str, list[float]]:
    """Seconds by what was waited for: the first time and further ones."""
    found: dict[str, list[float]] = {}
    files = {True: examples.noisy_recording(folder), False: examples.load_csv(folder)}
    began = time.perf_counter()
    with page() as client:
        found[STARTED] = [time.perf_counter() - began]
        for what, (name, values) in JOBS.items():
            found[what] = []
            for _ in range(1 + again):
                began = time.perf_counter()
                result(client, files[name == "enhance"], name, values)
                found[what].append(time.perf_counter() - began)
    return found


def main(
    pages: Annotated[int, typer.Option(help="How often the page is started.")] = 3,
    again: Annotated[int, typer.Option(help="Further requests of each kind.")] = 3,
    output: Annotated[Path, typer.Option(help="Markdown file for the table.")] = Path("benchmarks/results/app.md"),
) -> None:
    """Measure, and write the table."""
    with tempfile.TemporaryDirectory() as name:
        runs = [measured(Path(name), again) for _ in range(pages)]
    rows = []
    for what in (STARTED, *JOBS):
        first, later = [run[what][0] for run in runs], [value for run in runs for value in run[what][1:]]
        rows.append([what, f"{median(first):.1f}", f"{max(first):.1f}", f"{median(later):.1f}" if later else ""])
        print(*rows[-1], flush=True)
    head = ["waiting for", "first, median, s", "first, longest, s", "later, median, s"]
    about = f"\n{pages} starts of the page, {1 + again} requests of each kind after each.\n\n"
    write_text(output, header("Waiting for the page") + about + table(head, rows))


if __name__ == "__main__":
    typer.run(main)
