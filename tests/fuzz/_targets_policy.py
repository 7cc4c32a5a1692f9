"""Fuzz targets: what is written in a policy, by hand or as a bundle, and what a grant allows."""

from __future__ import annotations

import contextlib

from hermetic.access import grants
from hermetic.policy import bundle, defaults, document, globs
from hermetic.policy._cedar_text import pieces
from hermetic.policy._yaml import Wrong
from hermetic.policy.rulebook import Rulebook
from tests.fuzz._target import ID, Target

NOW_MS = 1_800_000_000_000
SHIPPED = defaults.default_bundle(ID, "cardio")
WORDS = (
    *(b"permit", b"forbid", b"when", b"principal", b"action", b"resource", b"@id(", b"classes:", b"rules:", b"restricted", b"like:"),
    *(b"&a ", b"*a", b"<<: ", b"!!", b"? ", b"---", b"|\n", b"- ", b"{a: ", b"[", b"context", b" has ", b" like ", b" in ", b"if "),
)
CONFIG = [
    b"backup: {place: /media/usb, objects: false}\nanchor: {command: [logger, -t, hermetic]}\nstores: {warehouse: {folder: /data}}\n",
    b"",
    b"backup:\n  place: /x\n",
    b"? [a, b]\n: c\n",
    b"a: !!set {x}\n",
    b"a: 2001-12-14t21:59:43.10-05:00\nb: 0b1\nc: 1e5\nd: .inf\n",
    b"<<: {a: 1}\n",
    b"stores: {1: {folder: /x}, true: {folder: /y}}\n",
    b"a: &a [*a]\nb: *a\n",
]
CEDAR = [
    b'@id("mine")\npermit (principal, action == Action::"open", resource) when { resource.class == Class::"public" };\n',
    b'@id("a") forbid (principal, action, resource) unless { context.granted }; // x\n@id("b") permit (principal, action, resource);',
    b"permit (principal, action, resource);",
    b'@id("n") permit (principal, action, resource) when { "a\n" == "b" || (true && (1 + 1 > 1)) }; // x\r',
    b'@id("t") permit (principal == ?principal, action, resource);',
    b'@id("m") permit(principal, action, resource) when {if context.granted then 1+9223372036854775807>0 else "\\u{1F600}" like "*"};',
]


# JSON is YAML: the same edits of a good document as elsewhere reach the checks across keys.
PROJECT: dict[str, object] = {
    "format": "hermetic-policy/1",
    "domain": ID,
    "project": "risk",
    "algorithms": "approved-only",
    "environment": "staging",
    "stores": {"here": {"kind": "local", "path": "data/sealed"}, "lake": {"kind": "named"}, "vault": {"kind": "named"}},
    "environments": {
        "development": {"store": "here", "allow_insecure_root": True},
        "staging": {"store": "lake"},
        "production": {"store": "vault", "require_enforcement": "service"},
    },
    "classes": {
        "internal": {"like": "confidential", "default_purpose": "none", "retention": "keep"},
        "restricted": {
            "suite": "FLOE-AES256-GCM-64K-SHA256",
            "padding": "segment",
            "lease": {"check": "2s", "offline": "1m"},
            "retention": "90d",
            "rotate_after": "4w",
            "kek": "in-provider",
            "original": "report",
            "require_enforcement": "separated",
            "require_attestation": True,
            "approvals": {"share": 2, "open": 1},
            "mfa": {"open": "10m"},
        },
    },
    "operations": {"destroy-keys": {"approvals": 2, "mfa": "5m", "from": "separated"}},
    "roles": {"annotator": {"description": "labels images", "duty": "data", "purposes": ["prepare"]}},
    "rules": [
        {"path": "data/**", "kind": "dataset", "class": "restricted", "name": "raw/{stem}", "owner": "Ana", "store": "lake"},
        {"asset": ["model/**", "checkpoint/*"], "class": "confidential", "project": "other", "environment": "production"},
    ],
    "exceptions": [
        {"id": "e1", "finding": "plaintext-file", "subject": "a/*", "reason": "made", "approver": "ana", "expires": "2027-06-30"},
        {"id": "e2", "finding": "plaintext-file", "subject": "b/*", "reason": "made", "approver": "ana", "expires": "2030-01-31"},
    ],
    "budgets": [{"asset": "dataset/**", "releases_per_day": 10, "epsilon": 3.5, "delta": 0.01}],
    "tls": {"minimum": "tls1.3", "suites": ["TLS_AES_256_GCM_SHA384"], "certificate_lifetime": "30d", "warn_before": "3d"},
    "pipeline": {"ingestion": {"stores": ["lake"], "compute": ["x"], "flows": [{"from": "a", "to": "lake", "over": "mtls"}]}},
}


HEAD = ("format", "domain", "project")
SECTIONS = [{name: PROJECT[name] for name in (*HEAD, "stores", key)} for key in PROJECT if key not in HEAD]


def _yaml(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    for problem in document.problems(text, now_ms=NOW_MS):
        if problem.line < 1 or problem.column < 1 or not problem.message or not problem.remedy:
            raise AssertionError(problem)
    document.parse(text)


def _cedar(raw: bytes) -> None:
    with contextlib.suppress(Wrong):
        list(pieces(raw.decode("utf-8", "surrogateescape")))
    shipped = {name: content for name, content in SHIPPED.files.items() if not name.endswith(".cedar")}
    Rulebook.load(bundle.PolicyBundle(files={**shipped, "policies/x.cedar": raw}))


def _bundle(raw: bytes) -> None:
    found = bundle.PolicyBundle.from_bytes(raw)
    if found.to_bytes() != raw:
        raise AssertionError(raw[:200])
    bundle.diff(SHIPPED, found)
    Rulebook.load(found, now_ms=NOW_MS)


def _glob(raw: bytes) -> None:
    glob, _, path = raw.decode("utf-8", "surrogateescape").partition("\n")
    if globs.flaw(glob):
        return
    globs.covers(glob, "dataset/**")
    globs.covers("**", glob)
    for name in (path, glob, "dataset/patients"):
        globs.matches(glob, name)


def _grant(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    grants.pattern_matches(text, grants.Wanted("x", grants.Action.OPEN, "dataset/patients"))
    terms = grants.Terms("x", grants.Action.OPEN, text, (grants.Purpose.TRAIN,), 2, text)
    grants.check_terms(terms, now_ms=1)


def _bundles() -> list[bytes]:
    small = {"hermetic.yaml": SHIPPED.files["hermetic.yaml"], "policies/x.cedar": CEDAR[0]}
    return [SHIPPED.to_bytes(), *(bundle.PolicyBundle(files=files).to_bytes() for files in (small, {"hermetic.yaml": b"a: 1\n"}))]


def _policies() -> list[bytes]:
    return [*CEDAR, *(raw for name, raw in SHIPPED.files.items() if name.endswith(".cedar"))]


TARGETS = {
    "hermetic-yaml": Target(_yaml, 1_200, lambda: [SHIPPED.files["hermetic.yaml"], *CONFIG], [*SECTIONS, PROJECT], WORDS),
    "cedar-text": Target(_cedar, 200, _policies, words=WORDS),
    "policy-bundle": Target(_bundle, 300, _bundles, words=WORDS),
    "policy-glob": Target(_glob, 60_000, lambda: [b"dataset/**\ndataset/a/b", b"**/*.csv\na.csv", b"a?*b\naxyb"]),
    "grant-pattern": Target(_grant, 60_000, lambda: [b"dataset/patients*", b"production:model/risk@3", b"**", b"*/x"]),
}

PARSERS = (
    *("policy/_yaml", "policy/_shape", "policy/_collections", "policy/_units", "policy/_checks", "policy/_check_lists"),
    *("policy/_fields", "policy/document", "policy/bundle", "policy/globs", "policy/_cedar_text", "policy/rules"),
)
