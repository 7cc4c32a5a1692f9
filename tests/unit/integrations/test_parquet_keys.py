"""Column keys of Parquet files: who may not open the key cannot read the column, and each file asks."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import fsspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hermetic.assets import current
from hermetic.domain.leases import boot_ms
from hermetic.errors import (
    Conflict,
    IntegrityError,
    InvalidName,
    KeyUnusable,
    NotFound,
    PolicyDenied,
    UsageError,
)
from hermetic.formats.messages.keys import ChangeKeyState, ListKeys
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures
from tests.world import change_cedar, leaves

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pq = pytest.importorskip("pyarrow.parquet")
encryption = pytest.importorskip("pyarrow.parquet.encryption")

from hermetic.integrations.parquet import ColumnKeys, keyring  # noqa: E402 - after what it needs

FOOTER, PII = "secret/columns/footer", "secret/columns/pii"
COLUMNS = {PII: ["ssn", "visits"]}
FORBID = '@id("no-pii")\nforbid (principal, action in Action::"release", resource)\nwhen { resource.name == "secret/columns/pii" };\n'


@pytest.fixture
def keys(real):  # noqa: F811
    made = ColumnKeys(real, purpose="prepare")
    made.create(FOOTER, data_class="internal", owner="ana")
    made.create(PII, data_class="restricted", owner="ana")
    return made


@pytest.fixture
def table():
    return pa.table(
        {
            "age": list(range(100)),
            "ssn": [f"marker-{n}" for n in range(100)],
            "visits": [[{"day": n, "diagnosis": "benign"}] for n in range(100)],
            "größe": [1.5] * 100,
        }
    )


def write(keys, table, where="t.parquet", **more):
    keys.write_table(table, where, columns=COLUMNS, footer=FOOTER, **more)


def releases(h, name):
    """How often versions of an asset were released, as the log has it."""
    versions = {h.show(f"{name}@{number}").version for number in range(1, h.show(name).number + 1)}
    opened = [facts for kind, facts, _ in leaves(h.connection) if kind == "release.intent" and facts["action"] == "open"]
    return sum(len(versions & set(facts["versions"])) for facts in opened)


def deny(h, text=FORBID):
    change_cedar(h.connection, "columns.cedar", text)


def revoke(h, data_class):
    (key,) = [key for key in h.connection.ask(ListKeys()).keys if key.data_class.value == data_class]
    h.connection.ask(ChangeKeyState(key.kek, "revoke", "stolen"))


def test_nothing_is_readable_without_keys(keys, table, tmp_path):
    write(keys, table)
    made = {path.name: path.read_bytes() for path in Path().iterdir() if "parquet" in path.name}
    assert sorted(made) == ["_KEY_MATERIAL_FOR_t.parquet.json", "t.parquet"]
    for content in made.values():
        assert all(word not in content for word in (b"marker", b"ssn", b"visits", b"diagnosis", b"list"))
    assert made["t.parquet"].startswith(b"PARE")


def test_round_trip(keys, table):
    write(keys, table)
    assert keys.read_table("t.parquet").equals(table)
    assert keys.read_table("t.parquet", columns=["größe"]).column_names == ["größe"]
    assert keys.read_table("t.parquet", filters=[("age", "<", 3)]).num_rows == 3


def test_pandas(keys):
    frame = pd.DataFrame({"ssn": ["a", "b"], "visits": [1, 2]}, index=pd.Index([7, 8], name="case"))
    write(keys, frame)
    pd.testing.assert_frame_equal(keys.read_table("t.parquet").to_pandas(), frame)
    back = pd.read_parquet("t.parquet", decryption_properties=keys.decryption_properties("t.parquet"))
    pd.testing.assert_frame_equal(back, frame)
    properties = keys.encryption_properties(pa.Schema.from_pandas(frame), "u.parquet", columns=COLUMNS, footer=FOOTER)
    frame.to_parquet("u.parquet", encryption_properties=properties)
    pd.testing.assert_frame_equal(keys.read_table("u.parquet").to_pandas(), frame)


def test_a_denied_column_is_denied_while_others_read(keys, table, real):  # noqa: F811
    write(keys, table)
    deny(real)
    for columns in (["age"], ["größe"]):
        assert keys.read_table("t.parquet", columns=columns).num_rows == 100
    for columns in (["ssn"], ["visits"], ["age", "ssn"], None):
        with pytest.raises(PolicyDenied) as caught:
            keys.read_table("t.parquet", columns=columns)
        assert caught.value.exit_code == 3
        assert "no-pii" in caught.value.diagnostics()
    with pytest.raises(PolicyDenied):
        write(keys, table, "other.parquet")
    assert not [path for path in Path().iterdir() if "other" in path.name]


OLD = int(pa.__version__.split(".")[0]) < 26


@pytest.mark.skipif(
    OLD, reason="pyarrow 25, asked for n columns, looks at the first n of the file too: what is denied has to stand last"
)
def test_columns_around_a_denied_one(keys, table, real):  # noqa: F811
    write(keys, table)
    deny(real)
    assert keys.read_table("t.parquet", columns=["age", "größe"]).num_rows == 100


def test_columns_before_denied_ones(keys, table, real):  # noqa: F811
    write(keys, table.select(["age", "größe", "ssn", "visits"]))
    deny(real)
    assert keys.read_table("t.parquet", columns=["größe", "age"]).num_rows == 100


def test_without_the_footer_nothing_reads(keys, table, real):  # noqa: F811
    write(keys, table)
    deny(real, FORBID.replace(PII, FOOTER))
    with pytest.raises(PolicyDenied):
        keys.read_table("t.parquet", columns=["age"])


def test_each_file_asks_for_each_of_its_keys(keys, table, real):  # noqa: F811
    for number in range(20):
        write(keys, table, f"{number}.parquet")
    assert (releases(real, FOOTER), releases(real, PII)) == (20, 20)
    for number in range(20):
        keys.read_table(f"{number}.parquet")
    assert (releases(real, FOOTER), releases(real, PII)) == (40, 40)
    keys.read_table("3.parquet", columns=["age"])
    assert (releases(real, FOOTER), releases(real, PII)) == (41, 40)


def test_each_file_of_a_dataset_asks(keys, table, real):  # noqa: F811
    keys.write_dataset(table, "all", columns=COLUMNS, footer=FOOTER, max_rows_per_file=5, max_rows_per_group=5)
    assert len(list(Path("all").glob("*.parquet"))) == 20
    assert (releases(real, FOOTER), releases(real, PII)) == (20, 20)
    assert keys.read_table("all").sort_by("age").equals(table)
    assert (releases(real, FOOTER), releases(real, PII)) == (40, 40)


def test_a_revocation_stops_the_next_file(keys, table, real):  # noqa: F811
    write(keys, table, "1.parquet")
    keys.write_dataset(table, "all", columns=COLUMNS, footer=FOOTER, max_rows_per_file=50, max_rows_per_group=50)
    first, second = keys.dataset("all").get_fragments()
    assert first.to_table().num_rows == 50
    assert keys.read_table("1.parquet").num_rows == 100
    revoke(real, "restricted")
    with pytest.raises(KeyUnusable, match="revoked"):
        second.to_table()
    with pytest.raises(KeyUnusable, match="revoked"):
        keys.read_table("1.parquet")
    assert keys.read_table("1.parquet", columns=["age"]).num_rows == 100


def test_a_file_asks_again_after_the_time_of_its_class(keys, table, real, monkeypatch):  # noqa: F811
    write(keys, table)
    clock = [boot_ms()]
    monkeypatch.setattr(keyring.Keyring.__init__, "__kwdefaults__", {"accept": None, "clock": lambda: clock[0]})
    found = keys.dataset("t.parquet")
    assert found.to_table().num_rows == found.to_table().num_rows == 100
    assert releases(real, PII) == 2
    clock[0] += 5000
    deny(real)
    with pytest.raises(PolicyDenied):
        found.to_table()


def test_reads_in_a_run_are_its_inputs(keys, table, real):  # noqa: F811
    write(keys, table)
    with real.run("train", purpose="train") as run:
        ColumnKeys(real).read_table("t.parquet")
    assert set(run.ended.inputs) == {f"{FOOTER}@1", f"{PII}@1"}


def test_what_is_written_afterwards_inherits_the_class_of_the_keys_used(keys, table, real):  # noqa: F811
    current._read.clear()
    write(keys, table)
    current._read.clear()
    keys.read_table("t.parquet", columns=["age"])
    assert real.seal(b"x", name="features/age").data_class == "internal"
    keys.read_table("t.parquet", columns=["ssn"])
    assert real.seal(b"x", name="features/ssn").data_class == "restricted"


def test_rotation_rewrites_no_data(keys, table, real):  # noqa: F811
    write(keys, table)
    before = Path("t.parquet").read_bytes()
    assert keys.rotate(PII).ref == f"{PII}@2"
    assert keys.read_table("t.parquet").equals(table)
    old = Path("_KEY_MATERIAL_FOR_t.parquet.json").read_text()
    assert keys.rewrap("t.parquet") == 1
    new = Path("_KEY_MATERIAL_FOR_t.parquet.json").read_text()
    assert (old.count(".1."), old.count(".2."), new.count(".1."), new.count(".2.")) == (6, 0, 3, 3)
    assert Path("t.parquet").read_bytes() == before
    assert keys.read_table("t.parquet").equals(table)
    assert sorted(path.name for path in Path().iterdir() if "parquet" in path.name) == [
        "_KEY_MATERIAL_FOR_t.parquet.json",
        "t.parquet",
    ]


def test_after_a_revocation_keys_are_wrapped_anew_to_recover(keys, table, real):  # noqa: F811
    keys.write_dataset(table, "all", columns=COLUMNS, footer=FOOTER, max_rows_per_file=50, max_rows_per_group=50)
    revoke(real, "restricted")
    keys.rotate(PII)
    with pytest.raises(KeyUnusable):
        keys.rewrap("all")
    assert ColumnKeys(real, purpose="recover").rewrap("all") == 2
    assert keys.read_table("all").sort_by("age").equals(table)


def test_arrow_s_own_rotation_works_with_our_client(keys, table):
    write(keys, table)
    keys.rotate(PII)
    client = keys.kms_client()
    factory = encryption.CryptoFactory(lambda _: client)
    factory.rotate_master_keys(encryption.KmsConnectionConfig(), "t.parquet", pa.fs.LocalFileSystem(), double_wrapping=True)
    assert keys.read_table("t.parquet").equals(table)
    assert keys.rewrap("t.parquet") == 1  # double wrapped
    assert keys.read_table("t.parquet").equals(table)


def test_a_renamed_key_is_found(keys, table, real):  # noqa: F811
    write(keys, table)
    real.rename(PII, "secret/columns/people")
    assert keys.read_table("t.parquet").equals(table)
    keys.create(PII, data_class="restricted")
    assert keys.read_table("t.parquet").equals(table)
    keys.rewrap("t.parquet")
    assert "secret/columns/people" in Path("_KEY_MATERIAL_FOR_t.parquet.json").read_text()
    assert keys.read_table("t.parquet").equals(table)


def test_a_plain_file_in_its_place_is_refused(keys, table):
    write(keys, table)
    pq.write_table(table, "t.parquet")
    for read in (keys.read_table, keys.dataset):
        with pytest.raises(IntegrityError, match="no encrypted Parquet file"):
            read("t.parquet")


def test_a_file_under_other_keys_is_refused_by_who_says_which(keys, table, real):  # noqa: F811
    keys.create("secret/columns/mine", data_class="internal")
    keys.write_table(table, "t.parquet", columns={}, footer="secret/columns/mine")
    strict = ColumnKeys(real, purpose="prepare", accept=[FOOTER, PII])
    with pytest.raises(IntegrityError, match="does not accept"):
        strict.read_table("t.parquet")
    material = Path("_KEY_MATERIAL_FOR_t.parquet.json")
    material.write_text(material.read_text().replace("secret/columns/mine", FOOTER))
    assert keys.read_table("t.parquet").equals(table)
    with pytest.raises(IntegrityError, match="under secret/columns/mine, which"):
        strict.read_table("t.parquet")


@pytest.mark.parametrize("at", [10, 2000, -200])
def test_a_changed_file_is_refused(keys, table, at):
    write(keys, table)
    content = bytearray(Path("t.parquet").read_bytes())
    content[at] ^= 1
    Path("t.parquet").write_bytes(content)
    with pytest.raises(IntegrityError):
        keys.read_table("t.parquet")


def test_keys_of_another_file_do_not_open_this_one(keys, table):
    write(keys, table, "a.parquet")
    write(keys, table, "b.parquet")
    Path("_KEY_MATERIAL_FOR_a.parquet.json").write_bytes(Path("_KEY_MATERIAL_FOR_b.parquet.json").read_bytes())
    with pytest.raises(IntegrityError):
        keys.read_table("a.parquet")


def test_a_file_without_its_keys(keys, table):
    write(keys, table)
    Path("_KEY_MATERIAL_FOR_t.parquet.json").unlink()
    with pytest.raises(NotFound) as missing:
        keys.read_table("t.parquet")
    assert "_KEY_MATERIAL_FOR_NAME.json: copy and rename both together" in missing.value.hint
    with pytest.raises(NotFound, match="copied with it"):
        keys.rewrap("t.parquet")


@pytest.mark.parametrize("url", ["hermetic://dataset/a", "sealed::file:///tmp/a.parquet"])
def test_a_url_is_opened_for_the_purpose_of_the_keys(keys, table, url, monkeypatch):
    asked = []

    def opened(text, **options):
        asked.append((text, options))
        raise NotFound("enough")

    monkeypatch.setattr("hermetic.integrations.parquet.places.url_to_fs", opened)
    for read in (keys.read_table, keys.dataset, keys.decryption_properties):
        with pytest.raises(NotFound, match="enough"):
            read(url)
    said = {"purpose": "prepare"}
    assert asked == [(url, said if url.startswith("hermetic") else {"sealed": said})] * 3


@pytest.mark.parametrize("bad", ["", "[]", "{", '{"footerKey": "{}"}', '{"footerKey": 3}', '{"footerKey": "[[[["}', "[" * 100_000])
def test_bad_key_material(keys, table, bad):
    write(keys, table)
    Path("_KEY_MATERIAL_FOR_t.parquet.json").write_text(bad)
    with pytest.raises(IntegrityError):
        keys.rewrap("t.parquet")
    with pytest.raises(IntegrityError):
        keys.read_table("t.parquet")


def test_nothing_is_overwritten(keys, table):
    Path("t.parquet").write_text("mine")
    with pytest.raises(Conflict):
        write(keys, table)
    with pytest.raises(Conflict):
        keys.write_dataset(table, "t.parquet", columns=COLUMNS, footer=FOOTER)
    assert Path("t.parquet").read_text() == "mine"
    assert len([path for path in Path().iterdir() if "parquet" in path.name]) == 1


def test_a_write_that_fails_leaves_nothing(keys, table):
    with pytest.raises(IntegrityError):
        write(keys, table, compression="no such")
    with pytest.raises(NotFound):
        write(keys, table, "no/such/folder.parquet")
    assert not [path for path in Path().iterdir() if "parquet" in path.name]


def test_create_and_rotate(keys, real):  # noqa: F811
    with pytest.raises(Conflict):
        keys.create(PII)
    with pytest.raises(NotFound):
        keys.rotate("secret/columns/none")
    real.seal(b"hunter2", name="secret/password", data_class="internal")
    for call in (keys.create, keys.rotate):
        with pytest.raises(UsageError, match="another kind"):
            call("secret/password")
        with pytest.raises(InvalidName, match="kind secret"):
            call("dataset/x")


def test_a_secret_of_another_kind_is_no_column_key(keys, table, real):  # noqa: F811
    real.seal(b"hunter2", name="secret/password", data_class="internal")
    with pytest.raises(UsageError, match="no column key"):
        keys.write_table(table, "t.parquet", columns={}, footer="secret/password")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({PII: ["nobody"]}, "no column"),
        ({PII: "ssn"}, "a list"),
        ({PII: ["visits"], FOOTER: ["visits.list.element.day"]}, "two keys"),
        ({"dataset/x": ["ssn"]}, "kind secret"),
    ],
)
def test_columns_that_make_no_sense(keys, table, columns, match):
    with pytest.raises(UsageError, match=match):
        keys.write_table(table, "t.parquet", columns=columns, footer=FOOTER)


@pytest.mark.parametrize("name", ["a:b", "a;b", "a,b", " a"])
def test_names_that_arrow_cannot_encrypt(keys, name):
    with pytest.raises(UsageError, match="cannot encrypt"):
        keys.write_table(pa.table({name: [1]}), "t.parquet", columns={}, footer=FOOTER)


def test_part_of_a_nested_column(keys, table, real):  # noqa: F811
    keys.write_table(table, "t.parquet", columns={PII: ["visits.list.element.diagnosis"]}, footer=FOOTER)
    deny(real)
    assert keys.read_table("t.parquet", columns=["ssn"]).num_rows == 100
    with pytest.raises(PolicyDenied):
        keys.read_table("t.parquet", columns=["visits"])


def test_partitions(keys, table):
    table = table.append_column("year", pa.array([2000 + n % 3 for n in range(100)], pa.int32()))
    with pytest.raises(UsageError, match="folders' names"):
        keys.write_dataset(table, "all", columns=COLUMNS, footer=FOOTER, partition_by=["ssn"])
    keys.write_dataset(table, "all", columns=COLUMNS, footer=FOOTER, partition_by=["year"])
    assert keys.read_table("all", partitioning="hive").sort_by("age").equals(table.select([*table.column_names]))
    assert keys.read_table("all", partitioning="hive", filters=[("year", "=", 2001)]).num_rows == 33
    assert "year" not in keys.read_table("all").column_names


def test_fsspec(keys, table):
    fs = fsspec.filesystem("memory")
    write(keys, table, "memory://parquet-keys/t.parquet")
    try:
        assert sorted(fs.ls("parquet-keys", detail=False)) == [
            "/parquet-keys/_KEY_MATERIAL_FOR_t.parquet.json",
            "/parquet-keys/t.parquet",
        ]
        assert keys.read_table("parquet-keys/t.parquet", filesystem=fs).equals(table)
        keys.rotate(PII)
        keys.rewrap("memory://parquet-keys")
        assert keys.read_table("memory://parquet-keys/t.parquet").equals(table)
        with pytest.raises(Conflict):
            write(keys, table, "memory://parquet-keys/t.parquet")
    finally:
        fs.rm("parquet-keys", recursive=True)


def test_sealed_assets(keys, table, real):  # noqa: F811
    """Two locks: who may not open the asset sees nothing, who may not open the column key sees the other columns."""
    with real.run("prepare", purpose="prepare") as run:
        keys.write_dataset(
            table, "hermetic://features/all", columns=COLUMNS, footer=FOOTER, max_rows_per_file=50, max_rows_per_group=50
        )
        write(keys, table, "hermetic://features/one")
    assert set(run.outputs) == {"features/all@1", "features/one@1"}
    write(keys, table, "hermetic://features/one")
    assert real.show("features/one").number == 2
    os.environ["HERMETIC_PURPOSE"] = "prepare"
    try:
        assert [member.path for member in real.members("features/all")] == ["part-0.parquet", "part-1.parquet"]
        assert keys.read_table("hermetic://features/all").sort_by("age").equals(table)
        deny(real)
        assert keys.read_table("hermetic://features/one", columns=["age"]).num_rows == 100
        with pytest.raises(PolicyDenied):
            keys.read_table("hermetic://features/one", columns=["ssn"])
        with pytest.raises(UsageError, match="versions never change"):
            keys.rewrap("hermetic://features/one")
    finally:
        del os.environ["HERMETIC_PURPOSE"]


class RawKeys(encryption.KmsClient):
    """What a stranger writes who was given the raw column keys and spec/parquet-keys.md: plain pyarrow and AES-GCM."""

    def __init__(self, keys):
        super().__init__()
        self.keys = keys

    def wrap_key(self, key_bytes, master_key_id):
        raise AssertionError("nothing is written")

    def unwrap_key(self, wrapped_key, master_key_id):
        place, _, sealed = wrapped_key.rpartition(".")
        raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        return AESGCM(self.keys[master_key_id]).decrypt(raw[:12], raw[12:], b"hermetic/v1/parquet-key\n" + place.encode())


def test_plain_pyarrow_with_the_same_keys(keys, table, real):  # noqa: F811
    write(keys, table)
    raw = {name: real.open(name, purpose="prepare").read() for name in (FOOTER, PII)}
    factory = encryption.CryptoFactory(lambda _: RawKeys(raw))
    properties = factory.file_decryption_properties(
        encryption.KmsConnectionConfig(), encryption.DecryptionConfiguration(), "t.parquet", pa.fs.LocalFileSystem()
    )
    assert pq.ParquetFile("t.parquet", decryption_properties=properties).read().equals(table)


def test_partitions_are_said_by_their_own_option(keys, table):
    for option in ("partitioning", "partitioning_flavor", "partition_cols"):
        with pytest.raises(UsageError, match=f"{option} is not an option here") as refused:
            keys.write_dataset(table, "parts", columns=COLUMNS, footer=FOOTER, **{option: ["age"]})
        assert "partition_by=" in refused.value.hint
    assert not Path("parts").exists()
