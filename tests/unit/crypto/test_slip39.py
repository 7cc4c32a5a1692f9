"""Shares of a seed: any m of n give it back, fewer do not, and what is mistyped, mixed up or forged is told apart."""

from __future__ import annotations

import itertools
import random

import pytest
import shamir_mnemonic
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic.wordlist import WORDLIST

from hermetic.crypto import slip39
from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, Unsupported, UsageError, WrongKey

SEED = Secret(bytes(range(32)))
SHARES = slip39.split(SEED, 5, 3)


def _again(share, words=None, where=None):
    text = share.text() if words is None else " ".join(words)
    return slip39.parse(Secret(text.encode()), where or share.where)


def test_any_three_of_five():
    for chosen in itertools.permutations(SHARES, 3):
        assert slip39.combine(chosen).same_as(SEED)
    assert slip39.combine(SHARES).same_as(SEED)  # more than it takes


def test_no_two_of_five():
    for chosen in itertools.combinations(SHARES, 2):
        with pytest.raises(UsageError, match="2 of the 3 shares"):
            slip39.combine(chosen)
    with pytest.raises(UsageError, match="no shares"):
        slip39.combine([])


@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.binary(min_size=32, max_size=32))
def test_every_count_and_threshold(data, seed):
    count = data.draw(st.integers(2, 16))
    threshold = data.draw(st.integers(2, count))
    shares = slip39.split(Secret(seed), count, threshold)
    assert [share.number for share in shares] == list(range(1, count + 1))
    assert {(share.threshold, len(share.text().split())) for share in shares} == {(threshold, slip39.WORDS)}
    chosen = data.draw(st.permutations(shares))[:threshold]
    assert slip39.combine(chosen).same_as(Secret(seed))


def test_other_tools_read_them():
    assert shamir_mnemonic.combine_mnemonics([share.text() for share in SHARES[1:4]]) == bytes(SEED.view())


def test_shares_of_one_split_begin_alike_and_of_two_do_not_fit():
    assert len({tuple(share.text().split()[:3]) for share in SHARES}) == 1
    other = slip39.split(SEED, 5, 3)
    with pytest.raises(UsageError, match="share 3 is of another set than share 1"):
        slip39.combine([SHARES[0], SHARES[1], other[2]])


@pytest.mark.parametrize(("count", "threshold"), [(1, 1), (5, 1), (3, 4), (17, 3), (0, 0), (5, 0), (5, -1)])
def test_what_makes_no_sense(count, threshold):
    with pytest.raises(UsageError):
        slip39.split(SEED, count, threshold)


def test_case_and_spaces_do_not_matter():
    assert _again(SHARES[0], [word.upper() + "\n" for word in SHARES[0].text().split()]).words.same_as(SHARES[0].words)


@pytest.mark.parametrize("place", range(1, slip39.WORDS + 1))
def test_one_wrong_word_is_found(place):
    words = SHARES[1].text().split()
    words[place - 1] = random.Random(place).choice([word for word in WORDLIST if word != words[place - 1]])
    with pytest.raises(UsageError, match=rf"^share 2 is mistyped: its checksum does not fit, and word {place} is the wrong one\n"):
        _again(SHARES[1], words)


@pytest.mark.parametrize("seed", range(20))
def test_several_wrong_words_are_not_taken_for_one(seed):
    """Two wrong words are at distance two from the share, and a share is at distance four from every other: never one word away."""
    chance, words = random.Random(seed), SHARES[1].text().split()
    for place in chance.sample(range(slip39.WORDS), 2):
        words[place] = chance.choice([word for word in WORDLIST if word != words[place]])
    with pytest.raises(UsageError, match="more than one word is wrong"):
        _again(SHARES[1], words)


def test_swapped_words():
    words = SHARES[1].text().split()
    words[9], words[10] = words[10], words[9]
    with pytest.raises(UsageError, match="two are swapped"):
        _again(SHARES[1], words)


def test_words_that_are_none():
    words = SHARES[1].text().split()
    words[4], words[30] = "hermeticaly", "xyz"
    with pytest.raises(UsageError, match=r"^share 2 is mistyped: words 5, 31 are not in the list"):
        _again(SHARES[1], words)


@pytest.mark.parametrize("count", [1, 20, 32, 34])
def test_other_numbers_of_words(count):
    words = (SHARES[0].text().split() * 2)[:count]
    with pytest.raises(UsageError, match=f"has {count} words"):
        _again(SHARES[0], words)


@pytest.mark.parametrize("raw", [b"\xff" * 10, "é".encode() * 33, b"a" * 1025])
def test_what_is_no_text_of_a_share(raw):
    with pytest.raises(UsageError):
        slip39.parse(Secret(raw), "a file")


def test_the_same_share_twice():
    with pytest.raises(Conflict, match=r"^one and two are the same share\n"):
        slip39.combine([_again(SHARES[0], where="one"), _again(SHARES[0], where="two"), SHARES[2]])


def test_a_forged_share():
    """Right mark, number and checksum, another value."""
    forged = slip39.parse(Secret(_of(SHARES[2], bytes(32)).encode()), "forged")
    with pytest.raises(WrongKey, match="do not fit together"):
        slip39.combine([SHARES[0], SHARES[1], forged])
    with pytest.raises(WrongKey, match="two different shares of one number"):
        slip39.combine([*SHARES, forged])


def _of(share, value):
    real = shamir_mnemonic.Share.from_mnemonic(share.text())
    return shamir_mnemonic.Share(
        real.identifier,
        real.extendable,
        real.iteration_exponent,
        real.group_index,
        real.group_threshold,
        real.group_count,
        real.index,
        real.member_threshold,
        value,
    ).mnemonic()


def test_a_wallets_shares():
    (texts,) = shamir_mnemonic.generate_mnemonics(1, [(2, 3)], bytes(32), extendable=False)
    with pytest.raises(UsageError, match="not one of Hermetic's"):
        slip39.parse(Secret(texts[0].encode()), "paper")


def test_words_stay_quiet():
    words = SHARES[0].text().split()
    assert repr(SHARES[0]) == f"Share(number=1, threshold=3, mark={SHARES[0].mark}, where='share 1')"
    last = "academic" if words[-1] != "academic" else "acid"
    said = {
        "share 1 has 32 words, and a share has 33": words[:-1],
        "share 1 is mistyped: its checksum does not fit, and word 33 is the wrong one": [*words[:-1], last],
        "share 1 is mistyped: word 33 is not in the list of SLIP-39": [*words[:-1], "nonsense"],
    }
    for message, wrong in said.items():
        with pytest.raises(UsageError) as caught:
            _again(SHARES[0], wrong)
        assert caught.value.message == message
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_wiped_shares_are_gone():
    share = _again(SHARES[0])
    share.wipe()
    with pytest.raises(UsageError):
        share.text()


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shamir_mnemonic", None)
    with pytest.raises(Unsupported) as caught:
        slip39.split(SEED, 5, 3)
    assert caught.value.hint == "pip install '.[recovery]'"
