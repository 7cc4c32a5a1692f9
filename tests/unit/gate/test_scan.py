import errno
import os
import socket

import pytest

from hermetic.errors import IntegrityError, NotFound
from hermetic.formats.findings import Finding
from hermetic.gate import scan as module
from hermetic.gate.copies import BATCH, digest_files, find_copies
from hermetic.gate.scan import scan
from hermetic.gate.walk import printable
from hermetic.sealed.content import PIECE, ContentDigest, content_digest
from tests.unit.gate import makers
from tests.unit.gate.test_recognise import sealed_object

NOW = 2_000_000_000_000


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    files = {
        "a/patients.bin": makers.PARQUET,
        "a/notes.txt": b"hello\n",
        "b/model": makers.SAFETENSORS,
        "b/0.sealed": sealed_object(),
        "b/secret.age": makers.AGE,
        "c/cut.sealed": sealed_object()[:-5],
        ".cache/copy.csv": makers.CSV,
        "z.csv": makers.CSV,
    }
    for name, raw in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        os.utime(path, (1_999_999_000, NOW // 1000 - 3 * 86400))
    (root / "images").mkdir()
    for number in range(12):
        (root / f"images/{number}.dat").write_bytes(makers.IMAGES["png"][0])
    (root / "images/one.wav").write_bytes(makers.IMAGES["wav"][0])
    return root


def names(files, root):
    return [os.path.relpath(file.path, root) for file in files]


def test_a_tree(tree):
    report = scan([tree], now_ms=NOW)
    assert names(report.files, tree) == [
        "z.csv",
        "a/notes.txt",
        "a/patients.bin",
        "b/0.sealed",
        "b/model",
        "b/secret.age",
        "c/cut.sealed",
    ]
    assert names(report.plaintext, tree) == ["z.csv", "a/patients.bin", "b/model"]
    assert names(report.sealed, tree) == ["b/0.sealed", "b/secret.age"]
    assert [file.sealed_by_hermetic for file in report.sealed] == [True, False]
    assert [(os.path.relpath(folder.path, tree), folder.kind, folder.count) for folder in report.media] == [
        ("images", "audio", 1),
        ("images", "image", 12),
    ]
    assert [(os.path.relpath(one.path, tree), one.unreadable) for one in report.skipped] == [(".cache", False)]
    assert report.counts() == {"plaintext": 16, "sealed": 1, "sealed_elsewhere": 1, "unknown": 2, "skipped": 1}
    assert report.at_ms == NOW
    assert report.files[0].size == len(makers.CSV)


def test_findings(tree):
    found = scan([tree], now_ms=NOW).findings()
    assert [(one.code, one.severity, os.path.relpath(one.subject, tree)) for one in found] == [
        ("plaintext-file", "high", "z.csv"),
        ("plaintext-file", "high", "a/patients.bin"),
        ("plaintext-file", "high", "b/model"),
        ("damaged-object", "high", "c/cut.sealed"),
        ("plaintext-media", "medium", "images"),
    ]
    assert "3 days ago" in found[0].message
    assert found[2].remedy == f"hermetic seal {tree}/b/model --as model/NAME --class CLASS --remove-original"
    assert all(isinstance(one, Finding) and "\n" not in one.message + one.remedy for one in found)


def test_hidden_folders(tree):
    report = scan([tree], now_ms=NOW, hidden=True)
    assert names(report.files, tree)[1] == ".cache/copy.csv"
    assert report.skipped == ()
    assert names(scan([tree / ".cache"], now_ms=NOW).files, tree) == [".cache/copy.csv"]


def test_files_and_overlapping_roots(tree):
    report = scan([tree / "z.csv", tree, str(tree / "z.csv")], now_ms=NOW)
    assert names(report.files, tree).count("z.csv") == 1
    with pytest.raises(NotFound):
        scan([tree / "nowhere"], now_ms=NOW)


def test_links_pipes_sockets_and_devices_are_skipped(tree, monkeypatch):
    odd = tree / "odd"
    odd.mkdir()
    (odd / "link").symlink_to(tree / "z.csv")
    (odd / "loop").symlink_to(tree)
    os.mkfifo(odd / "pipe")
    monkeypatch.chdir(odd)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        report = scan([odd], now_ms=NOW)
    reasons = {os.path.relpath(one.path, odd): one.reason for one in report.skipped}
    assert reasons == {
        "link": "a symbolic link, not followed",
        "loop": "a symbolic link, not followed",
        "pipe": "a named pipe",
        "socket": "a socket",
    }
    assert report.files == report.findings() == ()
    assert scan(["/dev/null"], now_ms=NOW).skipped[0].reason == "a character device"
    assert scan([odd / "pipe"], now_ms=NOW).skipped[0].reason == "a named pipe"


def test_a_link_that_was_named_is_looked_at(tree, tmp_path):
    (tmp_path / "named").symlink_to(tree / "z.csv")
    (tmp_path / "folder").symlink_to(tree / "a")
    (tmp_path / "dangling").symlink_to(tree / "none")
    assert names(scan([tmp_path / "named"], now_ms=NOW).plaintext, tree) == ["z.csv"]
    assert len(scan([tmp_path / "folder"], now_ms=NOW).files) == 2
    with pytest.raises(NotFound):
        scan([tmp_path / "dangling"], now_ms=NOW)


def test_what_cannot_be_read_is_reported_and_the_scan_goes_on(tree, monkeypatch):
    real_open, real_scandir = os.open, os.scandir

    def refusing_open(path, *args, **kwargs):
        if str(path).endswith("patients.bin"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, *args, **kwargs)

    def refusing_scandir(path):
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(module.os, "open", refusing_open)
    monkeypatch.setattr(module.os, "scandir", refusing_scandir)
    report = scan([tree], now_ms=NOW)
    missing = [os.path.relpath(one.path, tree) for one in report.skipped if one.unreadable]
    assert sorted(missing) == ["a/patients.bin", "b"]
    codes = [one.code for one in report.findings()]
    assert codes.count("unreadable") == 2
    assert names(report.plaintext, tree) == ["z.csv"]


def test_a_failing_disk_is_reported(tree, monkeypatch):
    def failing(fd, count, offset):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module.os, "pread", failing)
    report = scan([tree / "a"], now_ms=NOW)
    assert [one.reason for one in report.skipped] == ["cannot be read: input/output error"] * 2


def content(raw, algorithm):
    """Return the content digest of `raw` as sealing would."""
    collected = ContentDigest(algorithm)
    pieces = [raw[at : at + PIECE] for at in range(0, len(raw), PIECE)]
    collected.pieces.reserve(len(pieces))
    for number, piece in enumerate(pieces):
        collected.add(number, piece)
    return collected.finish(len(raw))


def test_copies_of_known_assets(tree):
    known = {content(makers.CSV, "blake3"): "dataset/patients@3", content(b"hello\n", "sha256"): "config/notes@1"}
    asked = []

    def recognise(digests):
        asked.extend(digests)
        return [known.get(digest, "") for digest in digests]

    report = scan([tree], now_ms=NOW, hidden=True, recognise=recognise)
    assert [(os.path.relpath(file.path, tree), file.copy_of) for file in report.copies] == [
        ("z.csv", "dataset/patients@3"),
        (".cache/copy.csv", "dataset/patients@3"),
        ("a/notes.txt", "config/notes@1"),
    ]
    finding = report.findings()[0]
    assert (finding.code, finding.severity) == ("plaintext-copy", "high")
    assert "dataset/patients@3" in finding.message
    assert content((tree / "b/0.sealed").read_bytes(), "blake3") not in asked


def test_a_copy_of_an_image_is_listed(tree):
    digest = content(makers.IMAGES["png"][0], "blake3")
    report = scan([tree], now_ms=NOW, recognise=lambda digests: ["dataset/xrays@1" if one == digest else "" for one in digests])
    assert len(report.copies) == 12
    assert [folder.kind for folder in report.media] == ["audio"]


def test_digests(tree, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(3_500_000))
    found = dict(digest_files([str(big), str(tmp_path / "none"), str(tree / "z.csv")]))
    assert found[str(big)] == (content(big.read_bytes(), "blake3"), content(big.read_bytes(), "sha256"))
    assert found[str(tmp_path / "none")] == ()
    assert found[str(tree / "z.csv")] == (content(makers.CSV, "blake3"), content(makers.CSV, "sha256"))


def test_digests_are_those_that_sealing_computes(tmp_path):
    for number, length in enumerate((0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE)):
        path = tmp_path / str(number)
        path.write_bytes(os.urandom(length))
        with path.open("rb") as file:
            expected = tuple(content_digest(file.fileno(), length, algorithm) for algorithm in ("blake3", "sha256"))
        assert dict(digest_files([str(path)])) == {str(path): expected}


def test_questions_come_in_batches_and_answers_are_counted(tmp_path):
    for number in range(3):
        (tmp_path / str(number)).write_bytes(bytes([number]))
    paths = [str(tmp_path / str(number % 3)) for number in range(BATCH // 2 + 5)]
    sizes = []

    def recognise(digests):
        sizes.append(len(digests))
        return ["x"] * len(digests)

    assert len(find_copies(paths, recognise)) == 3
    assert sizes == [BATCH, 10]
    with pytest.raises(IntegrityError):
        find_copies(paths[:1], lambda digests: [])


def test_progress_and_strange_names(tmp_path):
    strange = os.fsdecode(b"new\nline \x1b[31m \xff.csv")
    (tmp_path / strange).write_bytes(makers.CSV)
    seen = []
    report = scan([tmp_path], now_ms=NOW, progress=seen.append)
    assert seen == [str(tmp_path / strange)]
    finding = report.findings()[0]
    assert finding.subject.endswith("new\\nline \\x1b[31m \\xff.csv")
    finding.subject.encode()
    assert "\n" not in finding.remedy
    assert "'" in finding.remedy
    assert printable("plain/ü") == "plain/ü"
