"""`tpm:BANK:PCRS`, such as `tpm:sha256:7`: which platform configuration registers (PCRs) have to be as they were.

>>> selection("tpm:sha256:0,2,7")
Selection(bank='sha256', pcrs=(0, 2, 7))

Refused are the bank of SHA-1, and registers that any process may set back (16 and 23), which would promise what they do not hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

BANKS: Final = {"sha256": 32, "sha384": 48}  # bytes of a register
LAST: Final = 22
_RESET_BY_ANYBODY: Final = frozenset({16, 23})
_HINT: Final = "write tpm:sha256:7 (Secure Boot), or tpm:sha256:0,2,4,7 for firmware and boot loader too"
_FORM: Final = re.compile(r"tpm:([a-z0-9]+):([0-9]{1,2}(?:,[0-9]{1,2})*)")

# What the TCG's PC Client profile and Linux boot loaders measure into a register.
MEANING: Final = {
    0: "firmware", 1: "firmware settings", 2: "firmware of cards", 3: "settings of cards", 4: "boot loader",
    5: "boot settings and partitions",
    6: "the maker's own", 7: "Secure Boot: its state and keys", 8: "commands of the boot loader", 9: "kernel and initrd",
    10: "files that the kernel measured (IMA)", 11: "unified kernel image", 12: "kernel command line", 13: "system extensions",
    14: "keys of shim (MOK)", 15: "disk keys and machine id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """A bank of registers, and some of them in order."""

    bank: str
    pcrs: tuple[int, ...]

    def __str__(self) -> str:
        """Return it as the TPM tools write it."""
        return f"{self.bank}:{','.join(map(str, self.pcrs))}"


def selection(uri: str) -> Selection:
    """Read a URI. Raises UsageError that says what is wrong."""
    found = _FORM.fullmatch(uri)
    if found is None or found[1] not in BANKS:
        raise UsageError(f"{uri[:80]!r} names no registers of a TPM", hint=_HINT)
    pcrs = tuple(int(number) for number in found[2].split(","))
    if pcrs != tuple(sorted(set(pcrs))) or pcrs[-1] > LAST or any(str(int(text)) != text for text in found[2].split(",")):
        raise UsageError(f"{uri[:80]!r}: registers are 0 to {LAST}, each once and in order", hint=_HINT)
    if _RESET_BY_ANYBODY & set(pcrs):
        raise UsageError(f"{uri[:80]!r}: any process may set register 16 back", hint=_HINT)
    return Selection(found[1], pcrs)


def named(pcrs: Iterable[int]) -> str:
    """Return registers with what they measure, for messages."""
    return ", ".join(f"{pcr} ({MEANING[pcr]})" if pcr in MEANING else str(pcr) for pcr in pcrs)
