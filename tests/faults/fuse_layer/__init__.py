"""A file system for tests that remembers what was synced, and can show what a power cut would have left.

    with Mounted(folder) as layer:            # a FUSE file system with a copy of `folder`, served by a process of its own
        layer.point                            # work here; `mark(layer.point, "text")` puts a line into the journal
    recording = layer.recording                # after the block: every change and every sync, in order
    for at in recording.marks("step …"):
        survivors(recording, at, Variant("names"), seed=1).write(target)

`server` (mfusepy) keeps files in memory and writes down every operation. `journal` replays a prefix of them and leaves out what
nothing had synced. So one run of a program gives the state after a power cut at every moment of it.

What counts as durable, on purpose less than ext4 or XFS give:

- The bytes and the length of a file: by fsync or fdatasync of the file, for what was written before.
- A name (create, link, unlink, rename, mkdir): by fsync of its folder. Syncing a file does not make its name durable. A rename is
  atomic, and durable once either folder was synced.
- A sync that failed makes nothing durable, and no later sync makes up for it: what was pending may be lost for good.
- Modes: at once. Times: never looked at.
"""
