"""Sites of several versions: their order, the page that leads to the newest, and a build of a small repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from docs.builder.links import broken
from docs.builder.versions import VARIABLE, build, context, index, newest, releases
from tests.docs.blocks import ROOT


def test_releases_are_in_the_order_of_their_numbers() -> None:
    tags = ["v0.2.0", "v0.10.0", "v0.10.0rc2", "v0.10.0rc1", "v1.0.0a1", "v1", "stable", "v0.9.1-old", "0.3.0"]
    assert releases(tags) == ["v1.0.0a1", "v0.10.0", "v0.10.0rc2", "v0.10.0rc1", "v0.2.0"]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["main"], "main"),
        (["main", "v0.2.0rc1"], "main"),
        (["main", "v1.0.0rc1", "v0.10.0", "v0.9.0"], "v0.10.0"),
    ],
)
def test_the_index_leads_to_the_newest_finished_release(names: list[str], wanted: str) -> None:
    assert newest(names) == wanted
    text = index(names)
    assert f'content="0; url={wanted}/index.html"' in text
    assert [text.index(f'href="{name}/index.html"') for name in names] == sorted(
        text.index(f'href="{name}/index.html"') for name in names
    )


def test_a_plain_build_knows_no_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert context()["versions"] == []


CONF = f"""
import sys
sys.path.append({str(ROOT)!r})
from docs.builder.versions import context
html_theme, html_context, exclude_patterns = "furo", context(), ["site"]
templates_path = [{str(ROOT / "docs" / "builder" / "templates")!r}]
"""


def commit(folder: Path, message: str) -> None:
    told = ("-c", "user.name=A", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, "add", "-A"], check=True)
    subprocess.run(["git", "-C", folder, *told, "commit", "--quiet", "-m", message], check=True)


@pytest.mark.slow
def test_every_version_is_built_and_lists_the_others(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="of the extra docs")
    repository, site = tmp_path / "repository", tmp_path / "versions"
    (repository / "docs").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", repository], check=True)
    (repository / "index.rst").write_text("Title\n=====\n\nwithout a site\n")
    commit(repository, "first")
    subprocess.run(["git", "-C", repository, "tag", "v0.1.0"], check=True)
    (repository / "docs" / "conf.py").write_text(CONF)
    for tag in ("v0.9.0", "v0.10.0", None):
        (repository / "index.rst").write_text(f"Title\n=====\n\nthis is {tag}\n")
        commit(repository, str(tag))
        if tag is not None:
            subprocess.run(["git", "-C", repository, "tag", tag], check=True)
    (repository / "index.rst").write_text("not committed")
    names = build(repository, site)
    assert names == ["main", "v0.10.0", "v0.9.0"]
    for name, tag in zip(names, ("None", "v0.10.0", "v0.9.0"), strict=True):
        text = (site / name / "index.html").read_text(encoding="utf-8")
        assert f"this is {tag}<" in text
        assert all(f'href="../{other}/index.html"' in text for other in names if other != name)
    assert 'url=v0.10.0/index.html"' in (site / "index.html").read_text(encoding="utf-8")
    assert broken(site) == []
    trees = subprocess.run(["git", "-C", repository, "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(trees.stdout.splitlines()) == 1
