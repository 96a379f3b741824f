using Superserve.Core.StandIns;

namespace Superserve.Core.Tests.StandIns;

/// <summary>Variables that no secret may have.</summary>
public sealed class ReservedVariablesTests
{
    [Theory]
    [InlineData("HTTPS_PROXY")]
    [InlineData("https_proxy")]
    [InlineData("PATH")]
    [InlineData("LD_PRELOAD")]
    [InlineData("SSL_CERT_FILE")]
    [InlineData("NODE_EXTRA_CA_CERTS")]
    [InlineData("JAVA_TOOL_OPTIONS")]
    public void What_decides_how_programs_run_or_whom_they_trust_is_reserved(string name)
    {
        Assert.True(ReservedVariables.Holds(name));
        Assert.StartsWith(name + " decides how programs run", ReservedVariables.Refusal(name), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("API_KEY")]
    [InlineData("PATHS")]
    [InlineData("MY_LD_PRELOAD")]
    [InlineData("HTTPS_PROXY_TOKEN")]
    public void Other_names_are_free(string name) => Assert.False(ReservedVariables.Holds(name));
}
