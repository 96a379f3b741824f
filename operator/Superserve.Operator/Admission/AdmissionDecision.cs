using System.Net;
using Superserve.Core.Secrets;

namespace Superserve.Operator.Admission;

/// <summary>An answer. Whatever is not explicitly allowed is denied.</summary>
public sealed record AdmissionDecision
{
    // A page of a terminal; whoever made more mistakes corrects these first.
    private const int MaxShown = 20;

    private AdmissionDecision()
    {
    }

    /// <summary>Whether the request may go on.</summary>
    public bool IsAllowed { get; private init; }

    /// <summary>The HTTP status that the user gets where it is denied; 500 and above: it could not be judged.</summary>
    public HttpStatusCode Code { get; private init; }

    /// <summary>The reason for programs, one of Kubernetes' own.</summary>
    public string Reason { get; private init; } = "";

    /// <summary>What is wrong and what to change.</summary>
    public string Message { get; private init; } = "";

    /// <summary>What kubectl prints although the request is allowed; one line each.</summary>
    public IReadOnlyList<string> Warnings { get; private init; } = [];

    /// <summary>Changes to the object: a JSON patch (RFC 6902) in UTF-8. Only a mutating webhook has one.</summary>
    public byte[]? Patch { get; private init; }

    /// <summary>Allowed.</summary>
    public static AdmissionDecision Allow(params IReadOnlyList<string> warnings) => new() { IsAllowed = true, Code = HttpStatusCode.OK, Warnings = warnings };

    /// <summary>Allowed with changes.</summary>
    public static AdmissionDecision Change(byte[] patch, params IReadOnlyList<string> warnings) => Allow(warnings) with { Patch = patch };

    /// <summary>Denied: this user may not.</summary>
    public static AdmissionDecision Forbid(string message) => Deny(HttpStatusCode.Forbidden, "Forbidden", message);

    /// <summary>Denied: the object cannot be as it is.</summary>
    public static AdmissionDecision Invalid(string message) => Deny(HttpStatusCode.UnprocessableEntity, "Invalid", message);

    /// <summary>Denied: the object cannot be as it is, for all these reasons.</summary>
    public static AdmissionDecision Invalid(IReadOnlyList<SpecError> errors) =>
        Invalid(List($"{errors.Count} mistakes", [.. errors.Select(error => error.ToString())]));

    /// <summary>Denied: the request is none that this webhook judges.</summary>
    public static AdmissionDecision BadRequest(string message) => Deny(HttpStatusCode.BadRequest, "BadRequest", message);

    /// <summary>Denied: it could not be judged now.</summary>
    public static AdmissionDecision Unavailable(string message) => Deny(HttpStatusCode.ServiceUnavailable, "ServiceUnavailable", message);

    /// <summary>Denied: it could not be judged in time.</summary>
    public static AdmissionDecision TimedOut(string message) => Deny(HttpStatusCode.GatewayTimeout, "Timeout", message);

    /// <summary>Denied: this program has a fault.</summary>
    public static AdmissionDecision Fault(string message) => Deny(HttpStatusCode.InternalServerError, "InternalError", message);

    /// <summary>One message of several; a single one stands as it is.</summary>
    internal static string List(string heading, IReadOnlyList<string> messages)
    {
        if (messages is [string only]) return only;
        string rest = messages.Count > MaxShown ? $"\n- and {messages.Count - MaxShown} more" : "";
        return $"{heading}:\n- {string.Join("\n- ", messages.Take(MaxShown))}{rest}";
    }

    private static AdmissionDecision Deny(HttpStatusCode code, string reason, string message) => new() { Code = code, Reason = reason, Message = message };
}
