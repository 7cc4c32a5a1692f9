"""ColumnKeys: make column keys, write and read Parquet files under them, wrap their keys anew after a rotation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from hermetic.assets.sealing import Terms, seal
from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, IntegrityError, NotFound, StorageError, UsageError
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.integrations.parquet import columns as assigning
from hermetic.integrations.parquet import kms, material, places, reading
from hermetic.integrations.parquet.keyring import KEY_BYTES, MEMBER, Keyring, check_name

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.assets.workspace import Workspace
    from hermetic.ids import DataClass, Environment, Purpose

    PathLike = str | os.PathLike[str]
    Columns = Mapping[str, Sequence[str]]

_OURS = ("encryption_properties", "decryption_properties", "filesystem")


class ColumnKeys:
    """Parquet under the column keys of a workspace's domain. `purpose` as for `Workspace.open`; a run is taken from around each call.

    `accept`: the only column keys whose files are read. Whoever may open a column key of the domain can make files under it; say here
    which ones a file in this place can rightly have.
    """

    def __init__(self, h: Workspace, *, purpose: Purpose | str | None = None, accept: Sequence[str] | None = None) -> None:
        self._session: Session = h.session
        self._purpose = purpose
        self._accept = None if accept is None else frozenset(check_name(name) for name in accept)

    # keys

    def create(
        self,
        name: str,
        *,
        data_class: DataClass | str | None = None,
        owner: str | None = None,
        project: str | None = None,
        environment: Environment | str | None = None,
    ) -> SealedVersion:
        """Make a column key, `secret/…`. Its class, owner and grants are what counts for the columns. Raises Conflict if it exists."""
        if self._exists(check_name(name)):
            raise Conflict(f"{name} exists", hint="ColumnKeys.rotate gives it a new version")
        return self._seal(Terms(name=name, data_class=data_class, owner=owner, project=project, environment=environment, parents=()))

    def rotate(self, name: str) -> SealedVersion:
        """Give a column key a new version: files written from now on are under it. Files that exist keep theirs until `rewrap`."""
        if not self._exists(check_name(name)):
            raise NotFound(f"there is no column key {name}", hint="ColumnKeys.create makes one")
        return self._seal(Terms(name=name, parents=()))

    def _exists(self, name: str) -> bool:
        try:
            members = self._session.ask(ShowVersion(name)).members
        except NotFound:
            return False
        if [(member.path, member.length) for member in members] != [(MEMBER, KEY_BYTES)]:
            raise UsageError(f"{name} is a secret of another kind", hint="take another name for the column key")
        return True

    def _seal(self, terms: Terms) -> SealedVersion:
        key = Secret.random(KEY_BYTES)
        try:
            return seal(self._session, key.view(), terms, member=MEMBER)
        finally:
            key.wipe()

    # write

    def write_table(
        self, table: Any, where: PathLike, *, columns: Columns, footer: str, filesystem: Any = None, **options: Any
    ) -> None:
        """Write a pyarrow table or pandas frame as one new file. `columns`: column key to names; the rest is under `footer`.

        `where` is a path, an fsspec URL, or a path on `filesystem`; `options` are those of pyarrow.parquet.write_table. On
        hermetic:// the wrapped keys are inside the file, otherwise beside it. Raises Conflict if the file exists, UsageError,
        StorageError, and what opening the column keys raises.
        """
        _refuse_ours(options)
        table = _as_table(table)
        place = places.place_of(where, filesystem)
        with self._operation() as keyring, places.new_file(place) as target, _our_errors(place.path):
            properties = self._encryption_properties(keyring, table.schema, (place, target), columns, footer, options)
            pq.write_table(table, target, filesystem=place.fs, encryption_properties=properties, **options)

    def write_dataset(
        self,
        data: Any,
        where: PathLike,
        *,
        columns: Columns,
        footer: str,
        partition_by: Sequence[str] = (),
        filesystem: Any = None,
        **options: Any,
    ) -> None:
        """Write a folder of files, in hive folders by `partition_by`, whose values are readable in names. Raises as `write_table`.

        A column with a key of its own partitions files on hermetic:// only. `options` are those of pyarrow.dataset.write_dataset.
        """
        _refuse_ours(options)
        table = _as_table(data)
        place = places.place_of(where, filesystem)
        schema = _without(table.schema, partition_by, () if place.sealed else columns)
        under = assigning.assign(assigning.leaves(schema, {}), columns, footer)
        wraps = 1 + sum(map(len, under.values()))
        with self._operation() as keyring, places.new_folder(place) as target, _our_errors(place.path):
            keyring.release({footer, *under} if place.sealed else ())
            encryption = ds.ParquetEncryptionConfig(
                kms.factory(keyring, kms.Files(wraps)), kms.connection(), kms.encryption(footer, under, internal=place.sealed)
            )
            written = ds.ParquetFileFormat()
            ds.write_dataset(
                table,
                target,
                format=written,
                filesystem=place.fs,
                file_options=written.make_write_options(encryption_config=encryption),
                partitioning=_hive(table.schema, partition_by),
                **options,
            )

    def encryption_properties(self, schema: Any, where: PathLike, *, columns: Columns, footer: str, filesystem: Any = None) -> Any:
        """Return pyarrow's FileEncryptionProperties for one file at `where`, for ParquetWriter and DataFrame.to_parquet."""
        place = places.place_of(where, filesystem)
        with _our_errors(place.path):
            return self._encryption_properties(self._keyring(), schema, (place, place.path), columns, footer, {})

    def _encryption_properties(  # noqa: PLR0917 - one caller more
        self, keyring: Keyring, schema: Any, at: tuple[places.Place, str], columns: Columns, footer: str, options: Mapping[str, Any]
    ) -> Any:
        place, target = at
        under = assigning.assign(assigning.leaves(schema, options), columns, footer)
        chosen = kms.encryption(footer, under, internal=place.sealed)
        return kms.factory(keyring).file_encryption_properties(kms.connection(), chosen, target, place.fs)

    # read

    def read_table(
        self,
        where: PathLike,
        *,
        columns: Sequence[str] | None = None,
        filters: Any = None,
        filesystem: Any = None,
        partitioning: Any = None,
    ) -> Any:
        """Return a file, or all files of a folder, as a pyarrow table. Only the keys of the columns asked for are asked for.

        `filters` is an expression or what pyarrow.parquet.read_table takes. Raises PolicyDenied for a column whose key is denied,
        IntegrityError for a file that is not encrypted or was changed, NotFound, UsageError.
        """
        place = places.place_of(where, filesystem, self._purpose)
        with self._operation() as keyring, _our_errors(place.path):
            found = reading.dataset(place, keyring, partitioning=partitioning)
            return found.to_table(columns=None if columns is None else list(columns), filter=_expression(filters))

    def dataset(self, where: PathLike, *, filesystem: Any = None, partitioning: Any = None, schema: Any = None) -> Any:
        """Return a pyarrow dataset, for scans, filters and batches; its methods raise from hermetic.errors, or as pyarrow does."""
        place = places.place_of(where, filesystem, self._purpose)
        with _our_errors(place.path):
            return reading.dataset(place, self._keyring(), partitioning=partitioning, schema=schema)

    def decryption_properties(self, where: PathLike, *, filesystem: Any = None) -> Any:
        """Return FileDecryptionProperties of one file, for ParquetFile and pandas.read_parquet: they take plain files too."""
        place = places.place_of(where, filesystem, self._purpose)
        return reading.decryption_properties(place, self._keyring(), place.path)

    # rotate

    def rewrap(self, where: PathLike, *, filesystem: Any = None) -> int:
        """Wrap the keys of a file, or of all in a folder, under the latest versions; no data is rewritten. Return how many files.

        A key version that was revoked is opened with the purpose `recover`. Raises UsageError for what is sealed: seal it anew.
        """
        place = places.place_of(where, filesystem)
        if place.sealed:
            raise UsageError(f"{place.path} is in a version, and versions never change", hint="read it, and seal it as a new version")
        with _our_errors(place.path):
            files = reading.files(place)
        for path in files:
            self._rewrap_one(place, material.beside(path))
        return len(files)

    def _rewrap_one(self, place: places.Place, path: str) -> None:
        with self._operation() as keyring:
            places.replace(place, path, material.rewrapped(places.read(place, path, material.LIMIT), keyring))

    def kms_client(self) -> Any:
        """Return a pyarrow KmsClient, for a CryptoFactory of one's own; all it wraps counts as one file."""
        return kms.ColumnKeyClient(self._keyring(), kms.Files())

    def _keyring(self) -> Keyring:
        return Keyring(self._session, purpose=self._purpose, run=None, accept=self._accept)

    @contextmanager
    def _operation(self) -> Iterator[Keyring]:
        keyring = self._keyring()
        try:
            yield keyring
        finally:
            keyring.close()


def _as_table(data: Any) -> Any:
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "to_parquet") and hasattr(data, "columns"):
        return pa.Table.from_pandas(data)
    raise UsageError(f"{type(data).__name__} is no table", hint="give a pyarrow.Table or a pandas.DataFrame")


def _refuse_ours(options: Mapping[str, Any]) -> None:
    given = [name for name in _OURS if name in options]
    if given:
        raise UsageError(f"{given[0]} is not an option here")
    flavoured = [name for name in ("partitioning", "partitioning_flavor", "partition_cols") if name in options]
    if flavoured:
        raise UsageError(
            f"{flavoured[0]} is not an option here", hint="write partition_by=[…] of write_dataset; folders are hive folders"
        )


def _without(schema: Any, partition_by: Sequence[str], columns: Columns | tuple[()]) -> Any:
    """Return the schema of the files of a partitioned table."""
    protected = {name for key in columns for name in columns[key]}  # type: ignore[call-overload]
    for name in partition_by:
        if name in protected:
            raise UsageError(f"{name} has a key of its own, and as a partition it would be readable in the folders' names")
        if name not in schema.names:
            raise UsageError(f"the table has no column {name!r}")
        schema = schema.remove(schema.get_field_index(name))
    return schema


def _hive(schema: Any, partition_by: Sequence[str]) -> Any:
    return ds.partitioning(pa.schema([schema.field(name) for name in partition_by]), flavor="hive") if partition_by else None


def _expression(filters: Any) -> Any:
    return pq.filters_to_expression(filters) if isinstance(filters, list | tuple) else filters


_TOGETHER = f"the wrapped keys of a file lie beside it as {material.PREFIX}NAME{material.SUFFIX}: copy and rename both together"


@contextmanager
def _our_errors(path: str) -> Iterator[None]:
    """Turn what pyarrow raises into the tree of hermetic.errors; what our own key service raised comes through as it is."""
    try:
        yield
    except FileNotFoundError as error:
        hint = None if material.PREFIX not in str(error) else _TOGETHER
        raise NotFound(f"{path}: {error.strerror or error}", hint=hint) from error
    except pa.ArrowInvalid as error:
        if "No match for FieldRef" in str(error):
            raise UsageError(f"{path} has no such column: {str(error).splitlines()[0]}") from error
        raise IntegrityError(f"{path} cannot be used as Parquet: {error}") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageError(f"{path}: {error.strerror}") from error
        raise IntegrityError(f"{path} does not decrypt, or is not whole: {error}") from error
