using System.Text.Json.Nodes;
using Superserve.Kubernetes;

namespace Superserve.Operator.Delivery;

/// <summary>
/// The validating step of admission, for a pod that runs: a token proves which pod it is, not that the pod is a vetted sandbox.
/// </summary>
public interface ISandboxGuard
{
    /// <summary>What is wrong with a live pod, each with what to change; empty where it may have credentials.</summary>
    /// <param name="key">Namespace and name.</param>
    /// <param name="pod">All that the API server says of it, what our types do not know included.</param>
    IReadOnlyList<string> ProblemsOf(ObjectKey key, JsonObject pod);
}
