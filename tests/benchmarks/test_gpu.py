"""benchmarks/gpu.py: rows are kept, not made twice, and compared with the right ones."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.gpu import beside, report, share
from benchmarks.gpu_measure import KEYS, Bench
from benchmarks.rows import Rows


def test_cases_become_rows_once_and_are_compared(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "gpu.csv", KEYS)
    bench = Bench("cpu", True, rows, time.time() + 60, "speech")
    calls = []

    def case(side: str, way: str, part: str = "speech", what: str = "forward") -> None:
        made = Bench("cpu", True, rows, bench.ends, part)
        made.case(what, way, lambda: lambda: calls.append(side), count=2, unit="items", flops=1e9, side=side)

    for _ in range(2):
        case("ours", "bf16", "peak", "product")
        case("public", "bf16")
        case("ours", "bf16 compiled")
    assert calls == ["ours", "public", "ours"]
    Bench("cpu", True, rows, 0.0, "speech").case("late", "bf16", lambda: calls.clear)
    assert len(rows.read()) == 3
    for tried in (1, 2):
        bench.case("broken", "bf16", lambda: lambda: calls.append(1 / 0))
        assert rows.read()[3]["note"] == "ZeroDivisionError: division by zero", tried
    bench.case("broken", "bf16", lambda: calls.clear)
    assert [row["note"] for row in rows.read()] == ["", "", "", ""]

    table = [
        row | {"ms": ms, "tflops": rate} for row, ms, rate in zip(rows.read()[:3], (1, 6, 2), (10, 1, 3), strict=True)
    ]
    assert [share(row, table) for row in table] == ["", "10%", "30%"]
    assert [beside(row, table) for row in table] == ["", "", "3.00"]
    text = report(table, "a card")
    assert "Card: a card" in text
    assert "| forward | ours | bf16 compiled | 2 |" in text
