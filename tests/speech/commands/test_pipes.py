"""Recordings through standard input and output, where these do not wait."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from speech.commands.pipes import STANDARD, spooled, standard_output

SIZE = 500_000


def test_a_pipe_that_does_not_wait_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    come, to = os.pipe()
    os.set_blocking(come, False)

    def send() -> None:
        with open(to, "wb") as file:
            for _ in range(5):
                time.sleep(0.05)
                file.write(bytes(SIZE // 5))
                file.flush()

    with open(come) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        sender = threading.Thread(target=send)
        sender.start()
        with spooled(STANDARD, raw=False) as path:
            assert path.stat().st_size == SIZE
        sender.join()


def test_a_pipe_that_does_not_wait_is_given_all(monkeypatch: pytest.MonkeyPatch) -> None:
    out, go = os.pipe()
    os.set_blocking(go, False)
    got = list[bytes]()

    def take() -> None:
        time.sleep(0.2)
        with open(out, "rb") as file:
            got.append(file.read())

    taker = threading.Thread(target=take)
    taker.start()
    with open(go, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with standard_output() as path:
            path.write_bytes(bytes(SIZE))
    taker.join()
    assert len(got[0]) == SIZE
