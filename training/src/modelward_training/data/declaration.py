"""What the declaration of the data must be, before anything is read. The CRD refuses most of it already."""

from __future__ import annotations

from modelward_api.base import exactly_one
from modelward_api.resources.data import Data
from modelward_api.resources.reasons import Reason
from modelward_training.data.harmonise import times
from modelward_training.errors import InvalidInputError


def check(data: Data) -> None:
    """Refuse sources, sites and dialects that cannot be.

    Raises:
        InvalidInputError: InvalidSpec, UnknownSite, UnknownColumn.
    """
    for index, source in enumerate(data.sources):
        field = f"spec.data.sources[{index}]"
        if (source.uri is None) == (source.sql is None):
            raise InvalidInputError(Reason.INVALID_SPEC, exactly_one("uri", "sql"), field)
        if (source.sql is None) == (source.format == "sql"):
            message = "format: sql needs sql, and sql needs format: sql"
            raise InvalidInputError(Reason.INVALID_SPEC, message, f"{field}.format")
    _check_sites(data)
    _check_dialects(data)


def _check_sites(data: Data) -> None:
    """Require that every declared site is one of the data, and the other way round: a misspelt one would convert nothing."""
    column = next((c for c in data.columns if c.role == "site"), None)
    for index, source in enumerate(data.sources):
        field = f"spec.data.sources[{index}].site"
        if source.site is not None and column is None:
            message = "site needs a column with role: site in spec.data.columns"
            raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, field)
        if source.site is not None and data.sites and source.site not in {site.name for site in data.sites}:
            message = f"site {source.site} is not declared: add it to spec.data.sites, without columns if it records as declared"
            raise InvalidInputError(Reason.UNKNOWN_SITE, message, field)
    used = {source.site for source in data.sources}
    if None in used and column is not None:
        used |= set(column.allowed_values)
    for index, site in enumerate(data.sites):
        if site.name not in used:
            message = f"no source and no allowed value of the column with role: site has the site {site.name}: correct the name"
            raise InvalidInputError(Reason.UNKNOWN_SITE, message, f"spec.data.sites[{index}].name")


def _check_dialects(data: Data) -> None:
    """Refuse marks that cannot be told apart, and formats and zones that there are not."""
    for index, source in enumerate(data.sources):
        path, dialect = f"spec.data.sources[{index}]", source.dialect
        if dialect.thousands == dialect.decimal:
            message = "must not be the decimal mark: remove thousands, or correct one of them"
            raise InvalidInputError(Reason.INVALID_SPEC, message, f"{path}.dialect.thousands")
        if dialect.quote == (dialect.separator or ","):
            message = "must not be the separator: correct one of them"
            raise InvalidInputError(Reason.INVALID_SPEC, message, f"{path}.dialect.quote")
        for i, form in enumerate(source.dialect.date_formats):
            if not times.is_format(form):
                message = "is not a format of a date: write for example %d.%m.%Y or %d.%m.%Y %H:%M"
                raise InvalidInputError(Reason.INVALID_SPEC, message, f"{path}.dialect.dateFormats[{i}]")
        if source.time_zone is not None and not times.is_zone(source.time_zone):
            message = "is not the name of a time zone: write for example Europe/Berlin"
            raise InvalidInputError(Reason.INVALID_SPEC, message, f"{path}.timeZone")
