import itertools

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, Locked, Unsupported, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.keys import slots
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests.unit.keys.values import DOMAIN, PLACE, ROOTS, an_id


@pytest.fixture
def providers():
    return {root: FakeProvider(root, uri=f"fake:{root}") for root in ROOTS[:2]}


def context(root_id):
    return slots.domain_secret_context(DOMAIN, root_id)


def test_any_root_opens(providers):
    secret = Secret.random(32)
    wraps = slots.wrap_under_all(secret, providers, context)
    assert list(wraps) == ROOTS[:2]
    for root in ROOTS[:2]:
        assert slots.open_first(wraps, {root: providers[root]}, context).same_as(secret)


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.LOCKED])
def test_an_unreachable_root_is_passed_over(providers, fault):
    secret = Secret.random(32)
    wraps = slots.wrap_under_all(secret, providers, context)
    providers[ROOTS[0]].fault = fault
    assert slots.open_first(wraps, providers, context).same_as(secret)


@pytest.mark.parametrize("fault", [Fault.REFUSES, Fault.SHORT_SECRET])
def test_a_root_that_answers_wrong_stops(providers, fault):
    wraps = slots.wrap_under_all(Secret.random(32), providers, context)
    providers[ROOTS[0]].fault = fault
    with pytest.raises(IntegrityError):
        slots.open_first(wraps, providers, context)
    assert not [call for call in providers[ROOTS[1]].calls if call.operation == "unwrap"]


def test_locked_wins_over_unreachable(providers):
    wraps = slots.wrap_under_all(Secret.random(32), providers, context)
    providers[ROOTS[0]].fault, providers[ROOTS[1]].fault = Fault.UNREACHABLE, Fault.LOCKED
    with pytest.raises(Locked):
        slots.open_first(wraps, providers, context)
    providers[ROOTS[1]].fault = Fault.UNREACHABLE
    with pytest.raises(KeyServiceUnavailable, match=r"unreachable; .*unreachable"):
        slots.open_first(wraps, providers, context)


def test_no_provider_at_hand(providers):
    wraps = slots.wrap_under_all(Secret.random(32), providers, context)
    with pytest.raises(KeyServiceUnavailable, match="none of the 2 roots"):
        slots.open_first(wraps, {}, context)
    with pytest.raises(KeyServiceUnavailable, match="none of the 2 roots"):
        slots.open_first(wraps, {ROOTS[3]: FakeProvider(ROOTS[3])}, context)


def test_one_unreachable_root_refuses_a_new_secret(providers):
    providers[ROOTS[1]].fault = Fault.UNREACHABLE
    with pytest.raises(KeyServiceUnavailable):
        slots.wrap_under_all(Secret.random(32), providers, context)
    with pytest.raises(UsageError):
        slots.wrap_under_all(Secret.random(32), {}, context)


def test_contexts_never_meet():
    made = [
        slots.kek_context(DOMAIN, ROOTS[0], PLACE),
        slots.kek_context(DOMAIN, ROOTS[1], PLACE),
        slots.kek_context(an_id(50), ROOTS[0], PLACE),
        slots.secret_key_context(DOMAIN, ROOTS[0], an_id(7), "log-signing"),
        slots.secret_key_context(DOMAIN, ROOTS[0], an_id(8), "log-signing"),
        slots.secret_key_context(DOMAIN, ROOTS[0], an_id(7), "manifest-signing"),
        slots.domain_secret_context(DOMAIN, ROOTS[0]),
        slots.domain_secret_context(DOMAIN, ROOTS[1]),
    ]
    assert len(set(made)) == len(made)
    assert all(canonical.encode(canonical.decode(one, limit=4096)) == one for one in made)
    provider = FakeProvider(ROOTS[0])
    for wrapped_for, asked_for in itertools.permutations(made, 2):
        with pytest.raises(WrongKey):
            provider.unwrap(provider.wrap(Secret(bytes(32)), wrapped_for), asked_for)


def test_document_round_trip(providers):
    wraps = slots.wrap_under_all(Secret.random(32), providers, context)
    document = slots.encode(wraps)
    assert slots.decode(document) == wraps
    assert slots.encode(dict(reversed(wraps.items()))) == document


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"", FormatError),
        (b"[]", FormatError),
        (b'{"format":"hermetic/slots/v2","slots":[]}', Unsupported),
        (b'{"format":"other","slots":[]}', FormatError),
        (b'{"format":"hermetic/slots/v1","slots":[]}', FormatError),
        (b'{"format":"hermetic/slots/v1","slots":{}}', FormatError),
        (b'{"format":"hermetic/slots/v1","more":1,"slots":[]}', FormatError),
        (b'{"format":"hermetic/slots/v1","slots":[{"root":"x","wrapped":"AAAA"}]}', FormatError),
    ],
)
def test_documents_that_are_refused(document, error):
    with pytest.raises(error):
        slots.decode(document)


def test_order_and_doubles_are_refused():
    one, two = ({"root": root, "wrapped": "AAAA"} for root in ROOTS[:2])
    for entries in ([two, one], [one, one]):
        with pytest.raises(IntegrityError):
            slots.decode(canonical.encode({"format": slots.FORMAT, "slots": entries}))
