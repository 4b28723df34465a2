"""The bookkeeping of jobs, in this process: what is finished is passed over, and other jobs are refused."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shared.errors import ConfigError, DataError, MissingPackageError
from shared.scale import Report, Unit, run
from tests.shared.scale.works import Squares, contents, units


def work(folder: Path, **changes: object) -> Squares:
    return replace(Squares(folder / "log.txt"), **changes)  # type: ignore[arg-type]


def begun(folder: Path) -> list[str]:
    return [line.split()[0] for line in (folder / "log.txt").read_text().splitlines()]


def here(folder: Path, made: list[Unit] | Iterator[Unit], **changes: object) -> Report:
    return run(work(folder, **changes), made, folder / "out", engine="local", progress=False)


def test_results_and_failures_are_kept(tmp_path: Path):
    report = here(tmp_path, units(5))
    assert (tmp_path / "out" / "part-002.txt").read_text() == "36 49 64"
    assert (report.units, report.before, report.items, report.failed) == (5, 0, 14, {"-11": "it is negative"})
    assert report.notes == {"squared": 5}
    assert pd.read_csv(tmp_path / "out" / "_failed.csv").to_dict("list") == {
        "item": [-11],
        "reason": ["it is negative"],
    }


def test_a_stopped_job_goes_on_and_repeats_nothing(tmp_path: Path):
    def stopping() -> Iterator[Unit]:
        yield from units(8)[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        here(tmp_path, stopping())
    seen: list[str] = []
    again = run(
        work(tmp_path),
        units(8),
        tmp_path / "out",
        engine="local",
        progress=False,
        each=lambda unit, outcome, before: seen.append(f"{unit.name} {outcome.results[0]}"),
    )
    assert begun(tmp_path) == [unit.name for unit in units(8)]
    assert (again.units, again.before, again.items) == (3, 5, 22)
    assert seen[1] == "part-001 12"
    assert again.failed == {"-11": "it is negative", "-23": "it is negative"}
    whole = tmp_path / "whole"
    whole.mkdir()
    here(whole, units(8))
    assert contents(tmp_path / "out") == contents(whole / "out")


@pytest.mark.parametrize("alive", [False, True], ids=["dead", "alive"])
def test_what_a_killed_worker_had_begun_to_write_is_no_result(tmp_path: Path, alive: bool):
    """Of a worker that lives on another machine it is left alone."""
    here(tmp_path, units(2))
    begun_files = [tmp_path / "out" / f".unfinished-{alive}.txt", tmp_path / "out/.scale/units/.unfinished-a.json"]
    with ExitStack() as stack:
        for path in begun_files:
            path.write_text("{")
            if alive:
                fcntl.flock(stack.enter_context(path.open("r+")), fcntl.LOCK_EX)
        assert here(tmp_path, units(4)).before == 2
        assert [path.exists() for path in begun_files] == [alive, alive]


def test_a_result_without_its_record_is_made_anew(tmp_path: Path):
    here(tmp_path, units(3))
    before = contents(tmp_path / "out")
    (tmp_path / "out" / ".scale" / "units" / "part-001.json").unlink()
    (tmp_path / "out" / "part-001.txt").write_text("half a res")
    assert here(tmp_path, units(3)).units == 1
    assert contents(tmp_path / "out") == before


def test_units_are_taken_one_by_one(tmp_path: Path):
    taken: list[str] = []

    def told() -> Iterator[Unit]:
        for unit in units(4):
            assert not taken or begun(tmp_path) == taken
            taken.append(unit.name)
            yield unit

    here(tmp_path, told())
    assert len(taken) == 4


def test_other_settings_or_input_are_refused(tmp_path: Path):
    here(tmp_path, units(3))
    with pytest.raises(ConfigError, match=r"other settings \(power: 2 there, 3 now\); choose another folder"):
        here(tmp_path, units(3), power=3)
    with pytest.raises(DataError, match=r"the input of part-000 was another"):
        here(tmp_path, units(3, first=1))
    with pytest.raises(DataError, match=r"1 results that the input has no items for, part-002 among them"):
        here(tmp_path, units(2))
    assert here(tmp_path, units(4)).units == 1  # what follows at the end is another matter


def test_a_damaged_record_is_told(tmp_path: Path):
    here(tmp_path, units(2))
    path = tmp_path / "out" / ".scale" / "units" / "part-001.json"
    path.write_text("{")
    with pytest.raises(DataError, match=r"part-001.json is not valid JSON.*delete it"):
        here(tmp_path, units(2))
    for text in ("[]", "3", "{}", '{"digest": "", "items": 1, "else": 2}'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"part-001.json is damaged.*delete it"):
            here(tmp_path, units(2))
    path.unlink()
    assert here(tmp_path, units(2)).units == 1
    (tmp_path / "out" / ".scale" / "job.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"job.json is damaged.*delete .*out to begin anew"):
        here(tmp_path, units(2))


def test_items_that_no_worker_sees_are_listed(tmp_path: Path):
    (first, second) = units(2)
    report = here(tmp_path, [first, replace(second, failed={"x": "not there"})])
    assert report.failed == {"x": "not there"}
    assert here(tmp_path, [first, replace(second, failed={"x": "not there"})]).failed == {"x": "not there"}
    assert here(tmp_path, [first, second]).failed == {}  # it has come
    assert here(tmp_path, [replace(first, failed={"y": "a link"}), second]).failed == {"y": "a link"}


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="power=0"):
        here(tmp_path, units(1), power=0)
    out = tmp_path / "other"
    for wrong in ({"engine": "spark"}, {"workers": 0}, {"engine": "local", "workers": 2}):
        with pytest.raises(ConfigError, match="|".join(wrong)):
            run(work(tmp_path), units(1), out, **wrong)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        run(work(tmp_path), units(1), tmp_path / "file" / "out", engine="local")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"engine='ray' needs ray.*anchored-diffusion\[scale\]"):
        run(work(tmp_path), units(1), out, progress=False)
