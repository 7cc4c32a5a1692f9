"""Value types that every room shares: random ids, names, references, and the words of the design.

Ids are 128 random bits written as 26 lower-case base32 letters (RFC 4648 alphabet, no padding); they reveal nothing.
Names are for people and are encrypted wherever they are stored. A reference names a version:

    dataset/patients          the latest version of the asset
    dataset/patients@3        version 3
    dataset/patients@3/a.csv  the member `a.csv` of version 3
"""

from __future__ import annotations

import base64
import enum
import re
import unicodedata
from dataclasses import dataclass
from typing import NewType

from hermetic.errors import InvalidName

DomainId = NewType("DomainId", str)
AssetId = NewType("AssetId", str)
VersionId = NewType("VersionId", str)
ObjectId = NewType("ObjectId", str)
DataKeyId = NewType("DataKeyId", str)
KekId = NewType("KekId", str)
RunId = NewType("RunId", str)
LeaseId = NewType("LeaseId", str)
RequestId = NewType("RequestId", str)

ID_LENGTH = 26
NAME_LIMIT = 255  # characters of a whole asset name, kind included
MEMBER_LIMIT = 1024  # UTF-8 bytes of a member path inside a version

_ID = re.compile(r"[a-z2-7]{25}[aeimquy4]")  # 128 bits leave 3 bits in the last of 26 letters; 2 low bits are zero
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_A_WORD = re.compile(r"[^A-Za-z0-9._-]+")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")


def id_from_bytes(raw: bytes) -> str:
    """Write 16 random bytes as an id. Raises InvalidName for any other length."""
    if len(raw) != 16:
        raise InvalidName("an id is made of 16 bytes")
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def check_id(text: str) -> str:
    """Return `text` if it is a canonical id, else raise InvalidName."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidName("not an id: expected 26 lower-case base32 letters")
    return text


def as_word(text: str, fallback: str = "data") -> str:
    """Make a name of ASCII letters, digits, dot, dash and underscore from what a person called something.

    `Übersicht größe 2025` becomes `Ubersicht-grosse-2025`. `fallback` is for text that leaves nothing.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.replace("ß", "ss")) if not unicodedata.combining(char))
    return _NOT_A_WORD.sub("-", plain).strip("-._") or fallback


class Kind(enum.StrEnum):
    """What an asset is."""

    DATASET = "dataset"
    MODEL = "model"
    CHECKPOINT = "checkpoint"
    FEATURES = "features"
    EMBEDDINGS = "embeddings"
    CONFIG = "config"
    LOG = "log"
    FEEDBACK = "feedback"
    PAYLOAD = "payload"
    SECRET = "secret"  # noqa: S105 - a kind of asset, not a password
    BACKUP = "backup"
    SCRATCH = "scratch"


class DataClass(enum.StrEnum):
    """Sensitivity, in rising order: `rank` compares."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    @property
    def rank(self) -> int:
        """0 for public up to 3 for restricted."""
        return list(DataClass).index(self)


class Environment(enum.StrEnum):
    """Where keys and stores belong; nothing opens across."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class Purpose(enum.StrEnum):
    """The declared reason for which a key is asked."""

    INGEST = "ingest"
    PREPARE = "prepare"
    TRAIN = "train"
    EVALUATE = "evaluate"
    SERVE = "serve"
    DEBUG = "debug"
    SHARE = "share"
    AUDIT = "audit"
    RECOVER = "recover"


class Stage(enum.StrEnum):
    """The seven stages of a pipeline."""

    INGESTION = "ingestion"
    PREPARATION = "preparation"
    FEATURES = "features"
    TRAINING = "training"
    REGISTRY = "registry"
    INFERENCE = "inference"
    MONITORING = "monitoring"


class KeyState(enum.StrEnum):
    """Key states of NIST SP 800-57 part 1, section 7."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


class Enforcement(enum.StrEnum):
    """How far custody is from the caller; `rank` compares."""

    COOPERATIVE = "cooperative"
    SEPARATED = "separated"
    SERVICE = "service"

    @property
    def rank(self) -> int:
        """0 for cooperative up to 2 for service."""
        return list(Enforcement).index(self)


@dataclass(frozen=True, slots=True, order=True)
class AssetName:
    """A kind and a path of plain segments, `dataset/patients`."""

    kind: Kind
    path: str

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.path}"

    @classmethod
    def parse(cls, text: str) -> AssetName:
        """Read `kind/name`. Raises InvalidName for an unknown kind, `..`, control characters, or over 255 characters."""
        if not isinstance(text, str) or len(text) > NAME_LIMIT:
            raise InvalidName(f"an asset name has at most {NAME_LIMIT} characters")
        head, _, rest = text.partition("/")
        if head not in Kind._value2member_map_:
            kinds = ", ".join(kind.value for kind in Kind)
            raise InvalidName(f"{text!r} does not start with a kind", hint=f"write KIND/NAME; kinds are {kinds}")
        if not rest or not all(_SEGMENT.fullmatch(part) for part in rest.split("/")):
            raise InvalidName(
                f"{text!r} is not an asset name",
                hint="segments hold letters, digits, dot, dash, underscore, and start with a letter or digit",
            )
        return cls(Kind(head), rest)


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a version and, if `member` is not empty, to one file of it; `number` None means the latest."""

    name: AssetName
    number: int | None = None
    member: str = ""

    def __str__(self) -> str:
        if self.number is None and not self.member:
            return str(self.name)
        version = "latest" if self.number is None else str(self.number)  # a member without a version would read as part of the name
        return f"{self.name}@{version}" + (f"/{self.member}" if self.member else "")

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read `kind/name[@number|@latest][/member]`; a leading `hermetic://` is allowed. Raises InvalidName."""
        bare = text.removeprefix("hermetic://") if isinstance(text, str) else text
        if not isinstance(bare, str) or "::" in bare or len(bare) > NAME_LIMIT + MEMBER_LIMIT + 12:
            raise InvalidName("not a reference", hint="write KIND/NAME, KIND/NAME@NUMBER or KIND/NAME@NUMBER/MEMBER")
        name, at, rest = bare.partition("@")
        if not at:
            return cls(AssetName.parse(name))
        number, _, member = rest.partition("/")
        if number != "latest" and not _NUMBER.fullmatch(number):
            raise InvalidName(f"{number!r} is not a version number", hint="numbers count from 1; or write @latest")
        return cls(
            AssetName.parse(name),
            None if number == "latest" else int(number),
            check_member(member) if member else "",
        )


def check_member(path: str) -> str:
    """Return the member path if it is relative, NFC, free of `..`, empty segments, backslashes and control characters."""
    bad = (
        not path
        or len(path.encode("utf-8", "surrogatepass")) > MEMBER_LIMIT
        or path != unicodedata.normalize("NFC", path)
        or "\\" in path
        or any(part in {"", ".", ".."} for part in path.split("/"))
        or any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in path)
    )
    if bad:
        raise InvalidName("a member path is relative, in Unicode NFC, without '..', backslashes or control characters")
    return path
