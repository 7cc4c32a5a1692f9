"""Bytes that the first release wrote, which every later one opens. Never change them; add new ones below."""

from hermetic.crypto.secret import Secret
from hermetic.keys import slots
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.passphrase_wrap import WrapSubject, recovery_unwrap
from hermetic.keys.wrap import data_key_and_check, unwrap_data_key
from hermetic.providers.local_root import root_path
from hermetic.providers.place import Place
from hermetic.providers.private_file import write
from hermetic.providers.registry import open_provider
from tests.unit.keys.values import DATA, DOMAIN, PLACE, ROOTS, passphrase

ROOT, KEK, DOMAIN_SECRET, S = bytes(range(32)), bytes([7] * 32), bytes([5] * 32), bytes([9] * 32)

DATA_KEY_V1 = bytes.fromhex(
    "48444b014478b67ed7c95cf46ee489652de93291c033b25080a267620c043dd273d780395104289f7a42332fec6d0e09"
    "18ea1fc08a8932bb4b30e590ee2adc8cdb70a846c50e64ed01b6a7b75ba79f2f99bee14ea5f1a7a0e1d62a144335b45f"
)
SLOTS_V1 = (
    b'{"format":"hermetic/slots/v1","slots":[{"root":"aaaaaaaaaaaaaaaaaaaaaaaabm","wrapped":"SFJXAZYIARUTA'
    b'oOHVGhDNU8AMDdOLKK9PeHXxkDIOiznR2aEJYLRNOAPG3-QtHlepDGKoJmC2F0gkusvcuIN9Q"}]}'
)
ROOT_FILE_V1 = (
    b'{"domain":"aaaaaaaaaaaaaaaaaaaaaaaaae","format":"hermetic/insecure-root/v1","root":"aaaaaaaaaaaaaaaa'
    b'aaaaaaaabm","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}'
)
DOMAIN_FILE_V1 = (
    b'{"domain":"aaaaaaaaaaaaaaaaaaaaaaaaae","format":"hermetic/domain/v1","roots":[{"provider":"local:ins'
    b'ecure-file","root":"aaaaaaaaaaaaaaaaaaaaaaaabm","wrapped":"SFJXATtVmIr0WYu3rgGOpk7dXfGr9r5JDNh50qjOb'
    b'i0ZYS1nSezVjx3uzpmlZxkUkLRSP1A1vhwFh3qKPM62sg"}]}'
)
RECOVERY_V1 = (
    b'{"argon2id":{"iterations":2,"lanes":1,"memory_kib":65536},"domain":"aaaaaaaaaaaaaaaaaaaaaaaaae","for'
    b'mat":"hermetic/passphrase-wrap/v1","holds":"root","root":"aaaaaaaaaaaaaaaaaaaaaaaabm","salt":"ZrdIjo'
    b'O-thDYf_y4t5US6A","use":"recovery","wrapped":"_G3yaMw1ItoFS_kQJJYF5IKRSLFt-cJefuibbzD9BJY3bQjPScnA_Y'
    b'StA9Bbosg8-cPedaHbPSftZ5p8"}'
)


def insecure_root(folder):
    place = Place(folder, DOMAIN, ROOTS[0])
    write(root_path(place), ROOT_FILE_V1, replace=False)
    return open_provider("local:insecure-file", place)


def test_data_key():
    opened = unwrap_data_key(Secret(KEK), DATA_KEY_V1, PLACE, DATA)
    assert opened.same_as(data_key_and_check(Secret(S), DATA)[0])


def test_kek_slot_of_a_local_root(tmp_path):
    providers = {ROOTS[0]: insecure_root(tmp_path)}
    opened = slots.open_first(slots.decode(SLOTS_V1), providers, lambda root: slots.kek_context(DOMAIN, root, PLACE))
    assert opened.same_as(Secret(KEK))
    assert slots.encode(slots.decode(SLOTS_V1)) == SLOTS_V1


def test_domain_file(tmp_path):
    file = DomainFile.decode(DOMAIN_FILE_V1)
    assert file.open({ROOTS[0]: insecure_root(tmp_path)}).same_as(Secret(DOMAIN_SECRET))
    assert file.encode() == DOMAIN_FILE_V1


def test_recovery_wrap():
    subject, root = recovery_unwrap(RECOVERY_V1, passphrase())
    assert subject == WrapSubject(DOMAIN, ROOTS[0])
    assert root.same_as(Secret(ROOT))
