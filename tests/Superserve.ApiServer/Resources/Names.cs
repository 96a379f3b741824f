using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Superserve.ApiServer.Schema;

namespace Superserve.ApiServer.Resources;

/// <summary>Names of objects: which are allowed, and new ones.</summary>
internal static partial class Names
{
    private const string Alphabet = "bcdfghjklmnpqrstvwxz2456789";

    public static string Generate(string prefix) => prefix + RandomNumberGenerator.GetString(Alphabet, 5);

    public static IEnumerable<Violation> Validate(ResourceType type, string name)
    {
        if (name.Length == 0)
        {
            yield return Violation.Required("metadata.name", "name or generateName is required");
            yield break;
        }

        // Names of RBAC objects are path segments: they may have colons in them.
        bool allowed = type.Group == "rbac.authorization.k8s.io" ? name is not ("." or "..") && !name.Contains('/') && !name.Contains('%') : name.Length <= 253 && Subdomain().IsMatch(name);
        if (!allowed)
        {
            yield return Violation.Invalid("metadata.name", name,
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
                + "an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
        }
    }

    [GeneratedRegex(@"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex Subdomain();
}
