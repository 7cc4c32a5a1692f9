"""What can be shown about a domain: is it safe yet, and what does its pipeline look like.

    surroundings  what is known besides custody: the project's files, pins, a scan, the machine
    machine       reads the machine: swap areas
    status        StatusReport: the four questions, each with evidence, and the findings
    answers       the parts a StatusReport is made of
    weaknesses    the rules behind the findings that concern keys, roots and people
    upkeep        the rules behind the findings that concern exposures, copies, backup, log and policy
    accepted      findings that an exception in the policy in force covers
    stages        which of the seven stages an asset or a run belongs to
    map           draw(): the pipeline map and its findings
    chart         PipelineMap and what it is made of: stores, flows, compute, each declared, discovered or observed
    observe       what custody's facts say happened, as nodes and flows
    declare       what hermetic.yaml declares, laid over what was observed
    suggest       a `pipeline:` section from what was observed
    questions     where stored, moving, processed: answered per stage
    jsonable      values of this room as JSON
    svg           the map as a picture (svg_layout, svg_cards, svg_routes, svg_shapes, svg_style)

`status.report` and `map.draw` are pure: they take what custody said (`messages.domain.Facts`, `Welcome`) and what was found
around it (`Surroundings`), and return frozen values. Nothing here asks, reads or writes, except `machine`.

    facts, welcome = connection.ask(GatherFacts()), connection.welcome
    report = status.report(facts, welcome, surroundings)
    report.findings          # most severe first; empty: nothing is known to be wrong
    report.to_json()         # the same as one JSON object
"""
