using System.Collections.Immutable;

namespace Superserve.Sidecar.Capture;

/// <summary>
/// Keeps open the ports that others may connect to. The rules forget a port that is not renewed, so without a sidecar nothing comes in;
/// what an earlier sidecar of the pod allowed ends the same way, within <see cref="NetworkRuleset.LeaseSeconds"/>.
/// </summary>
internal sealed partial class InboundLease(CaptureControl control, TimeProvider time, ILogger<InboundLease> logger) : BackgroundService
{
    /// <summary>Several renewals fit into a lease: one that a busy machine delays closes nothing.</summary>
    private static readonly TimeSpan Renewal = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private ImmutableArray<int>? _ports = [];
    private volatile bool _rulesAreInForce = control.RulesAreInForce();

    /// <summary>Whether the rules were there when last looked at. Without them the sandbox goes around the sidecar.</summary>
    public bool RulesAreInForce => _rulesAreInForce;

    /// <summary>
    /// Says which ports others may connect to, TCP and UDP; null leaves every TCP port open, as Kubernetes has it. Counts at once,
    /// for open connections too. Until the first call nothing comes in.
    /// </summary>
    public void Set(ImmutableArray<int>? ports)
    {
        if (ports is { Length: > NetworkRuleset.MaxAllowedPorts })
            throw new ArgumentException($"The rules hold {NetworkRuleset.MaxAllowedPorts} ports that others may connect to; {ports.Value.Length} are too many.", nameof(ports));
        lock (_lock)
        {
            if (ports is not null) control.Send(ControlAddress.Restrict, port: 1);
            foreach (int port in (_ports ?? []).Except(ports ?? [])) control.Send(ControlAddress.WithdrawPort, port);
            _ports = ports;
            Renew();
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(Renewal, time);
        if (!_rulesAreInForce) LogGone();
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            lock (_lock) Renew();
            bool wereInForce = _rulesAreInForce;
            _rulesAreInForce = control.RulesAreInForce();
            if (wereInForce && !_rulesAreInForce) LogGone();
            else if (!wereInForce && _rulesAreInForce) LogBack();
        }
    }

    private void Renew()
    {
        if (_ports is not { } ports) control.Send(ControlAddress.Open, port: 1);
        else foreach (int port in ports) control.Send(ControlAddress.AllowPort, port);
    }

    [LoggerMessage(91, LogLevel.Error, "The rules of the pod's network are not in force: the sandbox can go around this sidecar, which reports unready. Something with NET_ADMIN removed them, or init-network did not run. In a pod: delete it, so that its controller makes it anew, and look for what changes nftables in pods (nft list ruleset in the pod's network namespace). Elsewhere: run superserve-sidecar init-network.")]
    private partial void LogGone();

    [LoggerMessage(92, LogLevel.Warning, "The rules of the pod's network are in force again. While they were not, the sandbox could go around this sidecar.")]
    private partial void LogBack();
}
