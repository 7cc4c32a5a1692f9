"""The canonical bundle: bytes, digest, difference."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hermetic.errors import ConfigError, FormatError
from hermetic.policy import bundle
from hermetic.policy.bundle import PolicyBundle

FILES = {"hermetic.yaml": b"a: 1\n", "policies/b.cedar": b"// b\n", "policies/a.cedar": b""}
KNOWN = (
    b"hermetic/v1/policy-bundle\n\x00\x00\x00\x03"
    b"\x00\x0dhermetic.yaml\x00\x00\x00\x05a: 1\n"
    b"\x00\x10policies/a.cedar\x00\x00\x00\x00"
    b"\x00\x10policies/b.cedar\x00\x00\x00\x05// b\n"
)


def test_the_bytes_are_those_of_the_specification() -> None:
    assert PolicyBundle(FILES).to_bytes() == KNOWN
    assert PolicyBundle.from_bytes(KNOWN).files == FILES


def test_the_digest_is_over_the_bytes_and_knows_no_order() -> None:
    turned = PolicyBundle(dict(reversed(FILES.items())))
    assert turned.digest() == PolicyBundle(FILES).digest() == hashlib.sha256(KNOWN).digest()
    assert bundle.digest("a: 1\n", {"a.cedar": "", "policies/b.cedar": "// b\n"}) == hashlib.sha256(KNOWN).digest()


@pytest.mark.parametrize(
    "name", ["policies/B.cedar", "policies/../x.cedar", "other.yaml", "/policies/a.cedar", "policies/a/b.cedar", "policies/.cedar", ""]
)
def test_names_that_a_bundle_cannot_hold(name: str) -> None:
    with pytest.raises(ConfigError):
        PolicyBundle(FILES | {name: b""})


def test_a_bundle_without_the_document_is_none() -> None:
    with pytest.raises(ConfigError, match=r"there is no hermetic\.yaml"):
        PolicyBundle({"policies/a.cedar": b""})


def test_limits() -> None:
    with pytest.raises(ConfigError):
        PolicyBundle({"hermetic.yaml": b"x" * (bundle.MAX_BYTES + 1)})
    with pytest.raises(ConfigError):
        PolicyBundle({"hermetic.yaml": b""} | {f"policies/p{number}.cedar": b"" for number in range(65)})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        KNOWN[:-1],
        KNOWN + b"x",
        KNOWN.replace(b"\x00\x00\x00\x03", b"\x00\x00\x00\x02", 1),
        KNOWN.replace(b"\x00\x00\x00\x03", b"\xff\xff\xff\xff", 1),
        KNOWN.replace(b"policies/a", b"policies/c"),  # out of order
        KNOWN.replace(b"policies/a", b"policies/b"),  # twice
        KNOWN.replace(b"policies/a", b"policies/\xff"),
        KNOWN.replace(b"\x00\x00\x00\x05// b", b"\x00\xff\xff\xff// b"),
        KNOWN.replace(b"v1", b"v2"),
    ],
)
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        PolicyBundle.from_bytes(raw)


def test_a_difference_is_told_line_by_line() -> None:
    old = PolicyBundle({"hermetic.yaml": b"a: 1\nb: 2\n", "policies/gone.cedar": b"// gone\n"})
    new = PolicyBundle({"hermetic.yaml": b"a: 1\nb: 3\n", "policies/new.cedar": b"// new\n"})
    told = bundle.diff(old, new)
    assert "--- applied/hermetic.yaml\n+++ edited/hermetic.yaml\n" in told
    assert "-b: 2\n+b: 3\n" in told
    assert "-// gone\n" in told
    assert "+// new\n" in told
    assert bundle.diff(old, old) == ""


def test_a_change_of_line_endings_is_told_though_the_lines_look_the_same() -> None:
    assert "line endings" in bundle.diff(PolicyBundle({"hermetic.yaml": b"a\n"}), PolicyBundle({"hermetic.yaml": b"a\r\n"}))


def test_the_example_of_the_specification() -> None:
    page = (Path(__file__).parents[3] / "spec" / "policy.md").read_text(encoding="utf-8")
    example = page[page.index("Example: `hermetic.yaml`") :].splitlines()[2:6]
    raw = bytes.fromhex("".join(example[:3]))
    assert PolicyBundle.from_bytes(raw).files == {"hermetic.yaml": b"a: 1\n", "policies/a.cedar": b""}
    assert PolicyBundle.from_bytes(raw).digest().hex() == example[3].split()[1]
