"""tensorizer: XSalsa20-Poly1305 through libsodium, and plain."""

from contenders._tensors import ONE, touch, weights
from tensorizer import DecryptionParams, EncryptionParams, TensorDeserializer, TensorSerializer


def save(folder, variant):
    tensors = weights(folder)
    return lambda: _save(folder, tensors, EncryptionParams(key=bytes(32)) if variant == "encrypted" else None)


def load_all(folder, variant):
    return lambda: _load(folder, variant, None)


def one(folder, variant):
    return lambda: _load(folder, variant, ONE)


def _save(folder, tensors, encryption):
    serializer = TensorSerializer(str(folder / "saved"), encryption=encryption)
    serializer.write_state_dict(tensors)
    serializer.close()


def _load(folder, variant, name):
    encryption = DecryptionParams.from_key(bytes(32)) if variant == "encrypted" else None
    lazy = name is not None
    with TensorDeserializer(str(folder / "saved"), device="cpu", lazy_load=lazy, encryption=encryption) as file:
        return touch({key: file[key] for key in ([name] if lazy else file.keys())})
