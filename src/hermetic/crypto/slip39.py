"""A seed of 32 bytes as SLIP-39 shares: n texts of 33 words each, any m of which give it back, and m - 1 say nothing of it.

One group, no passphrase, extendable: what every SLIP-39 tool reads. The checksum of a share finds any three wrong words, and says
which one it is when it is one; it is never corrected silently. The number of the share, m, and 15 bits that mark the set stand in
the words themselves.

Words are secret. They are held as `Secret`, appear in no message, and the library's own errors, which quote them, do not get out.
Copies that the library makes are Python texts and integers, which cannot be wiped (`docs/limitations.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, Unsupported, UsageError, WrongKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

SEED: Final = 32
WORDS: Final = 33  # of a share of 32 bytes
MOST: Final = 16  # shares of one set
LIMIT: Final = 1024  # bytes of a share as typed
_CHECK: Final = 3  # words of the checksum
_RADIX_BITS: Final = 10
_CUSTOM: Final = b"shamir_extendable"


@dataclass(frozen=True, slots=True)
class Share:
    """One share: its number (from 1), how many are needed, the mark of its set, and its words. `where` says where it came from."""

    number: int
    threshold: int
    mark: int
    words: Secret = field(repr=False)
    where: str = ""

    def text(self) -> str:
        """Return the words, for a person to write down."""
        return bytes(self.words.view()).decode("ascii")

    def wipe(self) -> None:
        """Overwrite the words."""
        self.words.wipe()


def split(seed: Secret, count: int, threshold: int) -> list[Share]:
    """Split a seed into `count` shares of which `threshold` are needed. Raises UsageError, Unsupported without the extra."""
    if len(seed) != SEED:
        raise UsageError(f"what is split has {SEED} bytes")
    if not 2 <= threshold <= count <= MOST:
        raise UsageError(
            f"{threshold} of {count} shares make no sense", hint=f"2 to {MOST} shares, of which at least 2 are needed: -n 5 -m 3"
        )
    (texts,) = _library().generate_mnemonics(1, [(threshold, count)], bytes(seed.view()), iteration_exponent=0)
    return [parse(Secret(text.encode("ascii")), f"share {number}") for number, text in enumerate(texts, 1)]


def parse(text: Secret, where: str) -> Share:
    """Read one share; `where` names it in errors. Raises UsageError that says which word is wrong, as far as can be told."""
    words = _words(text, where)
    indices = _indices(words, where)
    library = _library()
    try:
        share = library.Share.from_mnemonic(" ".join(words))
    except library.MnemonicError:
        raise UsageError(_what_is_wrong(indices, where), hint="compare it with the paper, word by word, in order") from None
    if (share.group_threshold, share.group_count, share.extendable) != (1, 1, True) or len(share.value) != SEED:
        raise UsageError(f"{where} is a SLIP-39 share, but not one of Hermetic's", hint="did somebody mix it up with a wallet's?")
    return Share(share.index + 1, share.member_threshold, share.identifier, Secret(" ".join(words).encode("ascii")), where)


def check_fits(before: Sequence[Share], share: Share) -> None:
    """Refuse a share that does not go with others. Raises UsageError (other set), Conflict (one twice), WrongKey (forged)."""
    for other in before:
        if (share.mark, share.threshold) != (other.mark, other.threshold):
            raise UsageError(
                f"{share.where} is of another set than {other.where}", hint="all shares of one set begin with the same three words"
            )
        if other.number == share.number and other.words.same_as(share.words):
            raise Conflict(f"{other.where} and {share.where} are the same share", hint="another share is needed")
        if other.number == share.number:
            raise WrongKey(f"{other.where} and {share.where} are two different shares of one number", hint="one of them is forged")


def check_together(shares: Sequence[Share]) -> None:
    """Refuse shares that do not belong together, and too few. Raises UsageError, and as `check_fits`."""
    if not shares:
        raise UsageError("no shares were given")
    for number, share in enumerate(shares):
        check_fits(shares[:number], share)
    threshold = shares[0].threshold
    if len(shares) < threshold:
        raise UsageError(
            f"{len(shares)} of the {threshold} shares that it takes are here",
            hint=f"ask for {threshold - len(shares)} more of the same set",
        )


def combine(shares: Sequence[Share]) -> Secret:
    """Return the seed. Raises as `check_together`, and WrongKey when shares fit by number and checksum and still not together."""
    check_together(shares)
    needed = shares[: shares[0].threshold]
    library = _library()
    try:
        return Secret(library.combine_mnemonics([share.text() for share in needed]))
    except library.MnemonicError:
        raise WrongKey("the shares do not fit together", hint="one of them was made up, or is of a set with the same mark") from None


def _words(text: Secret, where: str) -> list[str]:
    if len(text) > LIMIT:
        raise UsageError(f"{where} is too long for a share of {WORDS} words")
    try:
        words = bytes(text.view()).decode("ascii").lower().split()
    except UnicodeDecodeError:
        raise UsageError(f"{where} holds other signs than the letters a to z") from None
    if len(words) != WORDS:
        raise UsageError(f"{where} has {len(words)} words, and a share has {WORDS}", hint="a word is missing, twice, or cut in two")
    return words


def _indices(words: list[str], where: str) -> list[int]:
    known = _library().wordlist.WORD_INDEX_MAP
    wrong = [number for number, word in enumerate(words, 1) if word not in known]
    if wrong:
        said = f"word {wrong[0]} is" if len(wrong) == 1 else f"words {', '.join(map(str, wrong))} are"
        raise UsageError(
            f"{where} is mistyped: {said} not in the list of SLIP-39",
            hint="compare it with the paper: no two words begin with the same four letters",
        )
    return [known[word] for word in words]


def _what_is_wrong(indices: list[int], where: str) -> str:
    place = misread(indices)
    if place is None:
        return f"{where} is mistyped: its checksum does not fit, and more than one word is wrong or two are swapped"
    return f"{where} is mistyped: its checksum does not fit, and word {place} is the wrong one"


def misread(indices: Sequence[int]) -> int | None:
    """Return the place (from 1) of the one word that is wrong; None if several are.

    The checksum is linear over GF(2): what one wrong word does to it depends on its place and on which bits differ, nothing else.
    """
    body, said = list(indices[:-_CHECK]), list(indices[-_CHECK:])
    off = _difference(_checksum(body), said)
    if sum(map(bool, off)) == 1:  # a word of the checksum itself
        return len(body) + 1 + next(at for at, value in enumerate(off) if value)
    zero = _checksum([0] * len(body))
    for at in range(len(body)):
        bits = [_difference(_checksum([0] * at + [1 << bit] + [0] * (len(body) - at - 1)), zero) for bit in range(_RADIX_BITS)]
        if _reaches(bits, off):
            return at + 1
    return None


def _checksum(body: list[int]) -> list[int]:
    found: list[int] = _library().share.rs1024.create_checksum(body, _CUSTOM)
    return found


def _difference(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(left ^ right for left, right in zip(one, other, strict=True))


def _reaches(bits: list[tuple[int, ...]], wanted: tuple[int, ...]) -> bool:
    """Tell whether some combination of `bits` gives `wanted`: elimination over GF(2)."""
    basis: list[int] = []
    for vector in bits:
        if value := _reduced(_joined(vector), basis):
            basis.append(value)
    return _reduced(_joined(wanted), basis) == 0


def _reduced(value: int, basis: list[int]) -> int:
    for vector in sorted(basis, reverse=True):
        value = min(value, value ^ vector)
    return value


def _joined(words: tuple[int, ...]) -> int:
    value = 0
    for word in words:
        value = value << _RADIX_BITS | word
    return value


def _library() -> Any:
    """Import the library. Raises Unsupported with the command that installs it."""
    try:
        import shamir_mnemonic  # noqa: PLC0415 - an extra
        from shamir_mnemonic import wordlist  # noqa: F401, PLC0415 - used through the package
    except ImportError:
        raise Unsupported("shamir-mnemonic is not installed", hint="pip install '.[recovery]'") from None
    module: ModuleType = shamir_mnemonic
    return module
