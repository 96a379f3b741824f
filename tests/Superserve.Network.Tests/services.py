"""Services of the upstream, at each of its addresses: TLS on 443 and 8443, HTTP on 80, one that speaks first on 21, an echo on 7000, DNS on 53.
Prints a line for each thing that it is asked, with the address that it was asked at.

usage: services.py CERTIFICATE KEY ZONE FOLDER
  ZONE    a JSON file, {"name": ["address", ...]}, read for each question
  FOLDER  what is in its files/ is served as it is, what is in its git/ to Git's clients with a password
"""
import base64
import hashlib
import http.server
import ipaddress
import json
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading

certificate, key, zone, folder = sys.argv[1:5]
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
        if self.path.startswith("/git/"):
            self.git(b"")
            return
        if self.headers.get("Upgrade") == "websocket":
            self.repeat_frames()
            return
        body, status = b"ok", 200
        if self.path.startswith("/files/"):
            try:
                with open(folder + self.path, "rb") as file:
                    body = file.read()
            except OSError:
                status = 404
        self.send_response(status)
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

    def git(self, body):
        if "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env={
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": folder, "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "git",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", "")})
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode("latin1").split("\r\n")]
        self.send_response(int(dict(fields).get("Status", "200").split()[0]))
        for name, value in fields + [("Content-Length", str(len(content)))]:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def repeat_frames(self):
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", base64.b64encode(accept).decode())):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            size = head[1] & 127
            extended = self.rfile.read({126: 2, 127: 8}.get(size, 0))
            mask, data = self.rfile.read(4), self.rfile.read(int.from_bytes(extended, "big") if extended else size)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            say("frame", local(self.connection), len(data))
            self.wfile.write(bytes([head[0], size]) + extended + data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        say(self.scheme, local(self.connection), self.headers.get("Host"), self.path, self.headers.get("Authorization", "-"), len(body))
        if self.path.startswith("/git/"):
            self.git(body)
            return
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


for port, handler in ((443, SecureAnswer), (8443, SecureAnswer), (80, Answer), (21, FirstSpeaker), (7000, Echo), (53, Stream)):
    threading.Thread(target=Server(("::", port), handler).serve_forever, daemon=True).start()
threading.Thread(target=Datagrams(("::", 53), Datagram).serve_forever, daemon=True).start()
say("ready")
sys.stdin.read()
