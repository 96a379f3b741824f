"""Services of the upstream, at each of its addresses: TLS on 443 and 8443, HTTP on 80, one that speaks first on 22, an echo on 7000, DNS on 53.
Prints a line for each thing that it is asked, with the address that it was asked at.

usage: services.py CERTIFICATE KEY ZONE    (ZONE: a JSON file, {"name": ["address", ...]}, read for each question)
"""
import http.server
import ipaddress
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading

certificate, key, zone = sys.argv[1:4]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
printing = threading.Lock()


def say(*words):
    with printing:
        print(*words, flush=True)


def local(connection):
    return str(ipaddress.ip_address(connection.getsockname()[0]).ipv4_mapped or connection.getsockname()[0])


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scheme = "http"

    def do_GET(self):
        say(self.scheme, local(self.connection), self.headers.get("Host"), self.path, self.headers.get("Authorization", "-"))
        if self.path.startswith("/bytes/"):
            self.stream(int(self.path.removeprefix("/bytes/")))
            return
        if self.path == "/slow":
            self.drip()
            return
        body = b"ok"
        self.send_response(200)
        if self.path == "/close":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        block = bytes(1 << 20)
        while length > 0:
            length -= self.wfile.write(block[:min(length, len(block))])

    def drip(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"1\r\n.\r\n")
                threading.Event().wait(0.1)
        except OSError:
            say("cut", local(self.connection), self.path)
            self.close_connection = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        say(self.scheme, local(self.connection), self.headers.get("Host"), self.path, self.headers.get("Authorization", "-"), len(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class SecureAnswer(Answer):
    scheme = "https"

    def setup(self):
        self.request = tls.wrap_socket(self.request, server_side=True)
        super().setup()


class FirstSpeaker(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"220 hello\r\n")
        data = self.request.recv(1000)
        say("first", local(self.request), data.decode("latin1").strip() or "-")
        self.request.sendall(b"bye " + data)


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            say("echo", local(self.request), data[:200].decode("latin1").strip())
            self.request.sendall(data)


def answer(query):
    name, at = [], 12
    while query[at]:
        name.append(query[at + 1:at + 1 + query[at]].decode("latin1"))
        at += 1 + query[at]
    kind = struct.unpack("!H", query[at + 1:at + 3])[0]
    question = query[12:at + 5]
    text = ".".join(name)
    say("dns", text, kind)
    with open(zone) as file:
        addresses = json.load(file).get(text.lower())
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 5, len(packed)) + packed
        for packed in (ipaddress.ip_address(address).packed for address in addresses or [])
        if len(packed) == {1: 4, 28: 16}.get(kind))
    count = len(records) // (12 + {1: 4, 28: 16}.get(kind, 1)) if records else 0
    return query[:2] + struct.pack("!HHHHH", 0x8180 | (0 if addresses is not None else 3), 1, count, 0, 0) + question + records


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, sender = self.request
        sender.sendto(answer(data), self.client_address)


class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        length = struct.unpack("!H", self.request.recv(2))[0]
        reply = answer(self.request.recv(length))
        self.request.sendall(struct.pack("!H", len(reply)) + reply)


class Both:
    address_family = socket.AF_INET6
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


class Server(Both, socketserver.ThreadingTCPServer):
    def handle_error(self, request, client_address):
        pass


class Datagrams(Both, socketserver.ThreadingUDPServer):
    pass


for port, handler in ((443, SecureAnswer), (8443, SecureAnswer), (80, Answer), (22, FirstSpeaker), (7000, Echo), (53, Stream)):
    threading.Thread(target=Server(("::", port), handler).serve_forever, daemon=True).start()
threading.Thread(target=Datagrams(("::", 53), Datagram).serve_forever, daemon=True).start()
say("ready")
sys.stdin.read()
