"""One bucket and prefix behind boto3, which finds the credentials by itself: none is read, kept, logged or named here.

Requests that fail for a passing reason are repeated with growing pauses by botocore ("standard" mode). What is left becomes ours:
NotFound for a missing object or upload, Conflict for a failed condition, Unsupported for a request that the endpoint does not know,
StorageError with a hint for the rest. The endpoint's own words are left out; only its error code is shown, if it is a plain word.
"""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import Conflict, HermeticError, InvalidName, NotFound, StorageError, Unsupported
from hermetic.stores.base import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.stores.s3_settings import S3Settings

ATTEMPTS: Final = 5
KEY_LIMIT: Final = 1024  # UTF-8 bytes of prefix and key together
_CONNECTIONS: Final = 16
_WORD: Final = re.compile(r"[A-Za-z0-9.]{1,60}")

_CREDENTIALS = "boto3 looks for credentials where it always does (profile, environment, role): name a profile in config.yaml or log in"
_HINTS = {
    "NoSuchBucket": "look at the bucket and the endpoint in config.yaml",
    "PermanentRedirect": "the bucket lies in another region: correct `region` in config.yaml",
    "AuthorizationHeaderMalformed": "the bucket lies in another region: correct `region` in config.yaml",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), _CREDENTIALS),
}
_DAMAGED = {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
_DENIED = "the credentials need to list the bucket and to read, write, delete and abort uploads below the prefix"
_AGAIN = "nothing was half-written; try again later"


class Bucket:
    """Calls to one bucket, from any thread; a forked child gets connections of its own."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._pid = -1
        self._lock = threading.Lock()
        self.conditional = True  # whether the endpoint takes If-None-Match, as far as it has said

    def full(self, key: str) -> str:
        """Return the name in the bucket. Raises InvalidName if `key` is none, or too long."""
        name = f"{self._settings.prefix}/{check_key(key)}"
        if len(name.encode()) > KEY_LIMIT:
            raise InvalidName(f"a store key and its prefix have at most {KEY_LIMIT} bytes together")
        return name

    def below(self, prefix: str) -> str:
        """Return what names in the bucket start with whose keys start with `prefix`."""
        return f"{self._settings.prefix}/{prefix}"

    def key_of(self, name: str) -> str | None:
        """Return the key of a name in the bucket, None if it is none of ours."""
        key = name.removeprefix(f"{self._settings.prefix}/")
        try:
            return check_key(key) if key != name else None
        except InvalidName:
            return None

    def on_object(self, operation: str, action: str, key: str, **arguments: object) -> dict[str, Any]:
        """Call an operation on the object `key`. `action` and `key` are for messages. Raises as the module says."""
        return self.call(operation, action, key, Key=self.full(key), **arguments)

    def call(self, operation: str, action: str, what: str, **arguments: object) -> dict[str, Any]:
        """Call an operation on the bucket. Raises as the module says."""
        with translated(action, what):
            call = getattr(self._connected(), operation)
            return _arriving(lambda: call(Bucket=self._settings.bucket, **arguments), arguments.get("Body"))

    def _connected(self) -> Any:
        with self._lock:
            if self._pid != os.getpid():
                self._client, self._pid = _client(self._settings), os.getpid()
            return self._client


def _arriving(call: Callable[[], dict[str, Any]], body: object) -> dict[str, Any]:
    """Make a call again whose body did not arrive as its checksum says, which botocore takes for our mistake."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - an extra

    for _ in range(ATTEMPTS - 1):
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _DAMAGED:
                raise
            if isinstance(body, io.IOBase):
                body.seek(0)
    return call()


def _client(settings: S3Settings) -> Any:
    try:
        import boto3  # noqa: PLC0415 - an extra, and slow to import
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise _not_installed() from None
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        ignore_configured_endpoint_urls=True,  # config.yaml says where data goes, not the environment
        request_checksum_calculation="when_required",  # we give a checksum with every body
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
    )
    region = settings.region or ("us-east-1" if settings.endpoint else None)
    session = boto3.session.Session(profile_name=settings.profile, region_name=region)
    return session.client("s3", endpoint_url=settings.endpoint, config=config)


def _not_installed() -> Unsupported:
    return Unsupported("boto3 is not installed", hint="pip install '.[s3]'")


@contextmanager
def translated(action: str, what: str) -> Iterator[None]:
    """Turn what botocore raises inside the block into NotFound, Conflict, Unsupported or StorageError."""
    try:
        from botocore import exceptions  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise _not_installed() from None
    try:
        yield
    except HermeticError:
        raise
    except exceptions.ClientError as error:
        raise _refused(f"cannot {action} {what!r}", error.response) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError) as error:
        raise StorageError(f"cannot {action} {what!r}: no credentials ({type(error).__name__})", hint=_CREDENTIALS) from None
    except (exceptions.ProfileNotFound, exceptions.SSOError) as error:
        raise StorageError(f"cannot {action} {what!r}: {type(error).__name__}", hint=_CREDENTIALS) from None
    except exceptions.BotoCoreError as error:
        message = f"cannot {action} {what!r}: the store cannot be reached ({type(error).__name__})"
        raise StorageError(message, hint=f"look at the endpoint in config.yaml and the network; {_AGAIN}") from None


def _refused(what: str, response: dict[str, Any]) -> HermeticError:
    code, status = str(response.get("Error", {}).get("Code", "")), response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    shown = code if _WORD.fullmatch(code) and not code.isdigit() else f"status {status}"
    if code in _HINTS:
        return StorageError(f"{what}: {shown}", hint=_HINTS[code])
    if status == 404:
        return NotFound(f"{what}: not in the store")
    if status in {409, 412}:
        return Conflict(f"{what}: {shown}", hint="somebody else changed it meanwhile")
    if status == 501:
        return Unsupported(f"{what}: the endpoint does not offer it ({shown})")
    if status in {401, 403}:
        return StorageError(f"{what}: refused ({shown})", hint=_DENIED)
    return StorageError(f"{what}: {shown}", hint=_AGAIN)
