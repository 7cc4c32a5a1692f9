"""Loaded into schemathesis (SCHEMATHESIS_HOOKS): bodies in canonical form, and for requests for keys a recipient with its proof.

Without these every message would be refused before anything looked into it. What has no canonical form goes as it is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import schemathesis

from hermetic.crypto.hpke import PrivateKey
from hermetic.domain.https_identity import present
from hermetic.domain.identity_files import ClientIdentity
from hermetic.errors import HermeticError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url

FOLDER, DOMAIN = Path(os.environ["CALLER_FOLDER"]), os.environ["CALLER_DOMAIN"]
SHOWN = present(ClientIdentity(FOLDER / "chain.pem", FOLDER / "key.pem", FOLDER / "authorities.pem"))
RECIPIENT = to_base64url(PrivateKey.generate().public)
PROOF = "Hermetic-Recipient-Proof"


@schemathesis.serializer("application/json")
def canonical_json(_ctx, value):
    try:
        return canonical.encode(value)
    except (HermeticError, TypeError, ValueError, RecursionError):
        return json.dumps(value, default=str).encode("utf-8", "surrogatepass")


@schemathesis.hook
def map_body(_ctx, body):
    """Most recipients are public keys: random text is refused early, always for the same reason."""
    inner = body.get("body") if isinstance(body, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("recipient"), str) and not inner["recipient"].startswith("A"):
        inner["recipient"] = RECIPIENT
    return body


@schemathesis.hook
def before_call(_ctx, case, _kwargs):
    inner = case.body.get("body") if isinstance(case.body, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("recipient"), str) or PROOF not in (case.headers or {}):
        return
    try:
        case.headers[PROOF] = SHOWN.proof(DOMAIN, inner["request"], from_base64url(inner["recipient"]))
    except (HermeticError, KeyError, TypeError, ValueError):
        return
