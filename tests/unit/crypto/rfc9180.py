"""HPKE base mode with MLKEM768-X25519 once more, from RFC 9180 and the drafts, for tests to compare with. Opens; never seals."""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

KEM = 0x647A
HASHES = {1: "sha256", 2: "sha384"}
AEADS = {2: AESGCM, 3: ChaCha20Poly1305}
LABEL = bytes.fromhex("5c2e2f2f5e5c")  # \.//^\


def decapsulate(seed, enc):
    """X-Wing: draft-connolly-cfrg-xwing-kem section 5.5."""
    full = hashlib.shake_256(seed).digest(96)
    scalar = X25519PrivateKey.from_private_bytes(full[64:])
    theirs = enc[1088:]
    one = MLKEM768PrivateKey.from_seed_bytes(full[:64]).decapsulate(enc[:1088])
    two = scalar.exchange(X25519PublicKey.from_public_bytes(theirs))
    return hashlib.sha3_256(one + two + theirs + scalar.public_key().public_bytes_raw() + LABEL).digest()


def schedule(shared, info, kdf, aead):
    """RFC 9180 section 5.1, mode base; returns (key, base nonce)."""
    name = HASHES[kdf]
    suite = b"HPKE" + KEM.to_bytes(2, "big") + kdf.to_bytes(2, "big") + aead.to_bytes(2, "big")

    def extract(salt, label, keying):
        return hmac.digest(salt or bytes(hashlib.new(name).digest_size), b"HPKE-v1" + suite + label + keying, name)

    def expand(key, label, context, length):
        text = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(key, text + b"\x01", name)[:length]

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)


def open_(seed, message, info, *, kdf, aead, aad=b""):
    """Open the first message of a sender."""
    key, nonce = schedule(decapsulate(seed, message[:1120]), info, kdf, aead)
    return AEADS[aead](key).decrypt(nonce, message[1120:], aad)
