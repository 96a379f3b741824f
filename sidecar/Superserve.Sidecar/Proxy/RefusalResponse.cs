using System.Globalization;
using System.Text;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.WebUtilities;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Http1;

namespace Superserve.Sidecar.Proxy;

/// <summary>A refusal as the sandbox gets it: two headers for programs, and a body (RFC 9457) that tells an agent what to do.</summary>
internal static class RefusalResponse
{
    public const string ErrorHeader = "X-Superserve-Proxy-Error";
    public const string ReasonHeader = "X-Superserve-Proxy-Reason";

    private const string ContentType = "application/problem+json";

    /// <summary>Answers a request.</summary>
    public static async Task WriteAsync(HttpContext context, Refusal refusal)
    {
        context.Response.Clear();
        context.Response.StatusCode = refusal.Reason.StatusCode();
        context.Response.Headers[ErrorHeader] = "true";
        context.Response.Headers[ReasonHeader] = refusal.Reason.WireName();
        context.Response.Headers.CacheControl = "no-store";
        context.Response.ContentType = ContentType;
        byte[] body = Body(refusal);
        context.Response.ContentLength = body.Length;
        if (!HttpMethods.IsHead(context.Request.Method)) await context.Response.Body.WriteAsync(body);
    }

    /// <summary>Writes an answer of HTTP/1.1.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="refusal">The refusal.</param>
    /// <param name="hasBody">False where the request was HEAD.</param>
    /// <param name="closes">No other request may follow.</param>
    public static void Write(MessageOutput output, Refusal refusal, bool hasBody, bool closes) =>
        Write(output, refusal.Reason.StatusCode(), refusal.Reason.WireName(), Body(refusal), hasBody, closes);

    /// <summary>Writes the answer to what is no request.</summary>
    public static void Write(MessageOutput output, Http1FormatException malformed) =>
        Write(output, malformed.Status, null, Events.ReadableJson.Serialize(
            new Problem("about:blank", ReasonPhrases.GetReasonPhrase(malformed.Status), malformed.Status, malformed.Message, null, null, null), ProblemJson.Default.Problem), hasBody: true, closes: true);

    /// <summary>Answers a CONNECT request, ahead of any HTTP server. Of a refused CONNECT many clients show the status line alone.</summary>
    public static byte[] ForConnect(Refusal refusal)
    {
        int status = refusal.Reason.StatusCode();
        byte[] body = Body(refusal);
        string head = string.Create(CultureInfo.InvariantCulture,
            $"HTTP/1.1 {status} {refusal.Reason.WireName()}\r\n{ErrorHeader}: true\r\n{ReasonHeader}: {refusal.Reason.WireName()}\r\nContent-Type: {ContentType}\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n");
        return [.. Encoding.ASCII.GetBytes(head), .. body];
    }

    private static void Write(MessageOutput output, int status, string? reason, byte[] body, bool hasBody, bool closes)
    {
        output.Write($"HTTP/1.1 {status} {ReasonPhrases.GetReasonPhrase(status)}");
        output.Write("\r\n"u8);
        output.WriteField(ErrorHeader, "true");
        if (reason is not null) output.WriteField(ReasonHeader, reason);
        output.WriteField("Cache-Control", "no-store");
        output.WriteField("Content-Type", ContentType);
        output.Write("Content-Length: "u8);
        output.WriteNumber(body.Length);
        output.Write(closes ? "\r\nConnection: close\r\n\r\n"u8 : "\r\n\r\n"u8);
        if (hasBody) output.Write(body);
    }

    private static byte[] Body(Refusal refusal) => Events.ReadableJson.Serialize(
        new Problem(
            $"urn:superserve:refusal:{refusal.Reason.WireName()}",
            Title(refusal.Reason),
            refusal.Reason.StatusCode(),
            refusal.Detail,
            refusal.Reason.WireName(),
            refusal.Secret?.Env,
            refusal.Secret?.Name),
        ProblemJson.Default.Problem);

    private static string Title(RefusalReason reason) => reason switch
    {
        RefusalReason.HostDenied => "The destination is denied by the sandbox's network rules",
        RefusalReason.HostNotAllowed => "The destination is not on the sandbox's allow-list",
        RefusalReason.RequestDenied => "The request is not permitted",
        RefusalReason.PrivateAddress => "The destination is a private or special address",
        RefusalReason.PortBlocked => "The credential is for another port",
        RefusalReason.CredentialHostMismatch => "The credential is for another host",
        RefusalReason.CredentialMisplaced => "The stand-in is in the wrong place",
        RefusalReason.CleartextRefused => "A stand-in was sent without TLS",
        RefusalReason.AuthorityMismatch => "The request names another host than its connection",
        RefusalReason.UpstreamUnreachable => "The service cannot be reached",
        RefusalReason.UpstreamTlsInvalid => "The service's certificate is not valid",
        RefusalReason.UpstreamTimeout => "The service did not answer in time",
        RefusalReason.CredentialRevoked => "The credential was revoked",
        RefusalReason.CredentialUnavailable => "The credential is unavailable",
        RefusalReason.AuditUnavailable => "The audit log is unavailable",
        _ => "Refused",
    };
}

internal sealed record Problem(string Type, string Title, int Status, string Detail, string? Reason, string? Env, string? Secret);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Problem))]
internal sealed partial class ProblemJson : JsonSerializerContext;
