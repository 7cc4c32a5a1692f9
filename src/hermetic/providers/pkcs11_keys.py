"""Root keys in a token: making one, finding it again, and looking whether it is what was made.

A root is an AES-256 key that the token generated: CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, not CKA_EXTRACTABLE. Its CKA_LABEL is the
`object` of the URI, its CKA_ID the root id, so that a key put in its place by somebody else is not taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable
from hermetic.providers.pkcs11_errors import Gone
from hermetic.providers.pkcs11_module import library
from hermetic.providers.pkcs11_wrapping import Way

if TYPE_CHECKING:
    from hermetic.keys.provider import RootId
    from hermetic.providers.pkcs11_token import Token

_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class RootKey:
    """A root that was found in a session: its handle, and whether it encrypts or wraps."""

    handle: Any
    encrypts: bool

    def allows(self, way: Way) -> bool:
        """Whether its attributes let it open a wrap of this kind."""
        return self.encrypts is (way is Way.GCM)


def make(session: Any, token: Token, root_id: RootId, way: Way) -> None:
    """Generate the root. Raises Conflict when there is an object of that label, also when somebody makes one at the same time."""
    pykcs11, label = library(), token.wanted.label
    taken = Conflict(
        f"token {token.name} holds a key {label!r} already",
        hint="name another object in the URI; or, if no domain hangs on that key, delete it with the token's own tool",
    )
    wanted = [(pykcs11.CKA_CLASS, pykcs11.CKO_SECRET_KEY), (pykcs11.CKA_LABEL, label)]
    delete(session, token, root_id)  # of a run before this one that was cut off
    if session.findObjects(wanted):
        raise taken
    handle = session.generateKey(_template(root_id, label, way), pykcs11.MechanismAESGENERATEKEY)
    if len(session.findObjects(wanted)) > 1:  # nothing in PKCS#11 makes a label unique: whoever sees two gives way
        session.destroyObject(handle)
        raise taken


def find(session: Any, token: Token, root_id: RootId) -> RootKey:
    """Return the root. Raises Gone (KeyServiceUnavailable), IntegrityError for one that is not as it was made, or there twice."""
    pykcs11, label = library(), token.wanted.label
    found = session.findObjects(
        [
            (pykcs11.CKA_CLASS, pykcs11.CKO_SECRET_KEY),
            (pykcs11.CKA_LABEL, label),
            (pykcs11.CKA_ID, root_id.encode("ascii")),
        ]
    )
    if not found:
        raise Gone(
            KeyServiceUnavailable(
                f"token {token.name} has no key {label!r} of root {root_id}",
                hint="was it deleted? restore the token from its own backup, or open the domain through another root",
            )
        )
    if len(found) > 1:
        raise IntegrityError(
            f"token {token.name} has {len(found)} keys {label!r} of root {root_id}", hint="find out who made the other"
        )
    return RootKey(found[0], _checked(session, found[0], f"key {label!r} in token {token.name}"))


def delete(session: Any, token: Token, root_id: RootId) -> None:
    """Delete the root, if it is there."""
    pykcs11 = library()
    for handle in session.findObjects([(pykcs11.CKA_LABEL, token.wanted.label), (pykcs11.CKA_ID, root_id.encode("ascii"))]):
        session.destroyObject(handle)


def _checked(session: Any, handle: Any, name: str) -> bool:
    """Return whether the key encrypts. Raises IntegrityError for one that could leave the token, or wraps as well."""
    pykcs11 = library()
    asked = ("CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_ENCRYPT", "CKA_DECRYPT", "CKA_WRAP", "CKA_UNWRAP")
    values = session.getAttributeValue(handle, [getattr(pykcs11, item) for item in asked])
    sensitive, extractable, encrypts, decrypts, wraps, unwraps = [bool(value) for value in values]
    if not sensitive or extractable:
        raise IntegrityError(f"{name} can leave the token, unlike the root that was made", hint="somebody put it there: find out who")
    if encrypts != decrypts or wraps != unwraps or encrypts == wraps:
        raise IntegrityError(f"{name} may do other things than the root that was made", hint="somebody put it there: find out who")
    return encrypts


def _template(root_id: RootId, label: str, way: Way) -> list[tuple[int, Any]]:
    pykcs11 = library()
    encrypts, wraps = way.attributes
    return [
        (pykcs11.CKA_CLASS, pykcs11.CKO_SECRET_KEY),
        (pykcs11.CKA_KEY_TYPE, pykcs11.CKK_AES),
        (pykcs11.CKA_VALUE_LEN, _LENGTH),
        (pykcs11.CKA_LABEL, label),
        (pykcs11.CKA_ID, root_id.encode("ascii")),
        (pykcs11.CKA_TOKEN, True),
        (pykcs11.CKA_PRIVATE, True),
        (pykcs11.CKA_SENSITIVE, True),
        (pykcs11.CKA_EXTRACTABLE, False),
        (pykcs11.CKA_MODIFIABLE, False),
        (pykcs11.CKA_ENCRYPT, encrypts),
        (pykcs11.CKA_DECRYPT, encrypts),
        (pykcs11.CKA_WRAP, wraps),
        (pykcs11.CKA_UNWRAP, wraps),
        (pykcs11.CKA_SIGN, False),
        (pykcs11.CKA_VERIFY, False),
        (pykcs11.CKA_DERIVE, False),
    ]
