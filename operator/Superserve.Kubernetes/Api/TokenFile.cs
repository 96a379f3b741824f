using System.Net.Http.Headers;
using k8s.Authentication;

namespace Superserve.Kubernetes.Api;

/// <summary>
/// The service account's token, read for every request: the file is small and in memory, and what is not kept cannot be stale.
/// </summary>
internal sealed class TokenFile(string path) : ITokenProvider
{
    public async Task<AuthenticationHeaderValue> GetAuthenticationHeaderAsync(CancellationToken cancellationToken) =>
        new("Bearer", (await File.ReadAllTextAsync(path, cancellationToken)).Trim());
}
