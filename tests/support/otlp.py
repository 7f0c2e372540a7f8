"""A collector of OpenTelemetry's spans and metrics, as OTLP over HTTP brings them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Attributes = dict[str, str]


@dataclass
class Collector:
    """What has arrived.

    Attributes:
        url: Where it listens.
        spans: Each span, with the attributes of the process that it came from.
        metrics: Each metric of each report, likewise, in order.
    """

    url: str = ""
    spans: list[tuple[Attributes, Any]] = field(default_factory=list)
    metrics: list[tuple[Attributes, Any]] = field(default_factory=list)

    def _take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [(_of(spans.resource), one) for scope in spans.scope_spans for one in scope.spans]
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics += [
                    (_of(metrics.resource), one) for scope in metrics.scope_metrics for one in scope.metrics
                ]


def _of(resource: Any) -> Attributes:
    return {one.key: one.value.string_value for one in resource.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs one, on a free port of 127.0.0.1."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector._take(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
