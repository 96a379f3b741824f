"""Python's own urllib. usage: urllib_client.py [strict]; strict checks certificates as Python 3.13 does by default."""
import os
import ssl
import sys
import urllib.request

context = ssl.create_default_context()
if sys.argv[1:] == ["strict"]:
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def ask(path, body=None):
    request = urllib.request.Request("https://api.example.com" + path, body, {"Authorization": "Bearer " + os.environ["API_TOKEN"]})
    return urllib.request.urlopen(request, context=context)


body = os.urandom(3 << 20)
with ask("/hello") as answer:
    print(answer.read().decode())

with ask("/echo", body) as answer:
    back = answer.read()
    print(len(back), "same" if back == body else "other")

with ask("/events") as answer:
    events = (line.decode().strip() for line in answer if line.strip())
    print(next(events))
    ask("/release").close()
    print(next(events))
