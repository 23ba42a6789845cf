"""The report as one HTML page that needs nothing else, for people and for printing."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from modelward_api.bundle.data_report import DataReport


def page(report: DataReport) -> str:
    """Return the page. Equal reports give equal pages."""
    return _template().render(report=report)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("modelward_training", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
