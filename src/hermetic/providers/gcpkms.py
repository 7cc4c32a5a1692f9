"""`gcpkms:`: a root in Google Cloud KMS, through google-cloud-kms (extra `gcp`). Protocol-tested: see
docs/how-to/root-in-google-cloud-kms.md.

    gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K

`key_service` has the bytes of a wrap. Here

    B     ciphertext of cryptoKeys.encrypt over K; it says itself which version of the key opens it
    aad   the binding, as additionalAuthenticatedData

Every request and every answer carries CRC32C of its bytes. The service says whether it got what was sent, and what it answers is
compared; what does not agree is asked for again, a few times, and then is an IntegrityError.

REST and not gRPC: the process that asks may fork, which threads of gRPC do not survive. Credentials are Google's default ones
(application default credentials): none is read, kept, logged or named here.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, IntegrityError, KeyServiceUnavailable, UsageError
from hermetic.providers import endpoints, key_service, settings
from hermetic.providers.key_service import Described, KeyServiceRoot, neighbour, probes, protections
from hermetic.providers.registry import load_extra

__all__ = ["create", "neighbour", "open_", "probes", "protections", "regions"]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from hermetic.formats.findings import Finding
    from hermetic.providers.place import Asked, Place

TRIES: Final = 3  # for answers that arrive damaged
READ_S: Final = 10.0
DEADLINE_S: Final = 20.0  # for all repetitions of one call
SETTINGS: Final = {"endpoint": "https address of a private or regional endpoint, instead of cloudkms.googleapis.com"}
_HOST: Final = "https://cloudkms.googleapis.com"
_PART: Final = "[A-Za-z0-9_-]{1,63}"
_LOCATION: Final = "(?P<location>[a-z0-9-]{1,63})"
_URI: Final = re.compile(rf"gcpkms:(projects/[a-z0-9.:-]{{4,100}}/locations/{_LOCATION}/keyRings/{_PART}/cryptoKeys/{_PART})")
_WEEK: Final = dt.timedelta(days=7)

_CREDENTIALS: Final = "Google's library looks for credentials where it always does: `gcloud auth application-default login`"
_ROLES: Final = "the key needs roles/cloudkms.cryptoKeyEncrypterDecrypter and roles/cloudkms.viewer for who runs this"
_ENABLE: Final = "`gcloud kms keys versions list` shows versions; enable or restore the one, or open the domain through another root"
_LATER: Final = "look at the network and the endpoint; try again later"
_HINTS: Final = {
    "FAILED_PRECONDITION": _ENABLE,
    "PERMISSION_DENIED": _ROLES,
    "UNAUTHENTICATED": _CREDENTIALS,
    "NOT_FOUND": "look at project, location, key ring and key in the root's URI",
}
_STATUS: Final = {400: "FAILED_PRECONDITION", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class GcpKmsRoot(KeyServiceRoot):
    """A root in Google Cloud KMS."""

    scheme = "gcpkms"
    loggers = (
        "google.cloud.kms_v1.services.key_management_service.transports.rest",
        "google.cloud.kms_v1.services.key_management_service.client",
        "google.auth.transport.requests",
    )

    def __init__(self, uri: str, place: Place) -> None:
        super().__init__(uri, place)
        found = _URI.fullmatch(uri)
        if found is None:
            raise UsageError(f"{uri!r} names no key in Google Cloud KMS", hint="gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K")
        self.name = found[1]
        self._endpoint = settings.read(uri, place, SETTINGS).get("endpoint", _HOST)
        endpoints.endpoint(uri, self._endpoint)

    def connect(self) -> Any:
        """Return the SDK's client."""
        kms = _sdk("google.cloud.kms")
        address = self._endpoint.removeprefix("https://").rstrip("/")  # given always, so that no environment variable moves it
        return kms.KeyManagementServiceClient(transport="rest", client_options={"api_endpoint": address})

    def protect(self, key: Secret, binding: bytes) -> bytes:
        """Have KMS encrypt K."""
        sent = {"plaintext": bytes(key.view()), "additional_authenticated_data": binding}
        for _ in range(TRIES):
            answer = self._checked("encrypt", sent)
            arrived = answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c
            if self._whole(answer.ciphertext, answer.ciphertext_crc32c) and arrived:
                return bytes(answer.ciphertext)
        raise self._damaged()

    def recover(self, blob: bytes, binding: bytes) -> Secret:
        """Have KMS decrypt B."""
        for _ in range(TRIES):
            answer = self._checked("decrypt", {"ciphertext": blob, "additional_authenticated_data": binding})
            if self._whole(answer.plaintext, answer.plaintext_crc32c):
                return Secret(answer.plaintext)
        raise self._damaged()

    def describe(self) -> Described:
        """Ask for purpose, rotation and the version that encrypts."""
        key = self._call("get_crypto_key", {"name": self.name})
        purpose, state, level = _word(key.purpose), _word(key.primary.state), _word(key.primary.protection_level)
        fits = purpose == "ENCRYPT_DECRYPT"
        rotated = bool(key.rotation_period) and bool(key.next_rotation_time)
        version = key.primary.name.rpartition("/")[2] or "none"
        return Described(
            f"version {version} {state}, protection {level}, rotation {'on' if rotated else 'off'}",
            unfit=None if fits else f"a key for {purpose} cannot be a root",
            down=None if state == "ENABLED" else f"the version that encrypts is {state}",
            hint=_ENABLE if fits else "a root is a key of purpose ENCRYPT_DECRYPT",
            findings=tuple(self._findings(key, state, rotated=rotated)) if fits else (),
        )

    def _findings(self, key: Any, state: str, *, rotated: bool) -> list[Finding]:
        found, short = [], self.name.rpartition("/")[2]
        if state == "DESTROY_SCHEDULED":
            message = f"the key version of this root is destroyed on {_day(key.primary.destroy_time)}: what only it wraps is lost then"
            found.append(self.finding("root-deletion-pending", "high", message, "gcloud kms keys versions restore, then enable"))
        if key.destroy_scheduled_duration and key.destroy_scheduled_duration < _WEEK:
            message = f"a version that somebody destroys is gone after {key.destroy_scheduled_duration}"
            remedy = "make a key with --destroy-scheduled-duration 30d"
            found.append(self.finding("root-short-deletion-wait", "medium", message, remedy))
        if not rotated:
            message = "the service does not rotate the key of this root"
            remedy = f"gcloud kms keys update {short} --rotation-period 90d --next-rotation-time …"
            found.append(self.finding("root-not-rotated", "low", message, remedy))
        if _word(key.primary.protection_level) == "SOFTWARE":
            message = "the key of this root lies in software of the service, not in an HSM"
            found.append(self.finding("root-in-software", "low", message, "make a key with --protection-level hsm"))
        return found

    def _checked(self, operation: str, sent: dict[str, bytes]) -> Any:
        sums = {f"{name}_crc32c": _crc32c(value) for name, value in sent.items()}
        return self._call(operation, {"name": self.name, **sent, **sums}, opening=operation == "decrypt")

    def _call(self, operation: str, request: dict[str, Any], *, opening: bool = False) -> Any:
        """Call an operation; `opening` makes a refused argument a wrap that does not open."""
        core, auth = _sdk("google.api_core.exceptions"), _sdk("google.auth.exceptions")
        parsing, retry = _sdk("google.protobuf.json_format"), _sdk("google.api_core.retry")
        again = retry.Retry(predicate=retry.if_transient_error, initial=0.2, maximum=2.0, multiplier=2.0, timeout=DEADLINE_S)
        try:
            return getattr(self.client(), operation)(request=request, retry=again, timeout=READ_S)
        except core.GoogleAPICallError as error:
            raise self._refused(error, opening=opening) from None
        except auth.DefaultCredentialsError:
            raise KeyServiceUnavailable(f"{self.uri}: no credentials", hint=_CREDENTIALS) from None
        except auth.RefreshError:
            raise KeyServiceUnavailable(f"{self.uri}: the credentials are not accepted", hint=_CREDENTIALS) from None
        except (core.GoogleAPIError, auth.GoogleAuthError, OSError) as error:  # those of requests are OSErrors
            raise KeyServiceUnavailable(f"{self.uri}: cannot be reached ({type(error).__name__})", hint=_LATER) from None
        except (parsing.Error, ValueError, AttributeError, TypeError) as error:  # what the SDK makes of an answer that is none
            raise self._garbled(type(error).__name__) from None

    def _refused(self, error: Any, *, opening: bool) -> HermeticError:
        code = int(error.code or 0)
        status = _status(error.response, code)
        if opening and status == "INVALID_ARGUMENT":
            return self.wrong()
        return KeyServiceUnavailable(f"{self.uri}: Cloud KMS refuses ({status})", hint=_HINTS.get(status, _LATER))

    def _whole(self, value: bytes, told: int | None) -> bool:
        if not value and told is None:
            raise self._garbled("neither value nor checksum")
        return _crc32c(value) == told

    def _garbled(self, why: str) -> KeyServiceUnavailable:
        message = f"{self.uri}: what answered does not speak as Cloud KMS does ({why})"
        return KeyServiceUnavailable(message, hint="look at the endpoint in config.yaml")

    def _damaged(self) -> IntegrityError:
        return IntegrityError(
            f"{self.uri}: what was sent or answered was damaged on the way, {TRIES} times (CRC32C)",
            hint="look at what lies between here and the service, and at this machine's memory",
        )


def regions(uri: str, _settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the location of a key: a region, or what the service calls several. Raises UsageError."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise UsageError(f"{uri!r} names no key in Google Cloud KMS", hint="gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K")
    return (found["location"],)


def open_(uri: str, place: Place) -> GcpKmsRoot:
    """Return the provider of an existing root; calls nothing. Raises UsageError, ConfigError."""
    return GcpKmsRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> GcpKmsRoot:
    """Take a key that is there as root. Raises UsageError (of another kind), KeyServiceUnavailable (not usable by us), Unsupported."""
    root = GcpKmsRoot(uri, place)
    key_service.create(root, asked)
    return root


def _crc32c(data: bytes) -> int:
    return int(_sdk("google_crc32c").value(data))


def _sdk(module: str) -> ModuleType:
    return load_extra(module, "gcp", name="google-cloud-kms")


def _status(response: Any, code: int) -> str:
    """Return what google.rpc calls the error, from the answer if it says so."""
    try:
        told = response.json()["error"]["status"]
    except (ValueError, KeyError, TypeError, AttributeError):
        told = None
    return endpoints.word(told, _STATUS.get(code, f"status {code}"))


def _word(value: Any) -> str:
    return endpoints.word(getattr(value, "name", None), "unknown")


def _day(value: Any) -> str:
    return f"{value:%Y-%m-%d}" if value else "a day that is not told"
