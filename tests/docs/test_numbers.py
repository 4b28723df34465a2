"""Numbers that docs/samplers.md takes from tables of benchmarks are those of the tables as they are now."""

from __future__ import annotations

import re

import pandas as pd

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


def rows(text: str) -> dict[str, list[tuple[str, str]]]:
    """The first table of a text: of each row its columns and cells."""
    lines = (re.match(r"(?:\|.*\n)+", text[text.index("\n| ") + 1 :]) or [""])[0].splitlines()
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {cells[0]: list(zip(head[1:], cells[1:], strict=True)) for cells in body}


def test_the_table_of_solvers_is_that_of_the_benchmarks() -> None:
    solvers, network = ((RESULTS / name).read_text(encoding="utf-8") for name in ("solvers.md", "solvers_network.md"))
    measured = {name: rows(solvers[solvers.index(f"## {name}\n") :]) for name in ("VP", "OUVE", "SB-VE")}
    measured["forecaster"] = rows(network.replace("| EVODiff |", "| EVODiff (for 4–8 calls on VP) |"))
    shown = rows(PAGE[PAGE.index("## What there is") :])
    assert len(shown) >= 10
    for method, cells in shown.items():
        process = ""
        for column, cell in cells:
            *named, calls = column.split()
            process = named[0] if named else process
            found = dict(measured[process].get(method, [])).get(calls, "–")
            assert cell == found.removeprefix("0"), f"{method}, {process} with {calls} calls"


def test_what_is_said_of_enhancement_in_few_calls_is_its_table() -> None:
    measured = pd.read_csv(RESULTS / "speech_calls.csv")
    table = measured.set_index(["recordings", "model", "sampler", "calls"]).sort_index()
    score = ["pesq_wb", "dnsmos_ovrl", "si_sdr"]
    one, thirty, random, *jumps, sixteen = (
        [table.loc[(kind, *row), score] for kind in ("test pairs", "validation mixtures")]
        for row in (
            ("denoiser", "ode2", 1),
            ("denoiser", "ode2", 30),
            ("denoiser", "sde2", 16),
            ("lagrangian", "map", 1),
            ("lagrangian", "map", 2),
            ("lagrangian", "ode2", 16),
        )
    )
    lost, noisier = (first - last for first, last in zip(one, thirty, strict=True))
    ahead = [jump[1] - sixteen[1] for jump in jumps]
    text = " ".join(PAGE.split())
    for said in (
        f"PESQ falls from {one[0].pesq_wb:.2f} to {thirty[0].pesq_wb:.2f}",
        f"(`sde2` with sixteen: {random[0].pesq_wb:.2f})",
        f"DNSMOS from {one[0].dnsmos_ovrl:.2f} to {thirty[0].dnsmos_ovrl:.2f} and SI-SDR by {lost.si_sdr:.1f} dB",
        f"PESQ by {noisier.pesq_wb:.2f}, DNSMOS by {noisier.dnsmos_ovrl:.2f} and SI-SDR by {noisier.si_sdr:.1f} dB",
        "PESQ {:.2f} and {:.2f}".format(*(jump[0].pesq_wb for jump in jumps)),
        "DNSMOS {:.2f} and {:.2f}".format(*(jump[0].dnsmos_ovrl for jump in jumps)),
        f"with the same weights {sixteen[0].pesq_wb:.2f} and {sixteen[0].dnsmos_ovrl:.2f}",
        f"PESQ {ahead[0].pesq_wb:.2f} and DNSMOS {ahead[0].dnsmos_ovrl:.2f} above those sixteen calls",
        f"two are {ahead[1].pesq_wb:.2f} and {ahead[1].dnsmos_ovrl:.2f} above",
    ):
        assert re.sub(r"\b0(?=\.\d\d)", "", said) in text
    apart = table.xs(1, level="calls").xs("denoiser", level="model").seeds_apart_db.min()
    assert f"{int(apart) // 10 * 10} dB apart and more" in text
