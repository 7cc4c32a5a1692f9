"""`azurekv:`: a root in Azure Key Vault or Managed HSM, through azure-keyvault-keys (extra `azure`). Protocol-tested: see
docs/how-to/root-in-azure-key-vault.md.

    azurekv:VAULT.vault.azure.net/keys/NAME          azurekv:POOL.managedhsm.azure.net/keys/NAME

`key_service` has the bytes of a wrap. Here

    B     algorithm (1) || version of the key (16, the service writes it as 32 hex digits) || what wrapKey made of K
          algorithm 01: RSA-OAEP-256, for keys RSA and RSA-HSM;  02: A256KW, for keys oct-HSM

Neither takes associated data: root and context are bound by the AEAD of `key_service` alone, which the conformance report says.

Wrapping and unwrapping are requests of their own through the SDK's pipeline (credentials, challenge, repetitions), since the SDK's
own CryptographyClient wraps in this process: with a public key that may be disabled by now, and for an oct-HSM key, whose bytes the
service never shows, with random ones that nobody has afterwards (azure-keyvault-keys 4.11).

Credentials are azure-identity's (`DefaultAzureCredential`): none is read, kept, logged or named here. A token is asked for the
service that the URI names and for no other, whatever the challenge of a server says.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, KeyServiceUnavailable, UsageError
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.providers import endpoints, key_service, settings
from hermetic.providers.azurekv_client import SDK, body_of, client
from hermetic.providers.key_service import Described, KeyServiceRoot, neighbour, probes, protections
from hermetic.providers.registry import load_extra

__all__ = ["create", "neighbour", "open_", "probes", "protections"]

if TYPE_CHECKING:
    from hermetic.formats.findings import Finding
    from hermetic.providers.place import Asked, Place

SETTINGS: Final = {
    "endpoint": "https address where the vault is reached, instead of the one in the URI",
    "ca": "absolute path of the certificates that vouch for the endpoint",
}
_URI: Final = re.compile(r"azurekv:([a-z0-9-]{1,127}(?:\.[a-z0-9-]{1,63}){2,6})/keys/([A-Za-z0-9-]{1,127})")
_VERSION: Final = re.compile(r"[0-9a-f]{32}")
_ALGORITHMS: Final = {1: "RSA-OAEP-256", 2: "A256KW"}
_OF_KIND: Final = {"RSA": 1, "RSA-HSM": 1, "oct-HSM": 2}
_HEAD: Final = 17
_NEEDED: Final = {"wrapKey", "unwrapKey"}

_CREDENTIALS: Final = "azure-identity looks for credentials where it always does (environment, managed identity); people `az login`"
_ROLE: Final = (
    "who runs this needs the role `Key Vault Crypto Service Encryption User`, or `Managed HSM Crypto Service Encryption User`"
)
_ENABLE: Final = "`az keyvault key show` tells; enable the version again, or open the domain through another root"
_GONE: Final = "a deleted key comes back with `az keyvault key recover`; look at vault and name in the root's URI too"
_LATER: Final = "look at the network and the endpoint; try again later"
_DENIED: Final = {
    **dict.fromkeys(("KeyDisabled", "KeyExpired", "KeyNotYetValid"), _ENABLE),
    "ForbiddenByFirewall": "the vault's firewall keeps this machine out",
}


class AzureKeyVaultRoot(KeyServiceRoot):
    """A root in Azure Key Vault."""

    scheme = "azurekv"
    binds = False
    deletion = "the finding root-short-deletion-wait tells what the vault is set to; seeing it would take deleting the key"
    loggers = ("azure.core.pipeline.policies._universal", "azure.core.pipeline.policies.http_logging_policy")

    def __init__(self, uri: str, place: Place) -> None:
        super().__init__(uri, place)
        found = _URI.fullmatch(uri)
        if found is None:
            raise UsageError(f"{uri!r} names no key in Azure Key Vault", hint="azurekv:VAULT.vault.azure.net/keys/NAME")
        self.host, self.name = found[1], found[2]
        self._settings = settings.read(uri, place, SETTINGS)
        self._endpoint = endpoints.endpoint(uri, self._settings.get("endpoint", f"https://{self.host}"))
        if "ca" in self._settings:
            endpoints.ca(uri, self._settings["ca"])

    def connect(self) -> Any:
        """Return the SDK's client."""
        return client(self.host, self._endpoint, {"connection_verify": self._settings["ca"]} if "ca" in self._settings else {})

    def protect(self, key: Secret, binding: bytes) -> bytes:  # noqa: ARG002 - wrapKey takes no associated data
        """Have the service wrap K under the newest version of the key."""
        shown = self._ask("GET", f"keys/{self.name}/")
        seen, algorithm, version = self._judged(shown), _OF_KIND.get(_kind(shown), 0), self._version(shown)
        if seen.unfit or seen.down:
            raise KeyServiceUnavailable(f"{self.uri}: {seen.unfit or seen.down}", hint=seen.hint)
        made = self._turn("wrapkey", version, algorithm, bytes(key.view()))
        return bytes([algorithm]) + bytes.fromhex(version) + made

    def recover(self, blob: bytes, binding: bytes) -> Secret:  # noqa: ARG002
        """Have the service unwrap K with the version that wrapped it."""
        if len(blob) <= _HEAD or blob[0] not in _ALGORITHMS:
            raise FormatError("not a wrap of a root in Azure Key Vault: unknown algorithm, or too short")
        return Secret(self._turn("unwrapkey", blob[1:_HEAD].hex(), blob[0], blob[_HEAD:]))

    def describe(self) -> Described:
        """Ask for kind, operations, state, recovery and rotation of the newest version."""
        return self._judged(self._ask("GET", f"keys/{self.name}/"), rotation=self._rotation)

    def algorithm(self) -> tuple[str, bool | None]:
        """Return what wraps K; RSA does not last."""
        kind = _kind(self._ask("GET", f"keys/{self.name}/"))
        return _ALGORITHMS.get(_OF_KIND.get(kind, 0), "unknown"), kind == "oct-HSM"

    def _judged(self, shown: dict[str, Any], *, rotation: Any = None) -> Described:
        attributes, kind = _part(shown, "attributes"), _kind(shown)
        operations = _part(shown, "key").get("key_ops")
        lacking = _NEEDED - set(operations if isinstance(operations, list) else ())
        unfit = None
        if kind not in _OF_KIND or lacking:
            unfit = f"a key {kind} {'without ' + ' and '.join(sorted(lacking)) if lacking else ''}".rstrip() + " cannot be a root"
        rotates = "" if rotation is None or unfit else rotation()
        level = endpoints.word(str(attributes.get("recoveryLevel", "")).replace("+", "_"), "not shown").replace("_", "+")
        return Described(
            f"version {self._version(shown)}, {kind}, recovery {level}, rotation {rotates or 'not asked'}",
            unfit=unfit,
            down=_down(attributes),
            hint=_ENABLE if unfit is None else "make a key RSA, RSA-HSM or oct-HSM with the operations wrapKey and unwrapKey",
            findings=tuple(self._findings(attributes, kind, rotates)) if rotation is not None and unfit is None else (),
        )

    def _findings(self, attributes: dict[str, Any], kind: str, rotates: str) -> list[Finding]:
        found = []
        if "Purgeable" in str(attributes.get("recoveryLevel", "Purgeable")):
            message = "whoever may purge can delete the key of this root for good at once: what only it wraps is lost then"
            remedy = "az keyvault update --enable-purge-protection true"
            found.append(self.finding("root-short-deletion-wait", "medium", message, remedy))
        if attributes.get("exportable") is True:
            message = "the key of this root can be exported"
            found.append(self.finding("root-exportable", "medium", message, "make a key that is not exportable"))
        if isinstance(attributes.get("exp"), int):
            message = f"the key of this root ends on {_day(attributes['exp'])}: nothing is wrapped under it from then on"
            found.append(self.finding("root-material-expires", "medium", message, "make a new version, or take the end away"))
        if rotates == "off":
            message = "the service does not rotate the key of this root"
            found.append(self.finding("root-not-rotated", "low", message, "az keyvault key rotation-policy update"))
        if kind == "RSA":
            message = "the key of this root lies in software of the service, not in an HSM"
            found.append(self.finding("root-in-software", "low", message, "make a key RSA-HSM"))
        if kind != "oct-HSM":
            message = "RSA wraps what lies in your backups: a quantum computer opens it later"
            found.append(self.finding("root-wrap-not-quantum-safe", "low", message, "use an AES key (oct-HSM) of a Managed HSM"))
        return found

    def _rotation(self) -> str:
        try:
            actions = self._ask("GET", f"keys/{self.name}/rotationpolicy").get("lifetimeActions")
        except KeyServiceUnavailable:
            return "not shown"  # a permission of its own, which a root does not need
        return "on" if "rotate" in str(actions).lower() else "off"

    def _turn(self, operation: str, version: str, algorithm: int, value: bytes) -> bytes:
        body = {"alg": _ALGORITHMS[algorithm], "value": to_base64url(value)}
        answer = self._ask("POST", f"keys/{self.name}/{version}/{operation}", body).get("value")
        try:
            return from_base64url(answer if isinstance(answer, str) else "=")
        except FormatError:
            raise self._garbled() from None

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        rest, core = load_extra("azure.core.rest", "azure", name=SDK), load_extra("azure.core.exceptions", "azure", name=SDK)
        request = rest.HttpRequest(method, f"{self._endpoint}/{path}", **({} if body is None else {"json": body}))
        try:
            response = self.client().send_request(request, retry_on_methods={"GET", "POST"})
            status, answer = int(response.status_code), body_of(response)
        except core.ClientAuthenticationError as error:
            raise KeyServiceUnavailable(f"{self.uri}: no credentials ({type(error).__name__})", hint=_CREDENTIALS) from None
        except (core.AzureError, OSError, ValueError) as error:
            raise KeyServiceUnavailable(f"{self.uri}: cannot be reached ({type(error).__name__})", hint=_LATER) from None
        if status >= 300:
            raise self._refused(status, answer, path)
        if answer is None:
            raise self._garbled()
        return answer

    def _refused(self, status: int, answer: dict[str, Any] | None, path: str) -> HermeticError:
        told = _part(answer or {}, "error")
        code = endpoints.word(_part(told, "innererror").get("code") or told.get("code"), f"status {status}")
        if path.endswith("/unwrapkey") and (status == 400 or (status == 404 and self._exists())):
            return self.wrong()  # no version of a key is ever deleted alone: one that is not there was never there
        hint = {401: _CREDENTIALS, 403: _DENIED.get(code, _ROLE), 404: _GONE}.get(status, _LATER)
        return KeyServiceUnavailable(f"{self.uri}: Key Vault refuses ({code})", hint=hint)

    def _exists(self) -> bool:
        try:
            return bool(self._ask("GET", f"keys/{self.name}/"))
        except KeyServiceUnavailable:
            return False

    def _version(self, shown: dict[str, Any]) -> str:
        version = str(_part(shown, "key").get("kid", "")).rpartition("/")[2]
        if not _VERSION.fullmatch(version):
            raise self._garbled()
        return version

    def _garbled(self) -> KeyServiceUnavailable:
        why = f"{self.uri}: what answered does not speak as Key Vault does"
        return KeyServiceUnavailable(why, hint="look at the endpoint in config.yaml")


def open_(uri: str, place: Place) -> AzureKeyVaultRoot:
    """Return the provider of an existing root; calls nothing. Raises UsageError, ConfigError."""
    return AzureKeyVaultRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> AzureKeyVaultRoot:
    """Take a key that is there as root. Raises UsageError (of another kind), KeyServiceUnavailable (not usable by us), Unsupported."""
    root = AzureKeyVaultRoot(uri, place)
    key_service.create(root, asked)
    return root


def _part(answer: dict[str, Any], name: str) -> dict[str, Any]:
    value = answer.get(name)
    return value if isinstance(value, dict) else {}


def _kind(shown: dict[str, Any]) -> str:
    return endpoints.word(str(_part(shown, "key").get("kty", "")).replace("-", "_"), "of no kind").replace("_", "-")


def _down(attributes: dict[str, Any]) -> str | None:
    """Return why a version wraps nothing now, None if it does."""
    now, begins, ends = int(time.time()), attributes.get("nbf"), attributes.get("exp")
    if attributes.get("enabled") is not True:
        return "the key is disabled"
    if isinstance(begins, int) and begins > now:
        return f"the key begins on {_day(begins)}"
    return f"the key ended on {_day(ends)}" if isinstance(ends, int) and ends <= now else None


def _day(seconds: int) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d}"
