using System.Text;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using static Superserve.Core.Tests.TestSecrets;

namespace Superserve.Core.Tests.Secrets;

public sealed class CredentialTests
{
    [Theory]
    [InlineData("k", "k")]
    [InlineData("key\n", "key")]
    [InlineData("key\r\n", "key")]
    [InlineData("k e  y", "k e  y")]
    [InlineData("clé\u0080\u00ff", "clé\u0080\u00ff")]
    public void A_credential_is_its_bytes_less_one_newline_at_the_end(string stored, string expected)
    {
        Assert.True(Credential.TryCreate(Encoding.Latin1.GetBytes(stored), out Credential? credential, out string? error));
        Assert.Null(error);
        Assert.Equal(Encoding.Latin1.GetBytes(expected), credential.Bytes.ToArray());
    }

    [Theory]
    [InlineData("", "the credential is empty")]
    [InlineData("\n", "the credential is empty")]
    [InlineData("\r\n", "the credential is empty")]
    [InlineData(" key", "the credential begins or ends with a space; store the bare value")]
    [InlineData("key ", "the credential begins or ends with a space; store the bare value")]
    [InlineData("key \n", "the credential begins or ends with a space; store the bare value")]
    [InlineData(" ", "the credential begins or ends with a space; store the bare value")]
    [InlineData("key\n\n", "the credential holds a control character")]
    [InlineData("key\r\n\r\n", "the credential holds a control character")]
    [InlineData("key\n\r\n", "the credential holds a control character")]
    [InlineData("key\r", "the credential holds a control character")]
    [InlineData("\nkey", "the credential holds a control character")]
    [InlineData("a\r\nX-Evil: 1", "the credential holds a control character")]
    [InlineData("a\tb", "the credential holds a control character")]
    [InlineData("a\0", "the credential holds a control character")]
    [InlineData("a\u001fb", "the credential holds a control character")]
    [InlineData("a\u007f", "the credential holds a control character")]
    public void What_is_no_credential_is_refused_without_a_word_of_it(string stored, string expected)
    {
        Assert.False(Credential.TryCreate(Encoding.Latin1.GetBytes(stored), out Credential? credential, out string? error));
        Assert.Null(credential);
        Assert.StartsWith(expected, error);
        Assert.DoesNotContain("key", error.Replace("no PEM file", ""));
    }

    [Fact]
    public void A_credential_has_at_most_8_KiB()
    {
        byte[] longest = [.. Enumerable.Repeat((byte)'k', 8192)];
        Assert.True(Credential.TryCreate(longest, out Credential? credential, out _));
        Assert.Equal(8192, credential.Bytes.Length);
        Assert.True(Credential.TryCreate([.. longest, (byte)'\n'], out _, out _));
        Assert.False(Credential.TryCreate([.. longest, (byte)'k'], out _, out string? error));
        Assert.Equal("the credential has more than 8192 bytes", error);
    }

    [Fact]
    public void A_credential_keeps_its_bytes_when_the_callers_are_cleared()
    {
        byte[] bytes = "key"u8.ToArray();
        Assert.True(Credential.TryCreate(bytes, out Credential? credential, out _));
        bytes.AsSpan().Clear();
        Assert.Equal("key"u8.ToArray(), credential.Bytes.ToArray());
    }

    [Fact]
    public void Nothing_that_holds_a_credential_shows_it()
    {
        CredentialState state = Available(RealA);
        BoundSecret secret = SecretA(BearerAuth);
        Assert.Equal("[credential]", ((CredentialState.Available)state).Credential.ToString());
        foreach (object holder in (object[])[state, secret, secret.Definition, (secret, state)])
            Assert.DoesNotContain(RealA, $"{holder}");
        Assert.Same(CredentialState.Revoked.Instance, CredentialState.Revoked.Instance);
    }
}
