"""Renders pages from templates that extend `base.html.j2`: one file each, without fonts and network requests.

The content security policy of a page forbids everything that isn't in the file; it allows the page's script by its
hash.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from neuromorphic.pages.svg import printable


def render(package: str, template: str, *, style: str = "", script: str = "", **values: Any) -> str:
    """The text of a page.

    Args:
        package: that holds the template, its style sheet and its script.
        template: name of its file.
        style: name of a style sheet to add to the shared one; empty for none.
        script: name of its script; empty for none.
        values: for the template; `filters` holds its filters.
    """
    filters: Mapping[str, Any] = values.pop("filters", {})
    environment = _environment(package)
    environment.filters |= {"breakable": breakable, **filters}
    code = read(package, script) if script else ""
    sheet = read("neuromorphic.pages", "style.css") + (read(package, style) if style else "")
    hashed = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    page = environment.get_template(template).render(
        style=Markup(sheet), script=Markup(code), policy=f"script-src 'sha256-{hashed}'" if code else "", **values
    )
    return page + "\n"


def breakable(name: str) -> Markup:
    """A node's name, with breaks allowed before its dots and underscores."""
    return Markup("<wbr>").join(escape(printable(part)) for part in re.split(r"(?<=.)(?=[._])", name))


@cache
def _environment(package: str) -> Environment:
    """The environment of a package's templates, which compiles each once."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("neuromorphic.pages", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read(package: str, name: str) -> str:
    """The text of a file of a package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")
