"""cryptotensors: AES-256-GCM for each tensor, Ed25519 over the header."""

import base64

import cryptotensors
from contenders._tensors import ONE, touch, weights
from cryptotensors.torch import load_file, save_file

PUBLIC = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"  # of 32 zero bytes: keys of a benchmark


def _text(raw):
    return base64.b64encode(raw).decode()


ENCRYPTS = {"kty": "oct", "kid": "e", "alg": "aes256gcm", "k": _text(bytes(32))}
SIGNS = {"kty": "okp", "kid": "s", "alg": "ed25519", "d": _text(bytes(32)), "x": _text(bytes.fromhex(PUBLIC))}


def save(folder, _variant):
    tensors = weights(folder)
    return lambda: save_file(tensors, str(folder / "saved"), config={"enc_key": ENCRYPTS, "sign_key": SIGNS})


def load_all(folder, _variant):
    cryptotensors.register_direct_key_provider(keys=[ENCRYPTS, SIGNS])
    return lambda: touch(load_file(str(folder / "saved")))


def one(folder, _variant):
    cryptotensors.register_direct_key_provider(keys=[ENCRYPTS, SIGNS])

    def run():
        with cryptotensors.safe_open(str(folder / "saved"), framework="pt") as file:
            return touch({ONE: file.get_tensor(ONE)})

    return run
