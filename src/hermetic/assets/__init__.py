"""Assets as users know them: seal, open, expose, run. The room that everything above works with.

    workspace   Workspace: the facade; `hermetic.connect()` returns one
    inputs      what may be sealed
    drafts      a version being written; published whole or abandoned
    sealing     files, folders, bytes and streams into a version
    releases    versions whose keys are in memory, each released once however often it is opened
    opening     a version's member as a seekable binary file
    exposing    plaintext on disk on purpose; plaintext to a pipe
    catalogue   list, show, lineage, rename
    checking    ciphertext and signatures without a key
    garbage     what interrupted writes left in stores
    runs        executions with a declared purpose
    commands    another program as a run: private temporary folder, no core dump, signals passed on
    scratch     files that end with their run
    pending     what a run writes to one name in several files

Everything here talks to custody through a connection's port and to disks through its stores, and writes plaintext to disk in
`exposing` only.
"""
