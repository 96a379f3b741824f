using Superserve.Core.Secrets;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;
using Superserve.Operator.Secrets;
using Superserve.Operator.Tests.Support;

namespace Superserve.Operator.Tests.Secrets;

/// <summary>What a Superserve Secret is worth.</summary>
public sealed class SecretStateTests
{
    [Fact]
    public void With_a_credential_it_is_ready()
    {
        SecretState state = Some.State(Some.Credential("the-credential\n"));
        Assert.True(state.IsReady);
        Assert.IsType<CredentialState.Available>(state.Credential);
        Assert.Contains("api.example.com", state.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("the-credential", state.Message + state, StringComparison.Ordinal);
    }

    public static TheoryData<string, string, string> Failures => new()
    {
        { "missing", SecretReasons.CredentialMissing, "kubectl create secret generic credentials -n agents" },
        { "forbidden", SecretReasons.CredentialForbidden, "get, list and watch" },
        { "silent", SecretReasons.Pending, "does not answer" },
        { "pending", SecretReasons.Pending, "not been read yet" },
        { "another key", SecretReasons.CredentialKeyMissing, "it has other" },
        { "no key", SecretReasons.CredentialKeyMissing, "it is empty" },
        { "empty", SecretReasons.CredentialInvalid, "is empty" },
        { "too long", SecretReasons.CredentialInvalid, "more than 8192 bytes" },
        { "two lines", SecretReasons.CredentialInvalid, "control character" },
    };

    [Theory]
    [MemberData(nameof(Failures))]
    public void Without_a_credential_it_says_why_and_fails_closed(string what, string reason, string words)
    {
        SecretState state = Some.State(what switch
        {
            "missing" => new CoreSecretLookup.Missing(),
            "forbidden" => new CoreSecretLookup.Unreadable(IsForbidden: true),
            "silent" => new CoreSecretLookup.Unreadable(IsForbidden: false),
            "pending" => new CoreSecretLookup.Pending(),
            "another key" => Some.Credential("x"u8.ToArray(), key: "other"),
            "no key" => new CoreSecretLookup.Found(new CoreSecret { Metadata = Some.Metadata("credentials") }),
            "empty" => Some.Credential(""),
            "too long" => Some.Credential(new string('x', 9 * 1024)),
            _ => Some.Credential("first\nsecond"),
        });
        Assert.Equal(reason, state.Reason);
        Assert.Contains(words, state.Message, StringComparison.Ordinal);
        Assert.False(state.IsReady);
        Assert.Equal(state.Message, Assert.IsType<CredentialState.Unavailable>(state.Credential).Message);
        // Hosts and rules are known all the same, so that a sidecar refuses with this reason and not as a stranger.
        Assert.NotNull(state.Definition);
    }

    [Fact]
    public void A_spec_that_slipped_past_the_webhook_gives_nothing()
    {
        SecretState state = Some.State(Some.Credential("the-credential"), Some.Secret(spec: new SecretResourceSpec
        {
            ValueFrom = new SecretValueSource { SecretKeyRef = new SecretKeyReference { Name = "credentials", Key = "token" } },
            Hosts = ["*.co.uk"],
            Auth = new AuthSpec { Type = "bearer" },
        }));
        Assert.Equal(SecretReasons.InvalidSpec, state.Reason);
        Assert.Null(state.Definition);
        Assert.IsType<CredentialState.Unavailable>(state.Credential);
        Assert.Contains("spec.hosts[0]", state.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_secret_without_a_spec_is_no_fault_of_ours()
    {
        Assert.Equal(SecretReasons.InvalidSpec, Some.State(new CoreSecretLookup.Missing(), new SecretResource { Metadata = Some.Metadata("x") }).Reason);
    }

    [Fact]
    public void A_value_of_which_only_the_beginning_is_kept_is_still_too_long()
    {
        CoreSecret shrunk = CoreSecret.Shrink(new CoreSecret { Metadata = Some.Metadata("credentials"), Data = new Dictionary<string, byte[]> { ["token"] = [.. Enumerable.Repeat((byte)'x', 1_000_000)] } });
        Assert.True(shrunk.Data!["token"].Length < 9000);
        Assert.Equal(SecretReasons.CredentialInvalid, Some.State(new CoreSecretLookup.Found(shrunk)).Reason);
    }

    [Fact]
    public void A_value_of_the_greatest_length_with_its_newline_is_kept_whole()
    {
        CoreSecret shrunk = CoreSecret.Shrink(new CoreSecret { Metadata = Some.Metadata("credentials"), Data = new Dictionary<string, byte[]> { ["token"] = [.. Enumerable.Repeat((byte)'x', Credential.MaxLength), (byte)'\r', (byte)'\n'] } });
        Assert.True(Some.State(new CoreSecretLookup.Found(shrunk)).IsReady);
    }
}
