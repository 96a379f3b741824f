using System.Net.Security;
using System.Security.Authentication;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Superserve.Operator.Delivery;

namespace Superserve.Operator.Certificates;

/// <summary>
/// What the operator's TLS ports serve at this moment, and what others have to trust for it. Filled by <see cref="OwnCertificates"/> or
/// by <see cref="MountedCertificates"/>.
/// </summary>
public sealed class ServingCertificates(TimeProvider time) : IDeliveryTrust
{
    private readonly Lock _gate = new();
    private volatile SslStreamCertificateContext? _current;
    private volatile string? _trustBundle;
    private volatile string? _problem;

    /// <summary>Raised after <see cref="TrustBundle"/> has changed. Handlers are quick and do not throw.</summary>
    public event Action? TrustBundleChanged;

    /// <summary>The certificate, its key and its chain; null while there is none.</summary>
    public SslStreamCertificateContext? Current => _current;

    /// <summary>The CAs in PEM, the coming one included; null while there is no certificate.</summary>
    public string? TrustBundle => _trustBundle;

    /// <summary>Whether there is a certificate that clients can accept.</summary>
    public bool IsReady => _current is { } context && !HasExpired(context);

    /// <summary>What is wrong and what to change, for /readyz; null when nothing is. While <see cref="IsReady"/> it does no harm yet.</summary>
    public string? Problem =>
        _problem ?? (_current is not { } context ? "There is no serving certificate yet."
            : HasExpired(context) ? $"The serving certificate expired at {context.TargetCertificate.NotAfter.ToUniversalTime():u}." : null);

    /// <summary>
    /// For <see cref="TlsHandshakeCallbackOptions.OnConnection"/>: each connection gets the certificate of its moment. Without one the
    /// handshake fails.
    /// </summary>
    public ValueTask<SslServerAuthenticationOptions> OnConnection(TlsHandshakeCallbackContext context) => new(new SslServerAuthenticationOptions
    {
        ServerCertificateContext = _current ?? throw new AuthenticationException("There is no serving certificate yet."),
        ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11],
    });

    internal void Serve(SslStreamCertificateContext context, string trustBundle)
    {
        // The certificate before it is not disposed: handshakes may be using it.
        _current = context;
        Trust(trustBundle);
    }

    internal void Trust(string trustBundle)
    {
        lock (_gate)
        {
            if (_trustBundle == trustBundle) return;
            _trustBundle = trustBundle;
        }

        TrustBundleChanged?.Invoke();
    }

    internal void Report(string? problem) => _problem = problem;

    private bool HasExpired(SslStreamCertificateContext context) => context.TargetCertificate.NotAfter.ToUniversalTime() <= time.GetUtcNow();
}
