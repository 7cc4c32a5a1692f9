"""The shipped files say what the defaults are, and load under every check there is."""

from __future__ import annotations

from hermetic.policy import defaults, document
from hermetic.policy.request import GRANTABLE
from hermetic.policy.rulebook import Rulebook
from tests.unit.policy.values import DOMAIN, HEAD, NOW


def test_the_shipped_file_spells_out_the_defaults() -> None:
    """So that deleting a line of it changes nothing, and reading it tells everything."""
    assert document.parse(defaults.document_text(DOMAIN, "risk")) == document.parse(HEAD)


def test_the_shipped_bundle_may_be_applied() -> None:
    book = Rulebook.load(defaults.default_bundle(DOMAIN, "risk"), now_ms=NOW)
    assert len(book.engine.policies) == len({policy.id for policy in book.engine.policies})


def test_domain_and_project_are_filled_in() -> None:
    text = defaults.document_text(DOMAIN, "risk")
    assert f"domain: {DOMAIN}\nproject: risk\n" in text
    assert "DOMAIN-ID" not in text
    assert "PROJECT-NAME" not in text


def test_the_granted_access_policy_names_what_can_be_granted() -> None:
    book = Rulebook.load(defaults.default_bundle(DOMAIN, "risk"))
    policy = next(policy for policy in book.engine.policies if policy.id == "granted-access")
    assert policy.actions == GRANTABLE


def test_every_shipped_policy_has_a_comment_or_a_speaking_name() -> None:
    for name, text in defaults.cedar_texts().items():
        assert text.startswith("// "), name
