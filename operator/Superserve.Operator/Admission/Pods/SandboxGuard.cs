using System.Text.Json.Nodes;
using Superserve.Kubernetes;
using Superserve.Operator.Delivery;

namespace Superserve.Operator.Admission.Pods;

/// <summary>The validating step of admission, for delivery.</summary>
public sealed class SandboxGuard(INamespaceResources resources, Func<InjectionOptions> options, Func<ReadOnlyMemory<byte>> keyOfSeals) : ISandboxGuard
{
    /// <inheritdoc />
    public IReadOnlyList<string> ProblemsOf(ObjectKey key, JsonObject pod)
    {
        HashSet<string> credentials = PodAdmission.CredentialsOf(resources, key.Namespace);
        return [.. new PodGuard(options(), keyOfSeals()).Check(pod, key.Namespace, credentials).Select(error => error.ToString())];
    }
}
