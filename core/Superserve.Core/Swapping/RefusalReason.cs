namespace Superserve.Core.Swapping;

/// <summary>Why the sidecar refuses a request or a connection. The wire form is the snake_case name.</summary>
public enum RefusalReason
{
    /// <summary>A deny rule matches the destination.</summary>
    HostDenied,

    /// <summary>The rules are a strict list and the destination is not on it.</summary>
    HostNotAllowed,

    /// <summary>The secret's rules do not let this method and path carry the credential, or the request's form is never forwarded.</summary>
    RequestDenied,

    /// <summary>The destination is in a special range (private, link-local, metadata, …) that no rule opens.</summary>
    PrivateAddress,

    /// <summary>The host is bound, but on another port.</summary>
    PortBlocked,

    /// <summary>A stand-in was sent to a host that its secret is not for.</summary>
    CredentialHostMismatch,

    /// <summary>A stand-in is somewhere in the request head where its scheme does not put it.</summary>
    CredentialMisplaced,

    /// <summary>A stand-in was sent over plain HTTP.</summary>
    CleartextRefused,

    /// <summary>SNI, Host or :authority, and CONNECT target name different hosts.</summary>
    AuthorityMismatch,

    /// <summary>No connection to the destination could be made, or it broke before an answer.</summary>
    UpstreamUnreachable,

    /// <summary>The destination's certificate is not valid for the name.</summary>
    UpstreamTlsInvalid,

    /// <summary>The destination did not answer in time.</summary>
    UpstreamTimeout,

    /// <summary>The credential was removed by its owner.</summary>
    CredentialRevoked,

    /// <summary>The credential is missing, empty or malformed.</summary>
    CredentialUnavailable,

    /// <summary>The audit log takes no events, and the policy is not to use secrets without it.</summary>
    AuditUnavailable,
}

/// <summary>The status code and the wire name of each <see cref="RefusalReason"/>.</summary>
public static class RefusalReasons
{
    /// <summary>The HTTP status that a refusal is answered with.</summary>
    public static int StatusCode(this RefusalReason reason) => reason switch
    {
        RefusalReason.AuthorityMismatch => 421,
        RefusalReason.UpstreamUnreachable or RefusalReason.UpstreamTlsInvalid => 502,
        RefusalReason.UpstreamTimeout => 504,
        RefusalReason.CredentialRevoked or RefusalReason.CredentialUnavailable or RefusalReason.AuditUnavailable => 503,
        _ => 403,
    };

    /// <summary>The reason as it stands in headers, bodies, events and metrics: <c>host_not_allowed</c>.</summary>
    public static string WireName(this RefusalReason reason) => reason switch
    {
        RefusalReason.HostDenied => "host_denied",
        RefusalReason.HostNotAllowed => "host_not_allowed",
        RefusalReason.RequestDenied => "request_denied",
        RefusalReason.PrivateAddress => "private_address",
        RefusalReason.PortBlocked => "port_blocked",
        RefusalReason.CredentialHostMismatch => "credential_host_mismatch",
        RefusalReason.CredentialMisplaced => "credential_misplaced",
        RefusalReason.CleartextRefused => "cleartext_refused",
        RefusalReason.AuthorityMismatch => "authority_mismatch",
        RefusalReason.UpstreamUnreachable => "upstream_unreachable",
        RefusalReason.UpstreamTlsInvalid => "upstream_tls_invalid",
        RefusalReason.UpstreamTimeout => "upstream_timeout",
        RefusalReason.CredentialRevoked => "credential_revoked",
        RefusalReason.CredentialUnavailable => "credential_unavailable",
        RefusalReason.AuditUnavailable => "audit_unavailable",
        _ => throw new ArgumentOutOfRangeException(nameof(reason)),
    };
}
