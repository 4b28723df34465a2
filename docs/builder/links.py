"""Whether the links of a built site lead somewhere: to a page, a picture or a file of it, and to a place on the page.

    python -m docs.builder.links site/html

Links to other sites are not followed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Page:
    """What a page has and where it leads.

    Attributes:
        places: ids that a link can lead to.
        links: as they are written.
    """

    places: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.page.places.add(value)
            elif value and name in ("href", "src"):
                self.page.links.add(value)


def read(path: Path) -> Page:
    """A page of HTML."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def broken(site: Path) -> list[str]:
    """The links within the site that lead nowhere, each with its page."""
    pages = {path.resolve(): read(path) for path in site.rglob("*.html")}
    found = []
    for path, page in sorted(pages.items()):
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].places):
                found.append(f"{path.relative_to(site.resolve())}: {link}")
    return found


def main(site: str) -> int:
    """The exit status: 1 where a link is broken, or there are no pages."""
    pages = len(list(Path(site).rglob("*.html")))
    found = broken(Path(site))
    print(*found, f"{pages} pages in {site}, {len(found)} broken links", sep="\n")
    return int(bool(found) or not pages)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
