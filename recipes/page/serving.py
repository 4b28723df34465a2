"""The server of the page: on this machine alone unless told otherwise, with nothing loaded from elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError
from shared.optional import needed

from .limits import MEGABYTE, Limits
from .work import UPLOADS, Desk, open_desk

if TYPE_CHECKING:
    from fastapi import FastAPI

_READ_TIMES, _READ_SECONDS = 4, 5.0  # of a body that is too large: up to so many times what is taken, and so long
_ROUTES = ("gradio.routes", "gradio.route_utils")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
HEADERS = {
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' "
    b"'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src "
    b"'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    b"frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}
"""Of every answer: a browser loads nothing from elsewhere, whatever the framework's files ask for."""

OFF = ("GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY", "GRADIO_SHARE", "HF_HUB_ENABLE_HF_TRANSFER")
"""Settings of the framework that are switched off; the hub is told by HF_HUB_OFFLINE and HF_HUB_DISABLE_TELEMETRY."""


class Guard:
    """Middleware that refuses requests of more than so many bytes, whatever they state, and what another site has a
    browser send, which may be files without end; and adds `HEADERS`."""

    def __init__(self, app: Any, most: int):
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import ClientDisconnect

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"])
        if scope["method"] not in ("GET", "HEAD") and given.get(b"sec-fetch-site") == b"cross-site":
            await _answer(self._with_headers(send), 403, "this page takes nothing that another site has a browser send")
            return
        stated = given.get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > self.most:
            await _refuse(receive, self._with_headers(send), self.most)
            return
        seen, refused, begun = 0, False, False
        held: list[Any] = []  # an answer of 500, which may be an error that follows, or what the framework answers

        async def bounded() -> Any:
            nonlocal seen, refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: Any) -> None:
            nonlocal begun
            if held or message.get("status") == 500:
                held.append(message)
            elif not refused:
                begun = True
                await self._with_headers(send)(message)

        try:
            with contextlib.suppress(ClientDisconnect):  # who sent it is gone, as where a tab is closed meanwhile
                await self.app(scope, bounded, guarded)
        except Exception as error:
            if not _is_of_request(error):
                raise
            held.clear()
            if begun:
                await send({"type": "http.response.body", "body": b""})
            else:
                await _answer(
                    self._with_headers(send), 404, "this page has nothing of the name or number that was asked for"
                )
                begun = True
        finally:
            for message in held:
                await self._with_headers(send)(message)
            if refused and not begun:
                await _refuse(receive, self._with_headers(send), self.most)

    @staticmethod
    def _with_headers(send: Any) -> Any:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [pair for pair in message.get("headers", ()) if pair[0].lower() not in HEADERS]
                message = {**message, "headers": [*ours, *HEADERS.items()]}
            await send(message)

        return sent


def _is_of_request(error: Exception) -> bool:
    """Whether the framework could not tell what a request is for, as where it names a function that is not there, or a
    tab of before the server's start: it raises errors of Python then, or finds nothing after its answer has begun."""
    from starlette.exceptions import HTTPException

    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return isinstance(error.__cause__, HTTPException) or frame.f_globals["__name__"] in _ROUTES


async def _refuse(receive: Any, send: Any, most: int) -> None:
    await _passed_over(receive, _READ_TIMES * most)
    told = f"this page takes {most / MEGABYTE:.0f} MB at once: send a part of it, or use the command line"
    await _answer(send, 413, told)


async def _answer(send: Any, status: int, told: str) -> None:
    text = told.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": text})


async def _passed_over(receive: Any, most: int) -> None:
    """Take what is still sent, up to `most` bytes and for some seconds: a connection that is closed before loses the
    answer."""
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READ_SECONDS):
            while seen <= most:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                seen += len(message.get("body", b""))


@contextlib.contextmanager
def opened(limits: Limits | None = None, workers: int = 1, threads: int | None = None) -> Iterator[Desk]:
    """A desk in a folder of its own, which the framework keeps uploads in; both are gone at the end.

    It must be opened before the framework is loaded, since that reads where to keep files but once.
    """
    home = Path(tempfile.mkdtemp(prefix="anchored-diffusion-app-"))
    os.environ |= {"GRADIO_TEMP_DIR": str(home / UPLOADS), **dict.fromkeys(OFF, "False")}
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    with open_desk(home, limits, workers, threads) as desk:
        yield desk


def application(desk: Desk, host: str = LOOPBACK[0]) -> FastAPI:
    """The page over a desk, for a server at this address.

    Raises:
        MissingPackageError: the extra "app" is not installed.
    """
    gradio = needed("gradio", "app", "the page")
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from . import layout

    stop = threading.Event()

    @contextlib.asynccontextmanager
    async def sweeping(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=desk.sweep_until, args=(stop.wait,), daemon=True).start()
        yield
        stop.set()

    app = FastAPI(lifespan=sweeping, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, most=desk.limits.body_bytes)
    if host in LOOPBACK:  # so that no other site's name can be made to lead here
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
    return gradio.mount_gradio_app(
        app,
        layout.build(desk),
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        max_file_size=desk.limits.upload_bytes,
        ssr_mode=False,
        pwa=False,
        theme=layout.theme(),
    )


def address(host: str, port: int) -> str:
    """Where the page is, for a browser.

    Raises:
        ConfigError: no port.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port}: take one from 1024 to 65535")
    try:
        shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        shown = host
    return f"http://{shown}:{port}/"


def serve(host: str, port: int, limits: Limits, workers: int, threads: int | None, ready: Any) -> None:
    """Serve the page until it is interrupted; `ready` is told its address once a process has its models.

    Raises:
        ConfigError: the address cannot be listened at.
        MissingPackageError: the extra "app" is not installed.
    """
    where = address(host, port)
    uvicorn = needed("uvicorn", "app", "the page")
    with _ended_by_signals(), opened(limits, workers, threads) as desk:
        server = _server(uvicorn.Config(application(desk, host), host, port, log_level="warning"))
        listening = _listen(server.config, where)
        desk.warm()
        ready(where)
        server.run(sockets=[listening])


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have a request to end, or a terminal that is closed, end the block in order, as Ctrl-C does: files that were sent
    must not stay behind."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    handlers: dict[int, Any] = {signal.SIGTERM: end}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        handlers[signal.SIGHUP] = lambda number, frame: signal.raise_signal(signal.SIGTERM)  # which the server hears
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _server(config: Any) -> Any:
    """A server that leaves its browsers when it is stopped: each open page asks for an answer that never ends."""
    from uvicorn import Server

    class Leaving(Server):
        async def shutdown(self, sockets: Any = None) -> None:
            for connection in list(self.server_state.connections):
                connection.transport.close()
            await super().shutdown(sockets)

    return Leaving(config)


def _listen(config: Any, where: str) -> Any:
    """The socket, listened at before the models are loaded, so that a port that is in use is told at once."""
    try:
        found = config.bind_socket()
        found.listen()  # two may be bound to a port that nobody listens at
        return found
    except (OSError, SystemExit) as error:
        raise ConfigError(f"{where} cannot be listened at; choose another --port, or another --host") from error
