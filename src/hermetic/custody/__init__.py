"""Custody: the only room that unwraps a key. Everything else asks it through the port (spec/port.md).

    custodian   what it works with: database, keys, providers, log, policy
    call        one request on its way through
    dispatch    which handler answers which request
    callers     step 1, who asks
    resolve     step 2, what they ask about
    decide      step 3, what the policy says
    denial      refusals, on record
    release     the seven steps for existing versions
    sealing     the same for a new version; newkeys makes its key
    publishing  from draft to version: number, signature, fingerprints
    leasing     leases
    unwrapping  the unwrap itself, here or by the root that a KEK lives in
    running     runs and their scratch keys
    keyring     KEKs: rotate, suspend, resume, revoke; keyhomes: where the next version lives
    rewrapping  data keys moved to the active version; moving: where a provider wraps them itself
    destroying  KEK versions: announced, waited for, done when due (held_up: what kept one); shredding: versions, which gathering
                finds by project and subject; blast: what either concerns; remains: who can still read
    certifying  what was destroyed, signed; finishing: how it comes to that; unfinished: what a crash kept from being signed
    forgetting  the next copy of custody shares nothing with those that hold what was destroyed
    asking      what waits for approval; approving: the answers; approved: their count and use; enrolling: who may answer
    policies    show, apply, explain; people: principals and grants
    cataloguing list, show, lineage, exposures, garbage; renaming: names, and the grants that cover them
    logbook     read, verify, prove, export the log
    facts       what status and map need
    work        a unit of work: rows and log entries durable together
    uses        what services record of our roots' use, onto our log

No record, no key: nothing here hands out a key before an entry that says so is durable, and a refusal is logged before it is told.
"""
