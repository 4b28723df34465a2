"""The page's server, started in this process on a port of its own, for the tests of its HTTP API and of a browser."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from recipes.page.limits import Limits
from recipes.page.work import Desk


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        url: where.
        desk: behind it.
    """

    url: str
    desk: Desk


@contextlib.contextmanager
def running(limits: Limits, workers: int = 1) -> Iterator[Running]:
    """The server, with its models loaded; it ends at the end."""
    import uvicorn

    from recipes.page.serving import application, opened

    with opened(limits, workers, threads=1) as desk:
        config = uvicorn.Config(application(desk), "127.0.0.1", 0, log_level="warning")
        server, socket = uvicorn.Server(config), config.bind_socket()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        desk.warm()
        try:
            yield Running(f"http://127.0.0.1:{socket.getsockname()[1]}", desk)
        finally:
            server.should_exit = True
            thread.join(20)
