import contextlib

import pytest

from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, NotFound, Unsupported, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.keys import domain_file
from hermetic.keys.domain_file import DomainFile, check_uri
from hermetic.testing.fake_provider import FakeProvider
from tests.unit.keys.values import DOMAIN, ROOTS, an_id


@pytest.fixture
def providers():
    return {root: FakeProvider(root, uri=f"fake:{number}") for number, root in enumerate(ROOTS[:2])}


@pytest.fixture
def made(providers):
    return domain_file.create(DOMAIN, providers)


def test_round_trip(made, providers):
    file, secret = made
    read = DomainFile.decode(file.encode())
    assert read == file
    assert [(root.root_id, root.provider) for root in read.roots] == [(ROOTS[0], "fake:0"), (ROOTS[1], "fake:1")]
    assert read.open(providers).same_as(secret)
    assert read.open({ROOTS[1]: providers[ROOTS[1]]}).same_as(secret)


def test_the_secret_is_not_in_the_file(made):
    file, secret = made
    assert bytes(secret.view()).hex() not in file.encode().hex()
    assert "wrapped" not in repr(file)


def test_another_domain_or_root_refuses(made, providers):
    file, _ = made
    with pytest.raises(WrongKey):
        DomainFile(an_id(60), file.roots).open(providers)
    first, second = file.roots
    swapped = DomainFile(
        DOMAIN,
        (
            domain_file.DomainRoot(first.root_id, first.provider, second.wrapped),
            domain_file.DomainRoot(second.root_id, second.provider, first.wrapped),
        ),
    )
    with pytest.raises(WrongKey):
        swapped.open(providers)


def test_every_flipped_bit_gives_another_document_or_a_refusal(made, providers):
    """No flip opens to the same secret under other terms: either it is refused, or the file says the same."""
    file, secret = made
    raw, opened = file.encode(), 0
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        with contextlib.suppress(IntegrityError, Unsupported, KeyServiceUnavailable):  # nothing else may come out
            assert DomainFile.decode(bytes(changed)).open({ROOTS[0]: providers[ROOTS[0]]}).same_as(secret)
            opened += 1
    assert 0 < opened < len(raw) // 2  # a flip in a provider's URI, or in the other root


def test_truncation(made):
    raw = made[0].encode()
    for length in range(len(raw)):
        with pytest.raises(FormatError):
            DomainFile.decode(raw[:length])


def test_newer_format(made):
    with pytest.raises(Unsupported):
        DomainFile.decode(made[0].encode().replace(b"hermetic/domain/v1", b"hermetic/domain/v2"))


def test_order_and_doubles_are_refused(made):
    entries = canonical.decode(made[0].encode(), limit=10_000)["roots"]
    for roots in (entries[::-1], [entries[0], entries[0]], []):
        with pytest.raises(FormatError):
            DomainFile.decode(canonical.encode({"domain": DOMAIN, "format": domain_file.FORMAT, "roots": roots}))


def test_add_replace_and_remove_a_root(made, providers):
    file, secret = made
    third = {ROOTS[2]: FakeProvider(ROOTS[2])}
    more = file.with_root(secret, "fake:third", ROOTS[2], third)
    assert more.open(third).same_as(secret)
    assert len(more.with_root(secret, "fake:again", ROOTS[2], third).roots) == 3
    less = more.without_root(ROOTS[0]).without_root(ROOTS[1])
    assert [root.root_id for root in less.roots] == [ROOTS[2]]
    with pytest.raises(UsageError, match="last root"):
        less.without_root(ROOTS[2])
    with pytest.raises(NotFound):
        less.without_root(ROOTS[0])
    with pytest.raises(UsageError):
        file.with_root(secret, "fake:third", ROOTS[3], third)


def test_a_wrong_secret_of_the_provider_is_not_seen_here_but_by_the_check(made, providers):
    """Why DomainKeys.check exists: a provider that answers with a secret of its own."""
    from hermetic.keys.derived import DomainKeys
    from hermetic.testing.fake_provider import Fault

    file, secret = made
    pinned = DomainKeys.from_secret(secret).check
    providers[ROOTS[0]].fault = Fault.WRONG_SECRET
    other = DomainKeys.from_secret(file.open(providers))
    with pytest.raises(IntegrityError):
        other.require_check(pinned)


@pytest.mark.parametrize(
    "uri", ["local:passphrase", "openbao:https://bao.example:8200/transit/kek", "awskms:arn:aws:kms:eu-west-1:1:key/a"]
)
def test_uris(uri):
    assert check_uri(uri) == uri


@pytest.mark.parametrize(
    "uri", ["", "local", "Local:x", "x:", "x:https://u:p@host", "pkcs11:object=a?pin-value=1", "x:a b", "x:\n", "x:" + "a" * 500]
)
def test_uris_that_are_refused(uri):
    with pytest.raises(UsageError):
        check_uri(uri)


def test_too_many_roots():
    with pytest.raises(UsageError):
        domain_file.create(DOMAIN, {an_id(number): FakeProvider(an_id(number)) for number in range(100, 117)})


def test_one_root_too_many_is_not_added(made, providers):
    file, secret = made
    for number in range(100, 114):
        file = file.with_root(secret, f"fake:{number}", an_id(number), {an_id(number): FakeProvider(an_id(number))})
    assert len(file.roots) == 16
    with pytest.raises(UsageError, match="at most 16 roots"):
        file.with_root(secret, "fake:x", an_id(200), {an_id(200): FakeProvider(an_id(200))})


@pytest.mark.parametrize("wrapped", ["", "A" * 21_852])
def test_a_wrap_of_no_length_or_too_long_is_refused(made, wrapped):
    roots = [{"provider": "fake:0", "root": ROOTS[0], "wrapped": wrapped}]
    with pytest.raises(FormatError):
        DomainFile.decode(canonical.encode({"domain": DOMAIN, "format": domain_file.FORMAT, "roots": roots}))
