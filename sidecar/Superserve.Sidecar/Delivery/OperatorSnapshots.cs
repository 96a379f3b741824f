using System.Globalization;
using Superserve.Core.Network;
using Superserve.Core.Secrets;
using Superserve.Core.Snapshots;
using Superserve.Protocol;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Metrics;
using Superserve.Sidecar.Trust;
using Message = Superserve.Protocol.Snapshot;
using Snapshot = Superserve.Core.Snapshots.Snapshot;

namespace Superserve.Sidecar.Delivery;

/// <summary>
/// Snapshots of the operator. Each is checked and takes the place of the one before as a whole, or not at all. Until the first one
/// nothing gets out; without the operator the last one stays in force, for as long as the options say.
/// </summary>
internal sealed partial class OperatorSnapshots : ISnapshotSource
{
    private const int MaxErrorLength = 1024;

    private readonly DeliveryOptions _options;
    private readonly TrustDirectory _trust;
    private readonly SidecarMetrics _metrics;
    private readonly DeliveryMetrics _delivery;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly KeptBindings _kept;

    // One stream at a time writes these; the data path reads them.
    private KnownBindings _known;
    private volatile State _state;
    private volatile string? _waiting = "waiting for the operator: it has not answered yet";
    private long _confirmedAt;

    /// <summary>Reads what was kept of the sandbox's bindings.</summary>
    public OperatorSnapshots(DeliveryOptions options, SidecarOptions sidecar, TrustDirectory trust, SidecarMetrics metrics, DeliveryMetrics delivery, TimeProvider time, ILogger<OperatorSnapshots> logger)
    {
        _options = options;
        _trust = trust;
        _metrics = metrics;
        _delivery = delivery;
        _time = time;
        _logger = logger;
        _kept = new KeptBindings(sidecar.StateDirectory!);
        _known = _kept.Load();
        _state = new State(new Snapshot(0, time.GetUtcNow(), options.Sandbox.ToString(), [], NetworkRules.Closed, Interception.BoundHosts, []) { AllowIn = [] }, options.MaxSnapshotAge);
        _confirmedAt = time.GetTimestamp();
        delivery.ObserveSilence(() => Silence);
    }

    /// <inheritdoc />
    public event Action? Changed;

    /// <inheritdoc />
    public Snapshot Current => _options.MaxSnapshotAge is { } max && Silence > max ? _state.Expired : _state.Snapshot;

    /// <inheritdoc />
    public string? Waiting => _waiting;

    /// <summary>How long the snapshot in force has not been confirmed.</summary>
    private TimeSpan Silence => _time.GetElapsedTime(Volatile.Read(ref _confirmedAt));

    /// <summary>The operator was heard on a stream whose last snapshot is in force: the snapshot is what it wants now.</summary>
    public void Confirm() => Volatile.Write(ref _confirmedAt, _time.GetTimestamp());

    /// <summary>Says why there is no snapshot, as long as there is none.</summary>
    public void Wait(string reason)
    {
        if (_waiting is not null) _waiting = $"waiting for the operator: {reason}";
    }

    /// <summary>Puts a snapshot in force; otherwise says why it cannot be, and the one before stays.</summary>
    public string? Take(Message message)
    {
        if (!SnapshotMapping.TryToSnapshot(message, out DeliveredSnapshot? delivered, out IReadOnlyList<SpecError> errors)) return Reject(message.Revision, string.Join("; ", errors));
        if (delivered.Sandbox != _options.Sandbox) return Reject(message.Revision, "sandbox: it is another pod's");

        _known = _known.Replace(delivered.Bindings);
        KeepBindings();
        Snapshot snapshot = delivered.ToSnapshot(_known, _state.Snapshot.Secrets);
        _state = new State(snapshot, _options.MaxSnapshotAge);
        Confirm();
        _waiting = null;
        Changed?.Invoke();
        _metrics.SnapshotTaken(snapshot);
        WriteStandIns(snapshot);
        LogTaken(snapshot.Revision, snapshot.Secrets.Count(secret => !secret.IsDetached), delivered.Bindings.Length, _known.Lost.Length);
        return null;
    }

    /// <summary>Counts and logs a snapshot that is not taken.</summary>
    public string Reject(long revision, string error)
    {
        if (error.Length > MaxErrorLength) error = error[..MaxErrorLength];
        _delivery.SnapshotRejected();
        LogRejected(revision, error);
        Wait($"its snapshot cannot be used: {error}");
        return error;
    }

    // A full disk must not keep a revocation from acting.
    private void KeepBindings()
    {
        try
        {
            _kept.Save(_known);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            LogBindingsNotKept(exception.Message);
        }
    }

    private void WriteStandIns(Snapshot snapshot)
    {
        try
        {
            _trust.WriteStandIns(snapshot.Secrets);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            LogTrustUnwritable(_trust.Path, exception.Message);
        }
    }

    /// <summary>A snapshot, and what is left of it when the operator was away for too long.</summary>
    private sealed class State(Snapshot snapshot, TimeSpan? maxAge)
    {
        private readonly Lazy<Snapshot> _expired = new(() => Expire(snapshot, maxAge ?? default));

        public Snapshot Snapshot => snapshot;

        public Snapshot Expired => _expired.Value;

        private static Snapshot Expire(Snapshot snapshot, TimeSpan maxAge)
        {
            string message = string.Create(CultureInfo.InvariantCulture, $"the sidecar has not heard from the operator for more than {maxAge.TotalSeconds:0} s, and uses no credential that may have been revoked since");
            return new Snapshot(snapshot.Revision, snapshot.CreatedAt, snapshot.Sandbox,
                [.. snapshot.Secrets.Select(secret => secret with { Credential = new CredentialState.Unavailable(message) })],
                snapshot.Network, snapshot.Interception, snapshot.Passthrough)
            { Audit = snapshot.Audit, AllowIn = snapshot.AllowIn };
        }
    }

    [LoggerMessage(71, LogLevel.Information, "Snapshot {Revision} is in force: {Secrets} secrets, {Bindings} bindings, and {Lost} that are gone and still restrict.")]
    private partial void LogTaken(long revision, int secrets, int bindings, int lost);

    [LoggerMessage(72, LogLevel.Error, "Snapshot {Revision} is not used, the one before it stays in force. {Error}")]
    private partial void LogRejected(long revision, string error);

    [LoggerMessage(73, LogLevel.Error, "The sandbox's bindings cannot be kept: {Error} A restarted sidecar would not know those that are gone since; make room in the state directory.")]
    private partial void LogBindingsNotKept(string error);

    [LoggerMessage(74, LogLevel.Error, "The stand-ins cannot be written to {Directory}: {Error}. Processes that run keep theirs; make room, or mend the directory, for new ones.")]
    private partial void LogTrustUnwritable(string directory, string error);
}
