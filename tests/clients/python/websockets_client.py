"""The package websockets: texts and bytes of several sizes, a ping, and a close that both sides say."""
import asyncio
import os

import websockets


async def main():
    async with websockets.connect("wss://api.example.com/live", extra_headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]}) as socket:
        for message in ("hello", "x" * 70000, bytes(300)):
            await socket.send(message)
            print(len(await socket.recv()))
        await (await socket.ping())
    print(socket.close_code, socket.close_reason)


asyncio.run(main())
