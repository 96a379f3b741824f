namespace Superserve.ApiServer.Serving;

/// <summary>The parts of a path of the form that all resources have.</summary>
internal sealed record ResourcePath(string Group, string Version, string Namespace, string Resource, string Name, string Subresource, bool IsTooLong)
{
    /// <summary>Reads /api/v1/… and /apis/GROUP/VERSION/…; null where the path is no resource's.</summary>
    public static ResourcePath? Parse(string path)
    {
        string[] parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        (string group, string version, string[] rest) = parts switch
        {
            ["api", var v, .. var more] when more.Length > 0 => ("", v, more),
            ["apis", var g, var v, .. var more] when more.Length > 0 => (g, v, more),
            _ => ("", "", []),
        };
        if (rest.Length == 0) return null;

        string inNamespace = "";
        if (rest is ["namespaces", var name, var next, ..] && next is not ("status" or "finalize"))
        {
            inNamespace = name;
            rest = rest[2..];
        }

        return new ResourcePath(group, version, inNamespace, rest[0], rest.Length > 1 ? rest[1] : "", rest.Length > 2 ? rest[2] : "", rest.Length > 3);
    }
}
