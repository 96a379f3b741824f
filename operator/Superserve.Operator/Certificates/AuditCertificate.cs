using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>
/// The audit service's serving certificate, signed by the operator's own CA: a core Secret that its pods mount, with <c>tls.crt</c>,
/// <c>tls.key</c>, and <c>ca.crt</c>, the CAs that sidecars and the operator trust. It is made anew at two thirds of its life, when
/// another CA signs, and whenever it is not as it should be, since nothing is lost with it. For the leader.
/// </summary>
internal sealed partial class AuditCertificate : IDisposable
{
    /// <summary>The Secret's name, in the operator's namespace.</summary>
    public const string SecretName = "superserve-audit-serving";

    private const string Certificate = "tls.crt", Key = "tls.key", Authorities = "ca.crt";

    private static readonly ResourceKind Kind = ResourceKind.Of<V1Secret>();

    private readonly OwnCertificates _own;
    private readonly ServingCertificates _serving;
    private readonly KubernetesConnection _connection;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ObjectKey _key;
    private readonly string _commonName;
    private readonly X509Extension _names;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Informer<V1Secret> _informer;
    private readonly Controller<ObjectKey> _controller;

    /// <summary>Runs nothing yet.</summary>
    public AuditCertificate(
        OwnCertificates own,
        ServingCertificates serving,
        KubernetesConnection connection,
        OperatorOptions options,
        KubernetesMetrics metrics,
        TimeProvider time,
        ILoggerFactory loggers)
    {
        _own = own;
        _serving = serving;
        _connection = connection;
        _time = time;
        _logger = loggers.CreateLogger<AuditCertificate>();
        _key = new ObjectKey(options.Namespace, SecretName);
        _commonName = options.AuditServiceName;
        _names = OwnCertificates.AlternativeNames(options with { ServiceName = options.AuditServiceName });
        _queue = new WorkQueue<ObjectKey>(SecretName, metrics, time);
        InformerOptions watched = new() { Namespace = options.Namespace, FieldSelector = $"metadata.name={SecretName}" };
        _informer = new Informer<V1Secret>(connection, watched, metrics, time, loggers.CreateLogger<Informer<V1Secret>>());
        _informer.Subscribe(change => _queue.Add(_key));
        _controller = new Controller<ObjectKey>(SecretName, _queue, ReconcileAsync, metrics, time, loggers.CreateLogger<Controller<ObjectKey>>()) { Workers = 1 };
    }

    /// <summary>Runs until cancelled, once.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _serving.TrustBundleChanged += Add;
        Add();
        try
        {
            await Task.WhenAll(_informer.RunAsync(cancellationToken), _controller.RunAsync([_informer.Synced], cancellationToken));
        }
        finally
        {
            _serving.TrustBundleChanged -= Add;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _queue.Dispose();

    private void Add() => _queue.Add(_key);

    private async Task<Result> ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        // Without a CA yet, its coming adds the key.
        if (_own.Authority is not { } authority) return Result.Done;
        DateTimeOffset now = _time.GetUtcNow();
        V1Secret? live = _informer.Store.Get(key);
        if (RenewalOf(live?.Data, authority) is not { } due || due <= now)
        {
            (X509Certificate2 leaf, V1Secret secret) = Issue(authority, live, now);
            using (leaf)
            {
                due = Due(leaf);
                if (live is null) await _connection.SendAsync<V1Secret>(HttpMethod.Post, Kind.CollectionPath(key.Namespace), secret, cancellationToken: cancellationToken);
                else await _connection.SendAsync<V1Secret>(HttpMethod.Put, Kind.ObjectPath(key), secret, cancellationToken: cancellationToken);
                LogIssued(key, leaf.NotAfter.ToUniversalTime());
            }
        }

        return Result.Again(due - now);
    }

    /// <summary>When what stands there has to be made anew; null for at once.</summary>
    private DateTimeOffset? RenewalOf(IDictionary<string, byte[]>? data, CertificateAuthority authority)
    {
        if (data is null || Text(Authorities) != authority.Bundle || Text(Certificate) is not { } certificate || Text(Key) is not { } key) return null;
        try
        {
            using X509Certificate2 leaf = X509Certificate2.CreateFromPem(certificate, key);
            using X509Certificate2 issuer = X509Certificate2.CreateFromPem(authority.Current.CertificatePem);
            using X509Chain chain = new();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.Add(issuer);
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.DisableCertificateDownloads = true;
            chain.ChainPolicy.VerificationTime = _time.GetUtcNow().UtcDateTime;
            X509Extension? names = leaf.Extensions.FirstOrDefault(extension => extension.Oid?.Value == _names.Oid!.Value);
            return names?.RawData.AsSpan().SequenceEqual(_names.RawData) == true && chain.Build(leaf) ? Due(leaf) : null;
        }
        catch (Exception exception) when (exception is CryptographicException or ArgumentException)
        {
            return null;
        }

        string? Text(string entry) => data.TryGetValue(entry, out byte[]? bytes) ? Encoding.ASCII.GetString(bytes) : null;
    }

    private static DateTimeOffset Due(X509Certificate2 leaf)
    {
        DateTimeOffset from = leaf.NotBefore.ToUniversalTime(), until = leaf.NotAfter.ToUniversalTime();
        return from + ((until - from) * 2 / 3);
    }

    private (X509Certificate2 Leaf, V1Secret Secret) Issue(CertificateAuthority authority, V1Secret? live, DateTimeOffset now)
    {
        X509Certificate2 leaf = authority.Current.Issue(_commonName, _names, now);
        using ECDsa key = leaf.GetECDsaPrivateKey()!;
        V1Secret secret = new()
        {
            ApiVersion = Kind.ApiVersion,
            Kind = Kind.Kind,
            Metadata = live?.Metadata ?? new V1ObjectMeta
            {
                Name = _key.Name,
                NamespaceProperty = _key.Namespace,
                Labels = new Dictionary<string, string>
                {
                    ["app.kubernetes.io/part-of"] = "superserve",
                    ["app.kubernetes.io/managed-by"] = "superserve-operator",
                },
            },
            Type = live?.Type ?? "kubernetes.io/tls",
            Data = new Dictionary<string, byte[]>
            {
                [Certificate] = Encoding.ASCII.GetBytes(leaf.ExportCertificatePem() + "\n"),
                [Key] = Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem() + "\n"),
                [Authorities] = Encoding.ASCII.GetBytes(authority.Bundle),
            },
        };
        return (leaf, secret);
    }

    [LoggerMessage(330, LogLevel.Information, "The audit service's certificate in {Secret} was issued; it ends at {End}.")]
    private partial void LogIssued(ObjectKey secret, DateTimeOffset end);
}
