"""`speech enhance --dry-run`: what would be done with which files, and how long it would take; nothing is written."""

from __future__ import annotations

import time

import numpy as np

from shared.console.command import show
from shared.console.tables import rich_table
from speech.enhancer import Enhancer
from speech.inference.plan import Plan

_FIRST = 0.1
"""Seconds of noise that are enhanced before, unmeasured: the first call loads libraries, which may take two seconds."""

_SECONDS = (1.0, 4.0)
"""Of noise that is enhanced to measure the time that a second takes; the second piece unless the first was slow."""

_SLOW = 2.0
_SHOWN = 200


def rehearse(enhancer: Enhancer, plan: Plan) -> None:
    """Tell a plan as a table: source, rate, channels, length, target, coding, and the CPU time to expect."""
    each = cpu_seconds(enhancer) if plan.files else 0.0
    head = ["file", "rate, Hz", "channels", "seconds", "to", "coding", "CPU, s"]
    rows = [
        [
            file.name,
            str(file.info.sample_rate),
            str(file.info.channels),
            f"{file.info.seconds:.2f}",
            str(file.target),
            file.coding(enhancer.engine.rate_of(file.info.sample_rate)),
            f"{each * file.info.seconds * file.info.channels:.2g}",
        ]
        for file in plan.files[:_SHOWN]
    ]
    if rows:
        show(rich_table(head, rows))
    if len(plan.files) > _SHOWN:
        show(f"… and {len(plan.files) - _SHOWN} more")
    total = sum(file.info.seconds * file.info.channels for file in plan.files)
    seconds = sum(file.info.seconds for file in plan.files)
    cost = f"about {each * total:.2g} s of CPU time, as a channel of noise took {each:.2g} s a second here and now; "
    show(
        f"{len(plan.files)} to enhance ({seconds:.1f} s of audio), {len(plan.skipped)} to skip, "
        f"{len(plan.failed)} that cannot be; {cost if plan.files else ''}nothing was written"
    )


def cpu_seconds(enhancer: Enhancer) -> float:
    """CPU time that a second of one channel takes: measured on noise, at the model's rate, reading and writing not
    counted."""
    rate, taken = enhancer.sample_rate, 0.0
    for seconds in (_FIRST, *_SECONDS):
        noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)
        started = time.process_time()
        enhancer.enhance(noise, rate)
        taken = (time.process_time() - started) / seconds
        if seconds != _FIRST and taken > _SLOW:
            break
    return taken
