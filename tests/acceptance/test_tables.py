"""Capabilities SC5 and SC9: tables through their own libraries, and columns under keys of their own. More of them in tests/interop."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import hermetic
from hermetic.domain import project
from hermetic.errors import PolicyDenied
from hermetic.formats.messages.policy import ApplyPolicy

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pq = pytest.importorskip("pyarrow.parquet")
pe = pytest.importorskip("pyarrow.parquet.encryption")

FOOTER, PII = "secret/columns/footer", "secret/columns/pii"
TABLE = {"age": [44, 53, 61], "ssn": ["MARKER-1", "MARKER-2", "MARKER-3"]}
FORBID = '@id("no-pii")\nforbid (principal, action in Action::"release", resource)\nwhen { resource.name == "secret/columns/pii" };\n'


def test_SC5_tables_by_url_without_plaintext_on_disk(pipeline):
    frame = pd.DataFrame(TABLE)
    with hermetic.connect() as h, h.run("prepare", purpose="prepare") as run:
        frame.to_parquet("hermetic://dataset/patients")
        frame.to_parquet("hermetic://features/raw", partition_cols=["age"])
    assert set(run.outputs) == {"dataset/patients@2", "features/raw@2"}
    options = {"purpose": "prepare"}
    pd.testing.assert_frame_equal(pd.read_parquet("hermetic://dataset/patients", storage_options=options), frame)
    assert sorted(pd.read_parquet("hermetic://features/raw@2", storage_options=options)["ssn"]) == TABLE["ssn"]
    found = pipeline.everything_on_disk()
    assert [path for path, content in found.items() if b"PAR1" in content or b"MARKER-1" in content] == []


@pytest.fixture
def keys(pipeline):
    """Column keys in the pipeline's domain, and patients.parquet under them."""
    from hermetic.integrations.parquet import ColumnKeys

    with hermetic.connect() as h:
        made = ColumnKeys(h, purpose="prepare")
        made.create(FOOTER, data_class="internal")
        made.create(PII, data_class="restricted")
        made.write_table(pa.table(TABLE), "patients.parquet", columns={PII: ["ssn"]}, footer=FOOTER)
        yield made


def test_SC9_a_denied_column_is_denied_while_the_rest_reads(pipeline, keys):
    assert keys.read_table("patients.parquet").to_pydict() == TABLE
    (pipeline.project / "policies" / "columns.cedar").write_text(FORBID)
    with hermetic.connect() as h:
        h.connection.ask(ApplyPolicy(project.load(pipeline.project).bundle().to_bytes()))
    assert keys.read_table("patients.parquet", columns=["age"]).to_pydict() == {"age": TABLE["age"]}
    with pytest.raises(PolicyDenied, match="no-pii"):
        keys.read_table("patients.parquet")


def test_SC9_each_file_is_on_the_log(pipeline, keys):
    before = pipeline.hermetic("log", "ls", "--json").json["entries"]
    keys.read_table("patients.parquet")
    after = pipeline.hermetic("log", "ls", "--json").json["entries"]
    assert sum(entry["kind"] == "release.intent" for entry in after) == sum(entry["kind"] == "release.intent" for entry in before) + 2


class Elsewhere(pe.KmsClient):
    """A reader of Parquet Modular Encryption that has nothing of Hermetic but the raw keys, and spec/parquet-keys.md."""

    def __init__(self, keys):
        super().__init__()
        self.keys = keys

    def wrap_key(self, key_bytes, master_key_id):
        raise NotImplementedError

    def unwrap_key(self, wrapped_key, master_key_id):
        place, _, sealed = wrapped_key.rpartition(".")
        raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        return AESGCM(self.keys[master_key_id]).decrypt(raw[:12], raw[12:], b"hermetic/v1/parquet-key\n" + place.encode())


def test_SC9_standard_readers_open_it_with_the_right_keys(pipeline, keys):
    with hermetic.connect() as h:
        raw = {name: h.open(name, purpose="prepare").read() for name in (FOOTER, PII)}
    assert pipeline.project.joinpath("patients.parquet").read_bytes()[:4] == b"PARE"

    def read(given):
        factory = pe.CryptoFactory(lambda _: Elsewhere(given))
        opens = factory.file_decryption_properties(
            pe.KmsConnectionConfig(), pe.DecryptionConfiguration(), "patients.parquet", pa.fs.LocalFileSystem()
        )
        return pq.ParquetFile("patients.parquet", decryption_properties=opens).read().to_pydict()

    assert read(raw) == TABLE
    with pytest.raises((KeyError, OSError)):
        read({FOOTER: raw[FOOTER]})


def test_SC9_rotation_rewrites_no_data(pipeline, keys):
    path = pipeline.project / "patients.parquet"
    before, inode = path.read_bytes(), path.stat().st_ino
    keys.rotate(PII)
    keys.rewrap("patients.parquet")
    material = json.loads((pipeline.project / "_KEY_MATERIAL_FOR_patients.parquet.json").read_text())
    numbers = {json.loads(entry)["masterKeyID"]: json.loads(entry)["wrappedDEK"].split(".")[4] for entry in material.values()}
    assert numbers == {FOOTER: "1", PII: "2"}
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert keys.read_table("patients.parquet").to_pydict() == TABLE
