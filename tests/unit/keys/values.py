"""Values that the tests of this room share."""

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.ids import DataClass, Environment, id_from_bytes
from hermetic.keys.wrap import DataKeyContext, KekContext


def an_id(number):
    return id_from_bytes(number.to_bytes(16, "big"))


CHEAP = Argon2Parameters(memory_kib=65_536, iterations=2, lanes=1)  # the floor
DOMAIN, ASSET, VERSION, DATA_KEY, KEK = (an_id(number) for number in range(1, 6))
ROOTS = [an_id(number) for number in range(11, 15)]
PASSPHRASE = b"correct horse battery staple"

DATA = DataKeyContext(DOMAIN, Environment.DEVELOPMENT, asset_id=ASSET, version_id=VERSION, data_key_id=DATA_KEY)
PLACE = KekContext(KEK, 1, Environment.DEVELOPMENT, data_class=DataClass.RESTRICTED, project="risk")


def passphrase(text=PASSPHRASE):
    return Secret(text)


def raw(secret):
    return bytes(secret.view())
