"""Looking at what lies around, before anything is trusted or deployed. `scan` needs no domain and no key.

    scan      scan(paths, now_ms=…) -> ScanReport: what is plaintext, sealed, unknown, in a tree of files
    report    ScanReport, ScannedFile, MediaFolder, Skipped, and the findings they lead to
    walk      every regular file below a folder, no symbolic link followed, nothing fatal
    copies    digests of whole files, to recognise copies of known assets wherever they lie
    sniff     what bytes are, told by the bytes and never by the name

    report = scan([Path("data")], now_ms=now)
    for file in report.plaintext: print(file.path, file.kind, file.format)
    for finding in report.findings(): ...

Nothing here unpickles, decompresses more than a few KiB, or writes. A scan reads the head and sometimes the tail of each file; only
`recognise=` makes it read whole files.
"""
