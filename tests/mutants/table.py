"""The table that a run leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.mutants.mutant import Mutant
from tests.mutants.run import Outcome

Ended = tuple[Mutant, Outcome]


def table(sampled: Sequence[Ended], again: Sequence[Ended], why: Callable[[Mutant], str], seed: int) -> str:
    """Markdown: how many of the sample were killed, each survivor and why, and what became of former survivors.

    Args:
        sampled, again: mutants of the sample and known ones, and what came of each.
        why: the explanation of a mutant, or nothing.
        seed: of the sample.
    """
    survived = [(mutant, why(mutant)) for mutant, outcome in sampled if outcome.passed]
    unexplained = sum(not reason for _, reason in survived)
    killed = len(sampled) - len(survived)
    lines = [
        "# Mutants",
        "",
        f"`make mutants` planted {len(sampled)} bugs (seed {seed}) one at a time, by Cosmic Ray's operators, and ran "
        f"the tests of each file (`tests/mutants/covers.py`): {killed} killed, {len(survived)} survived, of which "
        f"{unexplained} without an explanation.",
        "",
        "| package | planted | killed | survived |",
        "|---|---|---|---|",
    ]
    for package in ("shared", "tsdiff", "speech"):
        own = [outcome.passed for mutant, outcome in sampled if mutant.file.startswith(f"{package}/")]
        lines.append(f"| {package} | {len(own)} | {len(own) - sum(own)} | {sum(own)} |")
    lines += ["", "## Survivors", ""]
    if survived:
        lines += ["| where | line | became | why |", "|---|---|---|---|"]
    for mutant, reason in survived:
        cells = f"{_code(mutant.before)} | {_code(mutant.after)} | {reason or '**not explained**'}"
        lines.append(f"| {mutant.file}:{mutant.line} | {cells} |")
    fallen = sum(not outcome.passed for _, outcome in again)
    lines += ["", "## Once survived, planted again", ""]
    lines += [
        f"Bugs that no test fell for when they were first planted: a test falls now for {fallen} of {len(again)}."
    ]
    lines += ["", "| where | line | became | now |", "|---|---|---|---|"]
    for mutant, outcome in again:
        now = "**survives again**" if outcome.passed else f"killed by {_code(outcome.by)}"
        lines.append(f"| {mutant.file}:{mutant.line} | {_code(mutant.before)} | {_code(mutant.after)} | {now} |")
    lines += ["", "## Killed", "", "| where | line | became | by |", "|---|---|---|---|"]
    for mutant, outcome in sorted(sampled, key=lambda ended: (ended[0].file, ended[0].line)):
        if not outcome.passed:
            cells = f"{_code(mutant.before)} | {_code(mutant.after)} | {_code(outcome.by)}"
            lines.append(f"| {mutant.file}:{mutant.line} | {cells} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """As code in a cell."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""
