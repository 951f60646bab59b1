"""Where pages are drawn: templates of a package over the common layout, and what they all may use.

A page extends `layout.html`, which brings `base.css`: one self-contained file of text, tables, inline SVG and CSS that
runs nothing and asks for nothing. Needs jinja2 alone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str, folder: str) -> "Environment":
    """Return the environment of the templates in a package's folder; what a template writes is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=ChoiceLoader([PackageLoader(package, folder), PackageLoader("modelmill", "page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(figure="{:.3f}".format, count="{:,}".format)
    made.globals.update(zip=zip)
    return made
