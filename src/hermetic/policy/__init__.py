"""Pure decisions: what the rules are, what a request may do under them, and why. No files, no clock, no keys.

    document      parse hermetic.yaml into a PolicyDocument; every mistake with line, column and remedy
    model         the dataclasses a PolicyDocument is made of
    rules         which class, owner and name a path or an asset gets
    request       DecisionRequest and everything in it; the list of actions
    cedar         Engine: Cedar policies checked against a schema, then decide()
    obligations   what a class asks for beyond the access policy: enforcement, second factor, approvals, purpose, retention
    rulebook      one applied bundle, parsed: document, engine and judge(), which custody calls
    explain       why a request would be allowed or refused, and what would change that
    duties        that nobody both reads data and administers keys
    bundle        the canonical bytes of all policy files, their digest and difference
    defaults      the files `hermetic init` writes
    schema        the JSON Schema that editors use

A daily decision is one call:

    rulebook = Rulebook.load(PolicyBundle.from_bytes(stored))        # once for each applied bundle
    verdict = rulebook.judge(request)                                # about 0.1 ms
    verdict.require()                                                # PolicyDenied or ApprovalNeeded, with every reason

Everything here fails closed: text that cannot be read raises ConfigError, a decision that met an error is a refusal. The file
formats, the order of evaluation and the digest are specified in spec/policy.md.
"""
