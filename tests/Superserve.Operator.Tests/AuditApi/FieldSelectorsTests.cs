using System.Net;
using Superserve.Operator.AuditApi;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.Tests.AuditApi;

/// <summary>Field selectors, which the API server passes on unread.</summary>
public sealed class FieldSelectorsTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 4, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("secret=anthropic", Field.Secret, "anthropic", false)]
    [InlineData("secret==anthropic", Field.Secret, "anthropic", false)]
    [InlineData("secret!=anthropic", Field.Secret, "anthropic", true)]
    [InlineData("sandbox=agent-0", Field.Sandbox, "agent-0", false)]
    [InlineData("host=API.Example.com", Field.Host, "api.example.com", false)]
    [InlineData("statusClass=4xx", Field.StatusClass, "4xx", false)]
    [InlineData("statusClass!=error", Field.StatusClass, "error", true)]
    [InlineData("verdict=blocked", Field.Verdict, "blocked", false)]
    [InlineData(@"sandbox=a\,b\=c\\d", Field.Sandbox, @"a,b=c\d", false)]
    public void A_term_is_a_filter(string text, Field field, string value, bool negated) =>
        Assert.Equal([new Filter { Field = field, Value = value, Negated = negated }], Read(text).Filters);

    [Fact]
    public void All_terms_count_and_empty_ones_do_not()
    {
        FieldSelectors selectors = Read(",secret=a,,secret!=b,since=1h,metadata.namespace=agents,");
        Assert.Equal(["a", "b"], selectors.Filters.Select(filter => filter.Value));
        Assert.Equal(Now.AddHours(-1), selectors.Since);
        Assert.Equal(["agents"], selectors.Namespaces);
    }

    [Theory]
    [InlineData("since=90s", "2026-03-04T11:58:30Z")]
    [InlineData("since=30m", "2026-03-04T11:30:00Z")]
    [InlineData("since=12h", "2026-03-04T00:00:00Z")]
    [InlineData("since=7d", "2026-02-25T12:00:00Z")]
    [InlineData("since=2w", "2026-02-18T12:00:00Z")]
    [InlineData("since=999999999w", "1970-01-01T00:00:00Z")]
    [InlineData("since=2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z")]
    [InlineData("since=2026-03-01T01:00:00.250+01:00", "2026-03-01T00:00:00.250Z")]
    // Of several the narrowest.
    [InlineData("since=2h,since=1h", "2026-03-04T11:00:00Z")]
    public void A_time_is_RFC_3339_or_how_long_ago(string text, string since) =>
        Assert.Equal(DateTimeOffset.Parse(since, System.Globalization.CultureInfo.InvariantCulture), Read(text).Since);

    [Fact]
    public void A_name_is_one_row() => Assert.Equal("r00001", Read("metadata.name=r00001").Name);

    [Theory]
    [InlineData("colour=red", "there is no field \"colour\"")]
    [InlineData("kind=dns", "there is no field \"kind\"")]
    [InlineData("Secret=a", "there is no field \"Secret\"")]
    [InlineData("secret", "has no =")]
    [InlineData("secret=", "is empty")]
    [InlineData("=a", "there is no field \"\"")]
    [InlineData("statusClass=404", "one of 2xx, 3xx, 4xx, 5xx, error")]
    [InlineData("verdict=denied", "one of allowed, blocked, failed")]
    [InlineData("since!=1h", "cannot be used with !=")]
    [InlineData("before!=1h", "cannot be used with !=")]
    [InlineData("metadata.name!=a", "cannot be used with !=")]
    [InlineData("since=yesterday", "30m, 12h or 7d")]
    [InlineData("since=-1h", "30m, 12h or 7d")]
    [InlineData("since=1y", "30m, 12h or 7d")]
    [InlineData("since=2026-03-01", "30m, 12h or 7d")]
    [InlineData("since=2026-13-01T00:00:00Z", "30m, 12h or 7d")]
    [InlineData("since=1900-01-01T00:00:00Z", "30m, 12h or 7d")]
    [InlineData("since=1h,before=2h", "nothing lies between")]
    [InlineData("metadata.name=a,secret=b", "names one row")]
    [InlineData("metadata.name=a,since=1h", "names one row")]
    [InlineData("metadata.name=A/b", "is no name")]
    [InlineData(@"secret=a\", "backslash")]
    [InlineData(@"secret=a\n", "backslash")]
    [InlineData("secret=a=b", "without a backslash")]
    [InlineData("secret=a\u0000", "control character")]
    [InlineData("secret=a\u001b[2J", "control character")]
    public void What_cannot_be_used_is_refused_with_what_can(string text, string words)
    {
        AuditApiException refusal = Assert.Throws<AuditApiException>(() => Read(text));
        Assert.Equal(HttpStatusCode.BadRequest, refusal.Code);
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("secret, sandbox, host, statusClass, verdict (with = and !=), since, before, metadata.name and metadata.namespace (with =)", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(refusal.Message, char.IsControl);
    }

    [Fact]
    public void Terms_and_values_are_bounded()
    {
        Assert.Contains("16 terms", Assert.Throws<AuditApiException>(() => Read(string.Join(',', Enumerable.Repeat("secret=a", 17)))).Message, StringComparison.Ordinal);
        Assert.Contains("253", Assert.Throws<AuditApiException>(() => Read("secret=" + new string('a', 254))).Message, StringComparison.Ordinal);
        Assert.Contains("4096", Assert.Throws<AuditApiException>(() => Read("secret=" + new string('a', 5000))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Each_resource_has_its_own_fields()
    {
        Assert.Equal(Field.Kind, Assert.Single(FieldSelectors.Read(NetworkEvents.Resource, "kind=dns", Now).Filters).Field);
        Assert.Throws<AuditApiException>(() => FieldSelectors.Read(NetworkEvents.Resource, "secret=a", Now));
    }

    private static FieldSelectors Read(string text) => FieldSelectors.Read(SecretRequests.Resource, text, Now);
}
