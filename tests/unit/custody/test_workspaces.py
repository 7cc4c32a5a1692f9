"""Projects as workspaces: who belongs to one sees, opens, seals and runs there, and is told nothing of another."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hermetic.crypto.hpke import PrivateKey
from hermetic.errors import ConfigError, HermeticError, PolicyDenied
from hermetic.formats.messages.catalogue import ListAssets, RenameAsset, ShowVersion, TraceLineage
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.locations import FindObjects, ObjectAt
from hermetic.formats.messages.packages import RecipientKey, ShareVersion
from hermetic.formats.messages.policy import Explain, GiveGrant, SetRoles, ShowPolicy
from hermetic.formats.messages.runs import FinishRun, ListRuns, OpenScratch, StartRun
from hermetic.formats.messages.versions import BeginVersion, OpenVersions, PublishVersion, RecogniseDigests
from hermetic.ids import DataClass, Enforcement, Purpose
from tests import world as w

OTHER = 65534
CONTENT = b"which both projects have"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two projects with an asset each, one derived from the other's, and an engineer of the first."""
    world = w.World.make(tmp_path_factory.mktemp("workspaces") / "world")
    port = world.port()
    w.seal(port, "dataset/red", DataClass.INTERNAL, project="red")
    draft, published = w.seal(port, "dataset/blue", DataClass.INTERNAL, project="blue", content=CONTENT)
    w.seal(port, "model/red", DataClass.INTERNAL, project="red", parents=("dataset/red", "dataset/blue"))
    w.enrol(port, "nobody", ("ml-engineer@red",))
    port._custodian.enforcement = Enforcement.SEPARATED
    key = PrivateKey.generate().public
    at = ObjectAt(place=None, key="x", asset="", version=published.version, index=0, object="")
    yield SimpleNamespace(world=world, port=port, key=key, blue=published, draft=draft, at=at)
    world.close()


@pytest.fixture
def ask(two):
    return lambda request: two.port.ask_for(OTHER, request)


def by_owner(two, request):
    """Ask as the owner does without custody apart, who needs no second factor there."""
    two.port._custodian.enforcement = Enforcement.COOPERATIVE
    try:
        return two.port.ask(request)
    finally:
        two.port._custodian.enforcement = Enforcement.SEPARATED


def opens(two, *refs, **more):
    return OpenVersions(w.fresh(), refs, Purpose.TRAIN, recipient=two.key, **more)


def test_the_catalogue_ends_at_the_workspace(ask):
    assert [row.name for row in ask(ListAssets()).assets] == ["dataset/red", "model/red"]
    assert ask(ListAssets(pattern="dataset/blue")).assets == ()


def test_one_works_in_it(two, ask):
    run = ask(StartRun(w.fresh(), "train", Purpose.TRAIN, recipient=two.key)).run
    ask(OpenScratch(w.fresh(), run, recipient=two.key))
    ask(opens(two, "dataset/red", run=run))
    draft = ask(BeginVersion(w.fresh(), "model/new", DataClass.INTERNAL, project="red", run=run, recipient=two.key))
    ask(PublishVersion(draft.version, (w.record(),)))
    ask(FinishRun(run, "finished"))
    assert [row.run for row in ask(ListRuns(limit=10)).runs] == [run]


def test_lineage_and_parents_stop_at_its_edge(ask):
    assert ask(ShowVersion("model/red")).parents == ("dataset/red@1",)
    found = ask(TraceLineage("model/red", descendants=False))
    assert {node.ref for node in found.nodes} == {"model/red@1", "dataset/red@1"}


def begun(two, name="dataset/derived"):
    asked = BeginVersion(w.fresh(), name, DataClass.INTERNAL, project="red", recipient=two.key)
    return two.port.ask_for(OTHER, asked).version


NAMES = {
    "open": opens,
    "open beside one's own": lambda two, ref: opens(two, "dataset/red", ref),
    "show": lambda _two, ref: ShowVersion(ref),
    "lineage": lambda _two, ref: TraceLineage(ref, descendants=True),
    "explain": lambda _two, ref: Explain("open", ref, Purpose.TRAIN),
    "rename": lambda _two, ref: RenameAsset(ref, "dataset/mine"),
    "derive": lambda two, ref: BeginVersion(
        w.fresh(), "dataset/derived", DataClass.INTERNAL, project="red", parents=(ref,), recipient=two.key
    ),
    "seal below its class": lambda two, ref: BeginVersion(w.fresh(), ref, DataClass.PUBLIC, recipient=two.key),
    "seal without a class": lambda two, ref: BeginVersion(w.fresh(), ref, recipient=two.key),
    "publish": lambda two, ref: PublishVersion(begun(two), (w.record(),), parents=(ref,)),
    "share": lambda two, ref: ShareVersion(f"{ref}@1", w.fresh(), (RecipientKey("x", two.key),), 1, "test"),
}


@pytest.mark.parametrize("what", sorted(NAMES))
def test_names_outside_are_names_that_nobody_has(two, ask, what):
    said = []
    for ref in ("dataset/blue", "dataset/there-is-none"):
        with pytest.raises(PolicyDenied) as refused:
            ask(NAMES[what](two, ref))
        said.append((str(refused.value), refused.value.hint, refused.value.reasons))
    assert said[0] == said[1]


def test_parents_outside_by_id_are_such_as_nobody_has(two, ask):
    said = set()
    for version in (two.blue.version, w.fresh()):
        with pytest.raises(PolicyDenied) as refused:
            ask(BeginVersion(w.fresh(), "dataset/derived", DataClass.INTERNAL, project="red", read=(version,), recipient=two.key))
        said.add((str(refused.value), refused.value.hint, refused.value.reasons))
    assert len(said) == 1


def test_bytes_and_ids_of_others_are_not_recognised(two, ask):
    digest = w.record(content=CONTENT).digest
    assert two.port.ask(RecogniseDigests((digest,))).refs == ("dataset/blue@1",)
    assert ask(RecogniseDigests((digest,))).refs == ("",)
    (found,) = ask(FindObjects((two.at,))).found
    assert (found.state, found.name) == ("unknown", "")


def test_who_says_a_digest_is_not_told_who_has_such_bytes(two, ask):
    """A digest is the writer's word: whoever has one needs no bytes to report it."""
    owner = SimpleNamespace(ask=lambda request: by_owner(two, request))
    w.seal(owner, "dataset/strict", DataClass.RESTRICTED, project="blue", content=b"guessed")
    w.seal(owner, "dataset/open", DataClass.INTERNAL, project="red", content=b"guessed")
    own = w.record(content=b"guessed").digest
    assert ask(RecogniseDigests((own,))).refs == ("dataset/open@1",)
    published = ask(PublishVersion(begun(two, "dataset/guess"), (w.record(content=b"guessed"),)))
    assert published.notes == ()
    _, told = w.seal(owner, "dataset/again", DataClass.INTERNAL, project="red", content=b"guessed")
    assert "dataset/strict@1, which is restricted" in told.notes[0]


@pytest.mark.parametrize("request_", [GatherFacts(), ListKeys()])
def test_what_is_about_the_whole_domain_is_for_others(ask, request_):
    with pytest.raises(PolicyDenied):
        ask(request_)


def test_a_role_in_another_project_opens_the_other_one(two, ask):
    by_owner(two, SetRoles("nobody", ("ml-engineer@red", "data-steward@blue"), "test"))
    try:
        assert "dataset/blue" in [row.name for row in ask(ListAssets()).assets]
        with pytest.raises(PolicyDenied):  # which stewards do not do
            ask(opens(two, "dataset/blue"))
    finally:
        by_owner(two, SetRoles("nobody", ("ml-engineer@red",), "test"))


def test_a_grant_shows_what_it_is_for(two, ask):
    given = GiveGrant("nobody", "read-catalog", "dataset/blue", (), w.START + w.HOUR, "joins for a day")
    assert by_owner(two, given).state == "active"
    assert "dataset/blue" in [row.name for row in ask(ListAssets()).assets]
    assert ask(ShowVersion("dataset/blue")).name == "dataset/blue"
    with pytest.raises(HermeticError):
        ask(opens(two, "dataset/blue"))


def test_a_policy_under_which_one_role_has_both_is_not_applied_where_custody_is_apart(two):
    """The trial goes by separated and service enforcement, whoever applies it; what is in force stays."""
    actions = '[Action::"open", Action::"administer-keys"]'
    both = f'@id("engineers-have-keys") permit (principal in Role::"auditor", action in {actions}, resource);'
    before = two.port.ask(ShowPolicy()).digest
    with pytest.raises(ConfigError, match=r"'auditor' may read data .*engineers-have-keys.* and administer keys"):
        w.change_cedar(two.port, "both.cedar", both)
    assert two.port.ask(ShowPolicy()).digest == before
