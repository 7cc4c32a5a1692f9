"""Where roots live. One file a backend, found by the scheme of its URI, imported when it is asked for.

    local:passphrase      a random root in a file of the custody home, wrapped under a passphrase; `unlock` puts it into the
                          Linux kernel keyring for a while
    local:keyring         a random root in the desktop keyring (extra `keyring`)
    local:insecure-file   a random root in a plain file, for development: always a finding
    pkcs11:token=…;object=…   a key that an HSM or a smart card generated and keeps (extra `pkcs11`)
    tpm:sha256:7          a random root in a file, sealed by the TPM to the boot state (extra `tpm`)
    awskms:REGION/KEY-ID   a key of AWS KMS (extra `aws`); protocol-tested, as the next two
    gcpkms:projects/…      a key of Google Cloud KMS (extra `gcp`)
    azurekv:VAULT/keys/NAME    a key of Azure Key Vault or Managed HSM (extra `azure`)
    recovery:HOLDER/ID    a public key; shares or an escrow key open what is wrapped under it

    registry         scheme -> backend; open_provider, create_root
    place            Place: custody home, domain id, root id, settings
    settings         what the user's config.yaml says of a provider
    key_service      what roots in the key service of a cloud share; endpoints has what addresses and error codes may be
    unlock           unlock, lock and list, for roots that a person unlocks
    passphrase       reading a passphrase from a private file
    private_file     durable files with mode 0600, and reading them with suspicion
    kernel_keyring   roots in the kernel's user keyring, with an expiry; keyctl holds the system calls

The protocol is `hermetic.keys.provider.Provider`. A backend module has two functions:

    open_(uri: str, place: Place) -> Provider             touches nothing that a locked root would refuse
    create(uri: str, place: Place, asked: Asked) -> Provider    makes the root and leaves it usable or locked

and may have more: `remove` (registry), `probes`, `protections` and `neighbour` (conformance).

No passphrase is ever taken from an argument vector or an environment variable.
"""
