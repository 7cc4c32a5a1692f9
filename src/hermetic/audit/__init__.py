"""The log: an RFC 6962 Merkle tree of canonical JSON leaves under signed C2SP checkpoints (spec/audit-log.md).

    log = Log(Origin(domain, 1), signing_key, LogKeys(secret))
    with database.write(...) as session:
        done = log.append(TablesStore(session.connection), [Entry("release.intent", {"request": request_id}, {...})], now_ms=now)
    verify_receipt(done.receipt(), [log.verifier_key])              # offline, anywhere, for ever
    verify(TablesStore(session.connection), domain, keys=pinned_keys, pins=pins)

    writing    log        Log: begin, append, append_denial, flush, change_key, erase_subject; receipts, proofs, reading, opening
               durable    what a process knows to be durable: it writes to no log that lacks it
               leaf       Entry, Hidden, RowState: what a caller wants logged; Leaf: what was; KINDS
               denials    floods of equal denials become counted leaves; floods: those of one caller about ever new things, summaries
               openings   commitments, per-subject keys, erasure; check_opening works without any key
    bytes      tree       Merkle tree, proofs and their verification
               note       signed notes, checkpoints, verifier keys
               proof      receipts (tlog-proof)
               witness    what to send to witnesses, and what to make of their answers
               tiles      export to files that any transparency-log client reads (tlog-tiles), and reading one back
    checking   receipts   Appended, verify_receipt
               verify     the whole log as a stream; walk, scan, chain, ledger and pins are its parts
    keeping    store      LogStore, what the log needs of a database; MemoryStore
               tables_store   the same in the custody database

Pure but for the two stores and the files of an export: clock, randomness and storage come in as arguments. Nothing here commits.
"""
