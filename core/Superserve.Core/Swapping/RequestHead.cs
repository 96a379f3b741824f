namespace Superserve.Core.Swapping;

/// <summary>One header field; values are Latin-1 text, one character for one byte.</summary>
public readonly record struct HeaderField(string Name, string Value)
{
    /// <summary>Whether the field has a name, compared without case.</summary>
    public bool Is(string name) => string.Equals(Name, name, StringComparison.OrdinalIgnoreCase);
}

/// <summary>
/// The head of a request as it would be forwarded, hop-by-hop headers (and those that <c>Connection</c> names) already gone.
/// </summary>
/// <param name="method">As sent.</param>
/// <param name="target">Path and query, as sent.</param>
/// <param name="host">The canonical name, or an address's text.</param>
/// <param name="port">The destination's port.</param>
/// <param name="isSecure">Whether it goes out over TLS.</param>
/// <param name="headers">All header fields.</param>
public readonly ref struct RequestHead(
    string method, string target, string host, int port, bool isSecure, ReadOnlySpan<HeaderField> headers)
{
    /// <summary>As sent.</summary>
    public string Method { get; } = method;

    /// <summary>Path and query, as sent.</summary>
    public string Target { get; } = target;

    /// <summary>The canonical name, or an address's text.</summary>
    public string Host { get; } = host;

    /// <summary>The destination's port.</summary>
    public int Port { get; } = port;

    /// <summary>Whether it goes out over TLS.</summary>
    public bool IsSecure { get; } = isSecure;

    /// <summary>All header fields.</summary>
    public ReadOnlySpan<HeaderField> Headers { get; } = headers;
}
