"""The keys of hermetic.yaml, declared once: `document` reads by them, `schema` turns them into JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hermetic.formats.padding import Padding
from hermetic.formats.suites import SUITES
from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose, Stage
from hermetic.policy import model
from hermetic.policy._collections import Key, Many, Record, Table
from hermetic.policy._shape import Choice, Flag, Number, OrNone, Prose, Text, Whole
from hermetic.policy._units import DAY_MS, HOUR_MS, SECOND_MS, Date, Days, Folder, GlobText, Span
from hermetic.policy.request import DATA_ACTIONS, Action

if TYPE_CHECKING:
    from hermetic.policy._yaml import Place

_BROKEN = "it is broken; nothing may use it"
_OLD = "it offers no forward secrecy or no authenticated encryption"
_WEAK_SUITES = {
    **dict.fromkeys(("aes-ecb", "des", "3des", "rc4", "blowfish"), _BROKEN),
    **dict.fromkeys(("aes-cbc", "aes-128-cbc", "aes-256-cbc", "aes-ctr", "aes-256-ctr"), "it does not detect changed bytes"),
    **dict.fromkeys(("aes-gcm", "aes-128-gcm", "aes-256-gcm"), "a bare cipher is not key-committing and cannot be read in part"),
}
_WEAK_TLS = dict.fromkeys(("ssl3", "sslv3", "tls1.0", "tls1.1", "tls1.2", "tlsv1.2", "1.0", "1.1", "1.2"), _OLD)
_WEAK_FLOWS = dict.fromkeys(("http", "ftp", "telnet", "plain", "tcp"), "it carries data in the clear")
_WEAK_GROUPS = dict.fromkeys(("secp192r1", "secp224r1", "ffdhe2048", "dh1024", "dh2048"), "it has under 128 bits of strength")

_WORD = Text(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"), "a name of letters, digits, dot, dash and underscore")
_ROLE = Text(re.compile(r"[a-z][a-z0-9-]{0,62}"), "a role name in lower case")
_CODE = Text(re.compile(r"[a-z][a-z0-9-]{0,62}"), "a finding code in lower case")
_PERSON = Text(re.compile(r"[^\s/\\][^/\\]{0,119}"), "a principal's name")
_DOMAIN = Text(re.compile(r"[a-z2-7]{25}[aeimquy4]"), "a domain id of 26 lower-case base32 letters, as `hermetic init` wrote it")
_GLOBAL = Text(re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){1,15}"), "a module and a name in it, such as numpy.dtype")
_PART = r"\{(?:stem|parent|path)\}"
_TEMPLATE = Text(
    re.compile(rf"(?:[A-Za-z0-9]|{_PART})(?:[A-Za-z0-9._-]|{_PART})*(?:/(?:[A-Za-z0-9]|{_PART})(?:[A-Za-z0-9._-]|{_PART})*)*"),
    "a name template such as patients-{stem}",
)
_REGION = Text(re.compile(r"[a-z0-9][a-z0-9-]{0,39}"), "the name of a region, such as eu-central-1")
_CLASS = Choice(tuple(DataClass), "class")
_ENVIRONMENT = Choice(tuple(Environment), "environment")
_ENFORCEMENT = Choice(tuple(Enforcement), "enforcement level")
_PURPOSE = Choice(tuple(Purpose), "purpose")
_PURPOSES = Many(_PURPOSE, "purposes")
_DATA_ACTION = Choice(tuple(action for action in Action if action in DATA_ACTIONS), "action on data")
_OPERATION = Choice(tuple(action for action in Action if action not in DATA_ACTIONS), "operation")
_PATHS = GlobText("a glob over paths relative to this file")
_ASSETS = GlobText("a glob over asset names")


@dataclass(frozen=True)
class Raw:
    """hermetic.yaml as read, before defaults and the checks across keys."""

    format: str
    domain: str
    project: str
    algorithms: model.Algorithms = model.Algorithms.STANDARD
    environment: Environment = Environment.DEVELOPMENT
    stores: dict[str, model.StoreRules] = field(default_factory=dict)
    environments: dict[Environment, dict[str, Any]] = field(default_factory=dict)
    classes: dict[DataClass, dict[str, Any]] = field(default_factory=dict)
    operations: dict[Action, model.Operation] = field(default_factory=dict)
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: tuple[model.Rule, ...] = ()
    exceptions: tuple[model.PolicyException, ...] = ()
    budgets: tuple[model.Budget, ...] = ()
    tls: model.TlsRules = field(default_factory=model.TlsRules)
    pipeline: dict[Stage, model.StageRules] = field(default_factory=dict)
    pickles: tuple[str, ...] = ()
    retired_suites: tuple[model.RetiredSuite, ...] = ()


def _renamed(**names: str) -> Any:
    """Return a builder of keyword arguments that gives some keys another name."""
    return lambda **values: {names.get(key, key): value for key, value in values.items()}


def _rule(place: Place, **values: Any) -> model.Rule:
    names = {"class": "data_class", "path": "paths", "asset": "assets"}
    return model.Rule(place=place, **{names.get(key, key): value for key, value in values.items()})


def _budget(place: Place, asset: tuple[str, ...], **values: Any) -> model.Budget:
    return model.Budget(place=place, assets=asset, **values)


def _operation(**values: Any) -> model.Operation:
    return model.Operation(**{"enforced_from" if key == "from" else key: value for key, value in values.items()})


def _environment(**values: Any) -> dict[str, Any]:
    return {"sources" if key == "from" else key: value for key, value in values.items()}


def _flow(**values: Any) -> model.Flow:
    return model.Flow(values["from"], values["to"], values["over"])


_LEASE = Record(
    "lease",
    _renamed(check="lease_check_ms", offline="lease_offline_ms"),
    (
        Key("check", Span(SECOND_MS, HOUR_MS), "how often a holder of a key asks whether it still may, such as 5s"),
        Key("offline", Span(SECOND_MS, 7 * DAY_MS), "how long a key lives at most while custody cannot be reached, such as 15m"),
    ),
)

_CLASS_RULES = Record(
    "class",
    _renamed(retention="retention_days", rotate_after="rotate_after_days", mfa="mfa_ms"),
    (
        Key("like", _CLASS, "take every key left out here from this class instead of from the shipped default"),
        Key("suite", Choice(tuple(SUITES), "suite", _WEAK_SUITES), "cipher, segment size and digest of sealed objects"),
        Key("padding", Choice(tuple(Padding), "padding"), "how much lengths are hidden: none, segment, padme"),
        Key("default_purpose", OrNone(_PURPOSE, "none"), "the purpose when none is declared; none: it must be declared"),
        Key("lease", _LEASE, "how long a released key lives in a process"),
        Key("retention", OrNone(Days(), "keep"), "how long versions are kept, such as 730d or 7y, or keep"),
        Key("rotate_after", Days(3650), "how old a key-encryption key may become, such as 90d"),
        Key("kek", Choice(tuple(model.KekPlace), "place of a key-encryption key"), "wrapped, or in-provider: never leaves HSM or KMS"),
        Key("kek_provider", Choice(model.KEK_PROVIDERS, "kind of provider"), "with in-provider: the kind of root it lives in"),
        Key(
            "original", Choice(tuple(model.Original), "word"), "keep, or report: plaintext originals that still lie there are findings"
        ),
        Key("require_enforcement", _ENFORCEMENT, "the least distance between custody and caller"),
        Key("require_attestation", Flag(), "keys go to attested hardware only"),
        Key(
            "separation",
            Choice(tuple(model.Separation), "word"),
            "required: nobody both reads data of this class and administers its keys, not even the owner of a cooperative domain",
        ),
        Key(
            "approvals",
            Table(_DATA_ACTION, Whole(0, 9), "approvals"),
            "how many people other than the requester must agree, by action",
        ),
        Key("mfa", Table(_DATA_ACTION, Span(SECOND_MS, DAY_MS), "mfa"), "how old a second factor may be, by action"),
        Key("regions", Many(_REGION, "regions", 1), "where keys and objects of the class may lie; left out: anywhere"),
    ),
)

_RULE = Record(
    "rule",
    _rule,
    (
        Key(
            "path", Many(_PATHS, "globs", 1, single=True), "globs over paths relative to this file, or to the store named in this rule"
        ),
        Key("asset", Many(_ASSETS, "globs", 1, single=True), "globs over asset names, such as dataset/patients*"),
        Key("store", _WORD, "paths count from the root of this store"),
        Key("kind", Choice(tuple(Kind), "kind"), "what the asset is; needed with path"),
        Key("class", _CLASS, "public, internal, confidential or restricted", required=True),
        Key("name", _TEMPLATE, "the asset's name without its kind, from {stem}, {parent}, {path}; default {stem}"),
        Key("owner", _PERSON, "name of the principal who answers for it"),
        Key("project", _WORD, "project, if not the one above"),
        Key("purposes", _PURPOSES, "what it may be used for; left out: what roles allow"),
        Key("environment", _ENVIRONMENT, "environment, if not the one above"),
    ),
    located=True,
)

_EXCEPTION = Record(
    "exception",
    model.PolicyException,
    (
        Key("id", _WORD, "a name that the log will mention", required=True),
        Key("finding", _CODE, "the code of the finding that is accepted", required=True),
        Key("subject", _PATHS, "glob over what the finding is about", required=True),
        Key("reason", Prose("reason"), "why it is accepted", required=True),
        Key("approver", _PERSON, "who accepted it", required=True),
        Key("expires", Date(), "the first day on which it no longer counts, such as 2027-01-31", required=True),
    ),
    located=True,
)

_RETIRED = Record(
    "retired suite",
    model.RetiredSuite,
    (
        Key("suite", Choice(tuple(SUITES), "suite"), "the suite that seals nothing new any more", required=True),
        Key("reason", Prose("reason"), "why it is retired", required=True),
        Key("opens_until", Date(), "the first day on which what it sealed is opened for recovery only, such as 2027-01-31"),
    ),
    located=True,
)

_BUDGET = Record(
    "budget",
    _budget,
    (
        Key("asset", Many(_ASSETS, "globs", 1, single=True), "globs over asset names", required=True),
        Key("releases_per_day", Whole(1, 1_000_000_000), "how many versions may be released in 24 hours, per principal"),
        Key("epsilon", Number(1000), "differential-privacy budget, over the life of the asset"),
        Key("delta", Number(0.1), "differential-privacy delta"),
    ),
    located=True,
)

_SUITE_NAMES = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
_GROUP_NAMES = ("X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519", "secp256r1", "secp384r1", "X448", "secp521r1")
_TLS = Record(
    "tls",
    model.TlsRules,
    (
        Key("minimum", Choice(("tls1.3",), "TLS version", _WEAK_TLS), "lowest protocol version"),
        Key("suites", Many(Choice(_SUITE_NAMES, "TLS suite"), "suites", 1), "allowed cipher suites"),
        Key("groups", Many(Choice(_GROUP_NAMES, "TLS group", _WEAK_GROUPS), "groups", 1), "allowed key exchanges, preferred first"),
        Key("mutual", Flag(), "services authenticate each other by certificate"),
        Key("certificate_lifetime", Days(398), "longest life of a certificate"),
        Key("warn_before", Days(90), "certificates that end sooner are findings"),
    ),
)

_FLOW = Record(
    "flow",
    _flow,
    (
        Key("from", _WORD, "name of a store, service or source", required=True),
        Key("to", _WORD, "name of a store, service or sink", required=True),
        Key(
            "over",
            Choice(("mtls", "tls", "hpke", "socket", "file", "memory"), "transport", _WEAK_FLOWS),
            "what carries it",
            required=True,
        ),
    ),
)
_STAGE = Record(
    "stage",
    model.StageRules,
    (
        Key("stores", Many(_WORD, "store names"), "where data of this stage lies"),
        Key("flows", Many(_FLOW, "flows"), "how data of this stage moves"),
        Key("compute", Many(_WORD, "names"), "where data of this stage is processed"),
    ),
)

_STORE = Record(
    "store",
    model.StoreRules,
    (
        Key(
            "kind",
            Choice(tuple(model.StoreKind), "store kind"),
            "local: a folder of this project; named: see your own configuration",
            required=True,
        ),
        Key("path", Folder(), "relative folder, for local stores"),
        Key("region", _REGION, "where it lies; `regions` of classes and environments speak of it"),
    ),
)
_ENVIRONMENT_RULES: Record[dict[str, Any]] = Record(
    "environment",
    _environment,
    (
        Key("store", _WORD, "where new objects go; environments do not share stores"),
        Key("require_enforcement", _ENFORCEMENT, "the least distance between custody and caller"),
        Key("allow_insecure_root", Flag(), "accept --root local:insecure-file; never in production"),
        Key("from", Many(_ENVIRONMENT, "environments"), "the environments that versions are promoted from; left out: any"),
        Key("regions", Many(_REGION, "regions", 1), "where its keys and objects may lie, whatever their class; left out: anywhere"),
    ),
)
_OPERATION_RULES = Record(
    "operation",
    _operation,
    (
        Key("approvals", Whole(0, 9), "how many people other than the requester must agree"),
        Key(
            "approvals_in",
            Table(_ENVIRONMENT, Whole(0, 9), "approvals_in"),
            "the same by environment, where the operation is about the keys or data of one",
        ),
        Key("mfa", Span(SECOND_MS, DAY_MS), "how old a second factor may be"),
        Key("from", _ENFORCEMENT, "asked for from this enforcement level upwards; default cooperative, that is always"),
    ),
)
_ROLE_RULES: Record[dict[str, Any]] = Record(
    "role",
    dict,
    (
        Key("description", Prose("description"), "what the role is for"),
        Key("duty", Choice((model.Duty.DATA, model.Duty.KEYS, model.Duty.OVERSIGHT), "duty"), "its side in the separation of duties"),
        Key("purposes", _PURPOSES, "what its holders may declare"),
    ),
)

DOCUMENT = Record(
    "hermetic.yaml",
    Raw,
    (
        Key("format", Choice((model.FORMAT,), "format"), "the version of this file's format", required=True),
        Key("domain", _DOMAIN, "the domain that this project belongs to", required=True),
        Key("project", _WORD, "the project's name", required=True),
        Key(
            "algorithms",
            Choice(tuple(model.Algorithms), "word"),
            "standard, or approved-only: leaves out BLAKE3, Argon2id, ChaCha20 and age",
        ),
        Key("retired_suites", Many(_RETIRED, "retired suites"), "suites that seal nothing new, and until when what they sealed opens"),
        Key("environment", _ENVIRONMENT, "where new assets go when no rule says otherwise"),
        Key("stores", Table(_WORD, _STORE, "stores"), "where sealed objects lie"),
        Key("environments", Table(_ENVIRONMENT, _ENVIRONMENT_RULES, "environments"), "what holds in each environment"),
        Key("classes", Table(_CLASS, _CLASS_RULES, "classes"), "what each data class asks for; left out: the shipped default"),
        Key(
            "operations", Table(_OPERATION, _OPERATION_RULES, "operations"), "approvals and second factors for what is not about data"
        ),
        Key("roles", Table(_ROLE, _ROLE_RULES, "roles"), "purposes of shipped roles, and roles of your own"),
        Key("rules", Many(_RULE, "rules"), "what paths and asset names are; the first that matches decides"),
        Key("exceptions", Many(_EXCEPTION, "exceptions"), "findings accepted for a while"),
        Key("budgets", Many(_BUDGET, "budgets"), "how much may be taken from an asset"),
        Key("tls", _TLS, "the least that connections must offer"),
        Key(
            "pipeline",
            Table(Choice(tuple(Stage), "stage"), _STAGE, "pipeline"),
            "what each stage is declared to use, for `hermetic map`",
        ),
        Key("pickles", Many(_GLOBAL, "names"), "what pickles may import when they are read; left out: plain data only"),
    ),
)
