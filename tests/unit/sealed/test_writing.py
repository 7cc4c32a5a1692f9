"""Writers: input that changes is refused, a failure leaves nothing, memory stays bounded."""

from __future__ import annotations

import os
import threading

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, HermeticError, StorageError, UsageError
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.padding import Padding
from hermetic.sealed import _io, files
from hermetic.sealed.files import seal_file
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.writer import ObjectWriter
from hermetic.stores.output import DescriptorOutput
from tests.unit.sealed.objects import KEY, BytesSource, content_of, make_header, seal_bytes

MIB = 1024 * 1024


def seal_while(path, fd, change):
    """Seal `path` while `change(path)` happens after the first read of it."""
    real, done = _io.read_at, threading.Event()

    def read_at(source, view, offset):
        count = real(source, view, offset)
        if not done.is_set():
            done.set()
            change(path)
        return count

    with pytest.MonkeyPatch.context() as patch, path.open("rb") as source:
        patch.setattr(files, "read_at", read_at)
        return seal_file(source.fileno(), DescriptorOutput(fd), make_header(), KEY, metadata=ObjectMetadata(), threads=1)


def _append(path):
    with path.open("ab") as file:
        file.write(b"more")


def _cut(path):
    os.truncate(path, 100)


def _overwrite(path):
    with path.open("r+b") as file:
        file.write(b"other")


def _overwrite_and_hide(path):
    before = path.stat()
    _overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_append, _cut, _overwrite, _overwrite_and_hide])
def test_input_that_changes_is_refused_and_nothing_is_left(tmp_path, fd, change):
    path = tmp_path / "in"
    path.write_bytes(os.urandom(3 * MIB))
    with pytest.raises(Conflict, match="changed while"):
        seal_while(path, fd, change)
    assert content_of(fd) == b""


def test_input_that_rests_is_sealed(tmp_path, fd):
    path = tmp_path / "in"
    path.write_bytes(os.urandom(3 * MIB))
    seal_while(path, fd, lambda _: None)
    assert path.read_bytes()[:100] not in content_of(fd)


def test_pipes_folders_and_used_files_are_refused(tmp_path, fd):
    reading, writing = os.pipe()
    try:
        with pytest.raises(UsageError, match="not a regular file"):
            seal_file(reading, DescriptorOutput(fd), make_header(), KEY, metadata=ObjectMetadata())
        with pytest.raises(UsageError, match="not an empty regular file"):
            ObjectWriter(DescriptorOutput(writing), make_header(), KEY)
    finally:
        os.close(reading)
        os.close(writing)
    os.write(fd, b"x")
    with pytest.raises(UsageError, match="not an empty regular file"):
        ObjectWriter(DescriptorOutput(fd), make_header(), KEY)
    with pytest.raises(StorageError):
        ObjectWriter(DescriptorOutput(10_000), make_header(), KEY)


def test_failed_write_gives_the_object_up(tmp_path, fd, monkeypatch):
    writer = ObjectWriter(DescriptorOutput(fd), make_header(), KEY)
    writer.write(os.urandom(5 * MIB))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match="no space left"):
        writer.write(os.urandom(5 * MIB))
    assert content_of(fd) == b""
    with pytest.raises(UsageError, match="finished or failed"):
        writer.write(b"again")
    with pytest.raises(UsageError, match="finished or failed"):
        writer.finish(ObjectMetadata())


def test_abort_empties_and_finish_closes(fd):
    writer = ObjectWriter(DescriptorOutput(fd), make_header(), KEY)
    writer.write(b"x" * (3 * MIB))
    assert writer.plaintext_length == 3 * MIB
    writer.abort()
    assert content_of(fd) == b""
    writer = ObjectWriter(DescriptorOutput(fd), make_header(), KEY)
    writer.finish(ObjectMetadata())
    length = len(content_of(fd))
    writer.abort()
    assert len(content_of(fd)) == length


@pytest.mark.parametrize(
    "metadata",
    [
        ObjectMetadata(name="../up"),
        ObjectMetadata(labels={"a": 1}),
        ObjectMetadata(details={"ratio": 0.5}),
        ObjectMetadata(media_type="x" * 256),
        ObjectMetadata(details={"x": "x" * (16 * MIB)}),
    ],
)
def test_metadata_that_no_reader_would_take_is_not_written(fd, metadata):
    writer = ObjectWriter(DescriptorOutput(fd), make_header(), KEY)
    with pytest.raises(UsageError):
        writer.finish(metadata)
    assert content_of(fd) == b""


def test_bad_header_or_key_is_refused_before_anything_is_written(fd):
    with pytest.raises(HermeticError):
        ObjectWriter(DescriptorOutput(fd), make_header(suite="ROT13"), KEY)
    with pytest.raises(HermeticError):
        ObjectWriter(DescriptorOutput(fd), make_header(index=-1), KEY)
    with pytest.raises(UsageError, match="32 bytes"):
        ObjectWriter(DescriptorOutput(fd), make_header(), Secret(b"short"))
    assert content_of(fd) == b""


def test_padding_hides_the_length(tmp_path):
    for padding, lengths in ((Padding.SEGMENT, (0, 1, 65_536)), (Padding.PADME, (1025, 1060, 1088))):
        files_ = [seal_bytes(tmp_path, b"x" * length, header=make_header(padding=padding)) for length in lengths]
        # the only thing that differs is how many digits the length takes in the metadata
        assert max(len(data) for data, _ in files_) - min(len(data) for data, _ in files_) <= 4


def test_memory_is_bounded(tmp_path):
    """Sealing and opening 256 MiB in a process of its own stays far below 100 MiB over what imports take."""
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        """
import os, resource, sys
from hermetic.crypto.secret import Secret
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.sealed.files import seal_file
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.writer import ObjectWriter
from hermetic.stores.local import LocalStore
from hermetic.stores.output import DescriptorOutput
from pathlib import Path
folder = Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
header, key = ObjectHeader(*["a" * 26] * 5, index=0, suite_name="FLOE-AES256-GCM-1M-BLAKE3"), Secret(bytes(32))
with (folder / "in").open("xb") as file:
    file.truncate(256 << 20)
with (folder / "in").open("rb") as source, (folder / "sealed").open("xb+") as out:
    sealed = seal_file(source.fileno(), DescriptorOutput(out.fileno()), header, key, metadata=ObjectMetadata())
with (folder / "stream").open("xb+") as out:
    writer = ObjectWriter(DescriptorOutput(out.fileno()), header, key)
    part = bytes(300_000)
    for _ in range(500):
        writer.write(part)
    writer.finish(ObjectMetadata())
with ObjectReader(LocalStore(folder).open("sealed"), key, sealed.record) as reader, (folder / "plain").open("xb+") as out:
    reader.expose_to(out.fileno())
print(peak() - before)
"""
    )
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    done = subprocess.run([sys.executable, script, data], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 64 * 1024, "KiB over the imports"


def test_many_threads_read_one_reader(tmp_path):
    plain = os.urandom(6 * MIB + 5)
    data, sealed = seal_bytes(tmp_path, plain)
    failures: list[int] = []
    with ObjectReader(BytesSource(data), KEY, sealed.record) as reader:

        def read(seed: int) -> None:
            for step in range(40):
                offset = (seed * 7919 + step * 104_729) % len(plain)
                buffer = bytearray(1 + (step * 50_021) % 200_000)
                count = reader.readinto_at(offset, buffer)
                if bytes(buffer[:count]) != plain[offset : offset + len(buffer)]:
                    failures.append(seed)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("stream", [False, True])
def test_of_threads_that_wait_for_each_other_the_first_failure_is_told(tmp_path, stream):
    """An output may make whoever is ahead wait; the one that fails wakes it, and what failed is what is raised."""

    class Waiting(DescriptorOutput):
        given_up = threading.Event()

        def write_at(self, view, offset):
            if MIB < offset < 2 * MIB:
                raise StorageError("the wire was cut")
            if offset > 2 * MIB:
                assert self.given_up.wait(30)
                raise UsageError("this object was given up")

        def discard(self):
            self.given_up.set()

    (tmp_path / "in").write_bytes(bytes(8 * MIB))
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("xb") as out:
        output = Waiting(out.fileno())
        with pytest.raises(StorageError, match="the wire was cut"):
            if stream:
                ObjectWriter(output, make_header(suite="FLOE-AES256-GCM-1M-BLAKE3"), KEY).write(bytes(8 * MIB))
            else:
                header = make_header(suite="FLOE-AES256-GCM-1M-BLAKE3")
                seal_file(source.fileno(), output, header, KEY, metadata=ObjectMetadata(), threads=2)


def test_a_failure_is_told_even_if_what_was_written_cannot_be_discarded(tmp_path):
    class Broken(DescriptorOutput):
        def write_at(self, view, offset):
            if offset:
                raise StorageError("the wire was cut")

        def discard(self):
            raise StorageError("nobody answers")

    (tmp_path / "in").write_bytes(bytes(3 * MIB))
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("xb") as out:
        output = Broken(out.fileno())
        with pytest.raises(StorageError, match="the wire was cut"):
            ObjectWriter(output, make_header(), KEY).write(bytes(3 * MIB))
        with pytest.raises(StorageError, match="the wire was cut"):
            seal_file(source.fileno(), output, make_header(), KEY, metadata=ObjectMetadata(), threads=1)
