"""Sphinx settings of the site; build it with `nox -s docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from pygments.lexers.shell import BashLexer
from pygments.lexers.sql import PostgresLexer
from sphinx.highlighting import lexers

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from frameworks import MOCKED

project = "SQLTrack"
author = "the authors of SQLTrack"
project_copyright = author
release = installed_version("sqltrack-core")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_argparse_cli",
    "sphinx_copybutton",
    # From _ext.
    "navigation",
    "docstrings",
    "repository_files",
    "llms",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 4
myst_url_schemes = {
    **dict.fromkeys(("http", "https", "mailto")),
    # Files of the repository that are not pages, see _ext/repository_files.py, and files that _ext/llms.py writes.
    "repository": {"url": "source/{{path}}"},
    "site": {"url": "{{path}}"},
}

autodoc_mock_imports = MOCKED
autodoc_default_options = {"members": True, "undoc-members": True, "no-value": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "SQLTrack"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
# Summaries are fetched from the pages, which browsers refuse if the site was opened from files.
html_show_search_summary = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e75", "color-brand-content": "#0b6e75"},
    "dark_css_variables": {"color-brand-primary": "#5fc9d1", "color-brand-content": "#5fc9d1"},
}
# The commands have no prompt, and their output is in separate blocks.
lexers["console"] = BashLexer()
# Covers the SQL that both engines understand, and PostgreSQL's functions.
lexers["sql"] = PostgresLexer()
pygments_style = "tango"
pygments_dark_style = "github-dark"
