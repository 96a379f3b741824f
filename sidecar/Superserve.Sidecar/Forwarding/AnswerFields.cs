using System.Text;
using Superserve.Core.Authentication;
using Superserve.Core.Scrubbing;
using Superserve.Core.Snapshots;
using Superserve.Sidecar.Http1;
using Superserve.Sidecar.Proxy;

namespace Superserve.Sidecar.Forwarding;

/// <summary>What of the header fields and trailers of one answer reaches the sandbox, and with what in a credential's place.</summary>
internal sealed class AnswerFields(Exchange exchange)
{
    private const int MaxOnStack = 128;

    /// <summary>What is looked for; null where the request used no secret.</summary>
    public ScrubPatterns? Patterns { get; } = exchange.Plan is { } plan ? exchange.Snapshot.ScrubPatternsFor(plan.Secrets) : null;

    /// <summary>Whether bodies are looked at.</summary>
    public bool ScrubsBodies => Patterns is { ScrubsBodies: true };

    /// <summary>Whether anything was replaced or left out for a credential in it.</summary>
    public bool WereScrubbed { get; set; }

    /// <summary>The values of the answer's <c>Connection</c>.</summary>
    public string Nominated { get; set; } = "";

    /// <summary>The body may come out with another length and digest.</summary>
    public bool ChangesBody { get; set; }

    /// <summary>The end of the body is known in another way.</summary>
    public bool LosesLength { get; set; }

    /// <summary>The body comes out as it was before it was encoded.</summary>
    public bool IsDecoded { get; set; }

    /// <summary>Whether a field passes by its name.</summary>
    public bool Passes(ReadOnlySpan<char> name)
    {
        if (HeaderRules.IsHopByHop(name) || name.StartsWith("X-Superserve-", StringComparison.OrdinalIgnoreCase) || Is(name, "Alt-Svc")) return false;
        if (Nominated.Length > 0 && HeaderRules.Nominates(Nominated, name)) return false;
        if ((LosesLength || ChangesBody) && Is(name, "Content-Length")) return false;
        if (ChangesBody && (Is(name, "Content-MD5") || Is(name, "Digest") || Is(name, "Content-Digest") || Is(name, "Repr-Digest"))) return false;
        if (IsDecoded && Is(name, "Content-Encoding")) return false;
        return !Is(name, "Set-Cookie") || AllowsSetCookie();
    }

    /// <summary>Whether a name holds a credential: then the field has no place that a stand-in could take.</summary>
    public bool IsCredential(string name)
    {
        if (Patterns is null || ReferenceEquals(Patterns.ScrubHeader(name), name)) return false;
        WereScrubbed = true;
        return true;
    }

    /// <summary>A value with stand-ins in the places of credentials.</summary>
    public string Scrub(string value)
    {
        string scrubbed = Patterns?.ScrubHeader(value) ?? value;
        if (!ReferenceEquals(scrubbed, value)) WereScrubbed = true;
        return scrubbed;
    }

    /// <summary>Writes a field, scrubbed, unless it does not pass.</summary>
    public void Write(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, MessageOutput output)
    {
        Span<char> text = name.Length <= MaxOnStack ? stackalloc char[MaxOnStack] : new char[name.Length];
        text = text[..Encoding.Latin1.GetChars(name, text)];
        if (!Passes(text)) return;
        if (Patterns is not null && Patterns.IsInHeader(name))
        {
            WereScrubbed = true;
            return;
        }

        output.Write(name);
        output.Write(": "u8);
        if (Patterns is null) output.Write(value);
        else WereScrubbed |= Patterns.ScrubHeader(value, output);
        output.Write("\r\n"u8);
    }

    private bool AllowsSetCookie()
    {
        if (exchange.Plan is null) return true;
        foreach (BoundSecret secret in exchange.Plan.Secrets)
            if (!secret.Definition.AllowSetCookie) return false;
        return true;
    }

    private static bool Is(ReadOnlySpan<char> name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);
}
