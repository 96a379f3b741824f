using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Core.StandIns;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Configuration;

/// <summary>
/// Snapshots of local mode. Each read looks whether the configuration or a credential file changed (a few system calls), so
/// that a change counts from the very next request on; a timer looks too, so that it counts without one.
/// </summary>
internal sealed partial class LocalSnapshots : ISnapshotSource, IDisposable
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(1);

    private readonly string _file;
    private readonly TrustDirectory _trust;
    private readonly SidecarMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly byte[] _standInKey = RandomNumberGenerator.GetBytes(32);
    private readonly string _sandboxId = Convert.ToHexString(RandomNumberGenerator.GetBytes(16));
    private readonly Lock _reload = new();
    private readonly ITimer _timer;

    private LocalConfiguration _configuration;
    private volatile Loaded _loaded = null!;

    /// <summary>Takes a configuration that was read from <paramref name="file"/> and reads its credentials.</summary>
    public LocalSnapshots(string file, LocalConfiguration configuration, TrustDirectory trust, SidecarMetrics metrics, TimeProvider time, ILogger<LocalSnapshots> logger)
    {
        _file = file;
        _configuration = configuration;
        _trust = trust;
        _metrics = metrics;
        _time = time;
        _logger = logger;
        _loaded = Load(revision: 1, FileStamp.Of(file));
        _timer = time.CreateTimer(_ => Poll(), null, PollInterval, PollInterval);
    }

    /// <inheritdoc />
    public event Action? Changed;

    /// <inheritdoc />
    public Snapshot Current
    {
        get
        {
            Loaded loaded = _loaded;
            return loaded.IsCurrent(_file) ? loaded.Snapshot : Reload();
        }
    }

    /// <inheritdoc />
    public void Dispose() => _timer.Dispose();

    private void Poll()
    {
        try
        {
            _ = Current;
        }
        catch (Exception exception)
        {
            // Requests meet the same fault and are answered with it; the process goes on.
            LogRejected(_file, exception.GetType().Name);
        }
    }

    private Snapshot Reload()
    {
        lock (_reload)
        {
            Loaded loaded = _loaded;
            if (loaded.IsCurrent(_file)) return loaded.Snapshot;
            FileStamp stamp = FileStamp.Of(_file);
            if (stamp != loaded.ConfigurationStamp && !ReadConfiguration(ref stamp) && loaded.CredentialsAreCurrent)
            {
                _loaded = loaded with { ConfigurationStamp = stamp };
                return loaded.Snapshot;
            }

            _loaded = Load(loaded.Snapshot.Revision + 1, stamp);
            LogReloaded(_loaded.Snapshot.Revision);
            Changed?.Invoke();
            return _loaded.Snapshot;
        }
    }

    /// <summary>A file that cannot be used leaves the last good configuration in force.</summary>
    private bool ReadConfiguration(ref FileStamp stamp)
    {
        if (!ConfigurationReader.TryRead(_file, out LocalConfiguration? configuration, out IReadOnlyList<SpecError> errors))
        {
            _metrics.ConfigurationRejected();
            if (!ConfigurationReader.IsReadable(_file)) stamp = FileStamp.Unread;
            foreach (SpecError error in errors) LogRejected(_file, error.ToString());
            return false;
        }

        if (FirstDifference(_configuration.Options, configuration.Options) is { } field)
        {
            _metrics.ConfigurationRejected();
            LogRejected(_file, $"{field}: it cannot change while the sidecar runs, so nothing of the file is used; restart the sidecar, or change the field back");
            return false;
        }

        _configuration = configuration;
        return true;
    }

    private static string? FirstDifference(SidecarOptions a, SidecarOptions b)
    {
        if (a.Sandbox != b.Sandbox) return "sandbox";
        if (!a.ProxyAddress.Equals(b.ProxyAddress)) return "proxyAddress";
        if (!a.HealthAddress.Equals(b.HealthAddress)) return "healthAddress";
        if (!a.MetricsAddress.Equals(b.MetricsAddress)) return "metricsAddress";
        if (a.TrustDirectory != b.TrustDirectory) return "trustDirectory";
        if (a.StateDirectory != b.StateDirectory) return "stateDirectory";
        if (a.EventsFile != b.EventsFile) return "eventsFile";
        if (a.Audit != b.Audit) return "audit";
        if (a.Capture != b.Capture) return "capture";
        bool sameUpstream = a.TrustedRootsFile == b.TrustedRootsFile && a.ConnectTimeout == b.ConnectTimeout && a.IdleTimeout == b.IdleTimeout
            && a.PinnedHosts.Count == b.PinnedHosts.Count && a.PinnedHosts.All(pin => pin.Value.Equals(b.PinnedHosts.GetValueOrDefault(pin.Key)));
        return sameUpstream ? null : "upstream";
    }

    private Loaded Load(long revision, FileStamp configurationStamp)
    {
        ImmutableArray<BoundSecret>.Builder secrets = ImmutableArray.CreateBuilder<BoundSecret>();
        ImmutableArray<(string, FileStamp)>.Builder stamps = ImmutableArray.CreateBuilder<(string, FileStamp)>();
        foreach (LocalSecret secret in _configuration.Secrets)
        {
            // The stamp is taken ahead of the read: a write in between shows as a change afterwards.
            FileStamp stamp = FileStamp.Of(secret.ValueFile);
            CredentialState credential = ReadCredential(secret, ref stamp);
            stamps.Add((secret.ValueFile, stamp));
            StandIn standIn = secret.StandIn ?? StandIn.Derive(_standInKey, secret.Definition.Shape, "local", _sandboxId, secret.Env, secret.Name);
            secrets.Add(new BoundSecret(secret.Env, secret.Name, standIn, credential, secret.Definition));
        }

        // The stand-ins that no secret has any more are refused with a reason.
        ImmutableArray<BoundSecret> gone = BoundSecret.Gone(_loaded is { } loaded ? loaded.Snapshot.Secrets : [], secrets);
        Snapshot snapshot = new(revision, _time.GetUtcNow(), _configuration.Options.Sandbox, [.. secrets, .. gone],
            _configuration.Network, _configuration.Interception, _configuration.Passthrough)
        { Audit = _configuration.Options.Audit, AllowIn = _configuration.AllowIn };
        WriteStandIns(secrets.ToImmutable());
        _metrics.SnapshotTaken(snapshot);
        return new Loaded(snapshot, configurationStamp, stamps.ToImmutable());
    }

    // A full disk must not keep a revocation from acting.
    private void WriteStandIns(ImmutableArray<BoundSecret> secrets)
    {
        try
        {
            _trust.WriteStandIns(secrets);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            LogTrustUnwritable(_trust.Path, exception.Message);
        }
    }

    private CredentialState ReadCredential(LocalSecret secret, ref FileStamp stamp)
    {
        if (stamp.IsSpecial)
        {
            LogUnusable(secret.Name, secret.ValueFile, "it is no regular file");
            return new CredentialState.Unavailable("the credential's file is a directory, a pipe or a device; it has to be a regular file");
        }

        try
        {
            using FileStream file = File.OpenRead(secret.ValueFile);
            // Two more bytes than the limit: a newline at the end, and one to tell that it is exceeded.
            byte[] bytes = new byte[Credential.MaxLength + 3];
            int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            ReadOnlySpan<byte> value = bytes.AsSpan(0, length);
            if (value.TrimEnd("\r\n"u8).IsEmpty) return Revoked(secret, "is empty");
            if (Credential.TryCreate(value, out Credential? credential, out string? error) && !IsItsStandIn(secret, value, ref error)) return new CredentialState.Available(credential);
            LogUnusable(secret.Name, secret.ValueFile, error!);
            return new CredentialState.Unavailable(error!);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            return Revoked(secret, "is not there");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // The file may be fine, and the process short of descriptors or memory: it is read again.
            stamp = FileStamp.Unread;
            LogUnusable(secret.Name, secret.ValueFile, exception.GetType().Name);
            return new CredentialState.Unavailable("the file of the credential cannot be read");
        }
    }

    private static bool IsItsStandIn(LocalSecret secret, ReadOnlySpan<byte> value, [NotNullWhen(true)] ref string? error)
    {
        if (secret.StandIn is null || value.IndexOf(Encoding.ASCII.GetBytes(secret.StandIn.Value)) < 0) return false;
        error = "the credential holds its own stand-in; the stand-in has to be another text";
        return true;
    }

    private CredentialState.Revoked Revoked(LocalSecret secret, string what)
    {
        LogRevoked(secret.Name, secret.ValueFile, what);
        return CredentialState.Revoked.Instance;
    }

    private sealed record Loaded(Snapshot Snapshot, FileStamp ConfigurationStamp, ImmutableArray<(string File, FileStamp Stamp)> CredentialStamps)
    {
        public bool CredentialsAreCurrent
        {
            get
            {
                foreach ((string credential, FileStamp stamp) in CredentialStamps)
                    if (FileStamp.Of(credential) != stamp) return false;
                return true;
            }
        }

        public bool IsCurrent(string file) => FileStamp.Of(file) == ConfigurationStamp && CredentialsAreCurrent;
    }

    [LoggerMessage(1, LogLevel.Information, "Snapshot {Revision} is in force.")]
    private partial void LogReloaded(long revision);

    [LoggerMessage(2, LogLevel.Error, "{File} is not used, the configuration before it stays in force. {Error}")]
    private partial void LogRejected(string file, string error);

    [LoggerMessage(3, LogLevel.Warning, "The secret {Secret} is revoked: its file {File} {What}. Its requests are refused until the file holds a credential.")]
    private partial void LogRevoked(string secret, string file, string what);

    [LoggerMessage(5, LogLevel.Error, "The stand-ins cannot be written to {Directory}: {Error}. Processes that run keep theirs; make room, or mend the directory, for new ones.")]
    private partial void LogTrustUnwritable(string directory, string error);

    [LoggerMessage(4, LogLevel.Error, "The secret {Secret} is unavailable: {File}: {Error}. Its requests are refused until the file is mended.")]
    private partial void LogUnusable(string secret, string file, string error);
}
