"""Who may: principals and their roles, grants that end by themselves, approvals of other people.

    identity      principals: local users, enrolment, roles, disabling
    grants        one action on matching assets for one principal, for a time; giving, revoking, matching, using up
    approvals     who may approve, what waits for it, what approvers signed; verified whenever it counts

Functions take a session of the custody database and never commit: custody writes the change and its log entry in one transaction.
They check what must hold of the data (known roles, separation of duties, expiry); whether the caller may do it at all is the
policy's decision and comes first. Rows are authenticated, so that what is read here was written here.

A grant becomes part of a decision like this:

    grant = grants.find_match(session, Wanted(principal.id, action, name, environment, number, purpose), now_ms=now_ms)
    request = DecisionRequest(principal, action, asset, Context(..., granted=grant is not None))
    verdict = rulebook.judge(request)                  # names the policy `granted-access` if the grant decided
    if "granted-access" in verdict.policies:
        grants.consume(session, grant, now_ms=now_ms)  # in the transaction of the intent
"""
