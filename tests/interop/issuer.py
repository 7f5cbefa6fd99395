"""An identity provider on loopback that signs what it is told to."""

import base64
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """Publishes one RSA key under the name `one`."""

    def __init__(self, client):
        self.client = client
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self.key.public_key().public_numbers()
        keys = [{"kid": "one", "kty": "RSA", "use": "sig", "n": number(public.n), "e": number(public.e)}]
        pages = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(pages[self.path]).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.name}"
        pages["/keys"] = {"keys": keys}
        pages["/.well-known/openid-configuration"] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def token(self, key=None, **changes):
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": self.client, "sub": "00u1-anna", "iat": now, "exp": now + 600,
            "https://aws.amazon.com/tags": {"principal_tags": {"gw-owner": ["alice"]}},
            "https://aws.amazon.com/source_identity": "alice",
        } | changes
        header = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        signature = (key or self.key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode(signature)}"

    def forged(self):
        return self.token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
