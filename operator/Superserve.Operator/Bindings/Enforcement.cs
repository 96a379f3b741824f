using k8s.Models;
using Superserve.Operator.Cluster;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Bindings;

/// <summary>Whether the sandboxes of a binding cannot go around their sidecars: by what the sidecars say, never by what was asked for.</summary>
/// <param name="Status">True, False, or Unknown while no sidecar has said anything.</param>
/// <param name="Reason">One word for programs.</param>
/// <param name="Message">For the owner: what it means and what to do.</param>
public sealed record Enforcement(string Status, string Reason, string Message)
{
    private const int Named = 3;

    /// <summary>Judges what a binding achieves.</summary>
    public static Enforcement Of(BindingState state)
    {
        V1Pod[] connected = [.. state.Sandboxes.Where(pod => pod.IsConnected())];
        V1Pod[] open = [.. connected.Where(pod => !pod.IsTransparent())];
        if (state.Uninjected.Length > 0)
            return new("False", BindingReasons.NotInjected, $"{Count(state.Uninjected.Length, "selected pod runs", "selected pods run")} without a sidecar ({Names(state.Uninjected)}), and nothing watches the network there: what Ready says of them mends it");
        if (open.Length > 0)
            return new("False", "ExplicitCapture", $"{open.Length} of {Count(connected.Length, "connected sandbox", "connected sandboxes")} {(open.Length == 1 ? "is" : "are")} captured by the proxy variables alone ({Names(open)}): programs that ignore them go around the sidecar, where stand-ins are worth nothing and spec.network does not hold. "
                + "A pod keeps the capture that it was made with: where the chart's sidecar.capture is Transparent, start it anew; for a runtime class without nftables add a NetworkPolicy");
        return connected.Length == 0
            ? new("Unknown", BindingReasons.NotConnected, "no sandbox is connected: sidecars say how they capture as they connect")
            : new("True", "TransparentCapture", $"nothing goes around the sidecar: so say {Count(connected.Length, "connected sandbox", "connected sandboxes")}");
    }

    private static string Count(int count, string one, string many) => $"{count} {(count == 1 ? one : many)}";

    private static string Names(IReadOnlyList<V1Pod> pods) => Summary.Of([.. pods.Select(pod => pod.Metadata.Name)], Named);
}
