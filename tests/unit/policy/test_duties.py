"""Separation of duties: policies and combinations of roles under which one person both reads data and administers its keys."""

from __future__ import annotations

import pytest

from hermetic.errors import ConfigError
from hermetic.ids import DataClass
from hermetic.policy import defaults, document, duties
from hermetic.policy.bundle import PolicyBundle
from hermetic.policy.rulebook import Rulebook

NOW = 1_800_000_000_000
DOMAIN = "a" * 26


def bundle(change: str = "", *, cedar: str = "", without: str = "") -> PolicyBundle:
    """Return the shipped policy with lines added to class restricted, a Cedar file added, or one left out."""
    files = {
        "hermetic.yaml": defaults.document_text(DOMAIN, "clinic")
        .replace("    retention: 2y\n", f"    retention: 2y\n{change}")
        .encode()
    }
    files |= {name: text.encode() for name, text in defaults.cedar_texts().items() if not without or without not in name}
    if cedar:
        files["policies/own.cedar"] = cedar.encode()
    return PolicyBundle(files=files)


REQUIRED = "    separation: required\n"


def test_the_shipped_policy_is_fine_until_a_class_requires_separation() -> None:
    Rulebook.load(bundle(), now_ms=NOW)
    with pytest.raises(ConfigError) as caught:
        Rulebook.load(bundle(REQUIRED), now_ms=NOW)
    assert "role 'domain-owner' may read data of class restricted, which requires separation, (owner-opens)" in str(caught.value)
    assert "administer keys (owner-administers)" in str(caught.value)
    assert "do not require separation" in (caught.value.hint or "")


def test_a_policy_that_is_in_force_stays_readable() -> None:
    assert Rulebook.load(bundle(REQUIRED)).document.classes[DataClass.RESTRICTED].separation == "required"


def test_an_owner_who_only_administers_may_require_it() -> None:
    own = """
@id("owner-keeps-keys") permit (principal in Role::"domain-owner",
  action in [Action::"administer-keys", Action::"apply-policy", Action::"enrol", Action::"read-catalog"], resource);
"""
    Rulebook.load(bundle(REQUIRED, cedar=own, without="domain-owner"), now_ms=NOW)


def test_another_class_may_still_be_read() -> None:
    own = """
@id("owner-keeps-keys") permit (principal in Role::"domain-owner", action == Action::"administer-keys", resource);
@id("owner-reads-public") permit (principal in Role::"domain-owner", action == Action::"open", resource)
when { resource.class == Class::"public" && context.enforcement == Enforcement::"cooperative" };
@id("owner-keeps-keys-apart") forbid (principal in Role::"domain-owner", action == Action::"administer-keys", resource)
unless { context.enforcement == Enforcement::"cooperative" };
"""
    Rulebook.load(bundle(REQUIRED, cedar=own, without="domain-owner"), now_ms=NOW)
    wider = own.replace('resource.class == Class::"public" && ', "")
    with pytest.raises(ConfigError, match="owner-reads-public"):
        Rulebook.load(bundle(REQUIRED, cedar=wider, without="domain-owner"), now_ms=NOW)


def test_roles_that_are_harmless_alone_may_not_come_together() -> None:
    own = """
@id("keeper") permit (principal in Role::"auditor", action == Action::"administer-keys", resource);
@id("reader") permit (principal in Role::"data-protection-officer", action == Action::"open", resource);
"""
    book = Rulebook.load(bundle(cedar=own), now_ms=NOW)
    duties.check_principal(book.engine, book.document, "ana", ("auditor",))
    duties.check_principal(book.engine, book.document, "ana", ("auditor", "approver"))
    with pytest.raises(ConfigError, match=r"ana with the roles auditor, data-protection-officer may read data \(reader\)"):
        duties.check_principal(book.engine, book.document, "ana", ("auditor", "data-protection-officer@clinic"))


def test_who_does_both_in_cooperative_mode() -> None:
    book = Rulebook.load(bundle(), now_ms=NOW)
    assert duties.together(book.engine, ("domain-owner",)) == tuple(DataClass)
    for role in ("security-engineer", "data-steward", "ml-engineer", "auditor"):
        assert duties.together(book.engine, (role,)) == ()


def test_only_known_words() -> None:
    with pytest.raises(ConfigError):
        document.parse(bundle("    separation: sometimes\n").document_text(), now_ms=NOW)
