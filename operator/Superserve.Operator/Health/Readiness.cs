using Superserve.Operator.Certificates;
using Superserve.Operator.Cluster;

namespace Superserve.Operator.Health;

/// <summary>Whether this replica can answer: it knows the cluster, has a certificate and the key, and was not told to end.</summary>
public sealed class Readiness(ClusterCache cluster, ServingCertificates certificates, StandInKey key) : IReadiness
{
    private volatile bool _isDraining;

    /// <summary>From now on new requests go to the other replicas.</summary>
    public void Drain() => _isDraining = true;

    /// <inheritdoc />
    public IReadOnlyList<string> Problems
    {
        get
        {
            List<string> problems = [];
            if (_isDraining) problems.Add("the replica is ending: other replicas answer");
            foreach (string kind in cluster.Missing)
                problems.Add($"{kind} have not been listed yet; if this stays, the log says why (look for event 102), most often a missing CRD or right");
            if (!certificates.IsReady) problems.Add(certificates.Problem ?? "there is no serving certificate yet");
            if (!key.IsReady) problems.Add(key.Problem ?? "there is no key for stand-ins yet");
            return problems;
        }
    }
}
