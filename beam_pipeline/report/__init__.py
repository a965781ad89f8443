"""The report: one HTML page of a trial's result, or of a finished run.

Its libraries are an extra of this package, ``report``: what draws the charts carries a JavaScript engine of 88 MB,
which no worker needs.

Raises:
  NotInstalled: at import, if they aren't there.
"""

from schemas.errors import WRONG_USAGE, ToldError


class NotInstalled(ToldError):
    """A library that the report needs isn't installed."""

    exit_status = WRONG_USAGE


try:
    import jinja2  # noqa: F401
    import vl_convert  # noqa: F401
except ImportError as error:
    raise NotInstalled(
        f"the report needs the package {error.name}: install this one with its extra `report`; in a checkout, "
        "pip install --constraint constraints.txt '.[report]'"
    ) from error
