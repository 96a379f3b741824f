using System.Security.Authentication;
using Superserve.Core.Swapping;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Forwarding;

/// <summary>Why a service's answer is not there, in words.</summary>
internal static class UpstreamFailure
{
    /// <summary>The refusal for a failure; where the rules refused an address, the exchange's verdict is theirs.</summary>
    public static Refusal Explain(Exchange exchange, Exception? exception)
    {
        if (Find<UpstreamException>(exception) is { } upstream)
        {
            if (upstream.Verdict.Reason is not null) exchange.Network = upstream.Verdict;
            return upstream.Refusal with { Secret = exchange.Plan?.Secrets[0] };
        }

        string service = exchange.Destination.ToString();
        return Find<AuthenticationException>(exception) is { } tls
            ? new Refusal(RefusalReason.UpstreamTlsInvalid, $"{WhatIsWrong(service, tls.Message)} The request was not sent.", exchange.Plan?.Secrets[0])
            : new Refusal(RefusalReason.UpstreamUnreachable, $"{service} broke the connection off ahead of an answer. Try again.", exchange.Plan?.Secrets[0]);
    }

    public static Refusal TimedOut(Exchange exchange) =>
        new(RefusalReason.UpstreamTimeout, $"{exchange.Destination} did not answer in time. It may be overloaded; try again later.", exchange.Plan?.Secrets[0]);

    /// <summary>An answer that is there and cannot be passed on.</summary>
    public static Refusal NotPassed(Exchange exchange, string what) =>
        new(RefusalReason.UpstreamUnreachable, $"{exchange.Destination} {what}; the answer is not passed on. Tell the owner of the sandbox.", exchange.Plan?.Secrets[0]);

    public static T? Find<T>(Exception? exception)
        where T : Exception
    {
        for (; exception is not null; exception = exception.InnerException)
        {
            if (exception is T found) return found;
            if (exception is not AggregateException { InnerExceptions: { Count: > 1 } several }) continue;
            foreach (Exception inner in several)
                if (Find<T>(inner) is { } below) return below;
        }

        return null;
    }

    // The platform says what was wrong in words alone; where it chooses others, the last sentence still holds.
    private static string WhatIsWrong(string service, string message) => message switch
    {
        _ when message.Contains("NameMismatch", StringComparison.Ordinal) => $"The certificate of {service} is for another name. Check the name.",
        _ when message.Contains("NotTimeValid", StringComparison.Ordinal) => $"The certificate of {service} has expired, or is not valid yet. Its operator can mend that.",
        _ when message.Contains("UntrustedRoot", StringComparison.Ordinal) || message.Contains("PartialChain", StringComparison.Ordinal) =>
            $"No trusted authority signed the certificate of {service}. If the service has a private authority, the sidecar's owner can add it (upstream.trustedRootsFile).",
        _ => $"{service} does not speak TLS as it should, or its certificate is not valid. Check the name and the port.",
    };
}
