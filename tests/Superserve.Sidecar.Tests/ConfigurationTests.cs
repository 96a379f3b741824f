using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Superserve.Core.Secrets;
using Superserve.Sidecar.Commands;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Tests.Fixture;
using Superserve.Testing;

namespace Superserve.Sidecar.Tests;

/// <summary>Each mistake in the file is answered with the field's path and what to change.</summary>
public sealed class ConfigurationTests
{
    private const string Good = """
        {
          // Comments are welcome,
          "sandbox": "demo", "trustDirectory": "trust", "eventsFile": "events.jsonl",
          "secrets": [
            {"env": "ONE", "name": "one", "valueFile": "one", "hosts": ["api.one.test"], "auth": {"type": "bearer"}},
            {"env": "TWO", "name": "two", "valueFile": "two", "provider": "github", "standIn": "stand-in-0123456789"},
          ], // and so are trailing commas.
          "network": {"allowOut": ["a.test", "b.test"], "denyOut": ["0.0.0.0/0"], "mode": "Enforce"},
          "upstream": {"hosts": {"api.one.test": "127.0.0.1:1"}},
        }
        """;

    [Theory]
    [InlineData("""{}""", null)]
    [InlineData("""{"network": {}}""", null)]
    [InlineData("""{"network": {"allowIn": []}}""", "")]
    [InlineData("""{"network": {"allowIn": [8888, 80, 8888]}}""", "80,8888")]
    public async Task The_ports_that_others_may_connect_to_are_in_the_snapshot(string json, string? ports)
    {
        Setup setup = new();
        foreach ((string name, JsonNode? value) in JsonNode.Parse(json)!.AsObject()) setup.Json[name] = value!.DeepClone();
        await using TestSidecar sidecar = await TestSidecar.StartAsync(setup);
        Assert.Equal(ports, sidecar.App.Services.GetRequiredService<ISnapshotSource>().Current.AllowIn is { } allowed ? string.Join(',', allowed) : null);
    }

    private static List<SpecError> Errors(string json)
    {
        List<SpecError> errors = [];
        bool read = ConfigurationReader.TryParse(Encoding.UTF8.GetBytes(json), "/etc/superserve", errors, out LocalConfiguration? configuration);
        Assert.Equal(read, errors.Count == 0);
        Assert.Equal(read, configuration is not null);
        return errors;
    }

    [Fact]
    public void A_good_file_is_read_and_relative_paths_are_relative_to_it()
    {
        List<SpecError> errors = [];
        Assert.True(ConfigurationReader.TryParse(Encoding.UTF8.GetBytes(Good), "/etc/superserve", errors, out LocalConfiguration? configuration));
        Assert.Empty(errors);
        Assert.Equal("/etc/superserve/trust", configuration.Options.TrustDirectory);
        Assert.Equal("127.0.0.1:16002", configuration.Options.ProxyAddress.ToString());
        Assert.Equal(2, configuration.Secrets.Length);
        Assert.Equal(Superserve.Core.Snapshots.Interception.All, configuration.Interception);
    }

    /// <summary>A field of the good file, another value in its place, the path that is named, the gist.</summary>
    public static TheoryData<string, string, string, string> Mistakes => new()
    {
        { "sandbx", "\"demo\"", "sandbx", "no such field" },
        { "secrets[0].hots", "[]", "secrets[0].hots", "no such field" },
        { "secrets[1].Env", "\"X\"", "secrets[1].Env", "no such field" },
        { "secrets[0].auth.typo", "\"x\"", "secrets[0].auth.typo", "no such field" },
        { "secrets[0].rules", """[{"method": ["GET"]}]""", "secrets[0].rules[0].method", "no such field" },
        { "secrets[0].auth", """{"perHost": [{"host": ["a.test"]}]}""", "secrets[0].auth.perHost[0].host", "no such field" },
        { "network.allow", "[]", "network.allow", "no such field" },
        { "upstream.host", "{}", "upstream.host", "no such field" },
        { "sandbox", "1", "sandbox", "wrong type" },
        { "secrets", "{}", "secrets", "wrong type" },
        { "secrets[0].hosts", "\"api.one.test\"", "secrets[0].hosts", "wrong type" },
        { "secrets[0].hosts[0]", "1", "secrets[0].hosts[0]", "wrong type" },
        { "secrets[0].allowSetCookie", "\"yes\"", "secrets[0].allowSetCookie", "wrong type" },
        { "secrets[0].env", "\"HTTPS_PROXY\"", "secrets[0].env", "cannot hold a stand-in" },
        { "secrets[0].env", "\"LD_PRELOAD\"", "secrets[0].env", "cannot hold a stand-in" },
        { "secrets[0].env", "\"SSL_CERT_FILE\"", "secrets[0].env", "cannot hold a stand-in" },
        { "stateDirectory", "\"trust/state\"", "stateDirectory", "outside of trustDirectory" },
        { "network.allowIn", "\"80\"", "network.allowIn", "wrong type" },
        { "network.allowIn", "[80, 0]", "network.allowIn[1]", "write 1 to 65535" },
        { "network.allowIn", "[65536]", "network.allowIn[0]", "write 1 to 65535" },
        { "network.allowIn", "[80, \"x\"]", "network.allowIn[1]", "wrong type" },
        { "network.mode", "\"Off\"", "network.mode", "write one of Enforce, LogOnly" },
        { "interception", "\"None\"", "interception", "write one of BoundHosts, All" },
        { "audit", "\"Maybe\"", "audit", "write one of BestEffort, Required" },
        { "upstream.connectTimeoutSeconds", "1.5", "upstream.connectTimeoutSeconds", "wrong type" },
        { "upstream.hosts['api.one.test']", "1", "upstream.hosts['api.one.test']", "wrong type" },
        { "sandbox", "null", "sandbox", "name the sandbox" },
        { "sandbox", "\"Demo Box\"", "sandbox", "name the sandbox" },
        { "trustDirectory", "\"\"", "trustDirectory", "name the directory" },
        { "proxyAddress", "\"0.0.0.0:16002\"", "proxyAddress", "loopback alone" },
        { "proxyAddress", "\"[::]:16002\"", "proxyAddress", "loopback alone" },
        { "proxyAddress", "\"10.0.0.1:16002\"", "proxyAddress", "loopback alone" },
        { "proxyAddress", "\"127.0.0.1\"", "proxyAddress", "an address and a port" },
        { "proxyAddress", "\"localhost:16002\"", "proxyAddress", "an address and a port" },
        { "healthAddress", "\"127.0.0.1:0\"", "healthAddress", "an address and a port" },
        { "metricsAddress", "\"127.0.0.1:65536\"", "metricsAddress", "an address and a port" },
        { "eventsFile", "null; audit", "audit", "set eventsFile" },
        { "secrets[0].env", "null", "secrets[0].env", "name the environment variable" },
        { "secrets[0].env", "\"1KEY\"", "secrets[0].env", "name the environment variable" },
        { "secrets[0].env", "\"KEY=1\"", "secrets[0].env", "name the environment variable" },
        { "secrets[0].env", "\"KEY\\n\"", "secrets[0].env", "name the environment variable" },
        { "secrets[1].env", "\"ONE\"", "secrets[1].env", "has a secret already" },
        { "secrets[0].name", "null", "secrets[0].name", "name the secret" },
        { "secrets[0].name", "\"one\\n\"", "secrets[0].name", "name the secret" },
        { "secrets[0].valueFile", "null", "secrets[0].valueFile", "name the file" },
        { "secrets[0].standIn", "\"short\"", "secrets[0].standIn", "16 to 512" },
        { "secrets[0].standIn", "\"has a space in it, and is long\"", "secrets[0].standIn", "letters, digits" },
        { "secrets[0].standIn", "\"stand-in-0123456789\"", "secrets[1].standIn", "another secret" },
        { "secrets[0].provider", "\"github\"", "secrets[0].auth", "exclude each other" },
        { "secrets[1].hosts", "[\"api.github.com\"]", "secrets[1].hosts", "brings its own hosts" },
        { "secrets[1].provider", "\"githb\"", "secrets[1].provider", "github" },
        { "secrets[1].provider", "null", "secrets[1]", "neither provider nor auth" },
        { "secrets[1].tenant", "\"acme\"", "secrets[1].tenant", "same hosts for everybody" },
        { "secrets[1].provider", "\"jira\"", "secrets[1].tenant", "host per tenant" },
        { "secrets[0].tenant", "\"acme\"", "secrets[0].tenant", "only a provider" },
        { "secrets[0].auth", """{"perHost": [{"hosts": ["a.test"], "type": "bearer"}]}""", "secrets[0].hosts", "exclude each other" },
        { "secrets[0].hosts", "null", "secrets[0].hosts", "no host is named" },
        { "secrets[0].hosts[0]", "\"https://api.one.test\"", "secrets[0].hosts[0]", "with a scheme" },
        { "secrets[0].hosts[0]", "\"api.one.test/v1\"", "secrets[0].hosts[0]", "without scheme" },
        { "secrets[0].hosts[0]", "\"api.one.test:0\"", "secrets[0].hosts[0]", "valid port" },
        { "secrets[0].hosts[0]", "\"API.one.test\"", "secrets[0].hosts[0]", "lower case" },
        { "secrets[0].hosts[0]", "\"10.0.0.1\"", "secrets[0].hosts[0]", "is an address" },
        { "secrets[0].hosts[0]", "\"localhost\"", "secrets[0].hosts[0]", "single label" },
        { "secrets[0].hosts[0]", "\"*.com\"", "secrets[0].hosts[0]", "too wide" },
        { "secrets[0].hosts[0]", "\"*.co.uk\"", "secrets[0].hosts[0]", "too wide" },
        { "secrets[0].hosts[0]", "\"*.supabase.co\"", "secrets[0].hosts[0]", "too wide" },
        { "secrets[0].hosts[0]", "\"api.*.test\"", "secrets[0].hosts[0]", "first label" },
        { "secrets[0].hosts", """["api.one.test", "*.one.test"]""", "secrets[0].hosts[1]", "overlaps" },
        { "secrets[0].auth.type", "\"digest\"", "secrets[0].auth.type", "write one of bearer" },
        { "secrets[0].auth.header", "\"X-Key\"", "secrets[0].auth.header", "remove it" },
        { "secrets[0].auth", """{"type": "api-key"}""", "secrets[0].auth.header", "name of its header" },
        { "secrets[0].auth", """{"type": "api-key", "header": "Transfer-Encoding"}""", "secrets[0].auth.header", "cannot hold a credential" },
        { "secrets[0].auth", """{"type": "api-key", "header": "X Key"}""", "secrets[0].auth.header", "not a header name" },
        { "secrets[0].auth", """{"type": "api-key", "header": "X-Key", "prefix": "a\r\nb"}""", "secrets[0].auth.prefix", "control character" },
        { "secrets[0].auth", """{"type": "basic", "username": "a:b"}""", "secrets[0].auth.username", "no ':'" },
        { "secrets[0].auth", """{"type": "custom", "headers": {"X-A": "constant"}}""", "secrets[0].auth.headers", "no header holds" },
        { "secrets[0].auth", """{"type": "custom", "headers": {"Host": "{{ value }}"}}""", "secrets[0].auth.headers[Host]", "cannot hold a credential" },
        { "secrets[0].auth", """{"type": "query", "parameter": "a&b"}""", "secrets[0].auth.parameter", "letters, digits" },
        { "secrets[0].auth", """{"type": "path", "prefix": "/bot"}""", "secrets[0].auth.prefix", "no place for the credential" },
        { "secrets[0].rules", "[]", "secrets[0].rules", "write 1 to" },
        { "secrets[0].rules", """[{"methods": ["get"]}]""", "secrets[0].rules[0].methods[0]", "upper-case" },
        { "secrets[0].rules", """[{"paths": ["/a/../b"]}]""", "secrets[0].rules[0].paths[0]", "dot segments" },
        { "network.denyOut", """["a.test", "b.test", "c.test", "10.0.0.1/8"]""", "network.denyOut[3]", "bits behind its prefix" },
        { "network.allowOut[1]", "\"http://a.test\"", "network.allowOut[1]", "neither a CIDR nor a domain" },
        { "network.allowOut[0]", "\"*.com\"", "network.allowOut[0]", "too wide" },
        { "network.allowOut[0]", "\"010.0.0.1\"", "network.allowOut[0]", "not an address" },
        { "network.denyOut[0]", "\"::ffff:10.0.0.0/104\"", "network.denyOut[0]", "10.0.0.0/8" },
        { "passthrough", "[\"x.test\", \"*.one.test\"]", "passthrough[1]", "the secret one is bound to" },
        { "passthrough", "[\"api.github.com\"]", "passthrough[0]", "the secret two is bound to" },
        { "passthrough", "[\"*.com\"]", "passthrough[0]", "too wide" },
        { "upstream.hosts['api.one.test']", "\"localhost:1\"", "upstream.hosts['api.one.test']", "an address and a port" },
        { "upstream.hosts['API.test']", "\"127.0.0.1:1\"", "upstream.hosts['API.test']", "lower case" },
        { "upstream.connectTimeoutSeconds", "0", "upstream.connectTimeoutSeconds", "1 to 86400" },
        { "upstream.idleTimeoutSeconds", "86401", "upstream.idleTimeoutSeconds", "1 to 86400" },
    };

    [Theory, MemberData(nameof(Mistakes))]
    public void A_mistake_is_named_with_its_path(string field, string value, string path, string gist)
    {
        JsonNode json = JsonNode.Parse(Good, documentOptions: new() { CommentHandling = System.Text.Json.JsonCommentHandling.Skip, AllowTrailingCommas = true })!;
        if (value == "null; audit")
        {
            json["audit"] = "Required";
            value = "null";
        }

        Set(json, field, JsonNode.Parse(value));
        List<SpecError> errors = Errors(json.ToJsonString());
        Assert.True(errors.Any(error => error.Path == path && error.Message.Contains(gist, StringComparison.Ordinal)), $"{path}: …{gist}… is not in\n{string.Join('\n', errors)}");
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("null", "null")]
    [InlineData("[]", "wrong type")]
    [InlineData("""{"sandbox": "demo", "sandbox": "demo"}""", "stands twice")]
    [InlineData("""{"sandbox": "demo" "trustDirectory": "t"}""", "broken")]
    public void Broken_JSON_is_said_to_be(string json, string gist) => Assert.Contains(gist, Assert.Single(Errors(json)).Message, StringComparison.Ordinal);

    [Fact]
    public void All_mistakes_are_reported_at_once()
    {
        List<SpecError> errors = Errors("""{"sandbox": "X", "proxyAddress": "1", "secrets": [{}, {"env": "1"}], "network": {"allowOut": [""]}}""");
        Assert.Superset(new HashSet<string> { "sandbox", "trustDirectory", "proxyAddress", "secrets[0].env", "secrets[0]", "secrets[1].env", "network.allowOut[0]" }, errors.Select(error => error.Path).ToHashSet());
    }

    [Fact]
    public void No_message_quotes_a_value_that_may_be_a_credential_in_the_wrong_field()
    {
        foreach (string field in (string[])["secrets[0].valueFile", "secrets[0].standIn", "secrets[0].env", "secrets[0].name", "secrets[0].auth.prefix"])
        {
            JsonNode json = JsonNode.Parse(Good, documentOptions: new() { CommentHandling = System.Text.Json.JsonCommentHandling.Skip, AllowTrailingCommas = true })!;
            Set(json, field, "sk real credential");
            Assert.DoesNotContain(Errors(json.ToJsonString()), error => error.Message.Contains("sk real", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void A_file_that_is_not_there_or_too_long_is_said_to_be()
    {
        Setup setup = new();
        UsageException missing = Assert.Throws<UsageException>(() => LocalSidecar.Build(setup.FilePath, Microsoft.Extensions.Logging.LogLevel.None));
        Assert.Contains("cannot be read", missing.Message, StringComparison.Ordinal);
        File.WriteAllText(setup.FilePath, new string(' ', 1024 * 1024 + 1));
        UsageException huge = Assert.Throws<UsageException>(() => LocalSidecar.Build(setup.FilePath, Microsoft.Extensions.Logging.LogLevel.None));
        Assert.Contains("at most 1048576", huge.Message, StringComparison.Ordinal);
        Directory.Delete(setup.Directory, recursive: true);
    }

    private static void Set(JsonNode json, string field, JsonNode? value)
    {
        string[] steps = field.Replace("['", "\n", StringComparison.Ordinal).Replace("']", "", StringComparison.Ordinal).Split('\n') is [var before, var key] ? [.. before.Split('.'), key] : field.Replace("[", ".[", StringComparison.Ordinal).Split('.');
        JsonNode at = json;
        foreach (string step in steps[..^1]) at = step.StartsWith('[') ? at[int.Parse(step.Trim('[', ']'))]! : at[step]!;
        if (steps[^1].StartsWith('[')) at[int.Parse(steps[^1].Trim('[', ']'))] = value;
        else at[steps[^1]] = value;
    }
}
