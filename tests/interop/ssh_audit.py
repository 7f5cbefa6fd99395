"""ssh-audit against a gateway's listener: no failure, no warning, post-quantum first, and a rate that it calls safe.

Usage: ssh_audit.py --spaceport BINARY
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

# Nothing listens there: the gateway is ready for connections even if AWS does not answer.
NOWHERE = "http://127.0.0.1:1"
CONFIGURATION = """
data_dir = "{data}"
[ssh]
listen = "127.0.0.1:0"
[ops]
listen = "127.0.0.1:0"
[aws.endpoints]
sagemaker = "{nowhere}"
sts = "{nowhere}"
ssm = "{nowhere}"
pricing = "{nowhere}"
[[domains]]
alias = "main"
id = "d-audit"
account = "111111111111"
region = "us-east-1"
user_role = "arn:aws:iam::111111111111:role/spaceport-user"
"""
# Older clients know no exchange that resists quantum computers; they get these, behind the one that does.
CLASSICAL = {
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
}
NOT_QUANTUM = "does not provide protection against post-quantum attacks"


def ready(gateway, log):
    """The port, once the gateway says that it is ready."""
    limit = time.monotonic() + 60
    while gateway.poll() is None and time.monotonic() < limit:
        for line in log.read_text().splitlines():
            if '"message":"ready"' in line:
                return int(json.loads(line)["ssh.address"].rpartition(":")[2])
        time.sleep(0.1)
    sys.exit(f"the gateway is not ready:\n{log.read_text()}")


def audit(port):
    """What ssh-audit reports."""
    tool = pathlib.Path(sys.executable).parent / "ssh-audit"
    done = subprocess.run([tool, "--json", f"--port={port}", "127.0.0.1"], capture_output=True, text=True, timeout=120)
    try:
        return json.loads(done.stdout)
    except ValueError:
        sys.exit(f"ssh-audit: exit {done.returncode}\n{done.stdout}{done.stderr}")


def faults(report):
    """Everything in a report that must not be there."""
    found = []
    for kind in ("kex", "key", "enc", "mac"):
        for algorithm in report[kind]:
            name, notes = algorithm["algorithm"], algorithm.get("notes", {})
            for level in ("fail", "warn"):
                for note in notes.get(level, []):
                    if not (name in CLASSICAL and note == NOT_QUANTUM):
                        found.append(f"{level}: {kind} {name}: {note}")
    names = {kind: [algorithm["algorithm"] for algorithm in report[kind]] for kind in ("kex", "enc", "mac", "key")}
    if names["kex"][0] != "mlkem768x25519-sha256":
        found.append(f"post-quantum does not come first: {names['kex']}")
    if "kex-strict-s-v00@openssh.com" not in names["kex"]:
        found.append("strict key exchange is off")
    if not names["enc"][0].endswith("-gcm@openssh.com"):
        found.append(f"AES-GCM does not come first: {names['enc']}")
    weak = [name for each in names.values() for name in each if "cbc" in name or name.endswith(("sha1", "ssh-rsa"))]
    found += [f"weak: {name}" for name in weak]
    found += [f"vulnerable: {cve}" for cve in report.get("cves", [])]
    found += [f"note: {note}" for note in report.get("additional_notes", []) if note]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--spaceport", required=True)
    binary = parser.parse_args().spaceport
    with tempfile.TemporaryDirectory(prefix="spaceport-audit-") as folder:
        # The private Postgres drops root and must reach its data below this folder.
        os.chmod(folder, 0o755)
        configuration = pathlib.Path(folder) / "spaceport.toml"
        configuration.write_text(CONFIGURATION.format(data=f"{folder}/data", nowhere=NOWHERE))
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        environment |= {
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SPACEPORT_LOG_FORMAT": "json",
        }
        command = [binary, "serve", "--config", str(configuration)]
        log = pathlib.Path(folder) / "log"
        with log.open("w") as output:
            gateway = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            found = faults(audit(ready(gateway, log)))
        finally:
            gateway.terminate()
            gateway.wait(timeout=60)
    if found:
        sys.exit("ssh-audit:\n  " + "\n  ".join(found))
    print("ssh-audit has nothing to say against the gateway's listener")


if __name__ == "__main__":
    main()
