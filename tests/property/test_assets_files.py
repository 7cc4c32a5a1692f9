"""Whatever is sealed comes back, read in any order and in any pieces; whatever path is asked for ends in our errors."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermetic.errors import HermeticError, InvalidName
from hermetic.integrations.files import WritingFile
from hermetic.integrations.places import parse, strip
from tests.unit.assets.conftest import connection, h, port, store  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from hermetic.assets.workspace import Workspace

MIB = 1024 * 1024
CONTENT = os.urandom(2 * MIB + 4321)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

offsets = st.integers(min_value=0, max_value=len(CONTENT) + 10)
moves = st.one_of(
    st.tuples(st.just("seek"), offsets),
    st.tuples(st.just("read"), st.integers(min_value=-1, max_value=MIB + 17)),
    st.tuples(st.just("readinto"), st.integers(min_value=0, max_value=300_000)),
    st.tuples(st.just("read_at"), offsets),
    st.tuples(st.just("end"), st.integers(min_value=-100, max_value=0)),
)


@pytest.fixture
def opened(h):  # noqa: F811
    h.seal(CONTENT, name="dataset/a")
    with h.open("dataset/a") as file:
        yield file


@QUIET
@given(steps=st.lists(moves, max_size=12))
def test_reading_is_like_reading_the_plain_bytes(opened, steps):
    plain = io.BytesIO(CONTENT)
    opened.seek(0)
    for what, number in steps:
        if what == "seek":
            assert opened.seek(number) == plain.seek(number)
        elif what == "end":
            assert opened.seek(number, os.SEEK_END) == plain.seek(number, os.SEEK_END)
        elif what == "read":
            assert opened.read(number) == plain.read(number)
        elif what == "readinto":
            ours, theirs = bytearray(number), bytearray(number)
            assert opened.readinto(ours) == plain.readinto(theirs)
            assert ours == theirs
        else:
            buffer = bytearray(1000)
            count = opened.read_at(number, memoryview(buffer))
            assert buffer[:count] == CONTENT[number : number + 1000]
        assert opened.tell() == plain.tell()


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."}
)


@QUIET
@given(files=st.dictionaries(names, st.binary(max_size=3000), min_size=1, max_size=6))
def test_a_folder_comes_back_or_is_refused_whole(h: Workspace, tmp_path_factory, files):  # noqa: F811
    folder = tmp_path_factory.mktemp("in")
    for name, content in files.items():
        try:
            (folder / name).write_bytes(content)
        except OSError:
            return
    try:
        sealed = h.seal(folder, name="dataset/folder")
    except InvalidName:
        assert not any(version.state == "draft" for version in h.connection.port.versions.values())
        return
    with h.version(sealed.ref) as version:
        back = {member.path: version.open(member.path).read() for member in version.members}
    assert sorted(back.values()) == sorted(files.values())


@QUIET
@given(path=st.one_of(st.text(max_size=60), st.from_regex(r"(hermetic://)?(dataset|model|x)/[a-z./@:0-9=*]{0,20}")))
def test_any_path_is_taken_apart_or_refused(path):
    try:
        stripped = strip(path)
        assert strip(stripped) == stripped
        place = parse(stripped)
    except InvalidName:
        return
    for name, member in place.candidates():
        rest = f"/{member}" if member else ""
        version = "" if place.name is None else stripped[len(str(name)) : len(stripped) - len(rest)]
        assert f"{name}{version}{rest}" == stripped


@QUIET
@given(ref=st.text(max_size=80))
def test_any_reference_ends_in_our_errors(h: Workspace, ref):  # noqa: F811
    for call in (h.open, h.show, h.verify, h.members):
        with pytest.raises(HermeticError):
            call(ref)


class Sink:
    """Counts what happens to a file."""

    def __init__(self):
        self.length, self.events = 0, []

    def write(self, data, /):
        self.length += len(data)
        return len(data)

    def finish(self):
        self.events.append("finish")

    def abort(self):
        self.events.append("abort")


@QUIET
@given(calls=st.lists(st.sampled_from(["close", "discard", "commit", "with", "raise"]), min_size=1, max_size=5))
def test_a_written_file_is_finished_or_given_up_once(calls):
    sink = Sink()
    told = []
    file = WritingFile("x", sink, told.append)
    file.write(b"x")
    for call in calls:
        if call == "with" and not file.closed:
            with file:
                pass
        elif call == "raise" and not file.closed:
            with pytest.raises(KeyError), file:
                raise KeyError
        elif call in {"close", "discard", "commit"}:
            getattr(file, call)()
    del file
    assert sink.events == ["abort" if calls[0] in {"discard", "raise"} else "finish"]
    assert told == [sink.events == ["finish"]]
