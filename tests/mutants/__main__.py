"""Plant mutants and write the table: python -m tests.mutants [--count 80] [--seed 0] [--workers 2].

Ends with an error where a mutant survives without an explanation in `known.toml`, or one survives again that a test
had been written for.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.choose import sample
from tests.mutants.covers import covering
from tests.mutants.known import explanation, kinds, known
from tests.mutants.mutant import Mutant
from tests.mutants.run import Job, Outcome, preload, run_all
from tests.mutants.table import table

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=80, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/mutants.md")
    parser.add_argument("--trust", action="store_true", help="do not see first whether the tests pass as they are")
    parser.add_argument("--list", action="store_true", help="only say what would be planted")
    options = parser.parse_args()
    sampled = sample(ROOT, options.count, options.seed)
    entries = known()
    planted = [(entry, entry.planted(ROOT)) for entry in entries if entry.killed_by]
    again = [Job(mutant, (entry.killed_by,)) for entry, mutant in planted if mutant is not None]
    jobs = [Job(mutant, covering(mutant.file, mutant.before)) for mutant in sampled]
    if options.list:
        for job in (*jobs, *again):
            assert job.mutant is not None
            print(f"{job.mutant.file}:{job.mutant.line}\n    {job.mutant.before}\n    {job.mutant.after}")
        return 0
    for entry, mutant in planted:
        if mutant is None:
            print(f"known.toml: {entry.file} has no line {entry.before!r} any more; take the entry out or mend it")
    preload()
    with tempfile.TemporaryDirectory() as work:
        files = sorted({name for job in (*jobs, *again) for name in job.tests})
        falling = set() if options.trust else _falling(files, Path(work) / "clean", options.workers)
        jobs, again = (
            [Job(job.mutant, tuple(name for name in job.tests if name not in falling)) for job in part]
            for part in (jobs, again)
        )
        ended = _ended([*jobs, *again], Path(work) / "mutants", options.workers)
    of_sample, of_known = ([(j.mutant, ended[j]) for j in part if j.mutant is not None] for part in (jobs, again))
    why = functools.partial(explanation, entries=entries, of_kinds=kinds())
    options.output.write_text(table(of_sample, of_known, why, options.seed))
    open_ = [mutant for mutant, outcome in of_sample if outcome.passed and not why(mutant)]
    open_ += [mutant for mutant, outcome in of_known if outcome.passed]
    print(f"{sum(not o.passed for _, o in of_sample)} of {len(of_sample)} killed; not explained: {len(open_)}")
    for mutant in open_:
        print(f"  {mutant.file}:{mutant.line}: {mutant.before}  →  {mutant.after}")
    for name in sorted(falling):
        print(f"  {name} falls without any mutant and was left out")
    return int(bool(open_ or falling))


def _falling(files: Sequence[str], work: Path, workers: int) -> set[str]:
    """Tests that fall where nothing is planted, and so say nothing of mutants."""
    falling = set()
    jobs = [Job(None, (name,)) for name in files]
    for n, (job, outcome) in enumerate(run_all(ROOT, work, jobs, workers)):
        print(f"[{n + 1}/{len(jobs)} as it is] {job.tests[0]}: {outcome.by or 'passes'}", flush=True)
        if not outcome.passed:
            falling.add(job.tests[0])
            print(outcome.said)
    return falling


def _ended(jobs: Sequence[Job], work: Path, workers: int) -> dict[Job, Outcome]:
    found: dict[Job, Outcome] = {}
    started = time.time()
    for job, outcome in run_all(ROOT, work, jobs, workers):
        found[job] = outcome
        assert job.mutant is not None
        print(_line(job.mutant, outcome, len(found), len(jobs), time.time() - started), flush=True)
    return found


def _line(mutant: Mutant, outcome: Outcome, done: int, total: int, seconds: float) -> str:
    what = "SURVIVED" if outcome.passed else f"killed by {outcome.by}"
    return f"[{done}/{total}, {seconds:.0f} s] {mutant.file}:{mutant.line} {mutant.before} → {mutant.after}: {what}"


if __name__ == "__main__":
    sys.exit(main())
