"""Starts the HTTP front as the official image starts its server: users from users.d or the environment.

The front binds to the loopback address, which nothing outside the pod reaches; here it binds to all.
"""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, "/usr/lib/clickhouse-front")
import server  # noqa: E402

ETC = Path("/etc/clickhouse-server")


def users() -> dict:
    """Name to password, as `users.d/*.xml` (plain or from_env) and CLICKHOUSE_* say."""
    found = {}
    for file in sorted((ETC / "users.d").glob("*.xml")):
        for user in ET.parse(file).getroot().iterfind("./users/*"):
            password = user.find("password")
            if password is not None:
                variable = password.get("from_env")
                found[user.tag] = os.environ[variable] if variable else (password.text or "")
    if os.environ.get("CLICKHOUSE_PASSWORD"):
        found[os.environ.get("CLICKHOUSE_USER", "default")] = os.environ["CLICKHOUSE_PASSWORD"]
    return found or {"default": ""}


def kafka() -> dict:
    """The section `kafka` of `config.d/*.xml`, with what is taken from the environment."""
    found = {}
    for file in sorted((ETC / "config.d").glob("*.xml")):
        for setting in ET.parse(file).getroot().iterfind("./kafka/*"):
            variable = setting.get("from_env")
            found[setting.tag] = os.environ[variable] if variable else (setting.text or "")
    return found


def log_in_at_kafka() -> None:
    """The engine's Kafka client has neither TLS nor SCRAM: a process beside it does both."""
    settings = kafka()
    if "security_protocol" not in settings:
        return
    wanted = {"security_protocol": "sasl_ssl", "sasl_mechanism": "SCRAM-SHA-512"}
    if any(settings.get(key) != value for key, value in wanted.items()):
        raise ValueError(f"the stand-in knows {wanted} only")
    arguments = [settings["ssl_ca_location"], settings["sasl_username"], *os.environ["STANDIN_KAFKA"].split()]
    environment = {**os.environ, "KAFKA_PASSWORD": settings["sasl_password"]}
    subprocess.Popen(["python3", "-B", "/kafka_tls.py", "9093", *arguments], env=environment)


def main() -> int:
    data = Path("/var/lib/clickhouse")
    if os.getuid() == 0:
        for path in (data, *data.iterdir()):
            os.chown(path, 101, 101)
        os.setgroups([])
        os.setgid(101)
        os.setuid(101)
    log_in_at_kafka()
    handle, path = tempfile.mkstemp()
    with os.fdopen(handle, "w") as file:
        json.dump(users(), file)
    server.HOST = "0.0.0.0"
    sys.argv = ["server.py", "--port", "8123", "--data-dir", str(data), "--users-file", path]
    return server.main()


if __name__ == "__main__":
    sys.exit(main())
