"""Memory for plaintext that is decrypted in place: private to the process, in huge pages, left out of core dumps.

Fresh memory costs more than decryption: a gibibyte in 4 KiB pages takes longer to be handed out by the kernel than to be filled. In
huge pages, which the kernel gives to private anonymous maps that ask for them, it does not. The kernel clears pages before it gives
them to anybody else, so that dropping the last view of such memory is what wipes it; `clear` does so at once.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

HUGE_PAGE = 2 * 1024 * 1024


def private_memory(length: int) -> mmap.mmap:
    """Return zeroed, writable memory of at least 1 byte; it lives as long as a view of it."""
    memory = mmap.mmap(-1, max(1, length), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice, wanted in (("MADV_HUGEPAGE", length >= HUGE_PAGE), ("MADV_DONTDUMP", True)):
        number = getattr(mmap, advice, None)
        if number is not None and wanted:
            with suppress(OSError):  # advice: a kernel built without it gives memory that works the same
                memory.madvise(number)
    return memory


def clear(memory: mmap.mmap) -> None:
    """Give all pages back to the kernel: whoever still has a view of it reads zeros."""
    memory.madvise(mmap.MADV_DONTNEED)
