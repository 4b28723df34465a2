"""The site that `make docs` builds: every public name has a text, every page is in the navigation, links hold."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.builder.docstrings import converted
from docs.builder.links import broken
from docs.builder.names import modules, public_names
from docs.builder.pages import write_pages
from tests.docs.blocks import ROOT

BUILT_FROM = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")])
_TOCTREE = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_every_public_name_is_documented() -> None:
    assert [path for name in public_names() for path in name.undocumented()] == []


def test_the_packages_offer_what_they_say_they_offer() -> None:
    import speech
    import tsdiff

    paths = {name.path for name in public_names()}
    for package in (tsdiff, speech):
        offered = {f"{package.__name__}.{name}" for name in package.__all__ if not name.startswith("_")}
        assert offered <= paths | {"tsdiff.set_quiet"}
    assert {"shared.sde.OUVESDE", "shared.samplers.sample", "tsdiff.data.load_dataset"} <= paths
    assert len({(name.source.name, name.name) for name in public_names()}) == len(public_names())


def test_the_reference_has_each_name_once(tmp_path: Path) -> None:
    write_pages(tmp_path / "api")
    text = "\n".join(path.read_text(encoding="utf-8") for path in (tmp_path / "api").glob("*.md"))
    entries = re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: (\S+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(name.path for name in public_names())
    assert set(re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE)) <= set(modules())


def toctree(page: Path) -> list[str]:
    """Pages that a page leads on to, from the repository's root, without their suffix."""
    lines = [line for block in _TOCTREE.findall(page.read_text(encoding="utf-8")) for line in block.splitlines()]
    entries = [re.sub(r"^.*<(.*)>$", r"\1", line) for line in lines if line and not line.startswith(":")]
    folder = page.parent.relative_to(ROOT).as_posix()
    return [posixpath.normpath(f"{folder}/{entry}") for entry in entries]


def test_every_page_is_in_the_navigation_once() -> None:
    led = [entry for page in BUILT_FROM for entry in toctree(page)]
    cards = [path for package in ("tsdiff", "speech") for path in (ROOT / package).rglob("*.md")]
    pages = [path.relative_to(ROOT).with_suffix("").as_posix() for path in (*BUILT_FROM, *cards)]
    assert sorted(entry for entry in led if entry.startswith(("docs/", "tsdiff/", "speech/"))) == sorted(
        {*pages, "docs/api/index"} - {"docs/index"}
    )
    assert {"benchmarks/RESULTS", "benchmarks/results/*", "CONTRIBUTING", "CHANGELOG", "SECURITY"} <= set(led)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in BUILT_FROM])
def test_links_between_files_of_the_repository_hold(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    made = "api/index.md"
    assert [one for one in targets if one != made and not (page.parent / unquote(one)).exists()] == []


def test_docstrings_keep_displays_and_plain_signs() -> None:
    said = ["From |x| and x_ by `f(*x)`s:", "", "    a | b*", "    c_", "", "It is so.", "", "Args:", "    x: 2*y."]
    assert converted(said) == [
        *("From \\|x\\| and x\\_ by `f(*x)`\\ s:", "", "::", "", "    a | b*", "    c_", "", "It is so.", ""),
        *("Args:", "    x: 2\\*y."),
    ]


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="sub/a.html#there">a</a><a href="#top">b</a><a href="https://nowhere.invalid/">c</a>'
    )
    page = tmp_path / "sub" / "a.html"
    page.write_text('<p id="there">x</p><a href="../index.html?q=1#top">a</a><a href="..">b</a>')
    assert broken(tmp_path) == []
    page.write_text('<p>x</p><img src="none.png"><a href="../index.html#bottom">a</a>')
    assert broken(tmp_path) == [
        "index.html: sub/a.html#there",
        "sub/a.html: ../index.html#bottom",
        "sub/a.html: none.png",
    ]


@pytest.mark.parametrize("address", ["", "https://code.invalid/tree/"])
def test_files_are_reached_in_the_repository_or_as_copies(address: str, tmp_path: Path) -> None:
    build_main = pytest.importorskip("sphinx.cmd.build", reason="of the extra docs").build_main
    pytest.importorskip("myst_parser", reason="of the extra docs")
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "docs").mkdir(parents=True)
    (source / "docs" / "index.md").write_text("# A page\n\n[code](../code.py), `lib/other.py`, `lib/none.py`\n")
    (source / "code.py").write_text("one = 1\n")
    (source / "lib").mkdir()
    (source / "lib" / "other.py").write_text("two = 2\n")
    settings = ["extensions=myst_parser,docs.builder.sources", "root_doc=docs/index", f"source_repository={address}"]
    options = [part for setting in settings for part in ("-D", setting)]
    assert build_main(["-C", "-q", "--fail-on-warning", *options, str(source), str(site)]) == 0
    text = (site / "docs" / "index.html").read_text(encoding="utf-8")
    assert broken(site) == []
    assert "lib/none.py" in text
    links = re.findall(r'href="([^"]*(?:code|other)\.py)"', text)
    if address:
        assert links == [f"{address}code.py", f"{address}lib/other.py"]
    else:
        assert [(site / "docs" / link).resolve().read_text() for link in links] == ["one = 1\n", "two = 2\n"]
