using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>
/// Serving certificates of the operator's own. The CA is in a Secret that all replicas share; each replica signs its leaf itself, keeps
/// it in memory, and makes a new one at two thirds of its life or when another CA signs.
/// </summary>
internal sealed partial class OwnCertificates : KeptSecret<CertificateAuthority>
{
    /// <summary>The Secret's name, in the operator's namespace.</summary>
    public const string SecretName = "superserve-ca";

    private readonly ServingCertificates _serving;
    private readonly ILogger _logger;
    private readonly string _commonName;
    private readonly X509Extension _names;
    private SigningAuthority? _issuer;
    private DateTimeOffset _renewAt;

    /// <summary>Reads and writes nothing before it is started.</summary>
    public OwnCertificates(
        ServingCertificates serving,
        KubernetesConnection connection,
        OperatorOptions options,
        KubernetesMetrics metrics,
        TimeProvider time,
        ILoggerFactory loggers)
        : base(SecretName, connection, options, metrics, time, loggers)
    {
        _serving = serving;
        _logger = loggers.CreateLogger<OwnCertificates>();
        _commonName = options.ServiceName;
        _names = AlternativeNames(options);
        serving.Report(Problem);
    }

    /// <summary>The CA; null before it has been read.</summary>
    public CertificateAuthority? Authority => Value;

    private protected override string Loss =>
        "With a new CA sidecars that are not connected at that moment cannot connect any more, and their pods have to be started again.";

    private protected override CertificateAuthority Make(DateTimeOffset now) => CertificateAuthority.Create(now);

    private protected override CertificateAuthority Read(IDictionary<string, byte[]> data, DateTimeOffset now) => CertificateAuthority.Read(data, now);

    private protected override void Write(CertificateAuthority value, IDictionary<string, byte[]> data) => value.Write(data);

    private protected override CertificateAuthority Renew(CertificateAuthority value, DateTimeOffset now) => value.At(now);

    private protected override bool Accepts(CertificateAuthority known, CertificateAuthority found, out string? problem)
    {
        // Whatever is in the Secret is what all replicas have to agree on: in the ordinary course another replica's rotation.
        problem = null;
        if (!found.Succeeds(known)) LogReplaced(SecretName);
        return true;
    }

    private protected override TimeSpan? Use(CertificateAuthority value, DateTimeOffset now)
    {
        if (now >= _renewAt || _issuer?.CertificatePem != value.Current.CertificatePem)
        {
            X509Certificate2 leaf = value.Current.Issue(_commonName, _names, now);
            DateTimeOffset end = leaf.NotAfter.ToUniversalTime();
            _serving.Serve(SslStreamCertificateContext.Create(leaf, additionalCertificates: null, offline: true), value.Bundle);
            _issuer = value.Current;
            _renewAt = now + ((end - now) * 2 / 3);
            LogIssued(end);
        }
        else _serving.Trust(value.Bundle);

        return (_renewAt < value.RotatesAt ? _renewAt : value.RotatesAt) - now;
    }

    private protected override void Report(string? problem)
    {
        base.Report(problem);
        _serving.Report(problem);
    }

    internal static X509Extension AlternativeNames(OperatorOptions options)
    {
        SubjectAlternativeNameBuilder names = new();
        foreach (string name in ServingNames(options))
            if (IPAddress.TryParse(name, out IPAddress? address)) names.AddIpAddress(address);
            else if (Uri.CheckHostName(name) == UriHostNameType.Dns) names.AddDnsName(name);
            else throw new ArgumentException($"\"{name}\" is neither a DNS name nor an IP address: correct extraServingNames.");
        return names.Build();
    }

    private static IEnumerable<string> ServingNames(OperatorOptions options)
    {
        string service = $"{options.ServiceName}.{options.Namespace}";
        string[] own = [options.ServiceName, service, $"{service}.svc", $"{service}.svc.{options.ClusterDomain}", "localhost"];
        return own.Concat(options.ExtraServingNames).Distinct(StringComparer.OrdinalIgnoreCase);
    }

    [LoggerMessage(310, LogLevel.Information, "A serving certificate was issued that ends at {End}.")]
    private partial void LogIssued(DateTimeOffset end);

    [LoggerMessage(311, LogLevel.Warning, "The CA in {Secret} was replaced by an unrelated one, which is now in use. Sidecars that were not connected cannot connect any more; start their pods again.")]
    private partial void LogReplaced(string secret);
}
