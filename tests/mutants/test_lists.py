"""What `make mutants` goes by: every file has tests that are there, and every known mutant says what became of it."""

from __future__ import annotations

from tests.conftest import ROOT
from tests.mutants.covers import LEFT_OUT, TESTS, covering, mutable_files
from tests.mutants.known import known


def test_every_file_of_the_packages_has_its_tests() -> None:
    files = list(mutable_files(ROOT))
    assert len(files) > 100
    assert not [name for file in files for name in covering(file) if not (ROOT / name).is_file()]
    assert not [beginning for beginning in TESTS if not any(file.startswith(beginning) for file in files)]
    assert not [part for part in LEFT_OUT if part in "".join(files)]


def test_known_mutants_are_killed_or_explained() -> None:
    for entry in known():
        assert bool(entry.killed_by) != bool(entry.equivalent), entry
        assert entry.before != entry.after, entry
        assert (ROOT / entry.file).is_file(), entry
        assert not entry.killed_by or (ROOT / entry.killed_by.split("::")[0]).is_file(), entry
