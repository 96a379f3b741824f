using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Superserve.ApiServer.Authentication;

/// <summary>People and programs with a bearer token of their own.</summary>
internal sealed class Users
{
    private readonly ConcurrentDictionary<string, UserInfo> _byToken = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _tokens = new(StringComparer.Ordinal);

    /// <summary>Adds a user, or gives one other groups; the token stays.</summary>
    public string Add(string name, IEnumerable<string> groups)
    {
        string token = _tokens.GetOrAdd(name, _ => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24)));
        _byToken[token] = UserInfo.Of(name, groups);
        return token;
    }

    public UserInfo? Find(string token) => _byToken.GetValueOrDefault(token);

    public string? TokenOf(string name) => _tokens.GetValueOrDefault(name);
}
