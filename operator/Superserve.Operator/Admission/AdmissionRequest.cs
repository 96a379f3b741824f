using System.Text.Json;

namespace Superserve.Operator.Admission;

/// <summary>What the API server asks: may this user do this to this object? The request of an AdmissionReview.</summary>
public sealed record AdmissionRequest
{
    /// <summary>Names this question; the answer repeats it.</summary>
    public required string Uid { get; init; }

    /// <summary>CREATE, UPDATE, DELETE or CONNECT.</summary>
    public required string Operation { get; init; }

    /// <summary>The group of what the request is about; empty for the core group.</summary>
    public required string Group { get; init; }

    /// <summary>The plural name of what the request is about.</summary>
    public required string Resource { get; init; }

    /// <summary>status, exec, …; empty where it is the object itself.</summary>
    public string SubResource { get; init; } = "";

    /// <summary>The kind of <see cref="Object"/>.</summary>
    public string Kind { get; init; } = "";

    /// <summary>Empty for what has no namespace.</summary>
    public string Namespace { get; init; } = "";

    /// <summary>Empty on CREATE where the API server makes the name up.</summary>
    public string Name { get; init; } = "";

    /// <summary>Who wants it.</summary>
    public required Requester User { get; init; }

    /// <summary>The object as it would be. It lives as long as the request is being answered, and no longer.</summary>
    public JsonElement? Object { get; init; }

    /// <summary>The object as it is. The same holds.</summary>
    public JsonElement? OldObject { get; init; }

    /// <summary>Whether nothing will be stored.</summary>
    public bool DryRun { get; init; }

    /// <summary>What is asked, without the object, which may hold what nobody should read.</summary>
    public override string ToString() =>
        $"{Operation} {Resource}{(Group.Length > 0 ? "." : "")}{Group}{(SubResource.Length > 0 ? "/" : "")}{SubResource} {Namespace}/{Name}";
}

/// <summary>
/// A user, as the API server authenticated it. Anybody who reaches the webhook's port can claim to be anybody here: an answer may
/// say what the named user may do, and nothing else that this user could not ask the API server for.
/// </summary>
public sealed record Requester(
    string Name, string Uid, IReadOnlyList<string> Groups, IReadOnlyDictionary<string, IReadOnlyList<string>> Extra);
