"""Custody for other processes: the door of the modes `separated` (a Unix socket, another user of this machine) and `service`.

    unix_socket     accepts connections, asks the kernel who is there, answers their messages
    listening       the socket: where, and that nobody else's is taken away
    http_server     accepts TLS connections of other machines; http_tls says whom
    http_protocol   HTTP on one of them, in time
    http_app        messages over HTTP; http_limits is what one caller may take up, http_status how refusals look, openapi describes it

Custody itself is composed in `domain.serving` and `domain.service`; this room moves messages and keeps one caller from standing in
another's way.
"""
