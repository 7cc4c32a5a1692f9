"""The seam between those who use keys and the one room that unwraps them.

    port       the Protocol: `ask(request) -> answer`, `redeem(blob) -> key`
    local      the embedded port: custody in this process
    connect    composition: which database, provider, stores, clock
    create     a new domain and its project files
    unlocking  the root's session: unlock, lock
    home       folders outside every project
    project    the nearest hermetic.yaml
    continuity what a later generation of the log owes to what was seen
    pins       what this user has seen, kept outside the domain
    leases     keys in memory for a bounded time
    verify     checks that need no custody: receipts, manifests
    backup     the encrypted copy that follows every commit
    recovering such a copy, opened with a recovery passphrase or a recovery root's private key
    recovery_roots    adding and replacing recovery roots; share_files and escrow hold their keys
    restore    a domain from it; succession begins its next generation
    refusals   errors as messages and back

Rooms above talk to custody only through here.
"""
