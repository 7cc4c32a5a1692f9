"""The command line. `hermetic.cli.main:main` is the program; nothing else here is public.

    main        the entry point: runs a command, turns every failure into `hermetic: error:` lines and an exit code
    commands    the table of commands: name, file, one-line help, section; commands are imported when they are called
    lazy        the click group that reads that table
    failure     how errors look, and which exit code they give
    out         results: JSON, tables for a terminal, aligned text for everything else; notes and progress on stderr
    words       times, sizes, durations as people read and write them
    options     options and argument types that several commands share
    passphrase  passphrases from the terminal or from a file that only its owner can read
    session     the connection a command works through

Every other file holds one command or one group of commands and imports what it needs inside its functions, so that
`hermetic --help` costs no more than click does.

Conventions (docs/reference/cli.md): results on stdout, everything else on stderr; `--json` gives one JSON document on
stdout; no question without a terminal; no secret as an argument. Exit codes: 0 ok, 1 failed, 2 usage, 3 denied,
4 integrity or signature, 5 approval or second factor needed, 6 key service unavailable, 7 findings, 130 interrupted,
141 the reader of our output went away.
"""
