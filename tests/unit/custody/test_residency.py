"""Keys and objects stay in their regions: what would cross is refused, on record, and what lies elsewhere already is told."""

from __future__ import annotations

import pytest

from hermetic.crypto import hpke
from hermetic.domain import opening
from hermetic.domain.local import LocalPort
from hermetic.errors import ApprovalNeeded, ConfigError, PolicyDenied
from hermetic.formats.messages import keys, locations, packages, promotion, roots, versions
from hermetic.formats.messages import policy as policy_messages
from hermetic.formats.messages.domain import GatherFacts
from hermetic.ids import DataClass, Environment, Purpose
from hermetic.keys.provider import RootId
from hermetic.policy import bundle
from hermetic.providers import registry
from hermetic.providers.place import Place
from hermetic.testing.fake_provider import FakeService
from tests import world as w
from tests.unit.custody.approving import Person

DEV, STAGING, _ = Environment
INTERNAL, RESTRICTED = DataClass.INTERNAL, DataClass.RESTRICTED
ROOT = "local:insecure-file"
STAY = "stays in eu-central, eu-west"
SEALED = "sealed: {kind: local, path: sealed}"


class Domain:
    """A domain whose config.yaml says where its roots lie, and whose policy tests edit."""

    def __init__(self, world):
        self.world, self.said = world, {ROOT: {"region": "eu-central"}}
        custodian = opening.open_custodian(world.data, world.domain, None, lambda: self.said, clock=world.clock)
        self.port = LocalPort(custodian)
        world.ports.append(self.port)
        self.edit(
            lambda text: text.replace("  restricted:\n", "  restricted:\n    regions: [eu-central, eu-west]\n").replace(
                SEALED, SEALED[:-1] + ", region: eu-central}"
            )
        )

    def edit(self, change):
        files = dict(bundle.PolicyBundle.from_bytes(self.port.ask(policy_messages.ShowPolicy()).bundle).files)
        text = files["hermetic.yaml"].decode()
        files["hermetic.yaml"] = change(text).encode()
        assert files["hermetic.yaml"] != text.encode()
        self.port.ask(policy_messages.ApplyPolicy(bundle.PolicyBundle(files=files).to_bytes()))

    def lies(self, store, region):
        """Say, instead of what was said before, where a store lies."""
        name = store.partition(":")[0]
        self.edit(lambda text: "".join(_placed(line, store, name, region) for line in text.splitlines(keepends=True)))

    def denied(self):
        """The message of the last refusal on record."""
        return [opened["message"] for kind, _, opened in w.leaves(self.port) if kind.endswith(".denied")][-1]

    def findings(self, code):
        return [note.value for note in self.port.ask(GatherFacts()).critical if note.name == code]

    def refused(self, act, match):
        with pytest.raises(PolicyDenied, match=match) as caught:
            act()
        assert caught.value.reasons == ("region",)
        assert caught.value.hint
        assert self.denied() == caught.value.message[:200]
        return caught.value


def _placed(line, store, name, region):
    if not line.strip().startswith(f"{name}: {{kind"):
        return line
    return f"  {store}\n" if region is None else f"  {store[:-1]}, region: {region}}}\n"


@pytest.fixture
def domain(world):
    return Domain(world)


class Services:
    """A backend whose roots are services that keep keys to themselves."""

    def __init__(self):
        self.made = {}

    def open_(self, uri, place):
        return self.made[place.root_id]

    def create(self, uri, place, _asked):
        return self.made.setdefault(place.root_id, FakeService(place.root_id, uri=uri))


@pytest.fixture
def services():
    registry.register("fake", Services())
    yield
    registry.register("fake", None)


def announce(domain, uri, region):
    """Announce and make another root; return its id."""
    domain.said[uri] = {} if region is None else {"region": region}
    root = domain.port.ask(roots.AddRoot(uri, "test")).root.root
    registry.create_root(uri, Place(domain.world.data, domain.world.domain, RootId(root)))
    return root


def take_up(domain, root):
    while domain.port.ask(roots.ExtendRoot(root, 400)).left:
        pass
    domain.port.ask(roots.SetRootState(root, "activate", "test"))


def test_what_lies_where_it_may_is_sealed_and_opened(domain):
    w.seal(domain.port)
    assert w.open_(domain.port).released
    assert domain.findings("object-elsewhere") == domain.findings("key-elsewhere") == []


@pytest.mark.parametrize(
    ("region", "told"), [("us-east", "store sealed is in us-east"), (None, "store sealed has no region on record")]
)
def test_sealing_into_a_store_elsewhere_or_nobody_knows_where(domain, region, told):
    domain.lies(SEALED, region)
    error = domain.refused(lambda: w.begin(domain.port), f"restricted data of development {STAY}, and {told}")
    assert ("write `region:` under `stores: sealed:`" in error.hint) == (region is None)
    assert w.begin(domain.port, "dataset/other", INTERNAL).store == "sealed"


def test_publishing_what_was_begun_before_the_policy_changed(domain):
    draft = w.begin(domain.port)
    domain.lies(SEALED, "us-east")
    domain.refused(lambda: domain.port.ask(versions.PublishVersion(draft.version, (w.record(),))), "store sealed is in us-east")


def test_release_and_package_of_what_lies_elsewhere_since_the_policy_changed(domain):
    draft, _ = w.seal(domain.port)
    domain.lies(SEALED, "us-east")
    domain.refused(lambda: w.open_(domain.port), "store sealed is in us-east")
    mo = packages.RecipientKey("mo", hpke.PrivateKey.generate().public)
    share = packages.ShareVersion("dataset/patients@1", draft.version, (mo,), 30, "partner")
    domain.refused(lambda: domain.port.ask(share), "store sealed is in us-east")
    (told,) = domain.findings("object-elsewhere")
    assert told.startswith("dataset/patients|1 version: restricted data of development stays in eu-central, eu-west")
    assert w.open_(domain.port, purpose=Purpose.RECOVER).released, "somebody has to be able to bring it home"
    domain.lies(SEALED, "eu-west")
    assert w.open_(domain.port).released
    assert domain.findings("object-elsewhere") == []


def test_a_batch_with_one_version_elsewhere_is_refused_whole(domain):
    w.seal(domain.port)
    w.seal(domain.port, "dataset/open", INTERNAL)
    domain.lies(SEALED, "us-east")
    domain.refused(lambda: w.open_(domain.port, "dataset/open", "dataset/patients"), "us-east")
    assert w.open_(domain.port, "dataset/open").released


@pytest.mark.parametrize("said", [{}, {ROOT: {}}, {ROOT: {"region": "us-east"}}])
def test_no_key_is_made_under_a_root_elsewhere_or_nobody_knows_where(domain, said):
    domain.said = said
    domain.refused(lambda: w.begin(domain.port), f"stays in eu-central, eu-west, and root {ROOT} .* (is in us-east|has no region)")
    assert domain.port.ask(keys.ListKeys()).keys == ()
    w.begin(domain.port, "dataset/other", INTERNAL)


def test_a_key_that_opens_elsewhere_gets_no_data_keys_and_no_new_version(domain):
    w.seal(domain.port)
    (key,) = domain.port.ask(keys.ListKeys()).keys
    domain.said = {ROOT: {"region": "us-east"}}
    for act in (
        lambda: w.begin(domain.port),
        lambda: domain.port.ask(keys.RotateKey(key.kek, "due")),
        lambda: domain.port.ask(keys.RewrapKey(key.kek, 10)),
    ):
        domain.refused(act, f"root {ROOT} .* is in us-east")
    (told,) = domain.findings("key-elsewhere")
    assert told.startswith("development/restricted/cardio|restricted data of development stays in eu-central, eu-west, and root")
    assert domain.findings("object-elsewhere") == []
    assert w.open_(domain.port).released, "what may be read there is read: the store is at home"


def test_a_policy_that_makes_things_lie_elsewhere_is_accepted_and_told(domain):
    w.seal(domain.port, "dataset/other", INTERNAL)
    domain.edit(lambda text: text.replace("  internal:\n", "  internal:\n    regions: [ap-south]\n"))
    assert [one.partition("|")[0] for one in domain.findings("object-elsewhere")] == ["dataset/other"]
    assert [one.partition("|")[0] for one in domain.findings("key-elsewhere")] == ["development/internal/cardio"]


def test_class_and_environment_both_count(domain):
    domain.edit(lambda text: text.replace("development: {store: sealed}", "development: {store: sealed, regions: [eu-central]}"))
    w.begin(domain.port)
    domain.edit(lambda text: text.replace("regions: [eu-central, eu-west]", "regions: [eu-west]"))
    domain.refused(lambda: w.begin(domain.port), "stays in no region at all")
    w.begin(domain.port, "dataset/other", INTERNAL)
    domain.said = {}
    domain.refused(
        lambda: w.begin(domain.port, "dataset/more", INTERNAL), "internal data of development stays in eu-central, and root"
    )


def test_a_promotion_into_a_store_elsewhere_is_refused_before_anybody_is_asked(domain):
    draft, _ = w.seal(domain.port, "model/risk")
    ask = promotion.PromoteVersion("model/risk@1", draft.version, DEV, STAGING, "evaluated")
    domain.refused(lambda: domain.port.ask(ask), f"restricted data of staging {STAY}, and store staging has no region")
    domain.lies("staging: {kind: named}", "us-east")
    domain.refused(lambda: domain.port.ask(ask), "store staging is in us-east")
    domain.lies("staging: {kind: named}", "eu-west")
    domain.lies(SEALED, "us-east")
    domain.refused(lambda: domain.port.ask(ask), "store sealed is in us-east")


def test_plain_locations_count_by_the_store_they_are_in(domain):
    domain.edit(
        lambda text: text.replace("stores:\n", "stores:\n  lake: {kind: named, region: us-east}\n", 1).replace(
            "rules: []",
            "rules:\n  - {path: 'a/*', store: lake, kind: dataset, class: restricted}\n"
            "  - {path: 'b/*', kind: dataset, class: restricted}",
        )
    )
    domain.refused(lambda: w.begin(domain.port, "dataset/one", place="lake"), "store lake is in us-east")
    domain.refused(lambda: w.begin(domain.port, "dataset/two", place=""), "the project's folder has no region on record")
    domain.lies("lake: {kind: named}", "eu-west")
    draft = w.begin(domain.port, "dataset/one", place="lake")
    record = w.record(member="a/one.csv")
    domain.port.ask(versions.PublishVersion(draft.version, (record,)))
    assert w.open_(domain.port, "dataset/one").released
    moved = locations.ObjectAt("", "b/one.csv", draft.asset, draft.version, record.object, 0)
    domain.refused(lambda: domain.port.ask(locations.PlaceObjects((moved,), ())), "the project's folder has no region on record")
    domain.lies("lake: {kind: named}", None)
    domain.refused(lambda: w.open_(domain.port, "dataset/one"), "store lake has no region on record")


def test_a_second_root_elsewhere_gets_no_slot_for_what_is_pinned(domain, services):
    w.seal(domain.port)
    root = announce(domain, "fake:far", "us-east")
    domain.refused(lambda: domain.port.ask(roots.ExtendRoot(root, 400)), "root fake:far .* is in us-east")
    domain.said["fake:far"] = {}
    domain.refused(lambda: domain.port.ask(roots.ExtendRoot(root, 400)), "root fake:far .* has no region on record")
    domain.said["fake:far"] = {"region": "eu-west"}
    take_up(domain, root)
    w.seal(domain.port)
    domain.said["fake:far"] = {"region": "us-east"}
    domain.refused(lambda: w.begin(domain.port), "root fake:far .* is in us-east")
    domain.port.ask(roots.SetRootState(root, "suspend", "test"))
    domain.refused(lambda: domain.port.ask(roots.SetRootState(root, "resume", "test")), "root fake:far .* is in us-east")


def test_of_two_roots_one_elsewhere_stops_pinned_classes_only_until_it_is_out_of_use(domain, services):
    take_up(domain, root := announce(domain, "fake:far", "us-east"))
    domain.refused(lambda: w.begin(domain.port), "root fake:far .* is in us-east")
    w.begin(domain.port, "dataset/other", INTERNAL)
    domain.port.ask(roots.SetRootState(root, "deactivate", "test"))
    w.seal(domain.port)
    assert domain.findings("key-elsewhere") == []


def test_a_key_that_lives_in_one_root_alone_moves_to_the_one_at_home(domain, services):
    take_up(domain, announce(domain, "fake:far", "us-east"))
    domain.edit(
        lambda text: text.replace("    regions: [eu-central, eu-west]\n", "    regions: [us-east, eu-west]\n    kek: in-provider\n")
    )
    domain.lies(SEALED, "eu-west")
    w.seal(domain.port)
    domain.edit(lambda text: text.replace("regions: [us-east, eu-west]", "regions: [eu-west]"))
    domain.refused(lambda: w.begin(domain.port), "root fake:far .* is in us-east")
    assert len(domain.findings("key-elsewhere")) == 1
    take_up(domain, near := announce(domain, "fake:near", "eu-west"))
    w.seal(domain.port)
    (key,) = domain.port.ask(keys.ListKeys()).keys
    assert key.roots == ("fake:near",), near


@pytest.mark.parametrize(
    ("uri", "said", "found"),
    [
        ("awskms:eu-west-1/alias/hermetic", {}, ("eu-west-1",)),
        ("awskms:arn:aws:kms:eu-west-1:123456789012:alias/hermetic", {"region": "eu-west-1"}, ("eu-west-1",)),
        ("awskms:eu-west-1/mrk-" + "0" * 32, {"replicas": "us-east-1"}, ("eu-west-1", "us-east-1")),
        ("gcpkms:projects/team/locations/europe-west3/keyRings/r/cryptoKeys/k", {}, ("europe-west3",)),
        ("openbao:transit/hermetic", {"region": "eu-central"}, ("eu-central",)),
        ("openbao:transit/hermetic", {}, ()),
    ],
)
def test_where_a_root_lies(uri, said, found):
    assert registry.regions_of(uri, said) == found


@pytest.mark.parametrize(
    ("uri", "region"),
    [
        ("awskms:arn:aws:kms:eu-west-1:123456789012:alias/hermetic", "us-east-1"),
        ("gcpkms:projects/team/locations/europe-west3/keyRings/r/cryptoKeys/k", "us-east1"),
        (ROOT, "Nowhere!"),
    ],
)
def test_what_contradicts_a_uri_is_no_setting(domain, uri, region):
    place = Place(domain.world.data, domain.world.domain, RootId("a" * 26), settings={"region": region})
    for use in (registry.open_provider, registry.create_root):
        with pytest.raises(ConfigError, match="region is"):
            use(uri, place)
    domain.said = {ROOT: {"region": "Nowhere!"}}
    with pytest.raises(ConfigError, match="region is the name"):
        w.begin(domain.port)


def test_where_a_policy_lets_things_lie_farther_people_agree_as_to_the_most_critical(domain):
    mo = Person("mo")
    mo.enrol(domain.port)
    Person("li").enrol(domain.port)
    domain.edit(lambda text: text.replace("regions: [eu-central, eu-west]", "regions: [eu-central]"))
    for wider in ("regions: [eu-central, us-east]", "# anywhere"):
        with pytest.raises(ApprovalNeeded):
            domain.edit(lambda text, wider=wider: text.replace("regions: [eu-central]", wider))
    with pytest.raises(ApprovalNeeded):
        domain.lies(SEALED, "us-east")
