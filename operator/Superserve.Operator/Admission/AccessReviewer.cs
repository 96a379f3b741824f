using System.Text.Json;
using k8s.Models;
using Superserve.Kubernetes.Api;

namespace Superserve.Operator.Admission;

/// <summary>One thing that a user must be allowed to do with one object of the request's namespace.</summary>
/// <param name="Verb">The verb.</param>
/// <param name="Kind">The object's kind, for its group and plural.</param>
/// <param name="Name">The object's name.</param>
public sealed record Access(string Verb, ResourceKind Kind, string Name)
{
    /// <summary>The Role that would give it, for messages.</summary>
    public string Role => $"verbs: [{Verb}], apiGroups: [{(Kind.Group.Length == 0 ? "\"\"" : Kind.Group)}], resources: [{Kind.Plural}], resourceNames: [{Name}]";
}

/// <summary>
/// Asks the API server what the user of a request may do: SubjectAccessReviews. Answers are not kept, so that a right that was
/// taken away counts at once.
/// </summary>
public sealed class AccessReviewer(KubernetesConnection connection)
{
    private const string Path = "apis/authorization.k8s.io/v1/subjectaccessreviews";

    // With the reviews that the endpoints take at once, this bounds what a caller can make the operator ask.
    private const int MaxConcurrent = 4;

    /// <summary>Those of <paramref name="wanted"/> that the request's user may not do, in their order.</summary>
    /// <exception cref="CannotDecideException">An answer could not be had.</exception>
    public async Task<IReadOnlyList<Access>> FindRefusedAsync(AdmissionRequest request, IReadOnlyList<Access> wanted, CancellationToken cancellationToken)
    {
        bool[] allowed = new bool[wanted.Count];
        ParallelOptions options = new() { MaxDegreeOfParallelism = MaxConcurrent, CancellationToken = cancellationToken };
        await Parallel.ForAsync(0, wanted.Count, options, async (i, token) => allowed[i] = await IsAllowedAsync(request, wanted[i], token));
        return [.. wanted.Where((_, i) => !allowed[i])];
    }

    private async Task<bool> IsAllowedAsync(AdmissionRequest request, Access access, CancellationToken cancellationToken)
    {
        // An empty name would ask for all objects, an empty namespace for all namespaces: another question.
        if (access.Name.Length == 0 || request.Namespace.Length == 0) return false;
        return await IsAllowedAsync(request.User, access.Verb, access.Kind, request.Namespace, access.Name, cancellationToken);
    }

    /// <summary>Whether a user may do something. An empty namespace is all of them, an empty name all objects.</summary>
    /// <exception cref="CannotDecideException">The answer could not be had.</exception>
    public async Task<bool> IsAllowedAsync(Requester user, string verb, ResourceKind kind, string inNamespace, string name, CancellationToken cancellationToken)
    {
        V1SubjectAccessReview review = new()
        {
            ApiVersion = "authorization.k8s.io/v1",
            Kind = "SubjectAccessReview",
            Spec = new V1SubjectAccessReviewSpec
            {
                User = user.Name,
                Uid = user.Uid.Length > 0 ? user.Uid : null,
                Groups = [.. user.Groups],
                Extra = user.Extra.ToDictionary(pair => pair.Key, pair => (IList<string>)[.. pair.Value]),
                ResourceAttributes = new V1ResourceAttributes
                {
                    Verb = verb,
                    Group = kind.Group,
                    Version = kind.Version,
                    Resource = kind.Plural,
                    NamespaceProperty = inNamespace,
                    Name = name,
                },
            },
        };
        try
        {
            V1SubjectAccessReview answer = await connection.SendAsync<V1SubjectAccessReview>(HttpMethod.Post, Path, review, cancellationToken: cancellationToken);
            return answer.Status is { Allowed: true, Denied: not true };
        }
        catch (Exception exception) when (exception is ApiException or HttpRequestException or TimeoutException or JsonException or IOException)
        {
            throw new CannotDecideException(
                $"the operator could not check whether you may {verb} {kind.Plural}{(name.Length > 0 ? $" \"{name}\"" : "")}, since the API server did not answer its SubjectAccessReview, "
                + "and what is not checked is denied; try again, and if it stays so look into the operator's log", exception);
        }
    }
}
