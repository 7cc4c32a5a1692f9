"""The SDK's client for one vault, kept from asking for tokens of other services and from waiting as long as a server says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hermetic.providers.registry import load_extra

if TYPE_CHECKING:
    from collections.abc import Mapping

SDK: Final = "azure-keyvault-keys"
TRIES: Final = 3
PAUSE_S: Final = 0.4
LONGEST_PAUSE_S: Final = 5.0  # whatever Retry-After says
CONNECT_S: Final = 5
READ_S: Final = 15


def client(host: str, endpoint: str, more: Mapping[str, Any]) -> Any:
    """Return the client for the vault `host`, reached at `endpoint`. Raises Unsupported."""
    credential = Pinned(host, load_extra("azure.identity", "azure", name="azure-identity").DefaultAzureCredential())
    return load_extra("azure.keyvault.keys", "azure", name=SDK).KeyClient(
        endpoint,
        credential,
        verify_challenge_resource=False,  # `Pinned` does it, by the host of the URI and not by the endpoint's
        retry_policy=_retries(),
        connection_timeout=CONNECT_S,
        read_timeout=READ_S,
        **more,
    )


def body_of(response: Any) -> dict[str, Any] | None:
    """Return the JSON object of an answer, None if it has none."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


class Pinned:
    """A credential that gives tokens for one service only: that of the vault's own host."""

    def __init__(self, host: str, credential: Any) -> None:
        self._host, self._credential = host, credential

    def get_token(self, *scopes: str, **more: Any) -> Any:
        """Return a token. Raises ValueError for a scope that is not of this vault's service."""
        for scope in scopes:
            parts = urlsplit(scope)
            if (parts.scheme, parts.netloc.lower()) != ("https", self._host.partition(".")[2]):
                raise ValueError("the challenge asks for a token of another service")
        return self._credential.get_token(*scopes, **more)


def _retries() -> Any:
    """Return the SDK's policy of repeating, save that a server cannot make it wait for long."""
    policy: Any = load_extra("azure.core.pipeline.policies", "azure", name=SDK).RetryPolicy

    class Bounded(policy):  # type: ignore[misc]
        def get_retry_after(self, response: Any) -> float | None:
            after = super().get_retry_after(response)
            return None if after is None else min(float(after), LONGEST_PAUSE_S)

    return Bounded(retry_total=TRIES, retry_backoff_factor=PAUSE_S, retry_backoff_max=LONGEST_PAUSE_S)
