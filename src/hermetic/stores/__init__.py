"""Where sealed objects lie: bytes by key and by range, and nothing that knows what the bytes mean.

    base      Store, Output, StagedFile, RangeSource (protocols) and `check_key`
    output    DescriptorOutput: an Output over an open file
    local     LocalStore: a folder, written with O_NOFOLLOW at every step, synced, never half-written
    s3        S3Store: the part of a bucket below a prefix, by boto3 (extra `s3`), in and out by streams
    memory    MemoryStore: the same behaviour without a disk, for tests and short-lived work

A key is a relative POSIX path. A write is staged under a temporary name in the same folder and gets its final name only in
`commit`, after file and before folder are synced; an existing object is never replaced that way. A failure raises from
`hermetic.errors` and leaves no final name:

    with store.stage("qa…/0.sealed") as staged:
        staged.write(first); staged.write(second)      # or, from several threads, staged.write_at(view, offset)
        staged.commit()                       # without it, leaving the block removes the temporary file
    with store.open("qa…/0.sealed") as source:
        count = source.readinto_at(0, memoryview(buffer))

Every store passes `tests/unit/stores/contract.py`.
"""
