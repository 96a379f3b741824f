using System.Net;
using System.Text;
using Microsoft.AspNetCore.Http;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>After traffic of every kind, neither a credential nor a stand-in stands anywhere but where it has to.</summary>
public sealed class LeakTests
{
    private const string Host = "api.service.test";
    private const string Basic = "basic.service.test";
    private const string PathHost = "path.service.test";
    private const string Query = "query.service.test";
    private const string Gone = "gone.service.test";
    private const string BadTls = "badtls.service.test";
    private const string Unbound = "unbound.service.test";

    [Fact]
    public async Task Nothing_of_a_credential_or_stand_in_is_in_logs_events_metrics_files_or_refusals()
    {
        Dictionary<string, string> credentials = new()
        {
            ["KEY"] = "Real/Credential+One=0123456789",
            ["BASIC"] = "Real-Credential-Two-0123456789",
            ["PATH_KEY"] = "123456:Real_Credential_Three",
            ["QUERY_KEY"] = "Real-Credential-Four-0123456789",
            ["GONE"] = "Real-Credential-Five-0123456789",
            ["BAD"] = "Real-Credential-Six\n0123456789",
        };
        await using TestService service = await TestService.StartAsync(Host, Basic, PathHost, Query, Unbound);
        await using RawService badTls = RawService.Start(TestAuthority.IssueUntrusted(BadTls));
        service.Answer = async (context, request) =>
        {
            context.Response.Headers["X-Echo"] = request["Authorization"];
            if (request.Target.EndsWith("/abort", StringComparison.Ordinal)) context.Abort();
            else await context.Response.WriteAsync(request.ToString());
        };
        Setup setup = new Setup().Pin(service.Address, Host, Basic, PathHost, Query, Unbound).Pin(badTls.Address, BadTls).Pin(new IPEndPoint(IPAddress.Loopback, FreePort.Next()), Gone)
            .Secret("KEY", credentials["KEY"], $$$"""{"hosts": ["{{{Host}}}", "{{{BadTls}}}", "{{{Gone}}}"], "auth": {"type": "bearer"}}""")
            .Secret("BASIC", credentials["BASIC"], $$$"""{"hosts": ["{{{Basic}}}"], "auth": {"type": "basic", "username": "user"}}""")
            .Secret("PATH_KEY", credentials["PATH_KEY"], $$$"""{"hosts": ["{{{PathHost}}}"], "auth": {"type": "path", "prefix": "/bot{{ value }}/"}}""")
            .Secret("QUERY_KEY", credentials["QUERY_KEY"], $$$"""{"hosts": ["{{{Query}}}"], "auth": {"type": "query", "parameter": "key"}, "rules": [{"paths": ["/ok"]}]}""")
            .Secret("GONE", credentials["GONE"], $$$"""{"hosts": ["x.test"], "auth": {"type": "bearer"}}""")
            .Secret("BAD", credentials["BAD"], $$$"""{"hosts": ["{{{Host}}}"], "auth": {"type": "api-key", "header": "X-Bad"}}""")
            .With("interception", "\"All\"").With("stateDirectory", "\"state\"");
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        IReadOnlyDictionary<string, string> standIns = sidecar.StandIns();
        string key = standIns["KEY"], bearer = "Authorization: Bearer " + key;
        string basic = Convert.ToBase64String(Encoding.ASCII.GetBytes("me:" + standIns["BASIC"]));
        string encoded = string.Concat(key.Select(c => $"%{(int)c:x2}"));

        StringBuilder answers = new();
        foreach ((string host, string request) in new (string, string)[]
        {
            (Host, $"GET /{key} HTTP/1.1\r\n{bearer}"), (Host, $"GET /a HTTP/1.1\r\n{bearer}"), (Host, $"GET /?x={encoded} HTTP/1.1\r\n{bearer}"),
            (Host, $"GET /{encoded}/{key.ToUpperInvariant()} HTTP/1.1"), (Host, $"GET /abort HTTP/1.1\r\n{bearer}"), (Host, $"TRACE / HTTP/1.1\r\n{bearer}"),
            (Host, $"{key} / HTTP/1.1\r\n{bearer}"), (Host, $"GET / HTTP/1.1\r\nX-Other: {key}"), (Host, $"GET / HTTP/1.1\r\nX-Bad: {standIns["BAD"]}"),
            (Basic, $"GET /x HTTP/1.1\r\nAuthorization: Basic {basic}"), (Basic, $"GET /x HTTP/1.1\r\n{bearer}"),
            (PathHost, $"GET /bot{standIns["PATH_KEY"]}/send HTTP/1.1"), (PathHost, $"GET /bot{standIns["PATH_KEY"]}/abort HTTP/1.1"), (PathHost, $"GET /x{standIns["PATH_KEY"]}/send HTTP/1.1"),
            (Query, $"GET /ok?key={standIns["QUERY_KEY"]} HTTP/1.1"), (Query, $"GET /no?key={standIns["QUERY_KEY"]} HTTP/1.1"),
            (BadTls, $"GET / HTTP/1.1\r\n{bearer}"), (Gone, $"GET / HTTP/1.1\r\n{bearer}"), (Unbound, $"GET /{standIns["GONE"]} HTTP/1.1\r\n{bearer}"),
        })
        {
            await using RawClient client = await sidecar.OpenTlsAsync(host);
            await client.SendAsync($"{request}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            string answer = await client.ReadToEndAsync();
            // What the service echoes may hold the stand-in, which the sandbox knows; a refusal holds none.
            answers.Append(answer.Contains("X-Superserve-Proxy-Error", StringComparison.Ordinal) ? answer : answer.Replace(key, "", StringComparison.Ordinal).Replace(basic, "", StringComparison.Ordinal)
                .Replace(key.ToUpperInvariant(), "", StringComparison.Ordinal).Replace(encoded, "", StringComparison.Ordinal)
                .Replace(standIns["PATH_KEY"], "", StringComparison.Ordinal).Replace(standIns["QUERY_KEY"], "", StringComparison.Ordinal)
                .Replace(Convert.ToBase64String(Encoding.ASCII.GetBytes("user:" + standIns["BASIC"])), "", StringComparison.Ordinal));
        }

        foreach (string start in (string[])[$"CONNECT {key}.test:443 HTTP/1.1\r\n\r\n", $"CONNECT {key.ToLowerInvariant().Replace('_', '-')}:443 HTTP/1.1\r\n\r\n", $"GET http://{Host}/{key} HTTP/1.1\r\nHost: {Host}\r\n{bearer}\r\n\r\n", $"GET /{key} HTTP/1.1\r\nHost: x\r\n\r\n", $"{key} garbage\r\n\r\n"])
        {
            await using RawClient client = await sidecar.OpenAsync();
            await client.SendAsync(start);
            client.EndSending();
            string answer = await client.ReadToEndAsync();
            if (answer.StartsWith("HTTP/1.1 200 Connection", StringComparison.Ordinal)) continue;
            // A name that is a stand-in: the answer quotes what the client wrote, and nobody else reads it.
            answers.Append(start.StartsWith("CONNECT", StringComparison.Ordinal) ? "" : answer);
        }

        // Reloads log as well.
        File.Delete(setup.CredentialFile("GONE"));
        setup.Json["secrets"]![0]!["hosts"]![0] = "bad host";
        setup.Save();
        await sidecar.ExchangeAsync(Host, $"GET / HTTP/1.1\r\nHost: {Host}\r\n{bearer}\r\n\r\n");
        await sidecar.LogAsync("stays in force");
        string metrics = await sidecar.MetricsAsync();
        await TestSidecar.WaitAsync(() => sidecar.Events().Count >= 35, () => $"{sidecar.Events().Count} events");
        await sidecar.StopAsync();

        Dictionary<string, string> places = new() { ["log"] = sidecar.Log, ["metrics"] = metrics, ["answers"] = answers.ToString() };
        foreach (string file in Directory.EnumerateFiles(sidecar.Directory, "*", SearchOption.AllDirectories))
            if (!file.EndsWith(".credential", StringComparison.Ordinal) && file != sidecar.InTrust("env")) places[file] = Encoding.Latin1.GetString(await File.ReadAllBytesAsync(file));
        Assert.Contains(places, place => place.Key.EndsWith("events.jsonl", StringComparison.Ordinal) && place.Value.Length > 1000);
        Assert.True(sidecar.Log.Length > 100);

        foreach ((string place, string text) in places)
        {
            foreach ((string env, string secret) in credentials.Concat(standIns))
            {
                foreach (string form in Forms(secret.Split('\n')[0]))
                {
                    int at = text.IndexOf(form, StringComparison.OrdinalIgnoreCase);
                    Assert.True(at < 0, $"{env} is in {place}: {(at < 0 ? "" : text[Math.Max(0, at - 200)..Math.Min(text.Length, at + 200)])}");
                }
            }
        }
    }

    /// <summary>Compared without case, so that lower and upper case are in.</summary>
    private static IEnumerable<string> Forms(string secret)
    {
        yield return secret;
        yield return Uri.EscapeDataString(secret);
        yield return string.Concat(secret.Select(c => $"%{(int)c:x2}"));
        yield return secret.Replace("/", "\\/", StringComparison.Ordinal);
        yield return secret.Replace("+", "\\u002B", StringComparison.Ordinal);
        yield return Convert.ToHexString(Encoding.ASCII.GetBytes(secret));
        // Base64 at each of the three places within a group, without what depends on the neighbours.
        for (int before = 0; before < 3; before++)
        {
            string text = Convert.ToBase64String([.. new byte[before], .. Encoding.ASCII.GetBytes(secret)]);
            yield return text.TrimEnd('=')[4..^4];
            yield return text.TrimEnd('=')[4..^4].Replace('+', '-').Replace('/', '_');
        }
    }
}
