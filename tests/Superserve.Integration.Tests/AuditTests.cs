using System.Text.Json.Nodes;
using Superserve.Protocol.Audit;
using Superserve.Testing;

namespace Superserve.Integration.Tests;

/// <summary>The audit and the network log, read with kubectl.</summary>
public sealed class AuditTests(TestCluster cluster)
{
    [Fact]
    public async Task Requests_are_a_table_that_says_who_used_what()
    {
        await using TestNamespace ns = await FilledAsync();
        Outcome outcome = await ns.Kubectl.TryAsync("", "get", "secretrequests", "-n", ns.Name);
        Assert.Equal(0, outcome.Status);
        string[] lines = outcome.Output.TrimEnd().Split('\n');
        Assert.Matches("^TIME +SANDBOX +SECRET +METHOD +HOST +PATH +STATUS +ERROR +DURATION$", lines[0]);
        // Newest first.
        Assert.Matches("^[0-9TZ:-]{20} +agent-0 +anthropic +POST +api.anthropic.com +/v1/messages +200 +- +1.2s$", lines[1]);
        Assert.Matches("agent-0 +github +GET +api.example.com +/ +403 +credential_host_mismatch +500us$", lines[2]);
        Assert.Equal(3, lines.Length);
        Assert.Contains("Warning: without since this is the last hour, and at most 1000 rows", outcome.Errors, StringComparison.Ordinal);

        string wide = await ns.RunAsync("get", "ssr", "-o", "wide");
        Assert.Matches("DURATION +ENV +VERDICT +UPSTREAM +SENT +RECEIVED +PROTOCOL +COUNT +NAME", wide);
        Assert.Matches("GITHUB_TOKEN +blocked +- +0 +0 +HTTP/1.1 +12 ", wide);
        Assert.Matches("^NAMESPACE +TIME", await ns.Kubectl.RunAsync("get", "secretrequests", "-A"));
        Assert.Contains(ns.Name, await ns.Kubectl.RunAsync("get", "secretrequests", "-A"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Connections_and_look_ups_are_a_table()
    {
        await using TestNamespace ns = await FilledAsync();
        string[] lines = (await ns.RunAsync("get", "networkevents")).Split('\n');
        Assert.Matches("^TIME +SANDBOX +KIND +HOST +PORT +VERDICT +RULE +ERROR$", lines[0]);
        Assert.Matches("agent-0 +connection +api.anthropic.com +443 +allowed +secret anthropic +-$", lines[1]);
        Assert.Matches("agent-0 +dns +evil.example.com +- +blocked +denyOut 0.0.0.0/0 +-$", lines[2]);
        Assert.Matches("PROTOCOL +ADDRESS +HANDLING +LOG-ONLY +QUERY +RESPONSE", await ns.RunAsync("get", "sne", "-o", "wide"));
        Assert.Equal(2, (await ns.RunAsync("get", "sne", "--field-selector", "kind=dns")).Split('\n').Length);
    }

    [Theory]
    [InlineData("secret=anthropic", "/v1/messages")]
    [InlineData("secret!=anthropic", "/")]
    [InlineData("sandbox=agent-0,statusClass=4xx", "/")]
    [InlineData("statusClass!=4xx", "/v1/messages")]
    [InlineData("verdict=blocked,host=api.example.com", "/")]
    [InlineData("since=5m,before=1s", "/v1/messages /")]
    [InlineData("since=30m", "/v1/messages / /old")]
    [InlineData("since=12h,before=10m", "/old /older")]
    [InlineData("secret=none", "")]
    public async Task Field_selectors_select(string selector, string paths)
    {
        await using TestNamespace ns = await FilledAsync(withOld: true);
        string answer = await ns.RunAsync("get", "secretrequests", "--field-selector", selector.Contains("since", StringComparison.Ordinal) ? selector : selector + ",since=5m", "-o", "jsonpath={.items[*].path}");
        Assert.Equal(paths, answer);
    }

    [Fact]
    public async Task What_cannot_be_selected_is_refused_with_what_can()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        Assert.Contains("there is no field \"colour\"", await ns.Kubectl.FailAsync("", "get", "ssr", "-n", ns.Name, "--field-selector", "colour=red"), StringComparison.Ordinal);
        Assert.Contains("secret, sandbox, host, statusClass, verdict", await ns.Kubectl.FailAsync("", "get", "ssr", "-n", ns.Name, "--field-selector", "since=soon"), StringComparison.Ordinal);
        Assert.Contains("carry no labels", await ns.Kubectl.FailAsync("", "get", "ssr", "-n", ns.Name, "-l", "app=agent"), StringComparison.Ordinal);
        Assert.Contains("cannot be watched", await ns.Kubectl.FailAsync("", "get", "ssr", "-n", ns.Name, "-w"), StringComparison.Ordinal);
        Assert.Contains("neither changed nor deleted", await ns.Kubectl.FailAsync("", "delete", "ssr", "r1", "-n", ns.Name), StringComparison.Ordinal);
        Assert.Contains("No resources found", (await ns.Kubectl.TryAsync("", "get", "ssr", "-n", ns.Name)).Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pages_are_followed_to_the_end_and_without_since_to_a_thousand_rows()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.PodAsync("agent-0", "agent");
        await cluster.Audit.RecordAsync(ns, "agent-0", Enumerable.Range(0, 1200).Select(i => Request(TimeSpan.FromSeconds(i), "github", "/" + i)));
        Assert.Equal(1200, Count(await ns.RunAsync("get", "ssr", "--field-selector", "since=1h", "--chunk-size=500", "-o", "name")));
        Assert.Equal(1200, Count(await ns.RunAsync("get", "ssr", "--field-selector", "since=1h", "--chunk-size=100", "-o", "name")));
        Outcome bounded = await ns.Kubectl.TryAsync("", "get", "ssr", "-n", ns.Name, "--no-headers");
        Assert.Equal(1000, Count(bounded.Output.TrimEnd()));
        Assert.Contains("more rows in this window than the 1000 that are shown", bounded.Errors, StringComparison.Ordinal);

        static int Count(string lines) => lines.Split('\n').Length;
    }

    [Fact]
    public async Task A_row_can_be_read_by_its_name_described_and_explained()
    {
        await using TestNamespace ns = await FilledAsync();
        JsonNode list = JsonNode.Parse(await ns.RunAsync("get", "secretrequests", "-o", "json"))!;
        JsonNode row = list["items"]![0]!;
        string name = (string)row["metadata"]!["name"]!;
        Assert.Equal("agent-0", (string?)row["sandbox"]!["pod"]);
        Assert.True(JsonNode.DeepEquals(row, JsonNode.Parse(await ns.RunAsync("get", "secretrequest", name, "-o", "json"))));
        Assert.Contains("/v1/messages", await ns.RunAsync("describe", "ssr", name), StringComparison.Ordinal);
        Assert.Contains("not found", await ns.Kubectl.FailAsync("", "get", "ssr", "nothing", "-n", ns.Name), StringComparison.Ordinal);
        Assert.Matches("upstreamStatus\\s+<integer>\\s+The HTTP status that the service answered", await ns.Kubectl.RunAsync("explain", "secretrequests"));
        Assert.Contains("The pod's UID", await ns.Kubectl.RunAsync("explain", "secretrequests.sandbox"), StringComparison.Ordinal);
        Assert.Contains("The rule that decided", await ns.Kubectl.RunAsync("explain", "sne.rule"), StringComparison.Ordinal);
        Assert.Matches("secretrequests +ssr +audit.superserve.ai/v1alpha1 +true +SecretRequest", await ns.Kubectl.RunAsync("api-resources"));
    }

    [Fact]
    public async Task Who_is_bound_to_the_viewers_role_may_read_and_nobody_else()
    {
        await using TestNamespace ns = await FilledAsync();
        Assert.Contains("forbidden", await ns.Kubectl.FailAsync("", "get", "ssr", "-n", ns.Name, "--as=ann"), StringComparison.Ordinal);
        await ns.RunAsync("create", "rolebinding", "ann", "--clusterrole=superserve-audit-viewer", "--user=ann");
        Assert.Equal("yes", await ns.RunAsync("auth", "can-i", "list", "secretrequests.audit.superserve.ai", "--as=ann"));
        Assert.Contains("agent-0", await ns.RunAsync("get", "ssr", "--as=ann"), StringComparison.Ordinal);
        Assert.Contains("agent-0", await ns.RunAsync("get", "networkevents", "--as=ann"), StringComparison.Ordinal);
        // There, and there alone; nor does the role view have it, unless a value says so.
        Assert.Contains("forbidden", await ns.Kubectl.FailAsync("", "get", "ssr", "-A", "--as=ann"), StringComparison.Ordinal);
        await ns.RunAsync("create", "rolebinding", "vic", "--clusterrole=view", "--user=vic");
        Assert.Contains("forbidden", await ns.Kubectl.FailAsync("", "get", "ssr", "-n", ns.Name, "--as=vic"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Status_shows_when_a_secret_was_last_used_and_how_often()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-credential");
        await ns.SecretAsync("service");
        await ns.PodAsync("agent-0", "agent");
        RequestRecord used = Request(TimeSpan.FromMinutes(3), "service", "/"), refused = Request(TimeSpan.FromMinutes(1), "service", "/");
        refused.Verdict = Verdict.Blocked;
        await cluster.Audit.RecordAsync(ns, "agent-0", [Request(TimeSpan.FromMinutes(9), "service", "/"), used, refused]);
        JsonNode? status = null;
        await Wait.UntilAsync(() => $"status shows the use; it is {status}", async () => (status = (await ns.GetAsync("ssec", "service"))["status"])?["lastUsedAt"] is not null);
        Assert.Equal(DateTimeOffset.UnixEpoch.AddSeconds(used.Time / 1_000_000), (DateTimeOffset)status!["lastUsedAt"]!);
        Assert.Equal((2, 1, "Ready"), ((int)status["usedCount"]!, (int)status["refusedCount"]!, (string?)status["conditions"]![0]!["reason"]));
        Assert.Matches("LAST USED.*\n.* 3m", await ns.RunAsync("get", "ssec", "service"));
    }

    [Fact]
    public async Task A_namespace_with_rows_goes()
    {
        TestNamespace ns = await FilledAsync();
        await ns.DisposeAsync();
        await Wait.UntilAsync("the namespace is gone", async () => (await ns.Kubectl.TryAsync("", "get", "namespace", ns.Name)).Status != 0);
    }

    /// <summary>A namespace whose one sandbox used two secrets, connected, and looked a name up.</summary>
    private async Task<TestNamespace> FilledAsync(bool withOld = false)
    {
        TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.PodAsync("agent-0", "agent");
        RequestRecord used = Request(TimeSpan.FromSeconds(20), "anthropic", "/v1/messages");
        used.Method = "POST";
        used.Host = "api.anthropic.com";
        used.UpstreamStatus = 200;
        used.DurationMicroseconds = 1_200_000;
        RequestRecord refused = Request(TimeSpan.FromSeconds(40), "github", "/");
        refused.Status = 403;
        refused.Error = "credential_host_mismatch";
        refused.Verdict = Verdict.Blocked;
        refused.Protocol = "HTTP/1.1";
        refused.Count = 12;
        RequestRecord[] old = withOld ? [Request(TimeSpan.FromMinutes(20), "github", "/old"), Request(TimeSpan.FromHours(3), "github", "/older")] : [];
        await cluster.Audit.RecordAsync(ns, "agent-0", [.. old, refused, used],
        [
            new NetworkRecord { Time = Time(TimeSpan.FromSeconds(41)), Kind = "dns", Protocol = "dns", Host = "evil.example.com", Verdict = Verdict.Blocked, Rule = "denyOut 0.0.0.0/0", QueryType = "A" },
            new NetworkRecord { Time = Time(TimeSpan.FromSeconds(21)), Kind = "connection", Protocol = "tcp", Host = "api.anthropic.com", Port = 443, Handling = "intercepted", Verdict = Verdict.Allowed, Rule = "secret anthropic" },
        ]);
        return ns;
    }

    private static RequestRecord Request(TimeSpan ago, string secret, string path) => new()
    {
        Time = Time(ago),
        Uses = { new SecretUse { Secret = secret, Env = $"{secret.ToUpperInvariant()}_TOKEN" } },
        Method = "GET",
        Host = "api.example.com",
        Port = 443,
        Path = path,
        Status = 200,
        DurationMicroseconds = 500,
        Verdict = Verdict.Allowed,
        Protocol = "HTTP/2",
    };

    private static long Time(TimeSpan ago) => (TimeProvider.System.GetUtcNow() - ago - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
}
