"""The site of the current branch and of every release, side by side: `make docs-versions`.

    python -m docs.builder.versions site/versions

Each version is checked out into a worktree of its own and built there by its own settings, with the packages of this
environment. SITE/<name>/ is a version, SITE/index.html leads to the newest release. A tag without docs/conf.py, of the
time before there was a site, is left out, and it is said.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

VARIABLE = "DOCS_VERSIONS"
"""Tells a build, as JSON, the names of all versions, newest first, and which it is of."""
_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)((?:a|b|rc)\d+)?")


def releases(tags: Sequence[str]) -> list[str]:
    """Those of the tags that name a release, v1.2.3 or v1.2.3rc1, newest first."""

    def age(tag: str) -> tuple[int, int, int, bool, str]:
        found = _TAG.fullmatch(tag)
        assert found is not None
        major, minor, patch, early = found.groups()
        return int(major), int(minor), int(patch), early is None, early or ""

    return sorted((tag for tag in tags if _TAG.fullmatch(tag)), key=age, reverse=True)


def newest(names: Sequence[str]) -> str:
    """What the index leads to: the newest finished release, or else the first of all versions."""
    finished = [name for name in names if (found := _TAG.fullmatch(name)) and not found.group(4)]
    return [*finished, *names][0]


def context() -> dict[str, object]:
    """What templates know of versions: none in a plain build."""
    told = os.environ.get(VARIABLE)
    return dict(json.loads(told)) if told else {"versions": [], "current_version": ""}


def index(names: Sequence[str]) -> str:
    """A page that leads to the newest version, and lists all."""
    target = f"{escape(newest(names))}/index.html"
    items = "".join(f'<li><a href="{escape(name)}/index.html">{escape(name)}</a></li>\n' for name in names)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="refresh" content="0; url={target}">\n<title>Versions</title>\n<ul>\n{items}</ul>\n</html>\n'
    )


def _git(repository: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


@contextmanager
def checked_out(repository: Path, reference: str) -> Iterator[Path]:
    """A worktree of a branch, tag or commit, for a while."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tree"
        _git(repository, "worktree", "add", "--quiet", "--detach", str(folder), reference)
        try:
            yield folder
        finally:
            _git(repository, "worktree", "remove", "--force", str(folder))


def build(repository: Path, site: Path) -> list[str]:
    """Build every version into `site`; their names, newest first.

    Raises:
        subprocess.CalledProcessError: git or a build failed.
    """
    branch = _git(repository, "branch", "--show-current") or "main"
    named = {branch: "HEAD"} | {tag: tag for tag in releases(_git(repository, "tag", "--list", "v*").splitlines())}
    names = [name for name, reference in named.items() if _has_site(repository, name, reference)]
    site.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"building {name}", flush=True)
        told = json.dumps({"versions": names, "current_version": name})
        with checked_out(repository, named[name]) as tree:
            command = [sys.executable, "-m", "sphinx", "--quiet", "-c", "docs", "-d", "site/pages", "."]
            subprocess.run([*command, str((site / name).resolve())], cwd=tree, env=_environment(tree, told), check=True)
    (site / "index.html").write_text(index(names), encoding="utf-8")
    return names


def _has_site(repository: Path, name: str, reference: str) -> bool:
    found = bool(_git(repository, "ls-tree", "--name-only", reference, "docs/conf.py"))
    if not found:
        print(f"{name} has no docs/conf.py and is left out", flush=True)
    return found


def _environment(tree: Path, told: str) -> dict[str, str]:
    """The version's own packages go before those that are installed, in its notebooks too."""
    return {**os.environ, "PYTHONPATH": str(tree), VARIABLE: told}


if __name__ == "__main__":
    build(Path(__file__).resolve().parents[2], Path(sys.argv[1]))
