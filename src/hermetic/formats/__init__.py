"""Bytes to values and back, and nothing else: no files, no clock, no randomness, no keys.

    canonical        the one JSON encoding (RFC 8785) that is hashed, signed or sent
    findings         Finding, what checks report

Every parser here takes bytes that somebody else may have made: it checks limits before it allocates, accepts only what the writer
of this release or an older one would have written, and raises nothing but `FormatError`.
"""
