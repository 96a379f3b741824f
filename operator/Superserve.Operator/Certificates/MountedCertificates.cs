using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>
/// Serving certificates that somebody else makes, usually cert-manager: <c>tls.crt</c>, <c>tls.key</c> and <c>ca.crt</c> in a directory.
/// It is looked at again and again, because a mounted Secret changes by the swap of a symbolic link, of which a file watcher hears
/// nothing. What does not fit together is not used: it is reported, and what was served before is served on.
/// </summary>
public sealed partial class MountedCertificates : BackgroundService
{
    /// <summary>Between two looks. The kubelet itself takes about a minute to bring a change.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    private const int MaxFileSize = 256 * 1024;
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private readonly ServingCertificates _serving;
    private readonly string _directory;
    private readonly string _serviceName;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private Files? _served;
    private string? _problem;

    /// <summary>Reads nothing before it is started.</summary>
    public MountedCertificates(ServingCertificates serving, OperatorOptions options, TimeProvider time, ILogger<MountedCertificates> logger)
    {
        _serving = serving;
        _directory = options.CertificateDirectory ?? throw new ArgumentException("There is no certificateDirectory.", nameof(options));
        _serviceName = $"{options.ServiceName}.{options.Namespace}.svc";
        _time = time;
        _logger = logger;
        serving.Report($"The certificates in {_directory} have not been read yet.");
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(Interval, _time);
        do Look();
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private void Look()
    {
        string? problem = null;
        try
        {
            Files files = new(Read("tls.crt"), Read("tls.key"), Read("ca.crt"));
            if (files != _served)
            {
                // Between two reads the link may have been swapped; then the pair does not match, and the next look sees one version.
                (SslStreamCertificateContext context, string trustBundle) = Judge(files);
                _serving.Serve(context, trustBundle);
                _served = files;
                LogLoaded(_directory, context.TargetCertificate.NotAfter.ToUniversalTime());
            }
        }
        catch (Exception exception)
            when (exception is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException or InvalidDataException)
        {
            problem = $"The certificates in {_directory} cannot be used: {exception.Message} "
                + (_served is null ? "There is none to serve until they are right." : "The ones before are served until they are right.")
                + " Look at the Certificate and the Secret that is mounted there.";
        }

        if (problem is not null && problem != _problem) LogProblem(problem);
        _problem = problem;
        _serving.Report(problem);
    }

    private (SslStreamCertificateContext Context, string TrustBundle) Judge(Files files)
    {
        X509Certificate2 leaf = X509Certificate2.CreateFromPem(files.Certificate, files.Key);
        X509Certificate2Collection chain = [], authorities = [];
        chain.ImportFromPem(files.Certificate);
        chain.RemoveAt(0);
        authorities.ImportFromPem(files.Authorities);
        if (!leaf.MatchesHostname(_serviceName)) throw new InvalidDataException($"tls.crt is not for {_serviceName}: add that to its dnsNames.");

        // Judged as sidecars and API server will judge it.
        using X509Chain built = new();
        built.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        built.ChainPolicy.CustomTrustStore.AddRange(authorities);
        built.ChainPolicy.ExtraStore.AddRange(chain);
        built.ChainPolicy.ApplicationPolicy.Add(new Oid(ServerAuthentication));
        built.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        built.ChainPolicy.DisableCertificateDownloads = true;
        built.ChainPolicy.VerificationTime = _time.GetUtcNow().UtcDateTime;
        if (!built.Build(leaf))
        {
            IEnumerable<X509ChainStatusFlags> reasons = built.ChainStatus.Select(status => status.Status).Distinct();
            throw new InvalidDataException($"tls.crt cannot be verified with ca.crt ({string.Join(", ", reasons)}).");
        }

        string trustBundle = string.Concat(authorities.Select(authority => authority.ExportCertificatePem() + "\n"));
        return (SslStreamCertificateContext.Create(leaf, chain, offline: true), trustBundle);
    }

    private string Read(string name)
    {
        using FileStream file = new(Path.Combine(_directory, name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        if (file.Length > MaxFileSize) throw new InvalidDataException($"{name} is longer than {MaxFileSize} bytes.");
        using StreamReader reader = new(file);
        return reader.ReadToEnd();
    }

    [LoggerMessage(320, LogLevel.Information, "The serving certificate in {Directory} is in use; it ends at {End}.")]
    private partial void LogLoaded(string directory, DateTimeOffset end);

    [LoggerMessage(321, LogLevel.Error, "{Problem}")]
    private partial void LogProblem(string problem);

    /// <summary>What the files hold; compared whole.</summary>
    private sealed record Files(string Certificate, string Key, string Authorities)
    {
        /// <inheritdoc />
        public override string ToString() => "certificate files";
    }
}
