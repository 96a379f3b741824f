using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Delivery;

/// <summary>
/// The certificates that the operator is verified against, and no others. Their successors come in the authenticated stream and
/// are kept in the state directory: the pod's own specification, which names the first ones, never changes.
/// </summary>
internal sealed partial class OperatorTrust
{
    private const string FileName = "operator-ca.crt";
    private const int MaxLength = 64 * 1024;
    private const int MaxCertificates = 8;

    private readonly string _file;
    private readonly ILogger _logger;
    private volatile X509Certificate2Collection _authorities;
    private string _pem;

    /// <summary>Takes the kept certificates, or the first ones.</summary>
    /// <exception cref="InvalidOperationException">The first ones cannot be used.</exception>
    public OperatorTrust(DeliveryOptions options, SidecarOptions sidecar, ILogger<OperatorTrust> logger)
    {
        _file = Path.Combine(sidecar.StateDirectory!, FileName);
        _logger = logger;
        _pem = options.Authorities;
        _authorities = TryParse(_pem, out string? error)
            ?? throw new InvalidOperationException($"The operator's CA cannot be used: {error} Give its certificates in PEM, with --operator-ca FILE or in SUPERSERVE_OPERATOR_CA.");
        if (!File.Exists(_file)) return;
        string kept = new FileInfo(_file).Length <= MaxLength ? File.ReadAllText(_file) : "";
        if (TryParse(kept, out error) is { } authorities) (_authorities, _pem) = (authorities, kept);
        else LogNotTaken(error!);
    }

    /// <summary>Takes what the operator says, for the next connection.</summary>
    public void Replace(string pem)
    {
        if (pem == _pem) return;
        if (TryParse(pem, out string? error) is not { } authorities)
        {
            LogNotTaken(error!);
            return;
        }

        (_authorities, _pem) = (authorities, pem);
        LogTaken(authorities.Count);
        try
        {
            AtomicFile.Write(_file, pem, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            LogNotKept(_file, exception.Message);
        }
    }

    /// <summary>
    /// TLS for one connection: the chain ends at one of the authorities, and an alternative name of the certificate is the host's.
    /// </summary>
    /// <param name="host">The host.</param>
    /// <param name="refused">Is told why a certificate is not trusted.</param>
    public SslClientAuthenticationOptions TlsOptions(string host, Action<string> refused)
    {
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
        policy.CustomTrustStore.AddRange(_authorities);
        return new SslClientAuthenticationOptions
        {
            TargetHost = host,
            CertificateChainPolicy = policy,
            RemoteCertificateValidationCallback = (_, certificate, chain, errors) =>
            {
                string? problem = Problem(certificate as X509Certificate2, chain, errors, host);
                if (problem is not null) refused(problem);
                return problem is null;
            },
        };
    }

    private static string? Problem(X509Certificate2? certificate, X509Chain? chain, SslPolicyErrors errors, string host)
    {
        if (certificate is null) return "it showed no certificate";
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors))
            return $"its certificate does not verify against the operator's CA ({string.Join(", ", chain?.ChainStatus.Select(status => status.Status) ?? [])})";
        // Alternative names alone: a common name is no host name.
        if (errors != SslPolicyErrors.None || !certificate.MatchesHostname(host, allowWildcards: false, allowCommonName: false))
            return $"its certificate is not for the name {host}";
        return null;
    }

    private static X509Certificate2Collection? TryParse(string pem, out string? error)
    {
        X509Certificate2Collection certificates = [];
        try
        {
            error = pem.Length > MaxLength ? $"it has more than {MaxLength} characters." : null;
            if (error is null) certificates.ImportFromPem(pem);
            if (error is null && certificates.Count is 0 or > MaxCertificates) error = $"it holds {certificates.Count} certificates, and not 1 to {MaxCertificates}.";
            if (error is null && !certificates.All(IsAuthority)) error = "it holds a certificate that is not a CA's.";
        }
        catch (CryptographicException)
        {
            error = "it is not in PEM.";
        }

        return error is null ? certificates : null;
    }

    private static bool IsAuthority(X509Certificate2 certificate) =>
        certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(constraints => constraints.CertificateAuthority);

    [LoggerMessage(61, LogLevel.Information, "The operator is verified against {Count} new CA certificates from the next connection on.")]
    private partial void LogTaken(int count);

    [LoggerMessage(62, LogLevel.Error, "The operator's new CA is not taken: {Error} The one before stays in force.")]
    private partial void LogNotTaken(string error);

    [LoggerMessage(63, LogLevel.Error, "The operator's new CA cannot be kept in {File}: {Error} A restarted sidecar would not know it; make room.")]
    private partial void LogNotKept(string file, string error);
}
