"""`hermetic bench`: what sealing costs on this machine, against the same work on plain files. Measures every other room from outside.

    measuring   one piece of work measured: seconds, processors, peak memory; medians and spread. Standard library only, for any Python
    shape       what is measured: a file, a folder, sizes from the catalogue, or a default
    place       the temporary folder: locked, checked for room, removed at the end whatever happens
    domains     a throw-away domain in it for each suite
    works       the works, sealed and plain: seal, expose, load, lazy, epoch, release
    tensors     the works of a safetensors file
    cell        one work, suite and number of threads in a process of its own
    running     all cells, one after the other
    report      figures, metrics and what to think of the noise
    budgets     recorded limits: read, compared, written
    plot        the figures as one SVG file

Rules: the user's own domain is never opened here, and their files are only read. What is written of them is either sealed or lies in
the temporary folder (mode 0700), which is removed at the end, on an error, on Ctrl-C and on SIGTERM; what a killed process left is
removed by the next run. Both sides of a ratio run in the same process, in turns.
"""
