"""Stands in for the ClickHouse operator's metrics exporter: it is there, and has no metrics."""

import signal
import threading

import health

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
health.serve(8888)
stop.wait()
