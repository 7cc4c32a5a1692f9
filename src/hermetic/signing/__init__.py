"""Signatures over documents: DSSE envelopes, and the manifests that travel in them (spec/manifest.md).

    envelopes   sign and verify any payload under a payload type
    manifests   sign, verify and hash manifests; make and check the openings of their commitments

Verifying has no defaults: the caller names the keys it trusts. Every `verify_*` returns what was verified and raises otherwise:

    raw = sign_manifest(manifest, signing_key, key_id)
    manifest = verify_manifest(raw, {key_id: public_key})
"""
