"""What exists: assets, versions, their objects and lineage, runs, exposures, fingerprints, decisions.

    assets         create, find, rename, list; owner, class, project, retention, state and epoch
    versions       drafts, publication, abandonment, deletion; latest and by number; sealed objects
    lineage        parents and children of versions; the class a derived version must have
    runs           executions of code with a purpose
    exposures      plaintext put on disk on purpose
    fingerprints   keyed digests by which plaintext copies are recognised
    decisions      what a person decided, and why
    leftovers      drafts nobody finished, versions deleted
    values         the frozen values all of these return

Functions take a session and never commit: custody decides what becomes durable together, and logs it. Rows are authenticated by
`hermetic.db`; what must hold between rows (no gap in version numbers, an asset behind every version) is checked here.
"""
