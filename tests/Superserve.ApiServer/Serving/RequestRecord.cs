namespace Superserve.ApiServer.Serving;

/// <summary>One request as an audit log would have it. The resource is empty where a path is none's.</summary>
public sealed record RequestRecord(string User, string Verb, string Group, string Resource, string Subresource, string Namespace, string Name, string Path);
