"""What a service tells of itself: numbers and log lines, with no protected data in them.

    metrics        which metrics there are, what they count, which labels they may have (docs/how-to/watch-the-service.md)
    measures       `Measures`: counters and histograms that a server counts on
    watching       `Watch`: the one interface of servers, around each request: measures and log line together
    tracing        W3C trace context: `traceparent` taken and passed on
    service_log    log lines as JSON or text
    gauges         what custody knows now, and findings, as gauges
    exposition     all of it as OpenMetrics text, for Prometheus
    otlp           all of it to an OpenTelemetry collector (OTLP over HTTP), if the settings say so

What must hold: labels are words from the table in `metrics` or from Hermetic's own code, never names or ids of assets, people, keys or
requests; a value that is none of them counts as `other`. Nothing here delays or fails a request.
"""
