using Superserve.ApiServer.Authentication;

namespace Superserve.ApiServer.Authorization;

/// <summary>Whether a user may do one thing; a path where it is no resource.</summary>
internal sealed record AccessRequest(UserInfo User, string Verb, string Namespace, string Group, string Resource, string Subresource, string Name, string Path = "")
{
    public string Target => Subresource.Length == 0 ? Resource : $"{Resource}/{Subresource}";

    public string Refusal
    {
        get
        {
            if (Path.Length > 0) return $"forbidden: User \"{User.Name}\" cannot {Verb} path \"{Path}\"";
            string qualified = Group.Length == 0 ? Resource : $"{Resource}.{Group}";
            string what = Name.Length == 0 ? $"{qualified} is forbidden" : $"{qualified} \"{Name}\" is forbidden";
            string where = Namespace.Length == 0 ? "at the cluster scope" : $"in the namespace \"{Namespace}\"";
            return $"{what}: User \"{User.Name}\" cannot {Verb} resource \"{Target}\" in API group \"{Group}\" {where}";
        }
    }
}
