"""How Sphinx builds the site; `make docs` runs it. The folder of sources is the repository, so that links from page to
page, to tables, pictures and code are the same here as they are to somebody who reads the files."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the notebooks: the networks are small
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # theirs too: bars as widgets are not needed

from docs.builder.pages import write_pages  # noqa: E402
from docs.builder.versions import context  # noqa: E402

_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
project = "Diffusion for time series and speech"
version = release = _project["version"]
copyright = "Apache-2.0"

source_repository = os.environ.get("SOURCE_REPOSITORY", "")
"""Address under which the files of the repository are read, such as that of a branch on its host. Where it is empty,
the site has a copy of each file that a page links to."""

write_pages(ROOT / "docs" / "api")

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/tutorials/*.md",
    "docs/api/*.md",
    "benchmarks/RESULTS.md",
    "benchmarks/LOOKS.md",
    "benchmarks/results/*.md",
    "tsdiff/embedded/*.md",
    "*/pretrained/*/*.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
]
exclude_patterns = [".*", "site", "runs", "build", "dist"]  # not searched
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.builder.sources",
    "docs.builder.docstrings",
]

myst_heading_anchors = 4
nb_execution_mode = os.environ.get("NOTEBOOKS", "cache")  # or off, to see the other pages sooner
nb_execution_cache_path = str(ROOT / "site" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_merge_streams = True

default_role = "py:obj"  # `name` in a docstring leads to its entry, where it has one
autodoc_default_options = {"show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # what is inherited stands at the base; Lightning's texts have links of their own
suppress_warnings = ["ref.python"]  # two types of one name in signatures: either is linked
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
toc_object_entries = False  # more than a thousand, which the navigation of every page would hold

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_copy_source = False
html_additional_pages = {"index": "home.html"}
templates_path = ["builder/templates"]
html_static_path = ["builder/static"]
html_css_files = ["site.css"]
html_context = context()
