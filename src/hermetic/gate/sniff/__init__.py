"""What bytes are, told by the bytes and never by the name.

    recognise  recognise(sample) -> Guess: asks the others in order
    sample     Sample: head, tail and ranges of a file or of bytes
    magic      formats with a fixed mark
    sealed     sealed objects of ours (mark, header and trailer must fit) and files encrypted by other tools
    tensors    safetensors, ONNX, SavedModel, TFRecord, Arrow streams: structure without a mark
    pickles    pickle and what it would build, by reading opcodes; nothing is ever unpickled
    archives   zip, tar, gzip, bzip2, xz: what their first members are
    text       JSON lines, notebooks, dumps and other text
    tables     CSV and its relatives, ARFF, LIBSVM, columns of numbers

Everything here takes bytes that somebody else made: reads are bounded, and hostile bytes are at worst called unknown.
"""
