"""The AWS Encryption SDK with a raw AES keyring: as it comes, and with frames of 1 MiB and no signature."""

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import AesWrappingAlg, CreateRawAesKeyringInput
from aws_encryption_sdk.identifiers import Algorithm

MIB = 1024 * 1024
VARIANTS = {"default": {}, "frames": {"frame_length": MIB, "algorithm": Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY}}


def seal(folder, variant):
    return lambda: _stream(folder / "weights.safetensors", folder / "sealed", mode="e", **VARIANTS[variant])


def open(folder, _variant):  # noqa: A001
    return lambda: _stream(folder / "sealed", folder / "back", mode="d")


def _stream(source, target, **more):
    with source.open("rb") as reads, target.open("wb") as writes, CLIENT.stream(source=reads, keyring=KEYRING, **more) as stream:
        while piece := stream.read(MIB):
            writes.write(piece)


CLIENT = aws_encryption_sdk.EncryptionSDKClient()
KEYRING = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig()).create_raw_aes_keyring(
    input=CreateRawAesKeyringInput(
        key_namespace="benchmark", key_name="key", wrapping_key=bytes(32), wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16
    )
)
