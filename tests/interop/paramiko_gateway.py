"""paramiko against the gateway of a demo: a key that is refused, one that is taken, a command, and a file over SFTP.

Usage: paramiko_gateway.py --demo BINARY
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading

import paramiko
from paramiko.transport import ServiceRequestingTransport

# The demo builds its space's SSH server, starts Postgres and waits until ssh works.
READY = 120


def address(folder):
    """What the demo's ssh configuration says of its host `demo`."""
    config = paramiko.SSHConfig.from_path(os.path.join(folder, "target/demo/ssh_config"))
    host = config.lookup("demo")
    return host["hostname"], int(host["port"]), host["user"], host["identityfile"][0]


def work(folder):
    """Two keys on one connection, of which the second is known; then what people do."""
    host, port, user, file = address(folder)
    # Each attempt asks for the service anew otherwise, and the gateway's library hears only the first (RFC 4252
    # section 5 wants one request).
    transport = ServiceRequestingTransport((host, port))
    try:
        transport.start_client(timeout=30)
        try:
            transport.auth_publickey(user, paramiko.ECDSAKey.generate())
            sys.exit("paramiko: a key that nobody knows was taken")
        except paramiko.AuthenticationException:
            pass
        transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(file))
        channel = transport.open_session(timeout=30)
        channel.exec_command("cat; exit 7")
        channel.sendall(b"from paramiko")
        channel.shutdown_write()
        echoed = channel.makefile("rb").read()
        status = channel.recv_exit_status()
        if (echoed, status) != (b"from paramiko", 7):
            sys.exit(f"paramiko: the command gave {echoed!r} and {status}")
        with paramiko.SFTPClient.from_transport(transport) as sftp:
            path = sftp.normalize(".") + "/from-paramiko"
            with sftp.open(path, "wb") as remote:
                remote.write(b"x" * 1_000_000)
            size = sftp.stat(path).st_size
            sftp.remove(path)
        if size != 1_000_000:
            sys.exit(f"paramiko: {size} bytes arrived")
    finally:
        transport.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--demo", required=True)
    demo = os.path.abspath(parser.parse_args().demo)
    with tempfile.TemporaryDirectory(prefix="spaceport-paramiko-") as folder:
        # The private Postgres drops root and must reach its data below this folder.
        os.chmod(folder, 0o755)
        running = subprocess.Popen([demo], cwd=folder, stdout=subprocess.PIPE, text=True)
        late = threading.Timer(READY, running.kill)
        late.start()
        try:
            for line in running.stdout:
                if "Spaceport is up" in line:
                    break
            else:
                sys.exit("the demo did not start")
            late.cancel()
            work(folder)
        finally:
            late.cancel()
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)
    print("paramiko signs in, runs a command and moves a file")


if __name__ == "__main__":
    main()
