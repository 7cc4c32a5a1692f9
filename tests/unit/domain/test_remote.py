"""What every port to custody elsewhere does with an answer, whatever carries it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hermetic.domain.remote import RemotePort
from hermetic.errors import FormatError
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.versions import CheckLeases


class Answers:
    """A transport that always brings the same bytes."""

    keyed, pauses, where = False, (), "unix:/somewhere"

    def __init__(self, raw):
        self.raw = raw

    def once(self, _message):
        return self.raw


@pytest.mark.parametrize("request_", [Hello(), CheckLeases(())])
@pytest.mark.parametrize(
    "raw",
    [
        b'{"body":{"domain":"aaaaaaaaaaaaaaaaaaaaaaaaaa"},"hermetic":1,"type":"welcome"}',
        b'{"body":{},"hermetic":1,"type":"a-message-of-tomorrow"}',
    ],
)
def test_an_answer_of_another_release_says_where_to_look(request_, raw):
    port = RemotePort(Answers(raw), SimpleNamespace())
    with pytest.raises(FormatError) as refused:
        port.ask(request_)
    assert "another release" in refused.value.hint
    assert refused.value.exit_code == 4
