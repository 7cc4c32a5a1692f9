"""How much an object is padded, so that its length tells less (spec/sealed-object.md section 7).

    none     the length is the length
    segment  up to the next whole segment, at least one
    padme    PADMÉ (Nikitin et al., PETS 2019): at most 12 % more, leaks O(log log length) bits

The padding is zero bytes inside the encryption; the true length stands in the encrypted metadata.
"""

from __future__ import annotations

import enum


class Padding(enum.StrEnum):
    """Padding mode, fixed by the header."""

    NONE = "none"
    SEGMENT = "segment"
    PADME = "padme"


def padded_length(mode: Padding, length: int, plain_segment: int) -> int:
    """Return the plaintext length after padding; all in bytes."""
    if mode is Padding.SEGMENT:
        return max(1, -(-length // plain_segment)) * plain_segment
    if mode is Padding.PADME:
        return _padme(length)
    return length


def _padme(length: int) -> int:
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    free_bits = exponent - exponent.bit_length()  # the mantissa keeps as many bits as the exponent needs
    mask = (1 << free_bits) - 1
    return (length + mask) & ~mask
