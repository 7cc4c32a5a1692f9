"""Bytes to values and back, and nothing else: no files, no clock, no randomness, no keys.

    canonical        the one JSON encoding (RFC 8785) that is hashed, signed or sent
    fields           strict reading of a JSON object; binary_text: base64 with one spelling
    suites, padding  what a suite name fixes; how lengths are padded
    object_header, object_metadata, leaf_table, trailer     the parts of a sealed object (spec/sealed-object.md)
    manifest, dsse   a version's manifest and the envelope that signs it (spec/manifest.md)
    codec, messages  what crosses the port (spec/port.md)
    findings         Finding, what checks report

Every parser here takes bytes that somebody else may have made: it checks limits before it allocates, accepts only what the writer
of this release or an older one would have written, and raises nothing but `FormatError`.
"""
