"""mitmproxy's part of the benchmark: replaces the token as a request's head arrives."""
import os

TOKEN, CREDENTIAL = (b"Bearer " + os.environb[name] for name in (b"TOKEN", b"CREDENTIAL"))


def requestheaders(flow):
    if flow.request.headers.get(b"authorization") == TOKEN.decode():
        flow.request.headers[b"authorization"] = CREDENTIAL
