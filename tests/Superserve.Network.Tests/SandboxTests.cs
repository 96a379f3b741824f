using System.Text.Json.Nodes;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>Unmodified clients behind the built sidecar, which know of no proxy: what is permitted works as if it were not there.</summary>
public sealed class SandboxTests
{
    private const string Strict = """{"allowOut": ["free.example.net", "45.83.1.2/32"]}""";

    [Theory]
    [InlineData("--http1.1")]
    [InlineData("--http2")]
    public async Task Curl_authenticates_with_a_credential_that_it_does_not_have(string version)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.ShellAsync($"curl -sS -m 20 {version} https://api.example.com/v1 -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal((0, "ok\n"), (outcome.Status, outcome.Output));
        Assert.EndsWith($"api.example.com /v1 Bearer {Sandbox.Credential}", Assert.Single(sandbox.Reached));
        JsonObject connection = await sandbox.EventAsync("handling", "intercepted");
        Assert.Equal(("api.example.com", "allowed", "bound host"), ((string?)connection["host"], (string?)connection["verdict"], (string?)connection["rule"]));
    }

    [Theory]
    [InlineData("https://free.example.net/", "https 45.83.1.2 free.example.net / -", "tunnelled")]
    [InlineData("https://other.example.net/", "https 2a45:83:1::2 other.example.net / -", "tunnelled")]
    [InlineData("https://free.example.net:8443/", "https 45.83.1.2 free.example.net:8443 / -", "tunnelled")]
    [InlineData("http://free.example.net/", "http 45.83.1.2 free.example.net / -", "http")]
    [InlineData("http://[::ffff:45.83.1.2]/", "http 45.83.1.2 45.83.1.2 / -", "http")]
    [InlineData("http://45.83.1.2/", "http 45.83.1.2 45.83.1.2 / -", "http")]
    [InlineData("https://45.83.1.2/", "https 45.83.1.2 45.83.1.2 / -", "tunnelled")]
    public async Task Other_hosts_are_reached_as_they_are(string url, string reached, string handling)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.ShellAsync($"curl -sS -m 20 {url}");
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("ok\n", outcome.Output);
        Assert.Equal(reached, Assert.Single(sandbox.Reached));
        Assert.Equal("allowed", (string?)(await sandbox.EventAsync("handling", handling))["verdict"]);
    }

    [Fact]
    public async Task Services_that_speak_first_are_not_kept_waiting()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.PythonAsync(
            """
            s = create_connection(('free.example.net', 21), 20); print(s.recv(100)); s.sendall(b'x'); print(s.recv(100))
            s = create_connection(('45.83.1.2', 21), 20); print(s.recv(100)); s.sendall(b'EHLO here\r\n'); print(s.recv(100))
            """);
        Assert.Equal("b'220 hello\\r\\n'\nb'bye x'\nb'220 hello\\r\\n'\nb'bye EHLO here\\r\\n'\n", outcome.Output);
        JsonObject connection = await sandbox.EventAsync("host", "free.example.net", item => (string?)item["kind"] == "connection");
        Assert.Equal((21, Sandbox.Service), ((int)connection["port"]!, (string?)connection["address"]));
    }

    [Fact]
    public async Task Protocols_that_are_neither_TLS_nor_HTTP_pass_in_pieces_of_any_size()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        // As PostgreSQL's clients begin, as Redis's do, a word without an end, and a word that could have begun a request.
        Outcome outcome = await sandbox.PythonAsync(
            """
            for said in (b'\x00\x00\x00\x08\x04\xd2\x16\x2f', b'*1\r\n$4\r\nPING\r\n', b'hello', b'SET me'):
                s = create_connection(('free.example.net', 7000), 20); s.sendall(said); print(s.recv(100) == said)
                for i in range(0, len(said)): s.sendall(said[i:i + 1])
                got = b''
                while len(got) < len(said): got += s.recv(100)
                print(got == said); s.shutdown(SHUT_WR); print(s.recv(1))
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal(string.Concat(Enumerable.Repeat("True\nTrue\nb''\n", 4)), outcome.Output);
    }

    [Fact]
    public async Task A_client_that_has_said_everything_ends_its_side_and_is_answered()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        // It answers at the end of what comes, as finger, whois and `nc -N` have it.
        RunningProgram service = sandbox.Network.StartUpstream(
            """
            l = listen('0.0.0.0', 79); print('ready')
            while True:
                c, _ = l.accept(); got = 0
                while (data := c.recv(65536)): got += len(data)
                c.sendall(b'%d\n' % got + bytes(1000000)); c.close()
            """);
        await service.LineAsync(line => line == "ready", "its being ready");
        Outcome outcome = await sandbox.PythonAsync(
            """
            for said in (b'somebody\r\n', bytes(500000)):
                s = create_connection(('free.example.net', 79), 20); s.sendall(said); s.shutdown(SHUT_WR)
                got = b''
                while (data := s.recv(65536)): got += data
                print(got[:got.index(b'\n')].decode(), len(got))
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("10 1000003\n500000 1000007\n", outcome.Output);
    }

    [Fact]
    public async Task A_hello_of_several_kilobytes_that_comes_byte_by_byte_is_understood()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.PythonAsync(
            """
            import ssl
            for host in ('api.example.com', 'free.example.net'):
                context = ssl.create_default_context(); context.set_alpn_protocols(['http/1.1'] + ['p%0240d' % i for i in range(10)])
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
                s = create_connection((host, 443), 20); s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                first = True
                while True:
                    try: tls.do_handshake(); done = True
                    except ssl.SSLWantReadError: done = False
                    data = outgoing.read()
                    if first: print(len(data) > 2500)
                    for i in range(0, len(data)): s.sendall(data[i:i + 1])
                    first = False
                    if done: break
                    incoming.write(s.recv(65536))
                tls.write(b'GET / HTTP/1.1\r\nHost: ' + host.encode() + b'\r\nConnection: close\r\n\r\n'); s.sendall(outgoing.read())
                while True:
                    try: print(tls.read(100)[:15]); break
                    except ssl.SSLWantReadError: incoming.write(s.recv(65536))
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("True\nb'HTTP/1.1 200 OK'\nTrue\nb'HTTP/1.1 200 OK'\n", outcome.Output);
    }

    [Fact]
    public async Task A_gibibyte_comes_through()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.ShellAsync("curl -sS -m 120 -o /dev/null -w '%{size_download}' https://free.example.net/bytes/1073741824");
        Assert.Equal("1073741824\n", outcome.Output);
    }

    [Fact]
    public async Task Python_asks_without_any_proxy_variable()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.PythonAsync(
            """
            import urllib.request
            print(urllib.request.urlopen(urllib.request.Request('https://api.example.com/', headers={'Authorization': 'Bearer ' + os.environ['API_TOKEN']})).read())
            print(urllib.request.urlopen('http://free.example.net/').read())
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("b'ok'\nb'ok'\n", outcome.Output);
        Assert.Contains($"https {Sandbox.Service} api.example.com / Bearer {Sandbox.Credential}", sandbox.Reached);
    }

    [Fact]
    public async Task Names_that_the_search_list_completes_reach_services_of_the_cluster_that_a_rule_opens()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"allowOut": ["web.agents.svc.cluster.local", "10.83.1.2/32"]}""");
        Outcome outcome = await sandbox.ShellAsync("for url in http://web/ http://web.agents.svc/ http://web.agents.svc.cluster.local/ https://web.agents.svc/; do curl -sS -m 20 $url; done");
        Assert.Equal("okokokok\n", outcome.Output);
        Assert.Equal(["http 10.83.1.2 web / -", "http 10.83.1.2 web.agents.svc / -", "http 10.83.1.2 web.agents.svc.cluster.local / -", "https 10.83.1.2 web.agents.svc / -"], sandbox.Reached);
        Assert.NotNull(await sandbox.EventAsync("host", "web.agents.svc.cluster.local"));
    }

    [Fact]
    public async Task Rules_that_only_log_let_pass_what_they_would_refuse()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"allowOut": ["free.example.net"], "mode": "LogOnly"}""");
        Outcome outcome = await sandbox.ShellAsync("curl -sS -m 20 https://other.example.net/");
        Assert.Equal("ok\n", outcome.Output);
        JsonObject connection = await sandbox.EventAsync("host", "other.example.net", item => (string?)item["kind"] == "connection");
        Assert.Equal(("allowed", true, "strict list"), ((string?)connection["verdict"], (bool)connection["logOnly"]!, (string?)connection["rule"]));
    }

    [Theory]
    [InlineData("free.example.net", true)]
    [InlineData("45.83.1.2", true)]
    [InlineData("45.83.1.66", false)]
    [InlineData("2a45:83:1::2", false)]
    public async Task A_strict_list_opens_other_protocols_by_address_and_by_names_that_its_DNS_resolved(string host, bool passes)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(Strict);
        Outcome outcome = await sandbox.PythonAsync($"s = create_connection(('{host}', 7000), 40); s.sendall(b'opaque\\n'); attempt('got', lambda: s.recv(100))");
        Assert.Equal(passes ? "got did b'opaque\\n'\n" : "got ECONNRESET\n", outcome.Output);
        Assert.Equal(passes ? 1 : 0, sandbox.Reached.Count);
        Assert.Equal(passes ? "allowed" : "blocked", (string?)(await sandbox.EventAsync("port", "7000"))["verdict"]);
    }
}
