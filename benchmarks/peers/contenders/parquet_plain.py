"""Parquet as it is, and with its own encryption under one key."""

import base64

import pandas as pd
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe


class _Kms(pe.KmsClient):
    """Wraps nothing: what is measured is Parquet."""

    def __init__(self, _config):
        super().__init__()

    def wrap_key(self, key_bytes, _master):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, _master):
        return base64.b64decode(wrapped_key)


def pandas(folder, _variant):
    pd.DataFrame({"a": [1]}).to_parquet(folder / "small.parquet")
    pd.read_parquet(folder / "small.parquet")  # imports what it reads with
    (folder / "small.parquet").unlink()
    return lambda: pd.read_parquet(folder / "table.parquet")


def pyarrow(folder, variant):
    if variant != "modular":
        return lambda: pq.read_table(folder / "table.parquet")
    factory, connection = pe.CryptoFactory(_Kms), pe.KmsConnectionConfig()
    place = folder / "sealed-table.parquet"
    if not place.exists():
        table = pq.read_table(folder / "table.parquet")
        settings = pe.EncryptionConfiguration(footer_key="all", uniform_encryption=True)
        properties = factory.file_encryption_properties(connection, settings)
        with pq.ParquetWriter(place, table.schema, encryption_properties=properties) as writer:
            writer.write_table(table)
    return lambda: pq.read_table(place, decryption_properties=factory.file_decryption_properties(connection))
