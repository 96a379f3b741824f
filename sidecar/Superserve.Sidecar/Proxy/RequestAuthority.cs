using Superserve.Core.Hosts;
using Superserve.Core.Swapping;

namespace Superserve.Sidecar.Proxy;

/// <summary>
/// Step 5 of the data path: the one destination of a request. Every place that names a host (the connection's own destination,
/// the TLS hello, Host or :authority, the request target) must name the same one; otherwise a service could be reached under
/// the name of another.
/// </summary>
internal static class RequestAuthority
{
    /// <summary>Finds the destination and the origin-form target; a refusal where the names disagree or the form is not forwarded.</summary>
    public static Refusal? Find(Exchange exchange, out Authority destination, out string target)
    {
        SandboxConnection connection = exchange.Connection;
        target = exchange.SentTarget;
        destination = connection.Destination;
        if (FormError(exchange) is { } error) return Denied(error);

        if (connection.MismatchedServerName is { } serverName)
            return Mismatch($"The TLS hello asked for {serverName}, but the connection was opened to {destination}.");

        int port = connection.Handling == Handling.Intercepted ? 443 : 80;
        // Nearly always the name that the connection is for, in its canonical form.
        Authority host = destination;
        bool hasHost = (destination.IsName && destination.Port == port && exchange.SentHost == destination.Host) || Authority.TryParse(exchange.SentHost, port, out host);
        // A connection to a mapped address goes to the IPv4 address.
        if (connection.Dialled is not null && host.Address is { IsIPv4MappedToIPv6: true } mapped) host = new Authority(mapped.MapToIPv4().ToString(), mapped.MapToIPv4(), host.Port);
        // What the connection is for already needs no completing, and no look into what DNS gave since.
        if (hasHost && host.IsName && host.Host != destination.Host) host = host with { Host = connection.Complete(host.Host) };

        if (!target.StartsWith('/'))
        {
            if (!TryParseAbsolute(target, out string scheme, out Authority named, out string origin))
                return Denied(connection.Handling == Handling.Proxied
                    ? "This is the sandbox's egress proxy, and the request names no service. Send it through HTTPS_PROXY or HTTP_PROXY, not to the proxy's own address."
                    : "The request target is neither a path nor an http address.");
            target = origin;
            if (named.IsName) named = named with { Host = connection.Complete(named.Host) };
            if (connection.Handling == Handling.Proxied)
            {
                destination = named;
                if (scheme == "https") return Denied("The proxy takes https through CONNECT only. Set HTTPS_PROXY and let the client open the connection.");
            }
            else if (connection.Handling == Handling.Http && !destination.IsName && named.IsName)
            {
                if (hasHost && !named.Equals(host)) return Mismatch($"The request target names {named}, and the Host header {host}.");
            }
            else if (!named.Equals(connection.Destination)) return Mismatch($"The request target names {named}, but the connection was opened to {destination}.");
        }
        else if (connection.Handling == Handling.Proxied)
            return Denied("This is the sandbox's egress proxy, and the request names no service. Send it through HTTPS_PROXY or HTTP_PROXY, not to the proxy's own address.");

        if (!hasHost) return Mismatch("The Host header is missing or is no host name.");
        // Plain HTTP to an address names its host in the header alone. The name is checked and dialled, not the address.
        if (connection.Handling == Handling.Http && !destination.IsName && host.IsName && host.Port == destination.Port)
        {
            destination = host;
            return null;
        }

        return host.Equals(destination) ? null : Mismatch($"The request is for {host}, but its connection was opened to {destination}.");
    }

    /// <summary>What of a request's form two parsers could read differently, so that the one judged is not the one served.</summary>
    private static string? FormError(Exchange exchange)
    {
        if (exchange.Method.AsSpan().ContainsAnyInRange('a', 'z')) return "Methods are upper case and compared so: send GET, not get.";
        if (HttpMethods.IsConnect(exchange.Method))
            return "CONNECT opens a connection to the proxy and is not sent through one. Connect to the proxy again for another destination. Of extended CONNECT (RFC 8441) only the protocol websocket passes.";

        // A WebSocket is opened by GET, and goes out as one whatever was written: rules would have judged another method.
        if (exchange.Upgrade is not null && !HttpMethods.IsGet(exchange.Method)) return "Only a GET request may ask for an upgrade. Send GET, or leave the Upgrade header out.";
        return exchange.SentTarget.AsSpan().ContainsAnyExceptInRange('!', '~') || exchange.SentTarget.Contains('#')
            ? "The request target holds a space, a '#' or characters outside ASCII. Percent-encode them."
            : null;
    }

    private static bool TryParseAbsolute(string target, out string scheme, out Authority authority, out string origin)
    {
        origin = "";
        authority = default;
        scheme = target.StartsWith("http://", StringComparison.OrdinalIgnoreCase) ? "http"
            : target.StartsWith("https://", StringComparison.OrdinalIgnoreCase) ? "https" : "";
        if (scheme.Length == 0) return false;
        string rest = target[(scheme.Length + 3)..];
        int end = rest.AsSpan().IndexOfAny('/', '?', '#');
        if (!Authority.TryParse(end < 0 ? rest : rest.AsSpan(0, end), scheme == "https" ? 443 : 80, out authority)) return false;
        origin = end < 0 ? "/" : rest[end] == '/' ? rest[end..] : "/" + rest[end..];
        return true;
    }

    private static Refusal Denied(string detail) => new(RefusalReason.RequestDenied, detail);

    private static Refusal Mismatch(string what) =>
        new(RefusalReason.AuthorityMismatch, $"{what} Open a connection of its own for each host, and send the host's own name.");
}
