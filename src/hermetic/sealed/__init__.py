"""Sealed objects, given a key: write them, read them at any offset, check them without any key (spec/sealed-object.md).

    writer       ObjectWriter: a stream of unknown length, bounded memory
    files        seal_file: a regular file, in parallel, refused if it changes meanwhile
    reader       ObjectReader: verified ranges, straight into the caller's buffer; expose_to: the whole, into a file
    stream       SealedFile: the reader as a seekable binary file
    verification verify_ciphertext: every stored byte against the signed root, without a key
    copying      copy_verified: from one store into another, every byte checked, without a key
    inspection   inspect: what anybody can know about a file, and what nobody can without the key
    content      content digests, by which a plaintext copy of sealed data is recognised

This room knows nothing of custody, catalogues or names. It takes a `Secret`, a header of random ids, and, to read, the object's
record in a manifest whose signature the caller has verified (`hermetic.signing`):

    sealed = seal_file(source_fd, staged, header, key, metadata=ObjectMetadata(name="a.csv"))
    with ObjectReader(store.open(place), key, manifest.objects[0]) as reader:
        reader.readinto_at(0, memoryview(buffer))

Whatever was changed is refused: WrongKey for a key that did not seal the bytes, FormatError and IntegrityError for the rest, all of
them exit code 4. A failed read wipes what it was about to hand over.
"""
