"""Tink's streaming AEAD, AES256-GCM-HKDF, pieces of 1 MiB."""

from pathlib import Path

import tink
from tink import secret_key_access, streaming_aead

MIB = 1024 * 1024
streaming_aead.register()


def seal(folder, variant):
    primitive = _primitive(folder, variant)
    return lambda: _seal(folder, primitive)


def open(folder, variant):  # noqa: A001
    primitive = _primitive(folder, variant)
    return lambda: _open(folder, primitive)


def _seal(folder, primitive):
    with (
        (folder / "weights.safetensors").open("rb") as source,
        primitive.new_encrypting_stream((folder / "sealed").open("wb"), b"") as out,
    ):
        while piece := source.read(MIB):
            out.write(piece)


def _open(folder, primitive):
    with primitive.new_decrypting_stream((folder / "sealed").open("rb"), b"") as source, (folder / "back").open("wb") as out:
        while piece := source.read(MIB):
            out.write(piece)


def _primitive(folder: Path, variant: str):
    place = folder / f"tink-{variant}.json"
    if not place.exists():
        template = getattr(streaming_aead.streaming_aead_key_templates, f"AES256_GCM_HKDF_{variant}")
        place.write_text(tink.json_proto_keyset_format.serialize(tink.new_keyset_handle(template), secret_key_access.TOKEN))
    handle = tink.json_proto_keyset_format.parse(place.read_text(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)
