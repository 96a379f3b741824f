"""requests, HTTP/1.1."""
import os

import requests

session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["API_TOKEN"]
body = os.urandom(3 << 20)

print(session.get("https://api.example.com/hello").text)

answer = session.post("https://api.example.com/echo", data=(body[at:at + 65536] for at in range(0, len(body), 65536)))
print(len(answer.content), "same" if answer.content == body else "other")

with session.get("https://api.example.com/events", stream=True) as answer:
    events = (line for line in answer.iter_lines(chunk_size=1, decode_unicode=True) if line)
    print(next(events))
    requests.get("https://api.example.com/release", headers=session.headers).raise_for_status()
    print(next(events))
