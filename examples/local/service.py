"""A TLS service for the demo: it writes down what authenticates each request, and answers 200.

usage: service.py [ADDRESS:]PORT CERTIFICATE KEY LOG
"""
import http.server
import ssl
import sys

address, _, port = sys.argv[1].rpartition(":")
certificate, key, log = sys.argv[2:5]


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        seen = self.headers.get("x-api-key") or self.headers.get("Authorization") or "nothing"
        with open(log, "a", encoding="latin1") as lines:
            lines.write(f"{self.headers['Host']} {self.path} {seen}\n")
        body = f"you sent: {seen}\n".encode("latin1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
server = http.server.ThreadingHTTPServer((address or "127.0.0.1", int(port)), Service)
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
