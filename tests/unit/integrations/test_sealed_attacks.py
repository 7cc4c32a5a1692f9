"""What somebody who writes the storage can do at plain locations, and what must come of it."""
# ruff: noqa: F811 - fixtures by import

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hermetic
from hermetic.errors import FormatError, HermeticError, IntegrityError, InvalidName, UsageError
from hermetic.integrations.sealed_filesystem import SealedFileSystem
from tests.unit.integrations.sealed_domain import copied, domain, entered, ground, h, sealed_template  # noqa: F401

ONE, TWO = b"one" * 500, b"two" * 700


@pytest.fixture(autouse=True)
def purpose(monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")


@pytest.fixture
def victim(ground):
    """Two files of one asset and one of another, with their bytes as they lie there."""
    fs = ground.fs
    a, b, other = f"{ground.base}/a", f"{ground.base}/b", f"{ground.other}/a"
    fs.pipe_file(a, ONE)
    fs.pipe_file(b, TWO)
    fs.pipe_file(other, b"other")
    raw = {path: (ground.plain.cat_file(path), ground.plain.cat_file(f"{path}.manifest.json")) for path in (a, b, other)}
    return SimpleNamespace(fs=fs, plain=ground.plain, a=a, b=b, other=other, raw=raw)


def plant(victim, path, taken):
    """Put object and manifest of `taken` at `path`."""
    victim.plain.pipe_file(path, victim.raw[taken][0])
    victim.plain.pipe_file(f"{path}.manifest.json", victim.raw[taken][1])


def refused(victim, path, match, kind=IntegrityError):
    for call in (victim.fs.cat_file, victim.fs.open):
        with pytest.raises(kind, match=match) as told:
            call(path)
        assert told.value.exit_code == 4
    assert victim.fs.exists(path)  # it is not absent, so that nobody writes over it unasked


def test_swapped_objects_of_one_asset(victim):
    plant(victim, victim.a, victim.b)
    plant(victim, victim.b, victim.a)
    for path in (victim.a, victim.b):
        refused(victim, path, "was put since")
        assert victim.fs.info(path)["problem"] == "replaced"


def test_swapped_objects_of_two_assets(victim):
    plant(victim, victim.a, victim.other)
    plant(victim, victim.other, victim.a)
    for path in (victim.a, victim.other):
        refused(victim, path, "was put since")


def test_an_object_where_none_was(victim, ground):
    path = f"{ground.base}/c"
    plant(victim, path, victim.a)
    refused(victim, path, "was not put here")


def test_an_older_state(victim):
    victim.fs.pipe_file(victim.a, TWO)
    assert victim.fs.cat_file(victim.a) == TWO
    plant(victim, victim.a, victim.a)
    refused(victim, victim.a, "@1 lies here, where .*@.* was put since")


def test_what_was_removed_and_is_back(victim):
    victim.fs.rm(victim.a)
    plant(victim, victim.a, victim.a)
    refused(victim, victim.a, "from where it was removed")


@pytest.mark.parametrize("planted", ["a", "b", "other"])
def test_removing_what_was_planted_removes_what_belonged_there(victim, planted):
    taken = getattr(victim, planted)
    newer = None
    if planted == "a":
        victim.fs.pipe_file(victim.a, TWO)
        newer = victim.plain.cat_file(victim.a)
    plant(victim, victim.a, taken)
    victim.fs.rm(victim.a)
    assert not victim.fs.exists(victim.a)
    for raw in filter(None, (newer, victim.raw[victim.a][0], victim.raw[taken][0])):
        victim.plain.pipe_file(victim.a, raw)
        refused(victim, victim.a, "from where it was removed|was put since|was not put here")


def test_what_was_moved_away_and_is_back(victim, ground):
    victim.fs.mv(victim.a, f"{ground.base}/moved")
    plant(victim, victim.a, victim.a)
    refused(victim, victim.a, "removed")
    assert victim.fs.cat_file(f"{ground.base}/moved") == ONE


def test_what_a_copy_replaced_and_is_back(victim):
    victim.fs.cp_file(victim.a, victim.b)
    assert victim.fs.cat_file(victim.b) == ONE
    plant(victim, victim.b, victim.b)
    refused(victim, victim.b, "was put since")


@pytest.mark.parametrize("content", [b"", b"id,age\n1,40\n", b"HERMETIC", b"HERMETIC" + bytes(5000), b"PAR1" * 100])
def test_a_plain_file_in_its_place(victim, content):
    victim.plain.pipe_file(victim.a, content)
    refused(victim, victim.a, "plain or foreign file", FormatError)
    assert victim.fs.info(victim.a)["size"] == len(content)
    with pytest.raises(FileExistsError):
        victim.fs.pipe_file(victim.a, b"x")
    with pytest.raises(FormatError):
        victim.fs.rm(victim.a)
    with pytest.raises(FormatError):
        victim.fs.cp_file(victim.a, victim.b)
    assert victim.plain.cat_file(victim.a) == content


def test_an_object_of_another_domain(victim, sealed_template, tmp_path, monkeypatch, domain):
    with copied(sealed_template, tmp_path / "twin") as twin:
        monkeypatch.setenv("HERMETIC_HOME", str(twin.home))
        monkeypatch.chdir(twin.project)
        SealedFileSystem().pipe_file(f"{twin.project}/data/out/a", b"from elsewhere")  # same domain id, another custody
        raw = (twin.project / "data/out/a").read_bytes()
    monkeypatch.setenv("HERMETIC_HOME", str(domain.home))
    monkeypatch.chdir(domain.project)
    victim.plain.pipe_file(victim.a, raw)
    refused(victim, victim.a, "no object of a version")
    victim.plain.pipe_file(victim.b, _of_domain(victim.raw[victim.b][0]))
    refused(victim, victim.b, "another domain")


def _of_domain(raw):
    """The same object as of another domain; only its header is looked at."""
    at = raw.index(b'"domain":"') + len(b'"domain":"')
    return raw[:at] + b"a" * 26 + raw[at + 26 :]


def test_cut_and_changed_objects(victim):
    whole = victim.raw[victim.a][0]
    for raw in (
        whole[:-1],
        whole[: len(whole) // 2],
        whole + b"\0",
        _flipped(whole, len(whole) // 2),
        _flipped(whole, len(whole) - 20),
    ):
        victim.plain.pipe_file(victim.a, raw)
        with pytest.raises(IntegrityError):
            victim.fs.cat_file(victim.a)
    victim.plain.pipe_file(victim.a, whole)
    assert victim.fs.cat_file(victim.a) == ONE


def _flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_no_changed_byte_is_taken(changed, data):
    """Whatever one byte is changed to: the content comes back as it was, or an error."""
    raw = changed.raw
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    changed.plain.pipe_file(changed.path, flipped)
    with pytest.raises(HermeticError) as told:
        changed.fs.cat_file(changed.path)
    assert told.value.exit_code == 4


@pytest.fixture(scope="module")
def changed(sealed_template, tmp_path_factory):
    from tests.unit.integrations.sealed_domain import fresh_process, ground_in

    folder = tmp_path_factory.mktemp("changed")
    with copied(sealed_template, folder / "domain") as made, fresh_process(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(made.home))
        patch.setenv("HERMETIC_PURPOSE", "prepare")
        patch.chdir(made.project)
        there = ground_in(made, "memory")
        fs = SealedFileSystem(target_protocol="memory", project=str(made.project))
        fs.pipe_file(f"{there.base}/a", ONE)
        yield SimpleNamespace(
            home=made.home,
            project=made.project,
            fs=fs,
            plain=there.plain,
            path=f"{there.base}/a",
            raw=there.plain.cat_file(f"{there.base}/a"),
        )


@pytest.fixture(autouse=True)
def _environment_of_changed(request, monkeypatch):
    if "changed" in request.fixturenames:
        made = request.getfixturevalue("changed")
        entered(made, monkeypatch)


# the manifest beside it


def test_an_edited_manifest(victim):
    side = victim.raw[victim.a][1]
    for raw in (side[:-1], side.replace(b"payload", b"PAYLOAD"), b"{}", b"not even JSON", victim.raw[victim.other][1], b" " + side):
        victim.plain.pipe_file(f"{victim.a}.manifest.json", raw)
        refused(victim, victim.a, "is not the signed one")
    victim.plain.rm(f"{victim.a}.manifest.json")
    assert victim.fs.cat_file(victim.a) == ONE
    assert victim.plain.cat_file(f"{victim.a}.manifest.json") == side


def test_an_endless_manifest(victim):
    victim.plain.pipe_file(f"{victim.a}.manifest.json", bytes(40_000_000))
    with pytest.raises(IntegrityError):
        victim.fs.cat_file(victim.a)


# odd paths


@pytest.mark.parametrize("name", ["..", "../a", "sub/../../x", ".", "a\\b", "a\x00b", "a\nb", "sealed::x", "x::y", "a://b"])
def test_odd_names(ground, name):
    path = f"{ground.base}/{name}"
    for call in (ground.fs.info, ground.fs.cat_file, lambda item: ground.fs.open(item, "wb"), ground.fs.rm, ground.fs.ls):
        with pytest.raises((InvalidName, ValueError)):
            call(path)
    assert not ground.plain.exists(ground.base) or ground.plain.find(ground.base) == []


@pytest.mark.parametrize("name", ["%2e%2e", "%2e%2e%2fa", "a%3A%3Ab", "a b", "~", "ü.csv", "a;b", "a&b=c", "a#b"])
def test_names_are_taken_as_they_are(ground, name):
    ground.fs.pipe_file(f"{ground.base}/{name}", ONE)
    assert ground.fs.cat_file(f"{ground.base}/{name}") == ONE
    assert ground.fs.ls(ground.base, detail=False) == [f"{ground.base}/{name}"]


def test_names_in_another_unicode_form_are_refused(ground):
    with pytest.raises(InvalidName):
        ground.fs.open(f"{ground.base}/u\u0308.csv", "wb")


# links, on a disk


@pytest.fixture
def folder(domain):
    path = domain.project / "data" / "out"
    path.mkdir(parents=True)
    return path


def test_a_link_in_a_files_place(folder):
    fs = SealedFileSystem()
    fs.pipe_file(str(folder / "a"), ONE)
    (folder / "link").symlink_to(folder / "a")
    (folder / "loop").symlink_to(folder / "loop")
    for name in ("link", "loop"):
        with pytest.raises(IntegrityError, match="link or device"):
            fs.open(str(folder / name))
    assert fs.info(str(folder / "a"))["size"] == len(ONE)
    assert {item["name"].rpartition("/")[2]: item.get("problem") for item in fs.ls(str(folder))} == {
        "a": None,
        "link": "plain",
        "loop": "plain",
    }


def test_a_write_never_follows_a_link(folder, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (folder / "a").symlink_to(target)
    with pytest.raises(IntegrityError):
        SealedFileSystem().open(str(folder / "a"), "wb")
    assert target.read_bytes() == b"precious"


def test_a_link_planted_while_it_is_written_is_replaced(folder, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    with SealedFileSystem().open(str(folder / "a"), "wb") as file:
        file.write(ONE)
        (folder / "a").symlink_to(target)
    assert target.read_bytes() == b"precious"
    assert not (folder / "a").is_symlink()
    assert SealedFileSystem().cat_file(str(folder / "a")) == ONE


def test_a_folder_that_is_a_link_is_where_it_leads(domain, folder, tmp_path):
    """Rules hold for the real place, so a link out of the project leads out of them, and one into it into them."""
    fs = SealedFileSystem()
    (tmp_path / "outside").mkdir()
    (folder / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="in no place"):
        fs.open(str(folder / "out" / "a"), "wb")
    (tmp_path / "in").symlink_to(folder)
    fs.pipe_file(str(tmp_path / "in" / "a"), ONE)
    assert fs.cat_file(str(folder / "a")) == fs.cat_file(str(tmp_path / "in" / "a")) == ONE


def test_devices_and_pipes(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(IntegrityError, match="link or device"):
        SealedFileSystem().open(str(folder / "pipe"))


def test_objects_in_stores_are_read_by_name(domain, h):
    sealed = h.seal(ONE, name="features/x", data_class="internal")
    (path,) = (domain.project / "sealed").glob("*/0.sealed")
    fs = SealedFileSystem()
    with pytest.raises(IntegrityError, match="lies in a store") as told:
        fs.open(str(path))
    assert f"hermetic://{sealed.ref}" in told.value.hint
    with pytest.raises(UsageError):
        fs.open(f"{domain.project}/sealed/{sealed.version}/1.sealed", "wb")
    for call in (fs.rm, lambda item: fs.mv(item, f"{domain.project}/data/out/a")):
        with pytest.raises(HermeticError):
            call(str(path))
    assert h.open("features/x").read() == ONE


def test_where_nothing_is_on_record_the_ids_decide(domain, h, tmp_path):
    """A copy that a colleague made outside of every known place is read as what it is."""
    fs = SealedFileSystem()
    fs.pipe_file(f"{domain.project}/data/out/a", ONE)
    copy = tmp_path / "mail" / "renamed.bin"
    copy.parent.mkdir()
    copy.write_bytes((domain.project / "data/out/a").read_bytes())
    assert fs.cat_file(str(copy)) == ONE
    assert fs.info(str(copy))["asset"] == "dataset/out"
    assert sorted(path.name for path in copy.parent.iterdir()) == ["renamed.bin"]


def test_a_suspended_key_opens_nothing_at_locations_either(domain, h):
    """What custody refuses by name it refuses by location."""
    fs = SealedFileSystem()
    fs.pipe_file(f"{domain.project}/data/out/a", ONE)
    from hermetic.formats.messages.catalogue import ShowVersion
    from hermetic.formats.messages.keys import ChangeKeyState

    kek = h.connection.ask(ShowVersion("dataset/out")).kek
    h.connection.ask(ChangeKeyState(kek, "suspend", "test"))
    with hermetic.connect() as again, pytest.raises(HermeticError) as by_name:
        again.open("dataset/out")
    with pytest.raises(type(by_name.value)):
        SealedFileSystem(purpose="train").cat_file(f"{domain.project}/data/out/a")
