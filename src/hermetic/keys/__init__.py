"""The key hierarchy: `root (in a provider) -> KEK per environment, class and project -> data keys`.

    states           NIST SP 800-57 key states: which change is allowed, which use is allowed
    wrap             how a data key is made, bound to its context, and wrapped under a KEK
    rewrapping       many data keys moved to another version of their KEK
    limits           how many wraps one KEK version may do
    provider         the Provider protocol: where roots live; rooms above bring the providers
    provider_wraps   data keys that a root wraps itself, many in one call
    slots            one secret wrapped under several roots
    derived          the keys that come from the domain secret, in one table
    stretching       passphrases stretched by Argon2id, and its costs in documents
    passphrase_wrap  a secret under a passphrase (Argon2id): the local root file, and the recovery wrap of backups
    recovery_root    the public half of a root that shares or an escrow key open
    recipient_key    a hybrid key pair in two files
    domain_file      domain.json, the one place where the domain secret's wraps lie

    roots            roots in the custody database; Anchors: the domain and the providers at hand
    contacts         whom to call about a KEK
    kek              KEKs as values: scope, versions, states, and reading them
    hierarchy        KEKs in the custody database: make, load, rotate, change state, count
    in_provider      KEK versions without a key here, which live in one root alone
    destruction      announcing, cancelling and doing the destruction of a KEK version
    secret_keys      signing keys in the custody database
    token_keys       signing keys in tokens
    migration        moving a domain from one root to another

The first group is pure: no files, no clock, no database. The second takes a database session, the time and the providers as
arguments, and never commits. Only `custody` calls what unwraps.
"""
