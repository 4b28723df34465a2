"""Links to files of the repository that are no pages: to the repository where its address is set, to a copy where not.

Code in a text that is the path of a file (`shared/guidance.py`) becomes such a link too.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class FileLinks(SphinxTransform):
    """Runs while a page is read, before Sphinx collects what is to be copied."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Change the page."""
        root, address = Path(self.env.srcdir), self.config.source_repository.rstrip("/")
        for code in list(self.document.findall(nodes.literal)):
            if not isinstance(code.parent, nodes.reference | addnodes.download_reference | addnodes.pending_xref):
                path = code.astext()
                if "/" in path and (root / path).is_file():
                    code.replace_self(addnodes.download_reference("", "", code.deepcopy(), reftarget=f"/{path}"))
        if address:
            folder = posixpath.dirname(self.env.docname)
            for link in list(self.document.findall(addnodes.download_reference)):
                target = link["reftarget"]
                path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"{folder}/{target}")
                link.replace_self(nodes.reference("", "", *link.children, refuri=f"{address}/{path}"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_config_value("source_repository", "", "env", types=(str,))
    app.add_transform(FileLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
