"""Tensors straight from sealed weights, and back: safetensors, single or sharded, into torch or numpy.

    weights    which members of a version hold tensors, and which tensor lies in which
    loading    all or some of them, decrypted in place: one copy from the store to the tensor
    holding    under a lease that lives as long as they are computed with, and overwritten after it
    lazy       one by one, or a slice of one, while the version is open
    frames     torch and numpy: dtypes, and tensors over memory that is there already
    saving     a state dict as a new version, without a plaintext file

    weights = load(session, "model/risk@3", purpose="serve")
    with open_tensors(session, "model/risk@3") as file:
        head = file.tensor("head.weight")
        rows = file.part("embed.weight")[1000:1010]

Only what was verified is handed over: signature, root and digests as for every read, then that the tensors fill the file without
overlaps, and that index and shards say the same. Pickled weights (`.bin`, `.pt`, `.ckpt`) are not read here: unpickling runs code.
"""
