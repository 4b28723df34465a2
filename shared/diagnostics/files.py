"""A diagnosis on the command line: its settings from options, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

from shared.checks import checked
from shared.console.command import note, show
from shared.console.options import Measures
from shared.console.tables import rich_table
from shared.diagnostics.report import Diagnosis, DiagnosisSettings
from shared.files.io import write_json, write_text


def settings_of(options: Measures, seed: int) -> DiagnosisSettings:
    """The settings that options ask for.

    Raises:
        ConfigError: one is out of its range.
    """
    kinds = get_type_hints(DiagnosisSettings, include_extras=True)
    checked(kinds["method"], **{"--method": options.method})
    lists = {
        name: checked(kinds[name], **{option: tuple(value)})
        for name, option, value in (("measures", "--measure", options.measures), ("noise", "--noise", options.noise))
        if value is not None
    }
    return DiagnosisSettings(
        probes=options.probes, method=options.method, fine=options.fine, seconds=options.seconds, seed=seed, **lists
    )


def leave_diagnosis(diagnosis: Diagnosis, output: Path, title: str) -> None:
    """Show the tables; leave diagnosis.md, diagnosis.png and metrics.json."""
    from shared.diagnostics.picture import plot_diagnosis

    write_json(output / "metrics.json", diagnosis.as_dict())
    write_text(output / "diagnosis.md", diagnosis.markdown(title))
    plot_diagnosis(diagnosis, output / "diagnosis.png", title)
    for rows in (diagnosis.level_rows(), diagnosis.sampling_rows()):
        if len(rows) > 1:
            show(rich_table(rows[0], rows[1:]))
    for line in diagnosis.whole():
        show(line)
    for line in diagnosis.notes:
        note(line)
    show(f"results: {output}/ (diagnosis.md, diagnosis.png, metrics.json)")
