"""What a tracking server is told with every request made inside a run of Hermetic's: `X-Hermetic-Run`, the run's id.

By it the server's access log and custody's log can be laid side by side. Outside a run nothing is sent. The id is random and no
secret: it proves nothing to the server, and no token or key is ever in a header of ours.
"""

from __future__ import annotations

from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider

from hermetic.assets.current import inherited_run, open_run

HEADER = "X-Hermetic-Run"


class RunHeaderProvider(RequestHeaderProvider):  # type: ignore[misc]  # MLflow is not there when types are checked
    """See the module's text. What cannot be told (a thread of none of several open runs) MLflow logs, and sends no header."""

    def in_context(self) -> bool:
        """Say whether a run is open around this code."""
        return _run() is not None

    def request_headers(self) -> dict[str, str]:
        """Return the header."""
        run = _run()
        return {} if run is None else {HEADER: run}


def _run() -> str | None:
    here = open_run()
    return inherited_run() if here is None else here.run
