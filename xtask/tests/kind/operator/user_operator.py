"""Stands in for Strimzi's user operator: it is there and healthy, and does nothing (no test has a KafkaUser)."""

import signal
import threading

import health

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
health.serve(8081)
stop.wait()
