"""Custody for other processes: the door of the modes `separated` (a Unix socket, another user of this machine) and `service`.

    unix_socket     accepts connections, asks the kernel who is there, answers their messages
    listening       the socket: where, and that nobody else's is taken away

Custody itself is composed in `domain.connect.serve`; this room moves messages and keeps one caller from standing in another's way.
"""
