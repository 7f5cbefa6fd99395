"""Opens a stream URL as a client would, with botocore's signature: only the HTTP part, up to the WebSocket's answer."""

import base64
import os
import socket
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials


def signed_headers(url, credentials, region):
    """The headers of a signed GET: host, date, token and authorization."""
    parts = urllib.parse.urlsplit(url)
    # As every signer of stream URLs has it, a plus in the query counts as a space.
    pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    query = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
    request = botocore.awsrequest.AWSRequest("GET", f"http://{parts.netloc}{parts.path}?{query}")
    request.headers["host"] = parts.netloc
    keys = botocore.credentials.Credentials(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
    )
    botocore.auth.SigV4Auth(keys, "ssmmessages", region).add_auth(request)
    return dict(request.headers.items())


def open_status(url, headers=None):
    """The status with which a stream URL answers the request to become a WebSocket."""
    parts = urllib.parse.urlsplit(url)
    target = url.split(parts.netloc, 1)[1]
    lines = [f"GET {target} HTTP/1.1"]
    sent = {name.lower(): value for name, value in (headers or {"host": parts.netloc}).items()}
    sent |= {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
    }
    lines += [f"{name}: {value}" for name, value in sent.items()]
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as stream:
        stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = stream.recv(4096).decode("latin-1")
    return int(answer.split(" ")[1])
