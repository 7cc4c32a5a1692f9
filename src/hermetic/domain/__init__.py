"""The seam between those who use keys and the one room that unwraps them.

    port       the Protocol: `ask(request) -> answer`, `redeem(blob) -> key`
    local      the embedded port: custody in this process
    connect    composition: which database, provider, stores, clock
    create     a new domain and its project files
    unlocking  the root's session: unlock, lock
    home       folders outside every project
    project    the nearest hermetic.yaml
    pins       what this user has seen, kept outside the domain
    leases     keys in memory for a bounded time
    verify     checks that need no custody: receipts, manifests
    backup     the encrypted copy that follows every commit
    restore    a domain from such a copy, as the next generation

Rooms above talk to custody only through here.
"""
