"""What `make mutants` goes by: every file has tests that are there, and every known mutant says what became of it."""

from __future__ import annotations

from tests.conftest import ROOT
from tests.mutants.covers import LEFT_OUT, TESTS, covering, mutable_files
from tests.mutants.known import Known, explanation, kinds, known
from tests.mutants.mutant import REMOVED, Mutant


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
        assert entry.planted(ROOT) is not None, f"the line is not there any more; mend or remove {entry}"
        assert (ROOT / entry.file).is_file(), entry
        assert not entry.killed_by or (ROOT / entry.killed_by.split("::")[0]).is_file(), entry


def test_mutants_are_explained_by_their_line_or_their_kind() -> None:
    why = {kind.before: kind.equivalent for kind in kinds()}
    pairs = Mutant("x.py", 1, "for a, b in zip(c, d, strict=True):", "for a, b in zip(c, d, strict= False):", "")
    assert explanation(pairs, known(), kinds()) == why["strict=True"]
    assert not explanation(pairs, known(), [])
    other = Mutant("x.py", 1, pairs.before, "for a, b in zip(c, c, strict=False):", "")
    assert not explanation(other, known(), kinds())
    comment = Mutant("x.py", 1, "# What each process states. ----  @abstractmethod", "(removed)", "")
    assert explanation(comment, known(), kinds()) == why["@abstractmethod"]
    with_code = Mutant("x.py", 1, "# What each process states. ---- x = 1", "(removed)", "")
    assert not explanation(with_code, known(), kinds())
    entry = next(entry for entry in known() if entry.equivalent)
    own = Mutant(entry.file, 1, entry.before, entry.after, "")
    assert explanation(own, known(), kinds()) == entry.equivalent
    assert not explanation(Mutant("x.py", 1, entry.before, entry.after, ""), known(), kinds())


def test_what_is_removed_is_gone_with_its_line() -> None:
    mutant = Known("tests/mutants/known.py", "@dataclass(frozen=True)", REMOVED).planted(ROOT)
    assert mutant is not None
    assert (mutant.before, mutant.after) == ("@dataclass(frozen=True)", REMOVED)
    assert len(mutant.text.splitlines()) == len((ROOT / mutant.file).read_text().splitlines()) - 1
