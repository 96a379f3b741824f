"""gRPC's Python package: each kind of call, trailing metadata, and an error in the trailers. Messages are bytes as they are."""
import os
import queue

import grpc

token = grpc.access_token_call_credentials(os.environ["API_TOKEN"])
channel = grpc.secure_channel("api.example.com:443", grpc.composite_channel_credentials(grpc.ssl_channel_credentials(), token))


def trailing(call):
    return dict(call.trailing_metadata())["answered"]


answer, call = channel.unary_unary("/demo.Echo/Unary").with_call(b"hello")
print("unary", answer.decode(), trailing(call))

call = channel.unary_stream("/demo.Echo/ServerStream")(b"3")
print("server stream", *(message.decode() for message in call), trailing(call))

answer, call = channel.stream_unary("/demo.Echo/ClientStream").with_call(iter([b"one ", b"two ", b"three"]))
print("client stream", answer.decode(), trailing(call))

# The next message goes out when the answer to the one before is there.
messages = queue.SimpleQueue()
call = channel.stream_stream("/demo.Echo/Both")(iter(messages.get, None))
received = []
for message in (b"ping", b"pong", b"x" * 100000):
    messages.put(message)
    received.append("same" if next(call) == message else "other")
messages.put(None)
print("both", *received, *call, trailing(call))

try:
    channel.unary_unary("/demo.Echo/Fail")(b"hello")
except grpc.RpcError as error:
    print("failed", error.code().name, error.details(), trailing(error))
