"""Named constructions, and nothing else: the only room, with `providers`, that imports `cryptography`.

    secret    Secret, the one holder of key bytes
    kdf       HKDF-Expand-SHA-384 (RFC 5869) and Argon2id (RFC 9106)
    aead      AES-256-GCM for small values, random nonce
    mac       HMAC-SHA-256 and salted commitments
    digests   BLAKE3 and SHA-256
    sign      Ed25519 (RFC 8032)
    floe      FLOE random-access authenticated encryption (C2SP)
    hpke      HPKE to X25519 with ML-KEM-768 (RFC 9180, X-Wing)
    slip39    a seed in shares (SLIP-39, extra `recovery`)

Functions take keys as `Secret`; failures raise from `hermetic.errors`, never return a flag.
"""
