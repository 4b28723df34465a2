"""The page over its HTTP API, as its own script uses it: results, hostile uploads, two users at once, what is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import soundfile

from recipes.page import examples, serving
from recipes.page.limits import Limits
from shared.errors import ConfigError
from tests.docs.blocks import ROOT
from tests.recipes.page_server import Running, running

pytestmark = pytest.mark.slow  # makes the framework and a process of models; make test-app runs them
LIMITS = replace(Limits(), upload_bytes=1 << 20, body_bytes=3 << 19, sound_seconds=15.0, rows=2000)
NO_COLUMNS = [None, None, None]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(LIMITS) as started:
        yield started


class User:
    """Someone who uses the page.

    Attributes:
        address: of the server.
    """

    def __init__(self, server: Running):
        self.address = server.url
        self.client = httpx.Client(base_url=server.url, timeout=300)

    def upload(self, path: Path, name: str | None = None) -> dict[str, Any]:
        """Send a file, under any name; returns how the API names it."""
        sent = self.client.post("/gradio_api/upload", files={"files": (name or path.name, path.read_bytes())})
        sent.raise_for_status()
        return {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, *values: Any) -> list[Any]:
        """The results of one of the page's functions.

        Raises:
            Refused: it told an error.
        """
        begun = self.client.post(f"/gradio_api/call/{name}", json={"data": list(values)})
        begun.raise_for_status()
        kind = ""
        with self.client.stream("GET", f"/gradio_api/call/{name}/{begun.json()['event_id']}") as events:
            for line in events.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind == "complete":
                    found: list[Any] = json.loads(line.removeprefix("data: "))
                    return found
                elif line.startswith("data: ") and kind == "error":
                    raise Refused(line.removeprefix("data: "))
        raise AssertionError("no result came")

    def enhance(self, file: dict[str, Any] | None, model: str = "default", mix: float = 1.0) -> list[Any]:
        """The results of the tab "Speech"."""
        return self.call("enhance", file, None, model, mix, "as it comes")

    def forecast(self, file: dict[str, Any] | None, pasted: str = "", horizon: int = 24, task: str = "forecast") -> Any:
        """The results of the tab "Series"."""
        return self.call(task, file, pasted, *NO_COLUMNS, horizon, "", 1)

    def download(self, file: dict[str, Any]) -> bytes:
        """The content of a file of the results."""
        content: bytes = self.client.get(f"/gradio_api/file={file['path']}").raise_for_status().content
        return content


class Refused(Exception):
    """What the page said."""


@pytest.fixture
def user(server: Running) -> User:
    return User(server)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return examples.noisy_recording(tmp_path_factory.mktemp("sound"))


def test_speech(user: User, noisy: Path, tmp_path: Path) -> None:
    before, after, picture, result, about = user.enhance(user.upload(noisy))
    for file, name in ((before, "before.flac"), (after, "after.flac"), (result, "made-up talker-enhanced.wav")):
        path = tmp_path / name
        path.write_bytes(user.download(file))
        assert soundfile.info(path).frames == 10 * examples.RATE
    assert user.download(picture).startswith(b"\x89PNG")
    assert about.startswith("10\\.0 s at 16000 Hz\\, model default\\: removed ")


def test_series(user: User, tmp_path: Path) -> None:
    file = user.upload(examples.load_csv(tmp_path))
    item, time, target, about = user.call("look", file, "")
    assert [item["value"], time["value"], target["value"]] == ["region", "hour", "megawatts"]
    assert about.startswith("1000 rows\\, 3 columns")
    for task, rows in (("forecast", 24), ("fill", 1000), ("anomalies", 1000)):
        picture, shown, download, _ = user.forecast(file, task=task)
        assert user.download(picture).startswith(b"\x89PNG")
        path = tmp_path / f"{task}.csv"
        path.write_bytes(user.download(download))
        table = pd.read_csv(path)
        assert len(table) == rows
        assert shown["headers"] == list(table.columns)


def test_what_is_pasted_may_hold_anything(user: User, tmp_path: Path) -> None:
    name = "=HYPERLINK(1)<img src=x onerror=alert(1)>"
    rows = "".join(f'"{name}",2024-01-{day:02},{day}\n' for day in range(1, 29) if day != 9)
    _, _, download, about = user.forecast(None, f"shop,day,sold\n{rows}", horizon=2)
    assert user.download(download).decode().splitlines()[1].startswith(f"'{name},2024-01-29")
    assert "<img" not in about.replace("\\<img", "")
    assert "1 gap filled as missing" in about.replace("\\", "")


def hostile(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are none of what is wanted, and what is said of them as recordings, and as tables."""
    text, bomb, damaged = folder / "text.wav", folder / "bomb.zip", folder / "damaged.flac"
    text.write_text("no sound at all")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros.wav", bytes(50 << 20))
    soundfile.write(damaged, np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000)
    damaged.write_bytes(damaged.read_bytes()[:9000])
    long = folder / "long.flac"
    soundfile.write(long, np.zeros(100 * 16000, np.int16), 16000)
    return {
        "text": (text, "text.wav is not audio that libsndfile reads"),
        "bomb": (bomb, "bomb.zip is not audio that libsndfile reads"),
        "damaged": (damaged, "damaged.flac is damaged or cut short"),
        "long": (long, "long.flac lasts 1.7 minutes, and this page takes 0.25"),
    }


def test_hostile_recordings_are_refused_and_the_server_goes_on(user: User, noisy: Path, tmp_path: Path) -> None:
    for path, said in hostile(tmp_path).values():
        with pytest.raises(Refused, match=said):
            user.enhance(user.upload(path))
    with pytest.raises(Refused, match="there is no recording"):
        user.enhance(None)
    assert len(user.enhance(user.upload(noisy))) == 5


def test_hostile_tables_are_refused_and_the_server_goes_on(user: User, tmp_path: Path) -> None:
    bomb, long, sound = tmp_path / "bomb.zip", tmp_path / "long.csv", tmp_path / "sound.parquet"
    bomb.write_bytes(b"PK\x03\x04 no table")
    sound.write_bytes(bytes(range(256)))
    long.write_text("day,y\n" + "2024-01-01,1\n" * 2001)
    for path, said in (
        (bomb, "bomb.zip: unknown kind of table"),
        (sound, "sound.parquet: cannot be read as a table"),
        (long, "2001 rows, and this page takes 2000"),
    ):
        with pytest.raises(Refused, match=said):
            user.forecast(user.upload(path))
    with pytest.raises(Refused, match="there is no table"):
        user.forecast(None)
    assert len(user.forecast(user.upload(examples.load_csv(tmp_path)))) == 4


def test_no_file_but_those_that_were_sent_is_read(user: User, server: Running, tmp_path: Path) -> None:
    secret = examples.load_csv(tmp_path).rename(tmp_path / "secret.csv")
    for path in (str(secret), "/etc/passwd", "http://127.0.0.1:9/a.csv", f"{server.desk.uploads}/../../x"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for name, values in (
            ("forecast", (file, "", *NO_COLUMNS, 24, "", 1)),
            ("forecast", (None, "a,b", [{"x": file}], None, None, 24, "", 1)),
            ("look", (None, file)),
            ("enhance", (None, file, "default", 1, "keep")),
            ("enhance", (None, None, "default", 1, file)),
        ):
            with pytest.raises(Refused, match="no such file was sent to this page"):
                user.call(name, *values)
        assert user.client.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert not list(server.desk.home.rglob(secret.name))  # nor copied to where it could be had


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("enhance", (None, None, "default", "loud", "keep"), "index 3 "),
        ("enhance", (None, None, "default", 7, "keep"), "greater than maximum"),
        ("enhance", (None, None, ["none"], 1, "keep"), "not in the list of choices"),
        ("enhance", ("x.wav", None, "default", 1, "keep"), "FileData"),
        ("enhance", (1,), "enough input values"),
        ("forecast", (None, "a,b", None, None, None, "3", "", 1), "index 5 "),
        ("look", (None, None), None),
    ],
)
def test_values_of_wrong_types_are_told_in_a_line(
    user: User, capfd: pytest.CaptureFixture[str], name: str, values: tuple[Any, ...], told: str | None
) -> None:
    if told is None:
        user.call(name, *values)
    else:
        with pytest.raises(Refused, match=f"{name} cannot take what was sent: .*{told}"):
            user.call(name, *values)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("route", "values"),
    [
        ("call/nothing", {"data": []}),
        ("call/v2/nothing", {}),
        ("queue/join", {"data": [], "fn_index": 999, "session_hash": "a"}),
        ("component_server", {"session_hash": "a", "component_id": 999, "fn_name": "x", "data": []}),
    ],
)
def test_what_is_not_there_is_told_in_a_line(
    user: User, caplog: pytest.LogCaptureFixture, route: str, values: dict[str, Any]
) -> None:
    answer = user.client.post(f"/gradio_api/{route}", json=values)
    assert (answer.status_code, answer.text) == (404, "this page has nothing of the name or number that was asked for")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("route", ["call/enhance/nothing", "queue/data?session_hash=nobody"])
def test_a_page_of_before_the_servers_start_is_no_fault(
    user: User, caplog: pytest.LogCaptureFixture, route: str
) -> None:
    assert "404: Not Found" in user.client.get(f"/gradio_api/{route}").text
    time.sleep(0.2)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_nobody_passes_those_who_wait(user: User) -> None:
    for route in ("run", "api"):
        assert user.client.post(f"/gradio_api/{route}/look", json={"data": [None, "a,b"]}).status_code == 404


@pytest.mark.parametrize("name", ["../../../up.csv", "/etc/up.csv", "a/b\\..\\up.csv", "..", "x" * 400 + ".csv"])
def test_a_path_in_a_name_leads_nowhere(user: User, server: Running, tmp_path: Path, name: str) -> None:
    files = {"files": (name, examples.load_csv(tmp_path).read_bytes())}
    sent = user.client.post("/gradio_api/upload", files=files)
    assert sent.status_code < 500
    if sent.is_success:
        path = Path(sent.json()[0]).resolve()
        assert path.is_relative_to(server.desk.uploads.resolve())
        assert path.is_file()
    assert not (server.desk.home.parent / "up.csv").exists()


def test_requests_of_any_kind_are_bounded(user: User, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(LIMITS.upload_bytes + 1))
    with pytest.raises(httpx.HTTPStatusError, match="413"):
        user.upload(large)
    large.write_bytes(bytes(2 * LIMITS.body_bytes))
    with pytest.raises(httpx.HTTPStatusError, match="413"):
        user.upload(large)
    body = json.dumps({"data": ["x" * 2 * LIMITS.body_bytes]}).encode()
    stated = user.client.post("/gradio_api/call/look", content=body)
    assert (stated.status_code, "send a part of it" in stated.text) == (413, True)
    streamed = user.client.post(
        "/gradio_api/call/look", content=(body[i : i + 65536] for i in range(0, len(body), 65536))
    )
    assert streamed.status_code == 413


def test_an_upload_that_breaks_off_is_no_fault_of_the_server(
    user: User, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a tab that is closed while it sends."""
    host, port = server.url.removeprefix("http://").split(":")
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="half.csv"\r\n\r\n'
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999\r\n"
    with socket.create_connection((host, int(port))) as sent:
        sent.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + form)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and not caplog.records:
        time.sleep(0.05)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert user.client.get("/").status_code == 200


def test_answers_forbid_what_is_from_elsewhere(user: User) -> None:
    page = user.client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert user.client.get("/config").json()["analytics_enabled"] is False
    assert user.client.get("/", headers={"host": "example.org"}).status_code == 400


def test_another_site_sends_nothing(user: User, server: Running) -> None:
    before = list(server.desk.uploads.rglob("*"))
    files, from_elsewhere = {"files": ("a.csv", b"day,y\n")}, {"origin": "http://example.org"}
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        headers = {**from_elsewhere, "sec-fetch-site": site}
        assert user.client.post("/gradio_api/upload", files=files, headers=headers).status_code == status
        assert (list(server.desk.uploads.rglob("*")) == before) == (status == 403)
        assert user.client.get("/", headers=headers).status_code == 200, "a link leads here"


def test_a_column_is_taken_whatever_the_page_has_offered(user: User) -> None:
    """As by a page that was open when the server was started anew."""
    rows = "".join(f"2024-01-{day:02},{day % 7},{day}\n" for day in range(1, 29))
    chosen = ("(one series)", "day", "a")
    *_, about = user.call("forecast", None, f"day,a,b\n{rows}", *chosen, 3, "", 1)
    assert "3 steps ahead" in about
    with pytest.raises(Refused, match=r"the table has .*day.*sold"):
        user.call("forecast", None, "day,sold\n2024-01-01,1\n", *chosen, 3, "", 1)


def test_a_second_user_while_one_is_served(server: Running, noisy: Path, tmp_path: Path) -> None:
    done: dict[str, list[Any]] = {}

    def first() -> None:
        one = User(server)
        done["first"] = one.enhance(one.upload(noisy))

    thread = threading.Thread(target=first)
    thread.start()
    other = User(server)
    done["second"] = other.forecast(other.upload(examples.load_csv(tmp_path)))
    thread.join()
    assert (len(done["first"]), len(done["second"])) == (5, 4)
    assert done["first"][1]["path"] != done["second"][0]["path"]


def test_work_ends_with_the_tab_that_asked_for_it(server: Running, user: User, noisy: Path, tmp_path: Path) -> None:
    """As a browser asks: over a queue, beside a heartbeat that ends when its tab is closed. One process works, so that
    who asks next is served once it has ended."""
    samples, rate = soundfile.read(noisy)
    soundfile.write(tmp_path / "wide.ogg", np.stack([samples] * 8, 1), rate)
    file, before = user.upload(tmp_path / "wide.ogg"), set(server.desk.jobs.iterdir())
    asked = {function["api_name"]: function["id"] for function in user.client.get("/config").json()["dependencies"]}
    with user.client.stream("GET", "/gradio_api/heartbeat/a-tab") as tab:
        beats = tab.iter_lines()  # kept, for its end closes the connection
        next(beats)
        call = {"data": [file, None, "default", 1, "as it comes"], "fn_index": asked["enhance"]}
        user.client.post("/gradio_api/queue/join", json={**call, "session_hash": "a-tab"}).raise_for_status()
        with user.client.stream("GET", "/gradio_api/queue/data?session_hash=a-tab") as told:
            next(line for line in told.iter_lines() if '"progress"' in line)
    (folder,) = set(server.desk.jobs.iterdir()) - before
    assert len(user.enhance(user.upload(noisy))) == 5
    assert not (folder / "spectrograms.png").exists()


def test_nothing_is_kept_for_long(server: Running, user: User, noisy: Path) -> None:
    after = user.enhance(user.upload(noisy))[1]
    assert user.download(after)
    files = [path for path in server.desk.home.rglob("*") if path.is_file()]
    later = max(path.stat().st_mtime for path in files) + LIMITS.keep_seconds + 1
    assert server.desk.sweep(later) >= len(files)
    assert not [path for path in server.desk.home.rglob("*") if path.is_file()]
    assert user.client.get(f"/gradio_api/file={after['path']}").status_code in (403, 404)
    assert len(user.enhance(user.upload(noisy))) == 5


@pytest.mark.usefixtures("hangups_are_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_heard_while_pages_are_open_and_leaves_nothing(
    number: signal.Signals, noisy: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "recipes" / "app.py"), "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served:
        try:
            assert served.stdout is not None
            assert f"open http://127.0.0.1:{port}/" in served.stdout.readline()
            user = User(Running(f"http://127.0.0.1:{port}", None))  # type: ignore[arg-type]
            file = user.upload(noisy)
            with user.client.stream("GET", "/gradio_api/heartbeat/a-page") as page:  # as each that is open asks for
                assert next(page.iter_lines()) == "data: ALIVE"
                user.client.post("/gradio_api/call/enhance", json={"data": [file, None, "default", 1, "keep"]})
                assert list(tmp_path.glob("anchored-diffusion-app-*"))
                served.send_signal(number)
                _, told = served.communicate(timeout=60)
        finally:
            served.kill()
    assert served.returncode == {signal.SIGINT: 130}.get(number, 143)
    assert "Traceback" not in told
    assert "semaphore" not in told
    assert list(tmp_path.glob("anchored-diffusion-app-*")) == []


def test_a_port_that_another_page_has_taken_is_told_at_once() -> None:
    import uvicorn

    with serving._listen(uvicorn.Config("", "127.0.0.1", 0), "http://127.0.0.1/") as first:
        config = uvicorn.Config("", "127.0.0.1", first.getsockname()[1])
        with pytest.raises(ConfigError, match="cannot be listened at"):
            serving._listen(config, "http://127.0.0.1/")
