"""`awskms:`: a root in AWS Key Management Service, through boto3 (extra `aws`). Protocol-tested: see docs/how-to/root-in-aws-kms.md.

    awskms:REGION/KEY-ID            awskms:REGION/alias/NAME
    awskms:arn:aws:kms:REGION:ACCOUNT:key/KEY-ID          the same by ARN, also `:alias/NAME`

`key_service` has the bytes of a wrap. Here

    B          CiphertextBlob of kms:Encrypt over K
    context    {"hermetic": base64 of the binding, "root": root id}: the encryption context, which CloudTrail shows

K goes through kms:Encrypt and not kms:GenerateDataKey, so that it comes from this machine's random numbers as elsewhere. Decrypt
names the key of the URI, so that a blob of another key, of whatever account, is refused. `rewrap` is kms:ReEncrypt.

A multi-Region key (`mrk-…`) may have `replicas` in the settings: Regions that are asked, in this order, when the first is out of
reach. A Region that answers no (disabled, denied) ends the search: whoever disables a key means it.

Credentials are boto3's alone: none is read, kept, logged or named here. Passing failures are repeated by botocore ("standard").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, KeyServiceUnavailable
from hermetic.formats.binary_text import to_base64
from hermetic.providers import endpoints, key_service, settings
from hermetic.providers.awskms_key import SETTINGS, KmsKey, regions
from hermetic.providers.key_service import Described, KeyServiceRoot, neighbour, probes, protections
from hermetic.providers.registry import load_extra
from hermetic.providers.uses import UseTray

__all__ = ["create", "neighbour", "open_", "probes", "protections", "regions"]

if TYPE_CHECKING:
    from datetime import datetime

    from hermetic.formats.findings import Finding
    from hermetic.keys.provider import ProviderUse
    from hermetic.providers.place import Asked, Place

ATTEMPTS: Final = 4
CONNECT_S: Final = 5
READ_S: Final = 15
_WRONG: Final = {"InvalidCiphertextException", "IncorrectKeyException"}
_PASSING: Final = {"KeyUnavailableException", "DependencyTimeoutException", "KMSInternalException", "RequestLimitExceeded"}
_CREDENTIALS: Final = (
    "boto3 looks for credentials where it always does (profile, environment, role): log in, or name a profile in config.yaml"
)
_DENIED: Final = (
    "the key's policy, an IAM policy or a grant has to allow kms:DescribeKey, kms:Encrypt, kms:Decrypt, and for rewrap kms:ReEncrypt*"
)
_DISABLED: Final = "enable it (`aws kms enable-key`), or open the domain through another root"
_PENDING: Final = "`aws kms describe-key` shows its state; a planned deletion ends with `aws kms cancel-key-deletion` and `enable-key`"
_USES: Final = {"encrypt": "wrap", "decrypt": "unwrap", "re_encrypt": "rewrap"}  # CloudTrail has them under the same request id
_LATER: Final = "try again later; `hermetic key providers` shows all roots"
_HINTS: Final = {
    "DisabledException": _DISABLED,
    "KMSInvalidStateException": _PENDING,
    "NotFoundException": "look at Region and key in the root's URI, and at the account of the credentials",
    "AccessDeniedException": _DENIED,
    "InvalidKeyUsageException": "a root is a symmetric key for ENCRYPT_DECRYPT",
    **dict.fromkeys(("UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"), _CREDENTIALS),
    **dict.fromkeys(("InvalidClientTokenId", "MissingAuthenticationToken", "IncompleteSignature"), _CREDENTIALS),
}


class _Passed(Exception):
    """A Region is out of reach, and another one may be asked."""

    def __init__(self, error: KeyServiceUnavailable) -> None:
        super().__init__(str(error))
        self.error = error


class AwsKmsRoot(KeyServiceRoot):
    """A root in AWS KMS."""

    scheme = "awskms"
    loggers = ("botocore.endpoint", "botocore.parsers", "botocore.hooks", "botocore.auth", "botocore.httpsession", "botocore.regions")

    def __init__(self, uri: str, place: Place) -> None:
        super().__init__(uri, place)
        self.key = KmsKey.parse(uri)
        self._settings = settings.read(uri, place, SETTINGS)
        self._uses = UseTray()
        if "endpoint" in self._settings:
            endpoints.endpoint(uri, self._settings["endpoint"])
        if "ca" in self._settings:
            endpoints.ca(uri, self._settings["ca"])
        self.regions = regions(uri, self._settings)

    def connect(self) -> dict[str, Any]:
        """Return a client for each Region."""
        config = load_extra("botocore.config", "aws").Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            tcp_keepalive=True,
            ignore_configured_endpoint_urls=True,  # config.yaml says where keys go, not the environment
        )
        session = load_extra("boto3", "aws").session.Session(profile_name=self._settings.get("profile"))
        there = {"endpoint_url": self._settings.get("endpoint"), "verify": self._settings.get("ca")}
        return {region: session.client("kms", region_name=region, config=config, **there) for region in self.regions}

    def protect(self, key: Secret, binding: bytes) -> bytes:
        """Have KMS encrypt K."""
        answer = self._call("encrypt", Plaintext=bytes(key.view()), EncryptionContext=self._context(binding))
        return self._bytes(answer, "CiphertextBlob")

    def recover(self, blob: bytes, binding: bytes) -> Secret:
        """Have KMS decrypt B."""
        answer = self._call("decrypt", CiphertextBlob=blob, EncryptionContext=self._context(binding))
        return Secret(self._bytes(answer, "Plaintext"))

    def rewrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Have KMS move B to the newest key material, for which K does not leave it; it does when the result is checked."""
        return self.moved(wrapped, context, self._re_encrypt)

    def take_uses(self) -> tuple[ProviderUse, ...]:
        """Return what KMS answered since the last call, by its own ids."""
        return self._uses.take()

    def describe(self) -> Described:
        """Ask for state, use, rotation and end of the key."""
        meta = self._call("describe_key").get("KeyMetadata")
        if not isinstance(meta, dict) or not isinstance(meta.get("KeyState"), str):
            raise self._garbled()
        state, origin, fits = _word(meta["KeyState"]), _word(meta.get("Origin")), _fits(meta)
        rotation = self._rotation() if origin == "AWS_KMS" and state == "Enabled" and fits else None
        words = [f"key {state}", f"origin {origin}", rotation and f"rotation {rotation}", meta.get("MultiRegion") and "multi-Region"]
        return Described(
            ", ".join(filter(None, words)),
            unfit=None if fits else f"a key {_word(meta.get('KeySpec'))} for {_word(meta.get('KeyUsage'))} cannot be a root",
            down=None if state in {"Enabled", "Updating"} else f"the key is {state}",
            hint=(_DISABLED if state == "Disabled" else _PENDING) if fits else _HINTS["InvalidKeyUsageException"],
            findings=tuple(self._findings(meta, rotation)),
        )

    def _re_encrypt(self, blob: bytes, binding: bytes) -> bytes:
        context = self._context(binding)
        given = {"CiphertextBlob": blob, "SourceEncryptionContext": context, "DestinationEncryptionContext": context}
        return self._bytes(self._call("re_encrypt", ("SourceKeyId", "DestinationKeyId"), **given), "CiphertextBlob")

    def _findings(self, meta: dict[str, Any], rotation: str | None) -> list[Finding]:
        found, at = [], f"--key-id {self.key.named(self.key.region)} --region {self.key.region}"
        lost = "what only this root wraps is lost then"
        if meta.get("DeletionDate") or "Deletion" in meta["KeyState"]:
            message = f"the key of this root is deleted {_day(meta.get('DeletionDate'))}: {lost}"
            found.append(self.finding("root-deletion-pending", "high", message, f"aws kms cancel-key-deletion {at}"))
        if meta.get("ExpirationModel") == "KEY_MATERIAL_EXPIRES":
            message = f"imported key material ends {_day(meta.get('ValidTo'))}: {lost}, unless it is imported again"
            found.append(self.finding("root-material-expires", "high", message, f"aws kms import-key-material {at} without an end"))
        if rotation == "off":
            message = "the service does not rotate the key of this root"
            found.append(self.finding("root-not-rotated", "low", message, f"aws kms enable-key-rotation {at}"))
        if self.key.name.startswith("alias/"):
            message = "this root is named by an alias, which can be pointed to another key"
            found.append(self.finding("root-by-alias", "low", message, "name the key itself: awskms:REGION/KEY-ID"))
        return found

    def _rotation(self) -> str:
        try:
            return "on" if self._call("get_key_rotation_status").get("KeyRotationEnabled") is True else "off"
        except KeyServiceUnavailable:
            return "not shown"  # a permission of its own, which a root does not need

    def _context(self, binding: bytes) -> dict[str, str]:
        return {"hermetic": to_base64(binding), "root": self.root_id}

    def _bytes(self, answer: dict[str, Any], name: str) -> bytes:
        value = answer.get(name)
        if not isinstance(value, bytes):
            raise self._garbled()
        return value

    def _garbled(self) -> KeyServiceUnavailable:
        return KeyServiceUnavailable(
            f"{self.uri}: what answered does not speak as AWS KMS does", hint="look at the endpoint in config.yaml"
        )

    def _call(self, operation: str, keys: tuple[str, ...] = ("KeyId",), **arguments: object) -> dict[str, Any]:
        """Call an operation in the first Region that can be reached."""
        first: _Passed | None = None
        for region in self.regions:
            try:
                return self._once(region, operation, dict.fromkeys(keys, self.key.named(region)) | arguments)
            except _Passed as passed:
                first = first or passed
        assert first is not None
        raise first.error from None

    def _once(self, region: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        exceptions, parsers = load_extra("botocore.exceptions", "aws"), load_extra("botocore.parsers", "aws")
        try:
            answer: dict[str, Any] = getattr(self.client()[region], operation)(**arguments)
            if operation in _USES:
                self._uses.note(_USES[operation], answer.get("ResponseMetadata", {}).get("RequestId"))
        except exceptions.ClientError as error:
            raise self._refused(error.response) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError) as error:
            raise KeyServiceUnavailable(f"{self.uri}: no credentials ({type(error).__name__})", hint=_CREDENTIALS) from None
        except (exceptions.ProfileNotFound, exceptions.SSOError) as error:
            raise KeyServiceUnavailable(f"{self.uri}: {type(error).__name__}", hint=_CREDENTIALS) from None
        except (exceptions.BotoCoreError, parsers.ResponseParserError, OSError) as error:
            unreached = f"{self.uri}: AWS KMS cannot be reached in {region} ({type(error).__name__})"
            raise _Passed(KeyServiceUnavailable(unreached, hint=f"look at the network and the endpoint; {_LATER}")) from None
        except (AttributeError, KeyError, TypeError, ValueError):  # what the SDK makes of an answer that is none
            raise self._garbled() from None
        return answer

    def _refused(self, response: dict[str, Any]) -> HermeticError | _Passed:
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = endpoints.word(response.get("Error", {}).get("Code"), f"status {status}")
        if code in _WRONG:
            return self.wrong()
        error = KeyServiceUnavailable(f"{self.uri}: AWS KMS refuses ({code})", hint=_HINTS.get(code, _LATER))
        passing = "Throttl" in code or code in _PASSING or (isinstance(status, int) and status >= 500)
        return _Passed(error) if passing else error


def open_(uri: str, place: Place) -> AwsKmsRoot:
    """Return the provider of an existing root; calls nothing. Raises UsageError, ConfigError."""
    return AwsKmsRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> AwsKmsRoot:
    """Take a key that is there as root. Raises UsageError (of another kind), KeyServiceUnavailable (not usable by us), Unsupported."""
    root = AwsKmsRoot(uri, place)
    key_service.create(root, asked)
    return root


def _fits(meta: dict[str, Any]) -> bool:
    """Whether it is a symmetric key for encryption, of a customer and not one of Amazon's own."""
    found = (meta.get("KeySpec"), meta.get("KeyUsage"), meta.get("KeyManager", "CUSTOMER"))
    return found == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "CUSTOMER")


def _word(value: object) -> str:
    return endpoints.word(value, "unknown")


def _day(value: datetime | None) -> str:
    return "soon" if value is None else f"on {value:%Y-%m-%d}"
