"""httpx, which the Python packages of LLM vendors are made on. usage: httpx_client.py 1|2"""
import os
import sys

import httpx

body = os.urandom(3 << 20)
with httpx.Client(http2=sys.argv[1] == "2", base_url="https://api.example.com", headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]}) as client:
    print(client.get("/hello").text)

    answer = client.post("/echo", content=(body[at:at + 65536] for at in range(0, len(body), 65536)))
    print(len(answer.content), "same" if answer.content == body else "other")

    with client.stream("GET", "/events") as answer:
        events = (line.strip() for line in answer.iter_lines() if line.strip())
        print(next(events))
        client.get("/release").raise_for_status()
        print(next(events))
