"""What is said through the port: requests, and the answer each one gets (spec/port.md).

    base       Request, Refusal, Receipt, and the small parts that several messages share
    versions   seal and open: begin, publish, abandon, open, leases
    catalogue  list, show, rename, lineage, exposures, garbage
    runs       start, finish, show; scratch
    keys       list, show, rotate, rewrap, change state
    policy     show, apply, explain; grants
    log        read, verify, prove, export
    greeting   hello
    domain     facts, backup

A request class names its answer: `class Hello(Request["Welcome"])`; `Port.ask` is typed by it. A key is never a field: in process
it is an opaque handle that `Port.redeem` exchanges once, between processes it is an HPKE blob in `KeyBlob.sealed`.
"""
